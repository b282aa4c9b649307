"""The other way round: samplers of hpt in studies of Optuna."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import default_rng
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState

from hpt_core import Float, Space, SpaceExhausted, Study, Trial
from hpt_sampler_optuna.beside import limits_of
from hpt_sampler_optuna.convert import axes, parameter_of
from hpt_sampler_optuna.mirror import NOTE, Mirror

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

__all__ = ["HptSampler"]

_LEARNT = (TrialState.COMPLETE, TrialState.PRUNED)


class HptSampler(BaseSampler):
    """A sampler of hpt for `optuna.create_study`.

    Each suggestion is a function of the seed and the study's trials, so a study that goes on later goes on as it would
    have. Running trials are seen as running, failed ones as failed, pruned ones as stopped, and constraints that every
    complete trial has as constraints.

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
        self._mirror: Mirror | None = None
        self._study(self._space or Space({"x": Float(0, 1)}), ("minimize",), {})  # refuses a wrong sampler now

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
        with self._lock:
            found = self._ask(study, trial, space)
            if found is None:
                return {}
            # As TPE does: whoever suggests next, in whatever process, sees this point as running.
            noted = json.dumps({"params": found.params, "info": dict(found.info), "source": found.source})
            study._storage.set_trial_system_attr(trial._trial_id, NOTE, noted)  # noqa: SLF001
        known = axes(space)
        return {name: known[name].encode(value) for name, value in found.params.items() if name in known}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for what the sampler of hpt does not suggest."""
        rng = default_rng([self._seed, trial.number, zlib.crc32(param_name.encode())])
        drawn = RandomSampler(seed=int(rng.integers(2**31 - 1)))
        return drawn.sample_independent(study, trial, param_name, param_distribution)

    def _ask(self, study: optuna.Study, trial: FrozenTrial, space: Space) -> Trial | None:
        """What the sampler of hpt suggests: a new point, else a known one; None where it has nothing left at all."""
        trials = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        directions = tuple(direction.name.lower() for direction in study.directions)
        limits = limits_of(trials)
        kept, self._mirror = self._mirror, None
        if kept is None or not kept.serves(space, directions, limits) or not kept.follow(trials):
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
        """Travel to another process without the lock and the mirror."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_mirror")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive."""
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._mirror = None
