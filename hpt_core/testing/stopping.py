"""The conformance kit for stopping rules."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core.components import Pause, Stop
from hpt_core.errors import PluginError, UsageError
from hpt_core.history.trial import Failure, Report, State
from hpt_core.loop.notes import plain
from hpt_core.testing import examples
from hpt_core.testing.checks import check
from hpt_core.testing.histories import make_history
from hpt_core.testing.stopping_base import (
    Make,
    StoppingBase,
    called,
    decisions,
    judged,
    learning_curve,
    promoted,
    retired,
)
from hpt_core.testing.stopping_purity import StoppingPurityKit

if TYPE_CHECKING:
    from hpt_core.history.history import History

__all__ = ["StoppingRuleKit"]


class StoppingRuleKit(StoppingPurityKit, StoppingBase):
    """The checks that every stopping rule must pass. Override `make_rule`.

    Attributes:
        acts: Whether the rule acts on any of the kit's histories. False for a rule that needs other histories.
        timed: Whether decisions depend on how long something took, by the times in the log.
        ordered: Whether the decision on a trial depends on the order of the other trials.
        in_users_sign: Whether the rule has options in the user's sign (a target, a limit), so that the mirrored study
            needs other values of them.
        evidence: The supported kinds of evidence: ``"curve"``, ``"folds"`` or both.
        compares: Whether the rule compares a trial with others. A rule that considers that trial alone may stop it even
            if all trials are equal.
    """

    # --- the decision -----------------------------------------------------------------------------------

    @check
    def test_acts(self, make_rule: Make) -> None:
        """The rule stops, pauses, promotes or retires something in at least one of the kit's histories.

        Why: a rule that never acts passes every other check and is of no use. Choose options with which it acts on ten
            complete trials of twelve steps, some of them very bad.
        """
        if not self.acts:
            pytest.skip("this rule declares acts = False")
        rule = make_rule()
        acted = any(decisions(rule, history) for history in self.histories())
        assert acted, "the rule let everything continue in every history of the kit"

    @check
    def test_decisions_have_reasons(self, make_rule: Make) -> None:
        """A decision is a Stop or Pause with a reason of one sentence, or None; ``promote`` returns a number or None.

        Why: users ask why their trial was stopped. The reason is in the log, in `hpt trials` and in the dashboard.
        """
        rule: Any = make_rule()
        for history in self.histories():
            for kinds, decision in judged(rule, history):
                assert decision is None or type(decision) in kinds, f"the rule returned {decision!r}"
                if decision is not None:
                    assert isinstance(decision.reason, str), f"the reason is {decision.reason!r}"
                    assert decision.reason.strip(), "the reason is empty"
            number = promoted(rule, history)
            assert number is None or type(number) is int, f"promote() returned {number!r}"

    @check
    def test_evidence_is_plain_data(self, make_rule: Make) -> None:
        """The evidence of a decision is JSON-shaped and finite, and its value is a finite float or None.

        Why: they are written to the log, and `hpt verify` compares them.
        """
        for history in self.histories():
            for _, decision in judged(make_rule(), history):
                if isinstance(decision, (Stop, Pause)):
                    evidence = decision.evidence
                    restored = json.loads(json.dumps(evidence, allow_nan=False))
                    assert restored == evidence, f"the evidence {evidence} is read back as {restored}"
                    value = getattr(decision, "value", None)
                    assert value is None or (type(value) is float and math.isfinite(value)), f"the value is {value!r}"

    @check
    def test_equals_are_not_stopped(self, make_rule: Make) -> None:
        """A trial whose evidence equals that of all others is not stopped.

        Why: ties are common (accuracies, constant models). A rule that stops ties stops every trial but the first.
        """
        if not self.compares:
            pytest.skip("this rule declares compares = False")
        rule: Any = make_rule()
        known = {"curve": [1 / step for step in range(1, 13)], "folds": [0.5, 0.7, 0.6] * 4}
        for evidence, series in ((evidence, known[evidence]) for evidence in self.evidence):
            for steps in (1, 3, 6, 11):
                history = self.with_running([series] * 10, series[:steps], evidence=evidence)
                decision = called(rule, "judge_trial", history, history.trials[-1])
                assert not isinstance(decision, Stop), f"{evidence}, step {steps}: the rule returned {decision}"

    # --- the variety of studies -------------------------------------------------------------------------

    @check
    def test_takes_a_young_study(self, make_rule: Make) -> None:
        """The rule handles a study without trials, and a study with running trials only.

        Why: every study begins like this.
        """
        for running in (0, 1, 6):
            reports = {number: self.series(0.5)[: 1 + number] for number in range(running)}
            spots = examples.points(examples.FLOATS, running)
            history = make_history(examples.FLOATS, running=spots, reports=reports, steps=12, evidence=self.evidence[0])
            decisions(make_rule(), history)

    @check
    def test_survives_failures(self, make_rule: Make) -> None:
        """The rule handles failed trials, with and without reports, also if there are no others.

        Why: failed trials have no value, but they may have reports.
        """
        failures = [Failure("error", "it failed"), Failure("timeout", "too late"), Failure("worker-lost", "gone")]
        curves = [self.series(0.1 * number)[: number % 4] for number in range(9)]
        for share in (1, 2):
            outcomes = [failures[i % 3] if i % share == 0 else 0.1 * i for i in range(9)]
            decisions(make_rule(), self.study([*curves, self.series(0.9)[:5]], [*outcomes, None]))

    @check
    def test_takes_trials_without_reports(self, make_rule: Make) -> None:
        """The rule handles complete trials without reports.

        Why: an evaluator may just return a value, and results of earlier experiments that were added to a study have no
            curve.
        """
        curves = [self.series(0.1 * n) if n % 2 else [] for n in range(10)]
        decisions(make_rule(), self.study([*curves, self.series(0.9)[:6]], [*(0.1 * n for n in range(10)), None]))

    @check
    def test_takes_any_end(self, make_rule: Make) -> None:
        """The rule handles stopped trials (with and without a value), paused trials, and an unknown number of steps.

        Why: it may be one of several rules, and an evaluator need not declare its number of steps.
        """
        outcomes = [0.4, Stop("bad", value=0.9), Pause("wait"), Stop("bad"), 0.2, Pause("wait"), 0.8, 0.7, None]
        curves = [self.series(0.1 * n)[: 3 + n] for n in range(len(outcomes))]
        with contextlib.suppress(PluginError, UsageError):  # the rule may require a known number of steps
            decisions(make_rule(), self.study(curves, outcomes, steps=None))
        decisions(make_rule(), self.study(curves, outcomes))

    @check
    def test_takes_reports_with_gaps(self, make_rule: Make) -> None:
        """The rule handles trials that report only every second or third step, and not all at the same steps.

        Why: an evaluator may validate every few epochs only. The number of a trial's reports is not its step.
        """
        if "curve" not in self.evidence:
            pytest.skip("this rule supports folds only, which have no gaps")
        every: list[Any] = [
            [Report(n, learning_curve(0.1 * i)[n - 1]) for n in range(1 + i % 2, 13, 2 + i % 2)] for i in range(10)
        ]
        for quality in (0.0, 3.0):
            now: Any = [Report(step, learning_curve(quality)[step - 1]) for step in (4, 6, 11)]
            outcomes = [*(reports[-1].value for reports in every), None]
            decisions(make_rule(), self.study([*every, now], outcomes, evidence="curve"))

    @check
    def test_sums_up_with_plain_data(self, make_rule: Make) -> None:
        """The optional ``summary`` returns a mapping of plain data or None, also for a study without trials.

        Why: `hpt show` prints it while the study is running.
        """
        rule: Any = make_rule()
        young = self.study([], [])
        for history in (young, *self.histories()):
            content = called(rule, "summary", history)
            assert content is None or isinstance(content, Mapping), f"summary() returned {content!r:.80}"
            plain(content or {})

    @check
    def test_takes_several_objectives(self, make_rule: Make) -> None:
        """The rule handles a study with two objectives.

        Why: its trials have two values, and their reports have the first one.
        """
        outcomes: list[Any] = [(0.1 * n, 1.0 - 0.1 * n) for n in range(10)]
        curves = [self.series(0.1 * n) for n in range(10)]
        history = self.study([*curves, self.series(0.9)[:6]], [*outcomes, None], directions=["minimize", "maximize"])
        decisions(make_rule(), history)

    @check
    def test_takes_thousands_of_trials(self, make_rule: Make) -> None:
        """The rule still decides after 2,000 trials.

        Why: cheap evaluations make long studies, and the rule is called at every report.
        """
        curves = [self.series((number * 37 % 100) / 100)[:3] for number in range(2000)]
        history = self.study([*curves, self.series(0.9)[:2]], [*(curve[-1] for curve in curves), None], steps=3)
        decisions(make_rule(), history)

    # --- promotion --------------------------------------------------------------------------------------

    @check
    def test_promotes_paused_trials_only(self, make_rule: Make) -> None:
        """``promote`` returns the number of a paused trial, or None.

        Why: the core rejects any other trial with an error that ends the run.
        """
        for history in self._half_finished():
            number = promoted(make_rule(), history)
            assert number is None or history.trials[number].state is State.PAUSED, (
                f"it promotes trial {number}, which is not paused"
            )

    @check
    def test_retires_paused_trials_only(self, make_rule: Make) -> None:
        """The optional ``retire`` maps numbers of paused trials to a `Stop` with a reason.

        Why: the core rejects anything else with an error that ends the run.
        """
        for history in self._half_finished():
            for number, decision in retired(make_rule(), history).items():
                assert type(number) is int, f"retire() returned the key {number!r}"
                assert history.trials[number].state is State.PAUSED, f"it retires trial {number}, which is not paused"
                assert isinstance(decision, Stop), f"it retires trial {number} with {decision!r}"
                assert decision.reason.strip(), f"it retires trial {number} without a reason"

    def _half_finished(self) -> Iterator[History]:
        """Two studies with every second trial complete; the others are paused in one study and stopped in the other."""
        curves = [self.series(0.1 * n)[: 12 if n % 2 else 3] for n in range(9)]
        for early in (Pause("wait"), Stop("bad")):
            yield self.study(curves, [curve[-1] if n % 2 else early for n, curve in enumerate(curves)])

    @check
    def test_promotes_a_trial_once(self, make_rule: Make) -> None:
        """A promoted trial that is running again is not promoted a second time.

        Why: the next worker must get another trial.
        """
        rule: Any = make_rule()
        for history in (self.paused(1), self.paused(3)):
            for _ in range(9):
                number = promoted(rule, history)
                if number is None:
                    break
                running = history.trials[number].state is State.RUNNING
                assert not running, f"it promotes trial {number}, which is running"
                self.start_again(history, number)

    @check
    def test_pauses_only_what_can_go_on(self, make_rule: Make) -> None:
        """If the evaluator is not resumable, the rule pauses no trial.

        Why: such a trial starts from the beginning when it is resumed, repeats its first steps and is paused again,
            forever.
        """
        for history in self.histories(resumable=False):
            paused = any(type(decision) is Pause for _, decision in judged(make_rule(), history))
            assert not paused, "it pauses a trial of an evaluator that is not resumable"

    @check
    def test_lets_trials_end(self, make_rule: Make) -> None:
        """In a study of 27 trials at least one is completed, unless the rule ends the study.

        Why: a study in which every trial is stopped or paused has no result.
        """
        from hpt_core.study.study import Study

        rule = make_rule()
        evaluator = {"use": "function", "call": _trained, "steps": 9, "resumable": True, "evidence": self.evidence[0]}
        study = Study(examples.FLOATS, sampler=_Uniform(), evaluator=evaluator, stop=[rule], seed=0)
        study.run(trials=27)
        ended_by_rule = study.history.stop is not None and study.history.stop["rule"] not in ("budget", "space")
        assert ended_by_rule or len(study.history.complete), f"none of {study.history.next_number} trials is complete"


class _Uniform:
    """Suggests random configurations."""

    def suggest(self, history: History, rng: Any) -> Any:
        return history.space.sample(rng)


def _trained(params: dict[str, Any], trial: Any) -> Iterator[float]:
    curve = learning_curve(examples.loss(examples.FLOATS, params))
    yield from curve[trial.resume_step : 9]
