"""The rules by worked examples, and their invariances."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hpt_core import Failure, Float, History, Pause, PluginError, Record, Report, Space, Stop, Study, Trial, UsageError
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_stopping_folds.adjust import adjusted_mean
from hpt_stopping_folds.boundary import level, looks
from hpt_stopping_folds.differences import variance_of
from hpt_stopping_folds.folds import Folds
from hpt_stopping_folds.race import Race

SPACE = Space({"x": Float(0, 1)})
Rule = Folds | Race


def study(complete: Sequence[Sequence[float]], running: Sequence[float | Report], **options: Any) -> History:
    """Complete trials with these folds and their mean, and a running one with number len(complete)."""
    trials = [({"x": i / 1000}, float(np.mean(folds))) for i, folds in enumerate(complete)]
    reports: dict[int, Any] = dict(enumerate([*complete, running]))
    options = {"evidence": "folds", **options}
    return make_history(SPACE, trials, running=[{"x": 0.9}], reports=reports, **options)


def judge(rule: Rule, history: History, number: int = -1) -> Stop | None:
    decision = rule.judge_trial(history, history.trials[number])
    assert not isinstance(decision, Pause)
    return decision


def test_the_incumbent_is_the_best_feasible_trial() -> None:
    class Evaluator:
        evidence, steps = "folds", 2

        def evaluate(self, trial: Any) -> Any:
            loss = [0.3, 0.1, 0.2, 0.25][trial.number]
            for step in (1, 2):
                yield Report(step, loss, {"ms": 100 * loss})

    searched = Study(SPACE, constraints={"ms": ">= 15"}, sampler="random", evaluator=Evaluator(), seed=0)
    searched.run(trials=4)
    found = Folds()._best(searched.history, 9)  # what all rules compare with
    assert [number for number, _ in found] == [2, 3, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("big", [1e160, sys.float_info.max])
@pytest.mark.parametrize("rule", [*(Folds(test=t) for t in ("gain", "forgiving", "t", "wilcoxon")), Race()], ids=repr)
def test_losses_that_overflow_when_squared_or_added_are_huge_ones(rule: Rule, big: float) -> None:
    """Some users give a configuration that cannot be fitted the largest number there is."""
    rng = np.random.default_rng(0)
    complete = [*rng.random((6, 10)).tolist(), [1.0, big / 10, *[1.0] * 8]]
    decision = judge(rule, study(complete, [big, big, big / 2, 1.0, big, big, big, 3.0, big], steps=10))
    assert decision is not None
    assert decision.value is not None
    assert 1e90 < decision.value < 1e101
    ordinary = judge(rule, study(complete, [1.5, 1.2, 1.1, 1.4, 1.4, 1.5, 1.5, 1.5, 1.3], steps=10))
    assert ordinary is not None
    assert ordinary.value == pytest.approx(1.4, abs=0.2)


# --- forgiving ------------------------------------------------------------------------------------

FORGIVING = Folds(test="forgiving")
INCUMBENT = [0.10, 0.30, 0.20, 0.25, 0.15]  # mean 0.2, worst fold 0.3


@pytest.mark.parametrize(
    ("running", "stops"),
    [
        ([0.30], False),  # a tie
        ([0.31], True),
        ([0.25, 0.34], False),  # the mean counts: 0.295
        ([0.25, 0.36], True),
        ([0.1, 0.1, 0.8], True),
        ([0.1, 0.1, 0.7], False),  # mean 0.3, in spite of rounding
        ([0.9, 0.9, 0.9, 0.9, 0.9], False),  # nothing left to save
    ],
)
def test_the_worked_example_of_bergman(running: list[float], stops: bool) -> None:
    assert (judge(FORGIVING, study([[0.9] * 5, INCUMBENT], running)) is not None) == stops
    accuracies = [[1 - v for v in folds] for folds in ([0.9] * 5, INCUMBENT)]
    history = study(accuracies, [1 - v for v in running], directions=["maximize"])
    assert (judge(FORGIVING, history) is not None) == stops


def test_the_first_trial_has_no_incumbent() -> None:
    assert judge(Folds(), study([], [99.0])) is None
    assert judge(Race(min_folds=2), study([], [99.0, 99.0])) is None


def test_a_stop_has_evidence_and_an_adjusted_value() -> None:
    history = study([[1 - v for v in INCUMBENT]], [0.5], directions=["maximize"])
    stop = judge(FORGIVING, history)
    assert stop is not None
    assert stop.reason == "mean value = 0.5 over 1 fold is worse than the worst fold, 0.7, of trial 0"
    assert stop.evidence == {"folds": 1, "mean": 0.5, "limit": 0.7, "incumbent": 0}
    assert stop.value is not None
    assert 0.4 < stop.value < 0.5  # the first fold is 0.1 easier than the mean, for one trial that is not near


def test_only_complete_trials_that_count_are_incumbents() -> None:
    history = study([[0.5] * 3, [0.1] * 3], [0.4])
    assert judge(Folds(), history) is not None
    history.apply(events.invalidated(9.0, 1, "a bug"))
    assert judge(Folds(), history) is None
    assert judge(Folds(), study([[0.5] * 3], [0.6])) is not None
    failed = make_history(
        SPACE,
        [({"x": 0.1}, Failure("error", "no"))],
        running=[{"x": 0.9}],
        reports={0: [0.1, 0.1], 1: [0.6]},
        evidence="folds",
    )
    assert judge(Folds(), failed) is None


def test_a_repeated_point_that_ran_no_folds_is_no_reference() -> None:
    history = study([[0.5] * 3], [0.6])
    history.apply(events.started(5.0, 2, {"x": 0.3}, "w", 1, 0))
    history.apply(events.complete(6.0, 2, 1, [0.1], {}))
    stop = judge(Folds(), history, 1)
    assert stop is not None
    assert stop.evidence["incumbent"] == 0


@pytest.mark.parametrize("rule", [Folds(), Folds(test="t"), Folds(test="wilcoxon"), Race(min_folds=2)], ids=repr)
def test_a_trial_that_has_no_fold_in_common_with_the_incumbent_continues(rule: Rule) -> None:
    history = study([[0.1] * 10], [Report(fold, 9.0) for fold in range(11, 20)], steps=20)
    assert judge(rule, history) is None


def test_the_number_of_folds_is_the_evaluators() -> None:
    assert judge(Folds(), study([[0.1] * 3], [0.9] * 3)) is None
    assert judge(Folds(min_folds=1), study([[0.1] * 3], [0.9] * 3, steps=5)) is not None


@pytest.mark.parametrize("rule", [Folds(metric="size"), Race(metric="size", min_folds=2)], ids=repr)
@pytest.mark.parametrize(("steps", "stops"), [(9, True), (8, False)])
def test_the_last_fold_is_too_late_even_if_another_one_lacks_the_metric(rule: Rule, steps: int, stops: bool) -> None:
    good, bad = ([Report(n, v, {"size": v} if n > 1 else {}) for n in range(1, 9)] for v in (0.1, 0.9))
    history = make_history(
        SPACE, [({"x": 0.1}, 0.1), ({"x": 0.2}, None)], reports={0: good, 1: bad}, evidence="folds", steps=steps
    )
    assert (judge(rule, history) is not None) == stops


def test_a_further_objective_or_a_metric_may_be_compared() -> None:
    def at(**metrics: float) -> list[Report]:
        return [Report(1, 0.5, metrics), Report(2, 0.5, metrics)]

    trials = [({"x": 0.1}, (0.5, 1.0)), ({"x": 0.2}, (0.5, 2.0))]
    reports: dict[int, Any] = {0: at(value1=1.0, size=1.0), 1: at(value1=2.0, size=2.0)}
    cases: list[tuple[dict[str, Any], float, float]] = [
        ({"metric": "value1"}, 2.0, 1.9),
        ({"metric": "size"}, 1.0, 1.1),
        ({"metric": "size", "maximize": True}, 2.0, 1.9),
    ]
    for options, good, bad in cases:
        for value, stops in ((good, False), (bad, True)):
            reports[2] = [Report(1, 99.0, {"value1": value, "size": value})]
            history = make_history(
                SPACE,
                trials,
                directions=["minimize", "maximize"],
                running=[{"x": 0.9}],
                reports=reports,
                evidence="folds",
            )
            stop = judge(Folds(**options), history)
            assert (stop is not None) == stops
            if stop is not None:
                assert stop.evidence["mean"] == bad
                assert stop.value == 99.0  # the value is the first objective's, whatever was compared


def test_a_metric_with_the_values_of_the_objective_leads_to_the_same_decision() -> None:
    """The stopped trial has just enough folds to show how much differences vary."""
    folds = [[0.20, 0.30, 0.25, 0.25, 0.20], [0.25, 0.30, 0.30, 0.35, 0.20], [0.4, 0.7], [0.5, 0.6]]
    trials = [({"x": i / 10}, outcome) for i, outcome in enumerate([0.24, 0.28, Stop("worse", value=0.5), None])]
    reports = {i: [Report(step, v, {"same": v}) for step, v in enumerate(row, 1)] for i, row in enumerate(folds)}
    history = make_history(SPACE, trials, reports=reports, evidence="folds", steps=5)
    plain, by_metric = judge(Folds(), history), judge(Folds(metric="same"), history)
    assert plain is not None
    assert by_metric is not None
    assert (by_metric.evidence, by_metric.value) == (plain.evidence, plain.value)


@pytest.mark.parametrize("rule", [Folds(), Race()])
def test_curves_are_refused(rule: Rule) -> None:
    with pytest.raises(PluginError, match=r"compares trials fold by fold, but this evaluator reports a curve\. Use"):
        judge(rule, study([[0.5] * 3], [0.6], evidence="curve"))


# --- t and Wilcoxon -------------------------------------------------------------------------------


def test_t_by_hand() -> None:
    """Four of five folds, looks at 3 and 4."""
    d = [0.05, 0.06, 0.04, 0.05]
    history = study([INCUMBENT], [v + x for v, x in zip(INCUMBENT, d, strict=False)])
    stop = judge(Folds(test="t"), history)
    assert stop is not None
    t = np.mean(d) / np.sqrt((1 / 4 + 1 / 4) * np.var(d, ddof=1))
    assert stop.evidence["p"] == pytest.approx(stats.t.sf(t, 3))
    assert stop.evidence["limit"] == level(0.1, (3, 4))
    assert judge(Folds(test="t", min_folds=5), history) is None
    assert judge(Folds(test="t", ratio=100.0), history) is None
    assert judge(Folds(test="t", alpha=1e-6), history) is None


def test_wilcoxon_by_hand() -> None:
    """Nine of ten folds: worse on all is 1 in 2 ** 9; with 8 folds or fewer done there is one look less."""
    incumbent = [0.1 * i for i in range(10)]
    worse = [v + 0.01 * (i + 1) for i, v in enumerate(incumbent)]
    stop = judge(Folds(test="wilcoxon"), study([incumbent], worse[:9]))
    assert stop is not None
    assert stop.evidence["p"] == 2.0**-9
    assert judge(Folds(test="wilcoxon"), study([incumbent], worse[:7])) is None
    assert judge(Folds(test="wilcoxon"), study([incumbent[:5]], worse[:4])) is None


def test_a_trial_with_a_better_mean_is_never_stopped() -> None:
    """Worse by a little on seven folds, better by much on two."""
    incumbent = [0.5] * 20
    running = [0.51 + 0.001 * i for i in range(17)] + [0.0, 0.1]
    assert stats.wilcoxon(np.array(running) - 0.5, alternative="greater").pvalue < level(0.5, looks(8, 19))
    assert judge(Folds(test="wilcoxon", alpha=0.5), study([incumbent], running)) is None


# --- race -----------------------------------------------------------------------------------------


def test_a_race_by_hand() -> None:
    """The trial is last on each of six folds of ten, behind three elites."""
    rng = np.random.default_rng(0)
    elites = rng.normal(0.2, 0.02, (3, 10)).tolist()
    stop = judge(Race(elites=3), study([[0.9] * 10, [0.8] * 10, *elites], [0.5] * 6, steps=10))
    assert stop is not None
    assert sorted(stop.evidence["rivals"]) == [2, 3, 4]
    losses = np.array([elite[:6] for elite in elites] + [[0.5] * 6])
    assert stop.evidence["p"] == pytest.approx(stats.friedmanchisquare(*losses).pvalue)
    assert stop.evidence["limit"] == level(0.05, looks(5, 9))
    assert judge(Race(elites=3), study(elites, [0.0] * 6, steps=10)) is None
    assert judge(Race(elites=3), study(elites, [0.5] * 4, steps=10)) is None
    assert judge(Race(elites=3), study(elites, [0.5] * 10, steps=10)) is None


def test_a_race_of_two_is_a_signed_rank_test() -> None:
    incumbent = [0.1 * i for i in range(12)]
    stop = judge(Race(), study([incumbent], [v + 0.01 * (i + 1) for i, v in enumerate(incumbent[:8])]))
    assert stop is not None
    assert stop.evidence["p"] == 2.0**-8


def test_a_race_is_lost_to_the_elite_with_the_lowest_rank_sum() -> None:
    """Trial 0 has the lowest mean due to one fold; on all others trial 1 is better."""
    elites = [[0.21] * 5 + [0.0] + [0.21] * 4, [0.2] * 10]
    stop = judge(Race(), study(elites, [0.5] * 6, steps=10))
    assert stop is not None
    assert stop.evidence["rivals"] == [0, 1]
    assert stop.evidence["best"] == 1


@pytest.mark.parametrize("rule", [Race(alpha=0.5), Folds(test="wilcoxon", min_folds=5, alpha=0.5)], ids=repr)
def test_a_trial_with_an_equal_mean_is_not_stopped(rule: Rule) -> None:
    """Worse by 1 on sixteen folds, better by 16 on one."""
    running = [11.0] * 16 + [-6.0]
    assert stats.wilcoxon(np.array(running) - 10, alternative="greater").pvalue < level(0.5, looks(5, 19))
    assert judge(rule, study([[10.0] * 20], running)) is None


def test_a_race_of_equals_is_seldom_lost() -> None:
    """Six alike: the share of those stopped, over all looks, is within alpha."""
    rng = np.random.default_rng(3)
    stopped = 0
    for _ in range(250):
        y = rng.normal(size=(6, 10)).tolist()
        history = study(y[:5], [], steps=10)
        for step, value in enumerate(y[5], start=1):
            history.apply(events.reported(99.0, 5, 1, Report(step, value)))
            if judge(Race(), history) is not None:
                stopped += 1
                break
    assert stopped <= 250 * 0.05 + 3


# --- what must not matter -------------------------------------------------------------------------

losses = st.integers(0, 12).map(float)
tables = st.integers(4, 12).flatmap(
    lambda k: st.tuples(
        st.lists(st.lists(losses, min_size=k, max_size=k), min_size=1, max_size=6),
        st.lists(losses, min_size=1, max_size=k),
    )
)
rules: st.SearchStrategy[Rule] = st.sampled_from(
    [
        Folds(),
        FORGIVING,
        Folds(test="t", alpha=0.4),
        Folds(test="wilcoxon", min_folds=2, alpha=0.5),
        Race(min_folds=2, alpha=0.4, elites=20),
    ]
)


@settings(max_examples=150)
@given(tables, rules, st.randoms(use_true_random=False))
def test_neither_the_order_of_trials_nor_that_of_folds_nor_the_sign_matters(
    table: tuple[list[list[float]], list[float]], rule: Rule, random: Any
) -> None:
    complete, running = table
    # of equally good incumbents the earlier one counts: means must differ
    complete = [[v + 0.01 * i for v in folds] for i, folds in enumerate(complete)]
    if len({round(float(np.mean(folds)), 9) for folds in complete}) < len(complete):
        return
    decision = judge(rule, study(complete, running))
    shuffled = list(complete)
    random.shuffle(shuffled)
    places = list(range(len(running)))
    random.shuffle(places)
    order = [*places, *range(len(running), len(complete[0]))]
    mixed = study([[folds[i] for i in order] for folds in shuffled], [running[i] for i in places])
    again = judge(rule, mixed)
    assert (again is None) == (decision is None)
    negated = study([[-v for v in folds] for folds in complete], [-v for v in running], directions=["maximize"])
    other = judge(rule, negated)
    assert (other is None) == (decision is None)
    if decision is not None and again is not None and other is not None:
        assert decision.value is not None
        assert again.value == pytest.approx(decision.value)
        assert other.value == pytest.approx(-decision.value)


actions = st.lists(
    st.tuples(
        st.sampled_from([*["report"] * 8, "look", "look", "stop", "end", "fail", "invalidate", "amend"]),
        st.integers(0, 5),
    ),
    min_size=10,
    max_size=60,
)


def done_to(history: History, what: str, number: int, losses: Sequence[float]) -> Iterator[Record]:
    """The records of an action on a trial, if it is possible."""
    trial, now = history.trials[number], float(history.position)
    done = [report.value for report in trial.reports]
    if what == "invalidate":
        yield events.invalidated(now, number, "wrong")
    elif what == "amend":
        yield events.amended(now, {**history.definition, "space": {"x": {"low": 0.0, "high": 0.5}}}, ["space"])
    elif trial.finished:
        return
    elif what == "report" and len(done) < len(losses):
        fold = len(done) + 1 + number % 2  # half of the trials begin with the second fold
        yield events.reported(now, number, 1, Report(fold, losses[len(done)]))
    elif what == "stop" and done:
        yield events.stopped_early(now, number, 1, [done[-1]], 0, "rule", "", {})
    elif what == "end" and done:
        yield events.complete(now, number, 1, [float(np.mean(done))], {})
    elif what == "fail":
        yield events.failed(now, number, 1, Failure("error", "failed"))


@settings(max_examples=100)
@given(actions, st.integers(0, 3))
def test_a_used_rule_stops_with_the_value_of_a_new_one(steps: list[tuple[str, int]], seed: int) -> None:
    """Whatever happens to the trials between two stops, in views where other trials count, and after another study."""
    losses = np.random.default_rng(seed).random((6, 5)).round(2).tolist()
    history, used = make_history(SPACE, running=[{"x": i / 6} for i in range(6)], evidence="folds"), Folds()
    judge(used, study([[0.1, 0.2, 0.4]] * 6, [0.9, 0.8]))
    for what, number in steps:
        history.extend(done_to(history, what, number, losses[number]))
        for seen in (history, history.as_seen_by(number, 2)) if what == "look" else ():
            for trial in seen.trials:
                if trial.reports and not trial.finished:
                    found, expected = (rule._stop(seen, trial, "", {}).value for rule in (used, Folds()))
                    assert found == expected


@given(st.integers(0, 10**6))
def test_trials_of_one_fold_change_no_value(seed: int) -> None:
    """The rule leaves them out of the fit that all trials would be in."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(12, 1)) + rng.normal(size=5) + rng.normal(0, 0.3, (12, 5))
    y[np.arange(5) >= np.array([5, 2, *rng.integers(1, 5, 10)])[:, None]] = math.nan
    rows = [row[np.isfinite(row)].tolist() for row in y]
    outcomes = [rows[0][0], *(Stop("", value=0.0) for _ in rows[1:-1]), None]
    points = [{"x": i / 12} for i in range(12)]
    reports: dict[int, Any] = dict(enumerate(rows))
    history = make_history(SPACE, list(zip(points, outcomes, strict=True)), evidence="folds", steps=5, reports=reports)
    found = Folds()._stop(history, history.trials[-1], "", {}).value
    whole = np.vstack([y[-1], y[:-1]])
    variances = np.array([variance_of(rows[-1]), *map(variance_of, rows[:-1])])
    assert found == pytest.approx(adjusted_mean(whole, variances), rel=1e-9, abs=1e-12)


class Interrupting(list[Trial]):
    """Trials of which each look-up lets another thread act."""

    def __init__(self, trials: Sequence[Trial], act: Callable[[], object]) -> None:
        super().__init__(trials)
        self.act = act

    def __getitem__(self, key: Any) -> Any:
        thread = threading.Thread(target=self.act)
        thread.start()
        thread.join()
        return super().__getitem__(key)


def test_studies_in_two_threads_may_share_a_rule() -> None:
    rule, losses = Folds(), np.random.default_rng(0).random((2, 6, 4))
    mine, other = (study(some.tolist(), [2.0, 2.1, 1.9]) for some in losses)
    expected = judge(Folds(), mine)
    mine.trials = Interrupting(mine.trials, lambda: judge(rule, other))
    assert expected is not None
    assert judge(rule, mine) == expected


class Counted(list[Trial]):
    """Trials that count how often one of them is looked up."""

    lookups = 0

    def __getitem__(self, key: Any) -> Any:
        self.lookups += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("rule", [Folds(), Folds(test="t", min_folds=2), Race(min_folds=2)], ids=repr)
def test_a_decision_does_not_read_all_trials_again(rule: Rule) -> None:
    """Most of them may have been stopped after their first fold."""
    points = [{"x": i / 1000} for i in range(200)]
    outcomes = [0.1] * 4 + [Stop("", value=0.2)] * 194 + [None] * 2
    reports = {i: [0.1, 0.11, 0.1] if i < 4 else [0.2] for i in range(198)}
    reports |= {198: [0.3, 0.29], 199: [0.4, 0.4]}
    options: Any = {"evidence": "folds", "steps": 3, "reports": reports}
    history = make_history(SPACE, list(zip(points, outcomes, strict=True)), **options)
    judge(rule, history, 198)
    trials = history.trials = Counted(history.trials)
    judge(rule, history, 199)
    assert trials.lookups <= 20


@pytest.mark.parametrize("rule", [Folds(metric="size"), Race(min_folds=2, metric="size")], ids=repr)
def test_a_decision_by_a_metric_does_not_read_all_trials_again(rule: Rule) -> None:
    trials = [({"x": i / 1000}, 0.0) for i in range(200)]
    sizes = [*([0.01 * i, 0.01 * i + 0.1, 0.01 * i] for i in range(200)), [5.0, 5.1], [6.0, 6.1]]
    reports = {i: [Report(step, 0.0, {"size": v}) for step, v in enumerate(row, 1)] for i, row in enumerate(sizes)}
    options: Any = {"running": [{"x": 0.8}, {"x": 0.9}], "reports": reports, "evidence": "folds", "steps": 3}
    history = make_history(SPACE, trials, **options)
    judge(rule, history, 200)
    expected = judge(attrs.evolve(rule), history, 201)
    counted = history.trials = Counted(history.trials)
    assert judge(rule, history, 201) == expected
    assert counted.lookups <= 30


@pytest.mark.parametrize("rule", [Folds(), Folds(test="t"), Race()])
def test_rules_have_no_state(rule: Rule) -> None:
    before = copy.deepcopy(rule)
    judge(rule, study([[0.1] * 6], [0.9] * 5))
    assert rule == before == pickle.loads(pickle.dumps(rule))


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 0.0},
        {"alpha": 0.6},
        {"min_folds": 0},
        {"test": "t", "min_folds": 1},
        {"ratio": -1.0},
        {"metric": 3},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Folds(**options)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 0.6}, {"elites": 0}, {"min_folds": 1}])
def test_bad_options_of_a_race_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Race(**options)
