"""Combinations of rules: truth tables, rules that judge only trials or studies, nesting, and study files."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import pytest

import hpt_stopping_basic
from hpt_core import Float, History, Pause, PluginError, Space, Stop, Study, Trial, UsageError
from hpt_core.plugins.plugins import Plugins
from hpt_core.testing import make_history
from hpt_stopping_basic.combine import After, AllOf, AnyOf, Not
from hpt_stopping_basic.ranked import Median
from hpt_stopping_basic.study import TrialBudget

HISTORY = make_history(Space({"x": Float(0, 1)}), [({"x": 0.1}, 1.0)], running=[{"x": 0.5}], reports={1: [1.0]})
RUNNING = HISTORY.trials[1]


@attrs.define(kw_only=True)
class OnTrials:
    """Judges trials, always with the same answer."""

    says: Any = None

    def judge_trial(self, history: History, trial: Trial) -> Any:
        return self.says


@attrs.define(kw_only=True)
class OnStudies:
    """Judges studies, always with the same answer."""

    says: Any = None

    def judge_study(self, history: History) -> Any:
        return self.says


@attrs.define(kw_only=True)
class Promoter:
    """Promotes always the same trial."""

    says: Any = None

    def promote(self, history: History) -> Any:
        return self.says


STOP, PAUSE = Stop("stop", {"n": 1}), Pause("pause", {"n": 2})
ANSWERS = (STOP, PAUSE, None)


def kind(answer: object) -> type | None:
    return None if answer is None else type(answer)


def on_trials(rule: Any) -> Any:
    return rule.judge_trial(HISTORY, RUNNING)


@pytest.mark.parametrize("answers", [*itertools.product(ANSWERS, repeat=2), *itertools.product(ANSWERS, repeat=3)])
def test_truth_tables_on_trials(answers: tuple[Any, ...]) -> None:
    rules: list[Any] = [OnTrials(says=answer) for answer in answers]
    any_of = STOP if STOP in answers else PAUSE if PAUSE in answers else None
    assert on_trials(AnyOf(rules=rules)) is any_of
    all_of = None if None in answers else Pause if PAUSE in answers else Stop
    assert kind(on_trials(AllOf(rules=rules))) is all_of


def test_any_pauses_for_the_first_reason() -> None:
    assert on_trials(AnyOf(rules=[OnTrials(), OnTrials(says=PAUSE), OnTrials(says=Pause("other"))])) is PAUSE


@pytest.mark.parametrize("answers", [*itertools.product((STOP, None), repeat=3)])
def test_truth_tables_on_studies(answers: tuple[Any, ...]) -> None:
    rules: list[Any] = [OnStudies(says=answer) for answer in answers]
    assert (AnyOf(rules=rules).judge_study(HISTORY) is not None) == any(answers)
    assert (AllOf(rules=rules).judge_study(HISTORY) is not None) == all(answers)


def test_any_hides_no_wrong_answer_from_the_study_which_refuses_it() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", stop=[AnyOf(rules=[OnStudies(says=PAUSE)])], seed=0)
    with pytest.raises(PluginError, match=r"'any' must return Stop or None from judge_study\. Got Pause"):
        study.run(lambda params: params["x"], trials=1)


@pytest.mark.parametrize("combine", [AnyOf, AllOf])
def test_a_rule_is_ignored_for_what_it_does_not_judge(combine: Any) -> None:
    rule = combine(rules=[OnTrials(says=STOP), OnStudies(says=None), Promoter(says=None)])
    assert kind(on_trials(rule)) is Stop
    assert rule.judge_study(HISTORY) is None
    assert on_trials(combine(rules=[OnStudies(says=STOP)])) is None
    assert combine(rules=[OnTrials(says=STOP)]).judge_study(HISTORY) is None
    assert combine(rules=[OnTrials(says=STOP)]).promote(HISTORY) is None


@pytest.mark.parametrize("inner", [AnyOf, AllOf])
def test_a_combination_of_such_rules_is_ignored_too(inner: Any) -> None:
    silent = inner(rules=[OnStudies(says=None), After(rule=OnStudies())])
    assert kind(on_trials(AllOf(rules=[OnTrials(says=STOP), silent]))) is Stop
    against = inner(rules=[OnStudies(says=None), OnTrials(says=None)])
    assert on_trials(AllOf(rules=[OnTrials(says=STOP), against])) is None


def test_all_has_the_reason_and_evidence_of_each_rule() -> None:
    other = Stop("other", {"n": 3})
    agreed = on_trials(AllOf(rules=[OnTrials(says=STOP), OnTrials(says=other)]))
    assert agreed == Stop("stop; other", {"all": [{"reason": "stop", "n": 1}, {"reason": "other", "n": 3}]})


@pytest.mark.parametrize("answers", list(itertools.product([True, False], repeat=2)))
def test_a_trial_is_complete_if_the_first_of_any_or_each_of_all_says_so(answers: tuple[bool, bool]) -> None:
    rules: list[Any] = [OnTrials(says=Stop("enough", complete=answer)) for answer in answers]
    assert on_trials(AnyOf(rules=rules)).complete is answers[0]
    assert on_trials(AllOf(rules=rules)).complete is all(answers)
    assert on_trials(After(rule=rules[0])).complete is answers[0]
    assert not on_trials(Not(rule=OnTrials(says=None))).complete


@pytest.mark.parametrize("combine", [AnyOf, AllOf])
@pytest.mark.parametrize(("named", "expected"), [((None, 4, 7), 4), ((0, 4), 0), ((None, None), None)])
def test_the_first_promotion_counts(combine: Any, named: tuple[Any, ...], expected: int | None) -> None:
    assert combine(rules=[Promoter(says=number) for number in named]).promote(HISTORY) == expected


@attrs.define(kw_only=True)
class Retirer:
    """Retires the trials with these numbers."""

    whom: list[int]

    def judge_trial(self, history: History, trial: Trial) -> Any:
        return None

    def retire(self, history: History) -> Any:
        return {number: Stop(f"of {self.whom}") for number in self.whom} or None


def test_any_retires_what_one_rule_retires_and_all_what_all_rules_retire() -> None:
    some, more, none = Retirer(whom=[0, 1]), Retirer(whom=[1]), Retirer(whom=[])
    anyone: Any = AnyOf(rules=[some, OnStudies(), more, none])
    assert {number: stop.reason for number, stop in anyone.retire(HISTORY).items()} == dict.fromkeys(
        [0, 1], "of [0, 1]"
    )
    everyone: Any = AllOf(rules=[some, OnStudies(), more])
    assert {n: stop.reason for n, stop in everyone.retire(HISTORY).items()} == {1: "of [0, 1]; of [1]"}
    for against in (none, OnTrials(says=STOP)):
        assert AllOf(rules=[some, against]).retire(HISTORY) == {}
    assert AllOf(rules=[OnStudies()]).retire(HISTORY) == {}
    for options, expected in (
        ({}, {1}),
        ({"trials": 1, "steps": 1}, {1}),
        ({"trials": 2}, set()),
        ({"steps": 2}, set()),
    ):
        assert set(After(rule=more, **options).retire(HISTORY)) == expected
    assert After(rule=OnTrials()).retire(HISTORY) == {}
    assert AnyOf(rules=[Not(rule=some)]).retire(HISTORY) == {}


@pytest.mark.parametrize(
    ("options", "trial", "study"),
    [
        ({}, True, True),
        ({"trials": 1}, True, True),
        ({"trials": 2}, False, False),
        ({"steps": 1}, True, True),
        ({"steps": 2}, False, True),
    ],
)
def test_after_delays_a_rule(options: dict[str, int], trial: bool, study: bool) -> None:
    rule: Any = After(rule=AnyOf(rules=[OnTrials(says=STOP), OnStudies(says=STOP), Promoter(says=3)]), **options)
    assert (on_trials(rule) is STOP) == trial
    assert (rule.judge_study(HISTORY) is STOP) == study
    assert rule.promote(HISTORY) == 3


def test_after_a_rule_that_does_not_judge_decides_nothing() -> None:
    for rule in (OnTrials(says=STOP), OnStudies(says=STOP), Promoter(says=3)):
        held: Any = After(rule=rule)
        answers = (on_trials(held), held.judge_study(HISTORY), held.promote(HISTORY))
        assert sum(answer is not None for answer in answers) == 1


@pytest.mark.parametrize("answer", ANSWERS)
def test_not_stops_where_a_rule_does_not(answer: Any) -> None:
    rule: Any = Not(rule=OnTrials(says=answer))
    assert (on_trials(rule) == Stop("not ontrials")) == (answer is None)
    assert rule.judge_study(HISTORY) is None
    on_study: Any = Not(rule=OnStudies(says=answer))
    assert (on_study.judge_study(HISTORY) is not None) == (answer is None)
    assert on_trials(on_study) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("all", {"rules": [OnStudies()]}),
        ("any", {"rules": [OnStudies()]}),
        ("not", {"rule": OnStudies(says=STOP)}),
        ("plateau", {}),
        ("time", {"limit": "1d"}),
        ("trials", {"limit": 1000}),
    ],
)
def test_the_reason_of_not_has_the_name_by_which_study_files_know_the_rule(name: str, options: dict[str, Any]) -> None:
    rule = Plugins().make("stopping rule", {"use": "not", "rule": {"use": name, **options}})
    assert rule.judge_study(HISTORY) == Stop(f"not {name}")


@pytest.mark.parametrize("answers", [*itertools.product((STOP, None), repeat=2)])
def test_not_within_all_is_this_but_not_that(answers: tuple[Any, Any]) -> None:
    this, that = answers
    rule: Any = AllOf(rules=[OnTrials(says=this), Not(rule=OnTrials(says=that))])
    assert (on_trials(rule) is not None) == (this is STOP and that is None)
    with_silent: Any = AllOf(rules=[OnTrials(says=this), Not(rule=OnStudies(says=that))])
    assert (on_trials(with_silent) is not None) == (this is STOP)
    assert AnyOf(rules=[Not(rule=Promoter(says=3))]).promote(HISTORY) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Not(rule="plateau"), "rule: Must be a stopping rule"),  # type: ignore[arg-type]
        (lambda: AllOf(rules=[]), "at least one rule"),
        (lambda: AnyOf(rules=["median"]), r"rules\[0\]: Must be a stopping rule. Got str 'median'"),  # type: ignore[list-item]
        (lambda: After(rule=3), "rule: Must be a stopping rule"),  # type: ignore[arg-type]
        (lambda: After(rule=OnTrials(), steps=-1), "steps"),
    ],
)
def test_bad_options_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def plugins() -> Plugins:
    found = Plugins(discover=False)
    found.register(hpt_stopping_basic)
    return found


def test_every_rule_loads_by_name() -> None:
    found = plugins()
    assert found.names("stopping rule") == sorted(hpt_stopping_basic.hpt_stopping_rules())
    for name in found.names("stopping rule"):
        assert found.component("stopping rule", name).__doc__


def test_nested_tables_become_rules_and_are_recorded_as_such() -> None:
    table = {
        "use": "all",
        "rules": [
            {"use": "trials", "limit": 10},
            {"use": "any", "rules": [{"use": "median", "min_trials": 7}, {"use": "after", "rule": {"use": "plateau"}}]},
        ],
    }
    rule = plugins().make("stopping rule", table)
    assert rule.rules[0] == TrialBudget(limit=10)
    assert rule.rules[1].rules[0] == Median(min_trials=7)
    recorded = plugins().describe(rule)
    assert recorded["rules"][1]["rules"][1]["rule"]["use"] == "plateau"
    assert plugins().make("stopping rule", recorded) == rule


def test_a_mistake_in_a_nested_table_is_reported_with_its_path() -> None:
    table = {"use": "all", "rules": [{"use": "trials", "limit": 1}, {"use": "medain"}, {"use": "time", "limit": "x"}]}
    with pytest.raises(UsageError) as caught:
        plugins().make("stopping rule", table, "stop[0]")
    assert [m.path for m in caught.value.mistakes] == ["stop[0].rules[1].use", "stop[0].rules[2].limit"]
    assert "Did you mean 'median'" in str(caught.value)
