"""hpt's samplers in Optuna studies."""

from __future__ import annotations

import json
import threading
import warnings
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import default_rng
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from hpt_core import Float, Space, SpaceExhausted, Study, Trial
from hpt_sampler_optuna.attributes import limits_of
from hpt_sampler_optuna.convert import axes, parameter_of
from hpt_sampler_optuna.mirror import NOTE, Mirror

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

__all__ = ["HptSampler"]

_LEARNT = (TrialState.COMPLETE, TrialState.PRUNED)


class HptSampler(BaseSampler):
    """An hpt sampler for `optuna.create_study`.

    Each suggestion is a function of the seed and the study's trials, so a resumed study continues as if it had never
    been interrupted. The sampler sees running trials as running, failed ones as failed and pruned ones as stopped, and
    constraints that every complete trial has as constraints.

    Args:
        sampler: As in `hpt_core.Study`: a name, a mapping with ``use``, a list, or a component.
        space: The search space in hpt's form, including conditions; names and bounds must match those that the
            objective suggests. None: the intersection of all finished trials, as for Optuna's samplers; all other
            parameters and the first trial are drawn at random.
        seed: Any int >= 0; None: drawn once.

    Raises:
        UsageError: If there is no such sampler, or ``space`` is not a valid space.
    """

    def __init__(
        self, sampler: Any = "bayes", *, space: Space | Mapping[str, Any] | None = None, seed: int | None = None
    ) -> None:
        self._sampler = sampler
        self._space = Space(space) if isinstance(space, Mapping) else space
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._lock = threading.Lock()
        self._mirror: Mirror | None = None
        self._study(self._space or Space({"x": Float(0, 1)}), ("minimize",), {})  # rejects a wrong sampler now

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - what Optuna gives
    ) -> dict[str, BaseDistribution]:
        """The parameters that the hpt sampler suggests jointly."""
        if self._space is not None:
            return {name: axis.distribution for name, axis in axes(self._space).items()}
        trials = study.get_trials(deepcopy=False, states=_LEARNT)
        return {name: dist for name, dist in intersection_search_space(trials).items() if not dist.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The suggestion of the hpt sampler; empty if it is exhausted."""
        if not search_space:
            return {}
        space = self._space or Space({name: parameter_of(dist) for name, dist in search_space.items()})
        with self._lock:
            found = self._ask(study, trial, space)
            if found is None:
                return {}
            # As in Optuna's TPE: later suggestions, also in other processes, see this point as running.
            noted = json.dumps({"params": found.params, "info": dict(found.info), "source": found.source})
            study._storage.set_trial_system_attr(trial._trial_id, NOTE, noted)  # noqa: SLF001 - as TPESampler does
        known = axes(space)
        return {name: known[name].encode(value) for name, value in found.params.items() if name in known}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value for a parameter that the hpt sampler does not suggest."""
        self._warn_of_mismatch(trial, param_name)
        rng = default_rng([self._seed, trial.number, zlib.crc32(param_name.encode())])
        drawn = RandomSampler(seed=int(rng.integers(2**31 - 1)))
        return drawn.sample_independent(study, trial, param_name, param_distribution)

    def _warn_of_mismatch(self, trial: FrozenTrial, name: str) -> None:
        """Warn if the sampler made a suggestion in the given space, and the objective has no use for its value."""
        attributes = trial.system_attrs  # without a note the sampler is exhausted; an enqueued trial has other values
        if self._space is None or NOTE not in attributes or "fixed_params" in attributes:
            return
        differs = "has another range or condition in" if name in self._space else "is not in"
        message = f"The parameter {name!r} of the objective {differs} the `space` of HptSampler: it is drawn at random."
        warnings.warn(message, stacklevel=3)

    def _ask(self, study: optuna.Study, trial: FrozenTrial, space: Space) -> Trial | None:
        """The suggestion of the hpt sampler: a new point, else a known one; None if it is exhausted."""
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        directions = tuple(direction.name.lower() for direction in study.directions)
        limits = limits_of(trials)
        kept, self._mirror = self._mirror, None
        if kept is None or not kept.matches(space, directions, limits) or not kept.sync(trials):
            kept = None
        for duplicates in ("avoid", "allow"):
            mirror = kept or Mirror(self._study(space, directions, limits, duplicates), trials)
            kept = None
            try:
                found = mirror.ask(trial)
            except SpaceExhausted:
                continue
            self._mirror = mirror if duplicates == "avoid" else None
            return found
        return None

    def _study(
        self, space: Space, directions: tuple[str, ...], limits: Mapping[str, str], duplicates: str = "avoid"
    ) -> Study:
        objective = {f"objective{i}": direction for i, direction in enumerate(directions)}
        settings: Any = {"seed": self._seed, "store": "memory", "duplicates": duplicates}
        return Study(space, objective=objective, constraints=limits or None, sampler=self._sampler, **settings)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the lock and the mirror."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_mirror")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore with a new lock and without a mirror."""
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._mirror = None
