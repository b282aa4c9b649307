"""The other way round: samplers of hpt in studies of Optuna."""

from __future__ import annotations

import json
import math
import threading
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import default_rng
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from hpt_core import Failure, Float, Params, Space, SpaceExhausted, Stop, Study, Suggestion, Trial
from hpt_sampler_optuna.convert import Axis, axes, only_value, parameter_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

__all__ = ["HptSampler"]

_NOTE = "hpt:params"
_LEARNT = (TrialState.COMPLETE, TrialState.PRUNED)


class HptSampler(BaseSampler):
    """A sampler of hpt for `optuna.create_study`.

    Each suggestion is a function of the seed and the study's trials, so a study that goes on later goes on as it would
    have. Running trials are seen as running, failed ones as failed, pruned ones as stopped.

    Args:
        sampler: As in `hpt_core.Study`: a name, a mapping with ``use``, a list, or a component.
        space: The search space, with conditions if there are any, as hpt has it; names and bounds must be those that
            the objective asks for. None: what all finished trials have in common, as Optuna's samplers do; the other
            parameters and the first trial are drawn at random.
        seed: Any int >= 0; None: drawn once.

    Raises:
        UsageError: If there is no such sampler, or ``space`` is none.
    """

    def __init__(
        self, sampler: Any = "bayes", *, space: Space | Mapping[str, Any] | None = None, seed: int | None = None
    ) -> None:
        self._sampler = sampler
        self._space = Space(space) if isinstance(space, Mapping) else space
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._lock = threading.Lock()
        self._mirror(self._space or Space({"x": Float(0, 1)}), ("minimize",))

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - what Optuna gives
    ) -> dict[str, BaseDistribution]:
        """The parameters that the sampler of hpt suggests together."""
        if self._space is not None:
            return {name: axis.distribution for name, axis in axes(self._space).items()}
        trials = study.get_trials(deepcopy=False, states=_LEARNT)
        return {name: dist for name, dist in intersection_search_space(trials).items() if not dist.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the sampler of hpt suggests; nothing where it has nothing left at all."""
        if not search_space:
            return {}
        space = self._space or Space({name: parameter_of(dist) for name, dist in search_space.items()})
        known = axes(space)
        with self._lock:
            found = self._ask(study, trial, space, known)
            if found is None:
                return {}
            # As TPE does: whoever suggests next, in whatever process, sees this point as running.
            noted = json.dumps({"params": found.params, "info": dict(found.info), "source": found.source})
            study._storage.set_trial_system_attr(trial._trial_id, _NOTE, noted)  # noqa: SLF001
        return {name: known[name].encode(value) for name, value in found.params.items() if name in known}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for what the sampler of hpt does not suggest."""
        rng = default_rng([self._seed, trial.number, zlib.crc32(param_name.encode())])
        drawn = RandomSampler(seed=int(rng.integers(2**31 - 1)))
        return drawn.sample_independent(study, trial, param_name, param_distribution)

    def _ask(self, study: optuna.Study, trial: FrozenTrial, space: Space, known: Mapping[str, Axis]) -> Trial | None:
        """What the sampler of hpt suggests: a new point, else a known one; None where it has nothing left at all."""
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        directions = tuple(direction.name.lower() for direction in study.directions)
        for duplicates in ("avoid", "allow"):
            mirror = self._mirror(space, directions, duplicates)
            for other in others:
                _copy(other, mirror, known)
            try:
                return mirror.ask()
            except SpaceExhausted:
                continue
        return None

    def _mirror(self, space: Space, directions: tuple[str, ...], duplicates: str = "avoid") -> Study:
        """The study of Optuna as one of hpt, without its trials."""
        objective = {f"objective{i}": direction for i, direction in enumerate(directions)}
        settings: Any = {"seed": self._seed, "store": "memory", "duplicates": duplicates}
        return Study(space, objective=objective, sampler=self._sampler, **settings)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive."""
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _copy(trial: FrozenTrial, mirror: Study, known: Mapping[str, Axis]) -> None:
    """Put a trial into the mirror; one whose point does not lie in its space, or is not known yet, is left out."""
    given = _suggestion(trial, mirror.space, known)
    if given is None or trial.state is TrialState.WAITING:
        return
    copied = mirror.add_trial(given)
    reports = [(step + 1, value) for step, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)]
    if len(mirror.objectives) == 1:
        for step, value in reports:
            mirror.report(copied, step, value)
    if trial.state is TrialState.COMPLETE:
        mirror.tell(copied, trial.values[0] if len(trial.values) == 1 else tuple(trial.values))
    elif trial.state is TrialState.PRUNED:
        mirror.tell(copied, Stop("pruned"))
    elif trial.state is TrialState.FAIL:
        mirror.tell(copied, Failure("error", "failed in Optuna"))


def _suggestion(trial: FrozenTrial, space: Space, known: Mapping[str, Axis]) -> Suggestion | None:
    """The point of a trial, with what the sampler of hpt noted if it suggested that; None for none in the space."""
    noted = json.loads(trial.system_attrs.get(_NOTE, "{}"))
    suggested = Suggestion(**noted) if noted and space.contains(noted["params"]) else None
    params = _params(trial, space, known)
    if suggested is not None and (params == suggested.params or not trial.state.is_finished()):
        return suggested
    return None if params is None else Suggestion(params, source="given")


def _params(trial: FrozenTrial, space: Space, known: Mapping[str, Axis]) -> Params | None:
    params: Params = {}
    for name in space.order:
        if name not in space.active(params):
            continue
        if name not in known:
            params[name] = only_value(space[name])
        elif name in trial.params and known[name].accepts(trial.params[name]):
            params[name] = known[name].decode(trial.params[name])
        else:
            return None
    return params if space.contains(params) else None
