"""The part of the kit for stopping rules that asks whether decisions are a pure function of the evidence."""

from __future__ import annotations

from typing import Any

import pytest

from hpt_core import events
from hpt_core.components import Stop
from hpt_core.history import History
from hpt_core.testing import examples
from hpt_core.testing.checks import another_day, check, drawn_from, global_state, pinned
from hpt_core.testing.histories import make_records
from hpt_core.testing.stopping_base import Make, StoppingBase, decisions, judged, named, said

__all__ = ["StoppingPurityKit"]

_QUALITIES = (*(0.1 * number - 0.05 for number in range(12)), 3.0)


class StoppingPurityKit(StoppingBase):
    """Inherit `StoppingRuleKit` instead."""

    @check
    def test_ignores_the_clock(self, make_rule: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """It decides the same at any time of day.

        Why: decisions are taken again from the log, on resume and by `hpt verify`. What time has passed is in
            ``history.elapsed``.
        """
        now = [decisions(make_rule(), history) for history in self.histories()]
        another_day(monkeypatch)
        assert [decisions(make_rule(), history) for history in self.histories()] == now, "a day later it differs"

    @check
    def test_ignores_durations(self, make_rule: Make) -> None:
        """It decides the same however long trials took.

        Why: a slower machine, or two trials at once, would otherwise make another study. A rule that is about time
            says so: ``timed = True``.
        """
        if self.timed:
            pytest.skip("this rule says that it is about time")
        for history, slow in zip(self.histories(), self.histories(), strict=True):
            for trial in slow.trials:
                trial.started = (trial.started or 0.0) * 50 + trial.number**2
                trial.ended = None if trial.ended is None else trial.ended * 90
            slow.clock = 1e6
            assert decisions(make_rule(), history) == decisions(make_rule(), slow), "on a slow machine it differs"

    @check
    def test_ignores_the_order_of_other_trials(self, make_rule: Make) -> None:
        """Its judgement of a trial is the same in whatever order the other trials came.

        Why: with several workers their order is a matter of chance. A rule for which it matters says so:
            ``ordered = True``.
        """
        if self.ordered:
            pytest.skip("this rule says that the order matters")
        rule: Any = make_rule()
        curves = [self.series(0.1 * number) for number in range(10)]
        orders = [curves, curves[::-1], curves[5:] + curves[:5], curves[::2] + curves[1::2]]
        for quality in _QUALITIES:
            for steps in (1, 3, 9):
                now = self.series(quality)[:steps]
                histories = [self.with_running(order, now) for order in orders]
                found = {said(named(rule, "judge_trial", history, history.trials[-1])) for history in histories}
                assert len(found) == 1, f"quality {quality}, step {steps}: {', '.join(sorted(found))}"

    @check
    def test_asking_again_changes_nothing(self, make_rule: Make) -> None:
        """Asked twice about the same history, it answers the same.

        Why: it is asked again after a crash between the answer and its record, by `hpt verify`, and by rules that
            are made of rules.
        """
        rule = make_rule()
        for history in self.histories():
            assert decisions(rule, history) == decisions(rule, history)

    @check
    def test_goes_on_the_same_after_a_resume(self, make_rule: Make) -> None:
        """A new rule on the history so far decides what one decides that was there from the beginning.

        Why: a killed and resumed study must continue as if it had never stopped; each worker has its own rule.
        """
        rule, history = make_rule(), History()
        for record in _log(self):
            history.apply(record)
            if history.exists and record["event"] in ("reported", "finished"):
                assert decisions(rule, history) == decisions(make_rule(), history), f"at position {history.position}"

    @check
    def test_follows_what_is_taken_back(self, make_rule: Make) -> None:
        """When trials are declared invalid, it decides as if it had never seen their results.

        Why: a median that still holds wrong results goes on to stop right trials.
        """
        for quality in _QUALITIES:
            curves = [self.series(0.1 * number) for number in range(10)]
            history = self.with_running(curves, self.series(quality)[:9])
            rule = make_rule()
            decisions(rule, history)
            for number in range(5):
                history.apply(events.invalidated(1e3, number, "wrong data"))
            decided = decisions(make_rule(), history)
            assert decisions(rule, history) == decided, "it remembers invalid results"
            curves[:5] = [self.series(50.0 + number) for number in range(5)]
            other = self.with_running(curves, self.series(quality)[:9])
            for number in range(5):
                other.apply(events.invalidated(1e3, number, "wrong data"))
            assert decisions(make_rule(), other) == decided, "it decides by invalid results"

    @check
    def test_keeps_studies_apart(self, make_rule: Make) -> None:
        """What it saw of one study changes nothing in another.

        Why: one rule object may serve several studies of a program.
        """
        rule = make_rule()
        decisions(rule, self.with_running([self.series(5.0)[:6]] * 12, self.series(9.0)[:4], steps=6))
        for history in self.histories():
            assert decisions(rule, history) == decisions(make_rule(), history), "it remembers the other study"

    @check
    def test_uses_no_global_randomness(self, make_rule: Make) -> None:
        """It draws nothing from `random` and `numpy.random`.

        Why: a decision is a function of the evidence; chance has no place in it, and the user's code seeds those.
        """
        for history in self.histories():
            with pinned():
                before = global_state()
                decisions(make_rule(), history)
                module = drawn_from(before)
                assert not module, f"the state of `{module}` has changed"

    @check
    def test_leaves_the_history_alone(self, make_rule: Make) -> None:
        """The history is the same after it was asked as before.

        Why: the sampler, the other rules and the user's program look at the very same objects.
        """
        for history in self.histories():
            before = examples.snapshot(history)
            decisions(make_rule(), history)
            assert examples.snapshot(history) == before, "something in it was changed"

    @check
    def test_minimizes_and_maximizes_alike(self, make_rule: Make) -> None:
        """It decides the same where the negative of a value is maximised as where the value is minimised.

        Why: the user's sign is handled once, in ``history.losses`` and ``history.curve``. A rule with options in the
            user's sign says so: ``in_users_sign = True``.
        """
        if self.in_users_sign:
            pytest.skip("this rule says that it has options in the user's sign")
        up = self.histories(directions=["maximize"])
        for history, mirrored in zip(self.histories(), up, strict=True):
            assert decisions(make_rule(), history) == decisions(make_rule(), mirrored)
            given, turned = (_values(make_rule(), study) for study in (history, mirrored))
            assert given == [-value for value in turned], "the value of a stopped trial is not in the user's sign"


def _values(rule: Any, history: History) -> list[float]:
    """The values that it gives to trials that it stops."""
    stops = [decision for _, decision in judged(rule, history) if isinstance(decision, Stop)]
    return [float(stop.value) for stop in stops if stop.value is not None]


def _log(kit: StoppingBase) -> list[events.Record]:
    """The log of a study of 14 trials, good and bad ones by turns, the last of which runs."""
    curves = [kit.series(0.1 * (number * 7 % 10) + number % 2) for number in range(14)]
    spots = examples.points(examples.FLOATS, len(curves))
    outcomes = [*(curve[-1] for curve in curves[:-1]), None]
    trials = list(zip(spots, outcomes, strict=True))
    return make_records(
        examples.FLOATS, trials, reports=dict(enumerate(curves)), steps=12, resumable=True, evidence=kit.evidence[0]
    )
