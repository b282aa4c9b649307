"""The base of the kit for stopping rules: the histories, and calling all methods of a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hpt_core.components import Pause, Stop
from hpt_core.history import events
from hpt_core.testing import examples
from hpt_core.testing.component import ComponentKit
from hpt_core.testing.histories import make_history

if TYPE_CHECKING:
    from hpt_core.history.history import History

__all__ = ["Make", "StoppingBase", "called", "decisions", "judged", "kind_of", "learning_curve", "promoted", "retired"]

Make = Callable[[], Any]

_STEPS = 12


def learning_curve(quality: float) -> list[float]:
    """A curve of twelve losses that falls towards ``quality``; curves of different qualities never cross."""
    return [quality + (1.0 + quality) / (step + 1) for step in range(1, _STEPS + 1)]


def folds(quality: float) -> list[float]:
    """Losses on twelve folds. Two qualities differ by nearly the same amount on each fold."""
    return [quality + 0.1 * (step % 3) + 0.001 * quality * step for step in range(_STEPS)]


_MAKERS = {"curve": learning_curve, "folds": folds}


def called(rule: Any, method: str, *arguments: Any) -> Any:
    """Call a method of a rule; None if the rule does not have that optional method."""
    function = getattr(rule, method, None)
    return None if function is None else function(*arguments)


def promoted(rule: Any, history: History) -> Any:
    """The trial that a rule promotes."""
    return called(rule, "promote", history)


def retired(rule: Any, history: History) -> dict[Any, Any]:
    """The paused trials that a rule retires, each with its decision."""
    return dict(called(rule, "retire", history) or {})


def judged(rule: Any, history: History) -> Iterator[tuple[tuple[type, ...], Any]]:
    """The decisions on the running trials and on the study, each with the allowed types."""
    for trial in list(history.trials):
        if trial.state == "running" and trial.reports:
            yield (Stop, Pause), called(rule, "judge_trial", history, trial)
    yield (Stop,), called(rule, "judge_study", history)


def kind_of(decision: Any) -> str:
    """The kind of a decision, for comparison; reasons and evidence contain numbers that may differ."""
    return type(decision).__name__


def decisions(rule: Any, history: History) -> list[str]:
    """All decisions of a rule on a history, as text; empty if the rule lets everything continue."""
    found = [kind_of(decision) for _, decision in judged(rule, history) if decision is not None]
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
        """Override this to return a callable that makes a new rule, as ``MyRule`` or ``partial(MyRule, option=3)``."""
        msg = "Override the fixture `make_rule` to return a callable that makes your rule."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_rule: Make) -> Make:
        """Used by the checks that all kits share."""
        return make_rule

    def series(self, quality: float) -> list[float]:
        """Twelve reports of a trial, of the first kind of evidence that the rule supports."""
        return _MAKERS[self.evidence[0]](quality)

    def study(self, series: Sequence[Sequence[float]], outcomes: Sequence[Any], **options: Any) -> History:
        """A study whose trials have these reports and outcomes."""
        spots = examples.points(examples.FLOATS, len(series))
        settings: dict[str, Any] = {"steps": _STEPS, "resumable": True, "evidence": self.evidence[0], **options}
        return make_history(
            examples.FLOATS, list(zip(spots, outcomes, strict=True)), reports=dict(enumerate(series)), **settings
        )

    def with_running(self, complete: Sequence[Sequence[float]], now: Sequence[float], **options: Any) -> History:
        """A study of complete trials and one running trial with the reports ``now``."""
        mean = options.get("evidence", self.evidence[0]) == "folds"
        sign = -1.0 if options.get("directions") == ["maximize"] else 1.0
        values = [sum(series) / len(series) if mean else series[-1] for series in complete]
        signed = [[sign * value for value in series] for series in [*complete, now]]
        return self.study(signed, [*(sign * value for value in values), None], **options)

    def histories(self, **options: Any) -> Iterator[History]:
        """Studies of each supported evidence with a good, medium or bad running trial, and two of paused trials."""
        for evidence in self.evidence:
            make = _MAKERS[evidence]
            complete = [make(0.1 * (number * 7 % 10)) for number in range(10)]
            for quality in (0.0, 0.45, 3.0):
                for steps in (1, 3, 4, 9, 11):
                    yield self.with_running(complete, make(quality)[:steps], evidence=evidence, **options)
        yield self.paused(1, **options)
        yield self.paused(3, **options)

    def paused(self, steps: int = 1, **options: Any) -> History:
        """A study of nine trials that are paused after this many steps."""
        sign = -1.0 if options.get("directions") == ["maximize"] else 1.0
        series = [[sign * value for value in self.series(0.1 * (n * 4 % 9))[:steps]] for n in range(9)]
        return self.study(series, [Pause("wait")] * 9, **options)

    def start_again(self, history: History, number: int) -> None:
        """Resume a paused trial."""
        trial = history.trials[number]
        record = events.started(1e3 + history.position, number, trial.params, "w", trial.attempt + 1, history.position)
        history.apply(record)
