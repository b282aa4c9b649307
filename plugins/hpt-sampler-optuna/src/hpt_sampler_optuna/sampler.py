"""The sampler ``optuna``: any sampler of Optuna or OptunaHub."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Space, SpaceExhausted, Suggestion, UsageError, import_object, option

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["OptunaSampler"]


@attrs.define(kw_only=True)
class OptunaSampler:
    """Suggests what a sampler of Optuna would.

    For each trial the sampler is made anew with a seed of the trial's own and sees the history as a study of Optuna:
    running trials as running, failed ones as failed, stopped ones as pruned. Conditional parameters are asked for only
    where they are active, as a define-by-run objective does.
    """

    sampler: str | Callable[..., Any] = option(
        "TPESampler", help="A class of optuna.samplers by name, an import path 'module:name', or a class or function."
    )
    options: dict[str, Any] = option(factory=dict, help="Its arguments, as Optuna documents them.")
    replay: bool | None = option(
        None, help="Make its notes on earlier trials again instead of logging them; none: where it keeps pickles."
    )
    _rebuilt: Any = attrs.field(init=False, default=None, repr=False, eq=False)

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:  # noqa: ARG002 - what the core gives
        """Make the sampler once, so that a wrong name or option is told before the first trial.

        Args:
            space: The study's space.
            objectives: Directions by name.

        Raises:
            UsageError: If there is no such sampler, or it does not take the options.
        """
        from hpt_sampler_optuna.rebuilt import quiet

        with quiet():
            self._make(0, 0)

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """The next configuration.

        Args:
            history: What the study of Optuna is rebuilt from.
            rng: The sampler's seed is drawn from it.

        Returns:
            The suggestion; ``info["optuna"]`` has what the sampler noted beside its trial.

        Raises:
            SpaceExhausted: If the sampler has ended the search.
            UsageError: As `check`.
        """
        from hpt_sampler_optuna.rebuilt import Rebuilt, seed_of

        if self._rebuilt is None:
            replay = self._keeps_pickles() if self.replay is None else self.replay
            self._rebuilt = Rebuilt(self._make, replay=replay)
        found = self._rebuilt.suggest(history, seed_of(rng))
        if found is None:
            raise SpaceExhausted("the sampler of Optuna has ended the search")
        params, notes = found
        return Suggestion(params, {"optuna": notes})

    def _make(self, seed: int, study_seed: int) -> Any:
        from hpt_sampler_optuna.rebuilt import check_sampler

        call = self._callable()
        options = dict(self.options)
        if "seed" not in options and _takes_seed(call):
            options["seed"] = study_seed % 2**31 if _is(call, "QMCSampler") else seed
        try:
            made = call(**options)
        except (TypeError, ValueError) as err:
            name = getattr(call, "__name__", "sampler")
            raise UsageError(Mistake("sampler.options", f"{name} does not take them: {err}")) from err
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
            wanted = "a class or a function that makes a sampler, so that each trial has its own"
            message = f"Must be {wanted}. Got {found!r:.80}."
            raise UsageError(Mistake("sampler.sampler", message))
        return found  # type: ignore[no-any-return]

    def _keeps_pickles(self) -> bool:
        return _is(self._callable(), "CmaEsSampler")

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what was rebuilt."""
        return {"sampler": self.sampler, "options": self.options, "replay": self.replay}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive."""
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
