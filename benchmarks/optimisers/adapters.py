"""Adapters of the peers to the interface `peers.Optimiser`, each with the defaults of its package.

The packages are imported lazily, as all of them are optional.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from typing import Any

import numpy as np

import hpt_core as hpt

__all__ = ["Ax", "BayesOpt", "Hebo", "Skopt", "Smac", "ax_parameter", "optuna_gp", "optuna_tpe", "suggest"]


class OptunaStudy:
    """An Optuna sampler; inactive parameters are not suggested, as in a define-by-run objective."""

    def __init__(self, sampler: Any, space: hpt.Space) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(sampler=sampler)
        self._space = space

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `peers.Optimiser`."""
        trial = self._study.ask()
        return trial, suggest(trial, self._space)

    def add_point(self, params: hpt.Params) -> Any:
        """See `peers.Optimiser`."""
        self._study.enqueue_trial({name: params[name] for name in self._space.active(params)})
        return self.ask()[0]

    def tell(self, token: Any, value: float) -> None:
        """See `peers.Optimiser`."""
        self._study.tell(token, value)


def suggest(trial: Any, space: hpt.Space) -> hpt.Params:
    """The active parameters of an Optuna trial."""
    params: hpt.Params = {}
    for name in space.order:
        parameter = space[name]
        if all(params.get(parent) in allowed for parent, allowed in parameter.when.items()):
            params[name] = _suggest(trial, name, parameter)
    return params


def _suggest(trial: Any, name: str, parameter: Any) -> Any:
    if isinstance(parameter, hpt.Float):
        return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, hpt.Int):
        return trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log)
    return trial.suggest_categorical(name, list(parameter.choices))


def optuna_tpe(space: hpt.Space, seed: int, trials: int) -> OptunaStudy:  # noqa: ARG001 - common signature
    """Optuna's default."""
    import optuna

    return OptunaStudy(optuna.samplers.TPESampler(seed=seed), space)


def optuna_gp(space: hpt.Space, seed: int, trials: int) -> OptunaStudy:  # noqa: ARG001 - common signature
    """Optuna's Gaussian process."""
    import optuna

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return OptunaStudy(optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False), space)


class BayesOpt:
    """The package bayes_opt: five random points first, as in its ``maximize``.

    It gets the unit cube: log scales are transformed, integers and categories are rounded, as was long common practice.
    Its own integers and categories are marked experimental, and a suggestion with them takes seconds.
    """

    def __init__(self, space: hpt.Space, seed: int, trials: int) -> None:  # noqa: ARG002 - common signature
        from bayes_opt import BayesianOptimization  # type: ignore[import-not-found,unused-ignore] # optional

        self._space = space
        self._count = 0
        bounds = dict.fromkeys(space.columns, (0.0, 1.0))
        self._optimiser = BayesianOptimization(None, bounds, random_state=seed, verbose=0, allow_duplicate_points=True)

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `peers.Optimiser`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the fit of the kernel
            point = self._optimiser.random_sample(1)[0] if self._count < 5 else self._optimiser.suggest()
        return point, self._space.from_unit([point[name] for name in self._space.columns])

    def add_point(self, params: hpt.Params) -> Any:
        """See `peers.Optimiser`."""
        return {name: self._space[name].to_unit(params[name]) for name in self._space.columns}

    def tell(self, token: Any, value: float) -> None:
        """See `peers.Optimiser`."""
        self._count += 1
        self._optimiser.register(token, -value)


class Skopt:
    """scikit-optimize's Gaussian process."""

    def __init__(self, space: hpt.Space, seed: int, trials: int) -> None:  # noqa: ARG002 - common signature
        from skopt import Optimizer  # type: ignore[import-not-found,import-untyped,unused-ignore] # optional
        from skopt import space as kinds

        warnings.filterwarnings("ignore", module="skopt")
        warnings.filterwarnings("ignore", module="sklearn")
        dimensions: list[Any] = []
        for name, parameter in space.parameters.items():
            if isinstance(parameter, hpt.Categorical):
                dimensions.append(kinds.Categorical(list(parameter.choices), name=name))
                continue
            kind = kinds.Real if isinstance(parameter, hpt.Float) else kinds.Integer
            prior = "log-uniform" if parameter.log else "uniform"  # type: ignore[attr-defined]
            dimensions.append(kind(parameter.low, parameter.high, prior=prior, name=name))  # type: ignore[attr-defined]
        self._space = space
        self._optimiser = Optimizer(dimensions, random_state=seed)

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `peers.Optimiser`."""
        point = self._optimiser.ask()
        params = dict(zip(self._space.names, point, strict=True))
        for name, parameter in self._space.parameters.items():
            if not isinstance(parameter, hpt.Categorical):
                params[name] = min(max(params[name], parameter.low), parameter.high)  # type: ignore[attr-defined]
        return point, params

    def add_point(self, params: hpt.Params) -> Any:
        """See `peers.Optimiser`."""
        return [params[name] for name in self._space.names]

    def tell(self, token: Any, value: float) -> None:
        """See `peers.Optimiser`."""
        self._optimiser.tell(token, value)


class Smac:
    """SMAC3's facade for hyperparameter optimisation: a random forest. It supports conditions."""

    def __init__(self, space: hpt.Space, seed: int, trials: int) -> None:
        import ConfigSpace  # type: ignore[import-not-found,import-untyped,unused-ignore] # optional
        from smac import (  # type: ignore[import-not-found,import-untyped,unused-ignore] # optional
            HyperparameterOptimizationFacade,
            Scenario,
        )

        configs = ConfigSpace.ConfigurationSpace(seed=seed)
        made = {name: _config_parameter(ConfigSpace, name, parameter) for name, parameter in space.parameters.items()}
        configs.add(list(made.values()))
        for name, parameter in space.parameters.items():
            for parent, allowed in parameter.when.items():
                configs.add(ConfigSpace.InCondition(made[name], made[parent], list(allowed)))
        self._folder = tempfile.TemporaryDirectory()
        scenario = Scenario(configs, deterministic=True, n_trials=trials, seed=seed, output_directory=self._folder.name)
        self._space, self._configs = space, configs
        self._smac = HyperparameterOptimizationFacade(scenario, _never, logging_level=logging.ERROR, overwrite=True)

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `peers.Optimiser`."""
        info = self._smac.ask()
        return info, dict(info.config)

    def add_point(self, params: hpt.Params) -> Any:
        """See `peers.Optimiser`."""
        from ConfigSpace import Configuration
        from smac.runhistory import TrialInfo  # type: ignore[import-not-found,import-untyped,unused-ignore] # optional

        active = {name: params[name] for name in self._space.active(params)}
        return TrialInfo(Configuration(self._configs, values=active), seed=0)

    def tell(self, token: Any, value: float) -> None:
        """See `peers.Optimiser`."""
        from smac.runhistory import TrialValue

        self._smac.tell(token, TrialValue(cost=value))


def _never(config: Any, seed: int = 0) -> float:
    """The target function that SMAC requires; it is never called, as all values are passed to `tell`."""
    raise AssertionError(f"SMAC evaluated {config!r} (seed {seed}) itself, although all values are passed to tell().")


def _config_parameter(kinds: Any, name: str, parameter: Any) -> Any:
    if isinstance(parameter, hpt.Categorical):
        return kinds.CategoricalHyperparameter(name, list(parameter.choices))
    kind = kinds.UniformFloatHyperparameter if isinstance(parameter, hpt.Float) else kinds.UniformIntegerHyperparameter
    return kind(name, parameter.low, parameter.high, log=parameter.log)


class Hebo:
    """HEBO, which draws from the global generators; they are seeded here."""

    def __init__(self, space: hpt.Space, seed: int, trials: int) -> None:  # noqa: ARG002 - common signature
        import torch
        from hebo.design_space.design_space import DesignSpace  # type: ignore[import-not-found,unused-ignore]
        from hebo.optimizers.hebo import HEBO  # type: ignore[import-not-found,unused-ignore] # optional

        warnings.simplefilter("ignore")
        np.random.seed(seed)  # noqa: NPY002 - HEBO uses no other generator
        torch.manual_seed(seed)
        design = DesignSpace().parse([_hebo_parameter(name, p) for name, p in space.parameters.items()])
        self._space = space
        self._optimiser = HEBO(design, scramble_seed=seed)

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `peers.Optimiser`."""
        frame = self._optimiser.suggest(1)
        params = {name: frame[name].iloc[0] for name in self._space.names}
        for name, parameter in self._space.parameters.items():
            if not isinstance(parameter, hpt.Categorical):
                params[name] = min(max(params[name], parameter.low), parameter.high)  # type: ignore[attr-defined]
        return frame, params

    def add_point(self, params: hpt.Params) -> Any:
        """See `peers.Optimiser`."""
        import pandas as pd

        return pd.DataFrame([params])

    def tell(self, token: Any, value: float) -> None:
        """See `peers.Optimiser`."""
        self._optimiser.observe(token, np.array([[value]]))


def _hebo_parameter(name: str, parameter: Any) -> dict[str, Any]:
    if isinstance(parameter, hpt.Categorical):
        return {"name": name, "type": "cat", "categories": list(parameter.choices)}
    kinds = {(hpt.Float, False): "num", (hpt.Float, True): "pow", (hpt.Int, False): "int", (hpt.Int, True): "pow_int"}
    return {"name": name, "type": kinds[type(parameter), parameter.log], "lb": parameter.low, "ub": parameter.high}


class Ax:
    """Ax with its default generation strategy."""

    def __init__(self, space: hpt.Space, seed: int, trials: int) -> None:  # noqa: ARG002 - common signature
        from ax.api.client import Client  # type: ignore[import-not-found,unused-ignore] # optional

        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        self._space = space
        self._client = Client(random_seed=seed)
        self._client.configure_experiment([ax_parameter(name, p) for name, p in space.parameters.items()])
        self._client.configure_optimization("-loss")

    def ask(self) -> tuple[Any, hpt.Params]:
        """See `peers.Optimiser`."""
        ((index, params),) = self._client.get_next_trials(1).items()
        return index, dict(params)

    def add_point(self, params: hpt.Params) -> Any:
        """See `peers.Optimiser`."""
        return self._client.attach_trial(params)

    def tell(self, token: Any, value: float) -> None:
        """See `peers.Optimiser`."""
        self._client.complete_trial(token, {"loss": value})


def ax_parameter(name: str, parameter: Any) -> Any:
    """A parameter in Ax's terms."""
    from ax.api.configs import (  # type: ignore[import-not-found,unused-ignore] # optional
        ChoiceParameterConfig,
        RangeParameterConfig,
    )

    if isinstance(parameter, hpt.Categorical):
        return ChoiceParameterConfig(name, list(parameter.choices), "str", is_ordered=False)
    kind = "float" if isinstance(parameter, hpt.Float) else "int"
    return RangeParameterConfig(
        name, (parameter.low, parameter.high), kind, scaling="log" if parameter.log else "linear"
    )
