"""The part of the kit for stopping rules that checks whether decisions are a pure function of the evidence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from hpt_core.components import Stop
from hpt_core.history import events
from hpt_core.history.history import History
from hpt_core.history.trial import Trial
from hpt_core.testing import examples
from hpt_core.testing.checks import another_day, check, drawn_from, global_state, pinned
from hpt_core.testing.component import pickled
from hpt_core.testing.histories import make_records
from hpt_core.testing.processes import in_new_process
from hpt_core.testing.stopping_base import Make, StoppingBase, called, decisions, judged, kind_of

__all__ = ["StoppingPurityKit"]

_INTERRUPTED = frozenset({1, 2, 3, 5, 8, 13, 21, 34, 55, 89})
_QUALITIES = (*(0.1 * number - 0.05 for number in range(12)), 3.0)


class StoppingPurityKit(StoppingBase):
    """Inherit `StoppingRuleKit` instead."""

    @check
    def test_ignores_the_clock(self, make_rule: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Decisions do not depend on the time of day.

        Why: decisions are recomputed from the log, on resume and by `hpt verify`. The elapsed time is in
            ``history.elapsed``.
        """
        now = [decisions(make_rule(), history) for history in self.histories()]
        another_day(monkeypatch, make_rule())
        assert [decisions(make_rule(), history) for history in self.histories()] == now, (
            "a day later the decisions are different"
        )

    @check
    def test_ignores_durations(self, make_rule: Make) -> None:
        """Decisions do not depend on how long trials took.

        Why: otherwise a slower machine, or two trials at the same time, make another study. A rule about time declares
            ``timed = True``.
        """
        if self.timed:
            pytest.skip("this rule declares timed = True")
        for history, slow in zip(self.histories(), self.histories(), strict=True):
            for trial in slow.trials:
                trial.started = (trial.started or 0.0) * 50 + trial.number**2
                trial.ended = None if trial.ended is None else trial.ended * 90
            slow.clock = 1e6
            assert decisions(make_rule(), history) == decisions(make_rule(), slow), (
                "on a slow machine the decisions are different"
            )

    @check
    def test_ignores_the_order_of_other_trials(self, make_rule: Make) -> None:
        """The decision on a trial does not depend on the order of the other trials.

        Why: with several workers their order is random. A rule for which the order matters declares
            ``ordered = True``.
        """
        if self.ordered:
            pytest.skip("this rule declares ordered = True")
        rule: Any = make_rule()
        curves = [self.series(0.1 * number) for number in range(10)]
        orders = [curves, curves[::-1], curves[5:] + curves[:5], curves[::2] + curves[1::2]]
        for quality in _QUALITIES:
            for steps in (1, 3, 9):
                now = self.series(quality)[:steps]
                histories = [self.with_running(order, now) for order in orders]
                found = {kind_of(called(rule, "judge_trial", history, history.trials[-1])) for history in histories}
                assert len(found) == 1, f"quality {quality}, step {steps}: {' or '.join(sorted(found))}"

    @check
    def test_asking_again_changes_nothing(self, make_rule: Make) -> None:
        """Two calls with the same history give the same decisions.

        Why: a rule is asked again after a crash before its decision was recorded, by `hpt verify`, and by rules that
            combine rules.
        """
        rule = make_rule()
        for history in self.histories():
            first, second = decisions(rule, history), decisions(rule, history)
            assert first == second, f"first {first}, then {second}"

    @check
    def test_goes_on_the_same_after_a_resume(self, make_rule: Make) -> None:
        """A new rule makes the same decisions as one that has followed the study from the beginning.

        Why: a killed and resumed study must continue as if it had never stopped, and each worker has its own rule.
        """
        rule, history = make_rule(), History()
        for record in _log(self):
            history.apply(record)
            if history.exists and record["event"] in ("reported", "finished"):
                assert decisions(rule, history) == decisions(make_rule(), history), (
                    f"they differ at position {history.position}"
                )

    @check
    def test_decides_the_same_in_another_process(self, make_rule: Make) -> None:
        """A copy of the rule in another process makes the same decisions.

        Why: a study is resumed by another process, and each worker is one. There, strings have other hashes, so a set
            of strings has another order, and what the module remembers is gone.
        """
        histories = list(self.histories())
        # the module remembers what it saw first, so the other order brings it to light
        there = in_new_process(_separate_decisions, make_rule(), histories[::-1])[::-1]
        here = _separate_decisions(make_rule(), histories)
        for found, expected in zip(there, here, strict=True):
            assert found == expected, f"here {expected}, in another process {found}"

    @check
    def test_follows_what_is_taken_back(self, make_rule: Make) -> None:
        """The results of invalidated trials have no influence on decisions.

        Why: a median that still contains wrong results stops good trials.
        """
        for quality in _QUALITIES:
            curves = [self.series(0.1 * number) for number in range(10)]
            history = self.with_running(curves, self.series(quality)[:9])
            rule = make_rule()
            decisions(rule, history)
            for number in range(5):
                history.apply(events.invalidated(1e3, number, "wrong data"))
            decided = decisions(make_rule(), history)
            assert decisions(rule, history) == decided, "the rule remembers invalid results"
            curves[:5] = [self.series(50.0 + number) for number in range(5)]
            other = self.with_running(curves, self.series(quality)[:9])
            for number in range(5):
                other.apply(events.invalidated(1e3, number, "wrong data"))
            assert decisions(make_rule(), other) == decided, "the rule uses invalid results"

    @check
    def test_keeps_studies_apart(self, make_rule: Make) -> None:
        """What a rule saw of one study does not influence another study.

        Why: one rule object may serve several studies of a program.
        """
        rule = make_rule()
        decisions(rule, self.with_running([self.series(5.0)[:6]] * 12, self.series(9.0)[:4], steps=6))
        for history in self.histories():
            assert decisions(rule, history) == decisions(make_rule(), history), "the rule remembers the other study"

    @check
    def test_serves_studies_in_two_threads(self, make_rule: Make) -> None:
        """A study in another thread that uses the same rule meanwhile does not influence its decisions.

        Why: one rule object may serve several studies of a program. A cache that they share is kept apart by
            `threading.local`.
        """
        other = self.with_running([self.series(20.0 - number) for number in range(12)], self.series(9.0)[:4])
        for history in self.histories():
            expected, rule = decisions(make_rule(), history), make_rule()
            history.trials = _Interrupting(history.trials, partial(decisions, rule, other))
            assert decisions(rule, history) == expected, "the rule mixes up the studies of two threads"

    @check
    def test_uses_no_global_randomness(self, make_rule: Make) -> None:
        """The rule does not use the global generators of `random` and `numpy.random`.

        Why: a decision is a function of the evidence and not of chance, and the user's code seeds those generators.
        """
        for history in self.histories():
            with pinned():
                before = global_state()
                decisions(make_rule(), history)
                module = drawn_from(before)
                assert not module, f"the rule changed the state of `{module}`"

    @check
    def test_leaves_the_history_alone(self, make_rule: Make) -> None:
        """A decision leaves the history unchanged.

        Why: the sampler, the other rules and the user's program use the same objects.
        """
        for history in self.histories():
            before = examples.snapshot(history)
            decisions(make_rule(), history)
            assert examples.snapshot(history) == before, "the rule changed the history"

    @check
    def test_minimizes_and_maximizes_alike(self, make_rule: Make) -> None:
        """Maximizing the negative of a value gives the same decisions as minimizing the value.

        Why: the direction is handled in one place, ``history.losses`` and ``history.curve``. A rule with options in
            the user's sign declares ``in_users_sign = True``.
        """
        if self.in_users_sign:
            pytest.skip("this rule declares in_users_sign = True")
        up = self.histories(directions=["maximize"])
        for history, mirrored in zip(self.histories(), up, strict=True):
            minimized, maximized = decisions(make_rule(), history), decisions(make_rule(), mirrored)
            assert minimized == maximized, f"minimizing: {minimized}, maximizing: {maximized}"
            given, turned = (_values(make_rule(), study) for study in (history, mirrored))
            assert given == [-value for value in turned], "the value of a Stop is not in the user's sign"


class _Interrupting(list[Trial]):
    """Trials of which some look-ups let another thread act."""

    def __init__(self, trials: Sequence[Trial], act: Callable[[], object]) -> None:
        super().__init__(trials)
        self._act, self._lookups = act, 0

    def __getitem__(self, key: Any) -> Any:
        self._lookups += 1
        if self._lookups in _INTERRUPTED:
            thread = threading.Thread(target=self._act)
            thread.start()
            thread.join()
        return super().__getitem__(key)


def _separate_decisions(rule: Any, histories: Sequence[History]) -> list[list[str]]:
    """The decisions of separate copies of a rule, one for each history."""
    return [decisions(pickled(rule), history) for history in histories]


def _values(rule: Any, history: History) -> list[float]:
    """The values of the rule's `Stop` decisions."""
    stops = [decision for _, decision in judged(rule, history) if isinstance(decision, Stop)]
    return [float(stop.value) for stop in stops if stop.value is not None]


def _log(kit: StoppingBase) -> list[events.Record]:
    """The log of a study of 14 trials, good and bad ones in turn; the last one is running."""
    curves = [kit.series(0.1 * (number * 7 % 10) + number % 2) for number in range(14)]
    spots = examples.points(examples.FLOATS, len(curves))
    outcomes = [*(curve[-1] for curve in curves[:-1]), None]
    trials = list(zip(spots, outcomes, strict=True))
    return make_records(
        examples.FLOATS, trials, reports=dict(enumerate(curves)), steps=12, resumable=True, evidence=kit.evidence[0]
    )
