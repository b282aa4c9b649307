"""What the parts of the kit for stopping rules have in common: studies to judge, and asking a rule for everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hpt_core import events
from hpt_core.components import Pause, Stop
from hpt_core.testing import examples
from hpt_core.testing.component import ComponentKit
from hpt_core.testing.histories import make_history

if TYPE_CHECKING:
    from hpt_core.history import History

__all__ = ["Make", "StoppingBase", "decisions", "judged", "learning_curve", "named", "promoted", "retired", "said"]

Make = Callable[[], Any]

_STEPS = 12


def learning_curve(quality: float) -> list[float]:
    """A curve of twelve losses that falls towards ``quality``; curves of different qualities never cross."""
    return [quality + (1.0 + quality) / (step + 1) for step in range(1, _STEPS + 1)]


def folds(quality: float) -> list[float]:
    """Losses on twelve folds: those of another quality differ by the same amount on each fold, nearly."""
    return [quality + 0.1 * (step % 3) + 0.001 * quality * step for step in range(_STEPS)]


_MAKERS = {"curve": learning_curve, "folds": folds}


def named(rule: Any, method: str, *arguments: Any) -> Any:
    """Ask a rule; one that has no such method has no opinion."""
    ask = getattr(rule, method, None)
    return None if ask is None else ask(*arguments)


def promoted(rule: Any, history: History) -> Any:
    """Which trial it promotes."""
    return named(rule, "promote", history)


def retired(rule: Any, history: History) -> dict[Any, Any]:
    """Which paused trials it gives up, each with its decision."""
    return dict(named(rule, "retire", history) or {})


def judged(rule: Any, history: History) -> Iterator[tuple[tuple[type, ...], Any]]:
    """What it says to the running trials, and to the study; each with the types that are allowed."""
    for trial in list(history.trials):
        if trial.state == "running" and trial.reports:
            yield (Stop, Pause), named(rule, "judge_trial", history, trial)
    yield (Stop,), named(rule, "judge_study", history)


def said(decision: Any) -> str:
    """A decision to compare: its kind alone, as reasons and evidence tell numbers."""
    return type(decision).__name__


def decisions(rule: Any, history: History) -> list[str]:
    """All that it decides on a history, as text; empty if it lets everything go on."""
    found = [said(decision) for _, decision in judged(rule, history) if decision is not None]
    found += [f"retire {number}" for number in sorted(retired(rule, history))]
    number = promoted(rule, history)
    return found if number is None else [*found, f"promote {number}"]


class StoppingBase(ComponentKit):
    """Inherit `StoppingRuleKit` instead."""

    acts: ClassVar[bool] = True
    timed: ClassVar[bool] = False
    ordered: ClassVar[bool] = False
    in_users_sign: ClassVar[bool] = False
    compares: ClassVar[bool] = True
    evidence: ClassVar[tuple[str, ...]] = ("curve", "folds")

    @pytest.fixture
    def make_rule(self) -> Make:
        """Override this: a callable that makes a new rule, as ``return MyRule`` or ``partial(MyRule, option=3)`` do."""
        msg = "Override the fixture `make_rule` to return a callable that makes your rule."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_rule: Make) -> Make:
        """For the checks of all kits."""
        return make_rule

    def series(self, quality: float) -> list[float]:
        """Twelve reports of a trial, of the first kind of evidence that the rule takes."""
        return _MAKERS[self.evidence[0]](quality)

    def study(self, series: Sequence[Sequence[float]], outcomes: Sequence[Any], **options: Any) -> History:
        """A study whose trials reported these series and ended like this."""
        spots = examples.points(examples.FLOATS, len(series))
        told: dict[str, Any] = {"steps": _STEPS, "resumable": True, "evidence": self.evidence[0], **options}
        return make_history(
            examples.FLOATS, list(zip(spots, outcomes, strict=True)), reports=dict(enumerate(series)), **told
        )

    def with_running(self, complete: Sequence[Sequence[float]], now: Sequence[float], **options: Any) -> History:
        """A study of complete trials and one that runs and has reported so far."""
        mean = options.get("evidence", self.evidence[0]) == "folds"
        sign = -1.0 if options.get("directions") == ["maximize"] else 1.0
        values = [sum(series) / len(series) if mean else series[-1] for series in complete]
        signed = [[sign * value for value in series] for series in [*complete, now]]
        return self.study(signed, [*(sign * value for value in values), None], **options)

    def histories(self, **options: Any) -> Iterator[History]:
        """Studies of both kinds of evidence in which good, middling and bad trials run, and one whose trials pause."""
        for evidence in self.evidence:
            make = _MAKERS[evidence]
            complete = [make(0.1 * (number * 7 % 10)) for number in range(10)]
            for quality in (0.0, 0.45, 3.0):
                for steps in (1, 3, 4, 9, 11):
                    yield self.with_running(complete, make(quality)[:steps], evidence=evidence, **options)
        yield self.paused(**options)

    def paused(self, **options: Any) -> History:
        """A study of nine trials that paused at their first step."""
        sign = -1.0 if options.get("directions") == ["maximize"] else 1.0
        series = [[sign * value for value in self.series(0.1 * (n * 4 % 9))[:1]] for n in range(9)]
        return self.study(series, [Pause("wait")] * 9, **options)

    def start_again(self, history: History, number: int) -> None:
        """Take a paused trial up again."""
        trial = history.trials[number]
        record = events.started(1e3 + history.position, number, trial.params, "w", trial.attempt + 1, history.position)
        history.apply(record)
