"""The sampler ``optuna``: any sampler of Optuna or OptunaHub."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, PluginError, Space, SpaceExhausted, Suggestion, UsageError, import_object, option

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["OptunaSampler"]

_STARTUP = 10  # Optuna's usual default of `n_startup_trials`, the trials that a sampler draws at random
_MOST_RESULTS = 100  # most results in a check, which should take no time
_TRIES = 10  # suggestions for a trial, until one fits


@attrs.define(kw_only=True)
class OptunaSampler:
    """Makes the suggestions of an Optuna sampler.

    For each trial the Optuna sampler is created anew with a seed for that trial, and sees the history as an Optuna
    study: running trials as running, failed ones as failed, stopped ones as pruned. Conditional parameters are
    suggested only where they are active, as in a define-by-run objective.
    """

    sampler: str | Callable[..., Any] = option(
        "TPESampler", help="A class of optuna.samplers by name, an import path 'module:name', or a class or function."
    )
    options: dict[str, Any] = option(factory=dict, help="The arguments of that sampler, as documented by Optuna.")
    replay: bool | None = option(
        None, help="Recreate its per-trial data by replay instead of logging it; none: only if that data is pickled."
    )
    _replica: Any = attrs.field(init=False, default=None, repr=False, eq=False)

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Create the sampler and ask it once, so that what is wrong or missing is reported before the first trial.

        Args:
            space: The study's space.
            objectives: The directions of its objectives by name.

        Raises:
            UsageError: If there is no such sampler, it does not accept the options, or a sampler of Optuna does not
                support the space or the objectives.
            PluginError: If the sampler needs a package that is not installed.
        """
        from hpt_sampler_optuna.replica import quiet, rehearse

        with quiet(logging.ERROR):
            sampler = self._make(0, 0)
            try:
                results = min(self.options.get("n_startup_trials", _STARTUP), _MOST_RESULTS) + 1
                with self._packages():
                    rehearse(sampler, space, objectives.values(), results)
            except (TypeError, ValueError) as err:
                if not type(sampler).__module__.startswith("optuna."):
                    raise  # its author needs the traceback
                message = f"{type(sampler).__name__} does not support this study: {err}"
                raise UsageError(Mistake("sampler.sampler", message)) from err

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """The next configuration.

        Args:
            history: The history, from which the Optuna study is rebuilt.
            rng: Draws the seed of the sampler.

        Returns:
            The suggestion; ``info["optuna"]`` has the data that the sampler stored with its trial.

        Raises:
            SpaceExhausted: If the sampler has stopped the study.
            PluginError: If the sampler needs a package that is not installed.
            UsageError: As `check`.
        """
        from hpt_sampler_optuna.replica import Replica, seed_of

        if self._replica is None:
            replay = self._keeps_pickles() if self.replay is None else self.replay
            self._replica = Replica(self._make, replay=replay)
        # A sequence would suggest a point again and again that the core replaces: it goes on when its number is logged.
        fits = history.untried if _is(self._callable(), "QMCSampler") else history.space.allows
        with self._packages():
            found = self._replica.suggest(history, (seed_of(rng) for _ in range(_TRIES)), fits)
        if found is None:
            raise SpaceExhausted("the Optuna sampler has stopped the search")
        params, stored = found
        if not fits(params):
            of_study = {"optuna": {"study": stored["study"]}} if "study" in stored else {}
            return Suggestion(history.space.sample(rng), of_study, source="fill")
        return Suggestion(params, {"optuna": stored})

    @contextmanager
    def _packages(self) -> Iterator[None]:
        """Name a missing package: Optuna imports torch, cmaes and others when they are first used."""
        try:
            yield
        except ModuleNotFoundError as err:
            self._replica = None
            msg = f"The Optuna sampler {self.sampler} needs the package {err.name!r}, which is not installed."
            raise PluginError(msg) from None

    def _make(self, seed: int, study_seed: int) -> Any:
        import optuna.samplers

        from hpt_sampler_optuna.replica import check_sampler

        call = self._callable()
        options = dict(self.options)
        if "seed" not in options and _takes_seed(call):
            options["seed"] = seed
            if _is(call, "QMCSampler"):  # its sequence needs one seed, what it draws beside the sequence one per trial
                options["seed"] = study_seed % 2**31
                options.setdefault("independent_sampler", optuna.samplers.RandomSampler(seed=seed))
        try:
            made = call(**options)
        except (TypeError, ValueError) as err:
            name = getattr(call, "__name__", "sampler")
            raise UsageError(Mistake("sampler.options", f"{name} does not accept them: {err}")) from err
        return check_sampler(made)

    def _callable(self) -> Callable[..., Any]:
        import optuna.samplers

        found: Any = self.sampler
        if isinstance(found, str):
            if ":" in found:
                found = import_object(found, "sampler.sampler")
            else:
                found = import_object(f"optuna.samplers:{found}", "sampler.sampler")
        if isinstance(found, optuna.samplers.BaseSampler) or not callable(found):
            wanted = "a class or a function that creates a sampler, as each trial needs a new one"
            message = f"Must be {wanted}. Got {found!r:.80}."
            raise UsageError(Mistake("sampler.sampler", message))
        return found  # type: ignore[no-any-return]

    def _keeps_pickles(self) -> bool:
        return _is(self._callable(), "CmaEsSampler")

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the options without the cached replica."""
        return {"sampler": self.sampler, "options": self.options, "replay": self.replay}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from the options."""
        self.__init__(**state)  # type: ignore[misc]


def _is(call: object, name: str) -> bool:
    import optuna.samplers

    return isinstance(call, type) and issubclass(call, getattr(optuna.samplers, name))


def _takes_seed(call: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return False
    return "seed" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
