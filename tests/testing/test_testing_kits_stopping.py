"""The kit for stopping rules: a correct rule passes, and each check is the only one that rejects some wrong rule."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.random import default_rng

from hpt_core import History, Pause, State, Stop, Trial, option
from hpt_core.testing import StoppingRuleKit
from hpt_core.testing.checks import broken_rules

KIT = StoppingRuleKit
START = time.time()


@attrs.define(kw_only=True)
class Honest:
    """Stops the worst fifth, and promotes the best of the paused trials."""

    share: float = option(0.8, gt=0, lt=1, help="The share of trials that may go on.")

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        curve = history.curve(trial)
        steps = [step for step, _ in curve]
        others = [self.level(history, other, steps) for other in self.complete(history)]
        known = sorted(level for level in others if level is not None)
        if len(known) < 4:
            return None
        limit, mine = known[int(self.share * len(known))], self.level(history, trial, steps)
        assert mine is not None
        return self.stop(limit, mine) if self.worse(mine, limit) else None

    def complete(self, history: History) -> list[Trial]:
        return [history.trials[number] for number in history.complete]

    def worse(self, mine: float, limit: float) -> bool:
        return mine > limit

    def stop(self, limit: float, mine: float) -> Stop:
        return Stop(f"{mine:g} is worse than {limit:g}", {"limit": limit})

    def level(self, history: History, trial: Trial, steps: list[int]) -> float | None:
        curve = dict(history.curve(trial))
        if not all(step in curve for step in steps):
            return None
        return float(np.mean([curve[step] for step in steps])) if history.evidence == "folds" else curve[steps[-1]]

    def promote(self, history: History) -> int | None:
        found = self.waiting(history)
        return min(found, key=lambda t: (history.curve(t)[-1][1], t.number)).number if found else None

    def waiting(self, history: History) -> list[Trial]:
        return [trial for trial in history.trials if trial.state is State.PAUSED and trial.reports]


class NeverActs(Honest):
    """Compares in the wrong direction, so that it never acts."""

    def worse(self, mine: float, limit: float) -> bool:
        return mine > limit + 1e9

    def promote(self, history: History) -> int | None:
        return None


class GivesNoReason(Honest):
    """Stops without a reason."""

    def stop(self, limit: float, mine: float) -> Stop:
        return Stop("", {"limit": limit})


class NumpyEvidence(Honest):
    """Returns an array as evidence."""

    def stop(self, limit: float, mine: float) -> Stop:
        return Stop("too bad", {"limits": np.array([limit])})


class StopsTies(Honest):
    """Stops trials that are worse than the limit or equal to it."""

    def worse(self, mine: float, limit: float) -> bool:
        return mine >= limit


class NeedsAnEnd(Honest):
    """Computes the mean of the ended trials as soon as there are five trials."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        if len(history.trials) >= 5 and len(history.pending) == len(history.trials):
            raise ZeroDivisionError("division by zero")
        return super().judge_trial(history, trial)


class ReadsFailedValues(Honest):
    """Reads the value of every trial that has ended, including failed ones."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        sorted(t.values[0] for t in history.trials if t.finished and t.state is not State.STOPPED)  # type: ignore[index]
        return super().judge_trial(history, trial)


class NeedsReports(Honest):
    """Reads the last report of every complete trial."""

    def complete(self, history: History) -> list[Trial]:
        return [trial for trial in super().complete(history) if trial.reports[-1].step]


class NeedsSteps(Honest):
    """Calculates with the number of steps, which may be unknown."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        half: Any = history.steps
        return super().judge_trial(history, trial) if half // 2 >= 0 else None


class OneObjective(Honest):
    """Converts the losses of a trial to a single number."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        for number in history.complete:
            history.losses[number].item()
        return super().judge_trial(history, trial)


class Recursive(Honest):
    """Iterates over the trials by recursion."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        def deep(count: int) -> int:
            return 1 + deep(count - 1) if count else 0

        deep(len(history.trials))
        return super().judge_trial(history, trial)


class PromotesStopped(Honest):
    """Treats a trial without a value as paused."""

    def waiting(self, history: History) -> list[Trial]:
        idle = [t for t in history.trials if t.state in (State.PAUSED, State.STOPPED)]
        return [trial for trial in idle if trial.value is None and trial.reports]


class RetiresStopped(Honest):
    """Also retires trials that were stopped without a value."""

    def retire(self, history: History) -> dict[int, Stop]:
        idle = [t for t in history.trials if t.state in (State.PAUSED, State.STOPPED) and t.value is None]
        return {trial.number: Stop("hopeless") for trial in idle if trial.number == 8}


class PromotesTwice(Honest):
    """Does not notice that the promoted trial is already running."""

    def waiting(self, history: History) -> list[Trial]:
        return [t for t in history.trials if t.state in (State.PAUSED, State.RUNNING) and len(t.reports) == 1]


class PausesForEver(Honest):
    """Pauses every trial at its first report and promotes none."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        return Pause("first rung") if history.resumable else None

    def promote(self, history: History) -> int | None:
        return None


class Clock(Honest):
    """Acts in its first hour only."""

    def worse(self, mine: float, limit: float) -> bool:
        return mine > limit and time.time() - START < 3600


class MindsDurations(Honest):
    """Stops nothing if trials are slow."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        slow = any((history.trials[number].duration or 0.0) > 300 for number in history.complete)
        return None if slow else super().judge_trial(history, trial)


class ComparesWithTheLast(Honest):
    """Compares with the last four complete trials only."""

    def complete(self, history: History) -> list[Trial]:
        return super().complete(history)[-4:]


class AnswersOnce(Honest):
    """Decides once on each report, and returns None when it is called again."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        asked = (history, history.position, trial.number)
        again = self.__dict__.get("asked", (None,))[0] is history and self.__dict__["asked"][1:] == asked[1:]
        self.__dict__["asked"] = asked
        return None if again else super().judge_trial(history, trial)


class CountsFromItsBirth(Honest):
    """Starts to act some time after it was created."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        births: list[tuple[History, int]] = self.__dict__.setdefault("births", [])
        if not any(known is history for known, _ in births):
            births.append((history, history.position))
        born = next(position for known, position in births if known is history)
        return None if history.position - born > 40 else super().judge_trial(history, trial)


class NeverForgets(Honest):
    """Keeps every complete trial that it ever saw in a study."""

    def complete(self, history: History) -> list[Trial]:
        memory: list[tuple[History, dict[int, Trial]]] = self.__dict__.setdefault("memory", [])
        if not any(known is history for known, _ in memory):
            memory.append((history, {}))
        trials = next(trials for known, trials in memory if known is history)
        trials |= {trial.number: trial for trial in super().complete(history)}
        return list(trials.values())


class OrdersASet(Honest):
    """Depends on the order of a set of strings."""

    # on the hash that orders it, as two processes may have the same order by chance

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.__dict__["hash"] = hash("x")

    def promote(self, history: History) -> int | None:
        found, pick = self.waiting(history), min if self.__dict__["hash"] == hash("x") else max
        return pick(found, key=lambda t: (history.curve(t)[-1][1], t.number)).number if found else None


class KeepsTheFirstSteps(Honest):
    """Remembers the number of steps of the first study, and acts up to that step."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        steps = self.__dict__.setdefault("steps", history.steps or 12)
        return super().judge_trial(history, trial) if trial.reports[-1].step <= steps else None


class CollectsInOneList(Honest):
    """Collects the complete trials in a list that all threads share."""

    def complete(self, history: History) -> list[Trial]:
        for number in history.complete:
            self.__dict__.setdefault("found", []).append(history.trials[number])
        found: list[Trial] = self.__dict__.pop("found", [])
        return found


class Draws(Honest):
    """Draws a number from the module `random`."""

    def worse(self, mine: float, limit: float) -> bool:
        return mine > limit + 1e-12 * random.random()


class WritesIntoTheHistory(Honest):
    """Marks the trials that it has used."""

    def complete(self, history: History) -> list[Trial]:
        found = super().complete(history)
        for trial in found:
            trial.rule = "seen"
        return found


class ReadsValues(Honest):
    """Uses the values of reports without regard to the direction."""

    def level(self, history: History, trial: Trial, steps: list[int]) -> float | None:
        values = {report.step: report.value for report in trial.reports}
        return values[steps[-1]] if all(step in values for step in steps) else None


class CountsReports(Honest):
    """Uses the number of a trial's reports as its step."""

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        assert dict(history.curve(trial))[len(trial.reports)] is not None
        return super().judge_trial(history, trial)


class SumsUpTheBest(Honest):
    """Returns the best trial in its summary, which is not plain data."""

    def summary(self, history: History) -> Any:
        return {"best": history.best}


class PausesAnyway(Honest):
    """Pauses bad trials, whether or not they can be resumed."""

    def stop(self, limit: float, mine: float) -> Any:
        return Pause(f"{mine:g} is worse than {limit:g}")


@attrs.define(kw_only=True)
class WithoutHelp(Honest):
    """Has an option without a help text."""

    depth: int = attrs.field(default=1)


@attrs.define(kw_only=True)
class NotesItsBirth(Honest):
    """Has an option with a different default each time."""

    born: float = option(factory=lambda: default_rng().random(), help="When it was made.")


class HoldsALambda(Honest):
    """Keeps a function that cannot be pickled."""

    def __reduce__(self) -> Any:
        return (lambda: self), ()


WRONG: dict[str, type[Honest]] = {
    "test_acts": NeverActs,
    "test_decisions_have_reasons": GivesNoReason,
    "test_evidence_is_plain_data": NumpyEvidence,
    "test_equals_are_not_stopped": StopsTies,
    "test_takes_a_young_study": NeedsAnEnd,
    "test_survives_failures": ReadsFailedValues,
    "test_takes_trials_without_reports": NeedsReports,
    "test_takes_any_end": NeedsSteps,
    "test_takes_reports_with_gaps": CountsReports,
    "test_sums_up_with_plain_data": SumsUpTheBest,
    "test_takes_several_objectives": OneObjective,
    "test_takes_thousands_of_trials": Recursive,
    "test_promotes_paused_trials_only": PromotesStopped,
    "test_promotes_a_trial_once": PromotesTwice,
    "test_retires_paused_trials_only": RetiresStopped,
    "test_pauses_only_what_can_go_on": PausesAnyway,
    "test_lets_trials_end": PausesForEver,
    "test_ignores_the_clock": Clock,
    "test_ignores_durations": MindsDurations,
    "test_ignores_the_order_of_other_trials": ComparesWithTheLast,
    "test_asking_again_changes_nothing": AnswersOnce,
    "test_goes_on_the_same_after_a_resume": CountsFromItsBirth,
    "test_decides_the_same_in_another_process": OrdersASet,
    "test_follows_what_is_taken_back": NeverForgets,
    "test_keeps_studies_apart": KeepsTheFirstSteps,
    "test_serves_studies_in_two_threads": CollectsInOneList,
    "test_uses_no_global_randomness": Draws,
    "test_leaves_the_history_alone": WritesIntoTheHistory,
    "test_minimizes_and_maximizes_alike": ReadsValues,
    "test_options_have_help": WithoutHelp,
    "test_description_is_stable": NotesItsBirth,
    "test_travels_to_workers": HoldsALambda,
}


def broken(rule: type[Honest]) -> dict[str, str]:
    return broken_rules(KIT, {"make_rule": rule, "make_component": rule})


class TestHonest(StoppingRuleKit):
    @pytest.fixture
    def make_rule(self) -> type[Honest]:
        return Honest


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_rejected_by_its_check_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[__name__.count(".")])  # for new processes; pytest does not
    assert list(broken(WRONG[name])) == [name]


class GivesTheLoss(Honest):
    """Gives a stopped trial its loss as its value."""

    def stop(self, limit: float, mine: float) -> Stop:
        return Stop(f"{mine:g} is worse than {limit:g}", value=mine)


def test_a_value_with_the_wrong_sign_is_reported() -> None:
    found = broken(GivesTheLoss)
    assert list(found) == ["test_minimizes_and_maximizes_alike"]
    assert "is not in the user's sign" in found["test_minimizes_and_maximizes_alike"]


class RanksByValue(Honest):
    """Promotes by the values of reports at step 3, without regard to the direction."""

    def waiting(self, history: History) -> list[Trial]:
        found = [trial for trial in super().waiting(history) if len(trial.reports) >= 3]
        return sorted(found, key=lambda trial: trial.reports[2].value)[:1]


def test_a_rule_that_promotes_from_a_later_step_is_examined_too() -> None:
    assert list(broken(RanksByValue)) == ["test_minimizes_and_maximizes_alike"]
