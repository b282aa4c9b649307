"""Metadata routing, the comparison with the default configuration, nested cross-validation."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpt_core import Categorical, Space, TrialContext, UsageError
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator
from hpt_evaluator_sklearn.nested import nested_score
from hpt_evaluator_sklearn.scoring.compare import compare

X, y = load_iris(return_X_y=True)
WEIGHTS = np.linspace(0.01, 3, 150)
GROUPS = np.arange(150) % 6
SPACE = Space({"C": Categorical(0.001, 0.01, 1.0, default=0.01)})


class Listed:
    """A sampler for these tests: the values of C in order."""

    def suggest(self, history: Any, rng: Any) -> dict[str, Any]:
        return {"C": history.space["C"].value_at(history.next_number % 3)}


def values(evaluator: SklearnEvaluator, **params: Any) -> list[float]:
    return [report.value for report in evaluator.evaluate(TrialContext(params=params))]


def test_routed_arguments_go_where_they_were_requested() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        for fit, score in ((True, True), (True, False), (False, True)):
            estimator = make_pipeline(
                StandardScaler().set_fit_request(sample_weight=False),
                DecisionTreeClassifier(max_depth=2, random_state=0).set_fit_request(sample_weight=fit),
            )
            scorer = get_scorer("accuracy").set_score_request(sample_weight=score)
            expected = cross_validate(
                estimator,
                X,
                y,
                cv=GroupKFold(3),
                scoring=scorer,
                params={"sample_weight": WEIGHTS, "groups": GROUPS},
                return_train_score=True,
            )
            evaluator = SklearnEvaluator(
                estimator=estimator,
                X=X,
                y=y,
                groups=GROUPS,
                cv=GroupKFold(3),
                scoring=scorer,
                fit_params={"sample_weight": WEIGHTS},
                return_train_score=True,
            )
            reports = list(evaluator.evaluate(TrialContext(params={})))
            assert [r.value for r in reports] == expected["test_score"].tolist()
            assert [r.metrics["train_value"] for r in reports] == expected["train_score"].tolist()


def test_arguments_requested_under_an_alias_arrive() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = DecisionTreeClassifier(max_depth=1, random_state=0).set_fit_request(sample_weight="rain")
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight="snow")
        splitter = GroupKFold(3).set_split_request(groups="house")
        given = {"rain": WEIGHTS, "snow": WEIGHTS[::-1], "house": GROUPS}
        plain = {"cv": splitter, "scoring": scorer, "params": given}
        evaluator = SklearnEvaluator(
            estimator=estimator, X=X, y=y, cv=splitter, scoring=scorer, fit_params=given, holdout=0.2, compare=False
        )
        found = evaluator.conclude(TrialContext(params={}))
        aside = evaluator.split_data.holdout
        assert aside is not None
        assert found["holdout_value"] == accuracy_score(
            aside.y, evaluator.best_estimator.predict(aside.X), sample_weight=aside.fit_params["snow"]
        )
        everything = attrs.evolve(evaluator, holdout=0.0)
        assert values(everything) == cross_validate(estimator, X, y, **plain)["test_score"].tolist()


def test_routing_is_enabled_inside_the_evaluator_only() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = DecisionTreeClassifier(random_state=0).set_fit_request(sample_weight=True)
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        made = SklearnEvaluator(
            estimator=estimator, X=X, y=y, scoring=scorer, fit_params={"sample_weight": WEIGHTS}, holdout=0.2
        )
        inside = values(made)
    assert made.metadata_routing
    outside = []
    for report in made.evaluate(TrialContext(params={})):
        assert not sklearn.get_config()["enable_metadata_routing"]
        outside.append(report.value)
    assert outside == inside
    assert made.conclude(TrialContext(params={"max_depth": 1}))["holdout_rows"] == 30


def test_an_argument_that_nobody_requested_is_refused() -> None:
    evaluator = SklearnEvaluator(
        estimator=DecisionTreeClassifier(),
        X=X,
        y=y,
        scoring="accuracy",
        fit_params={"sample_weight": WEIGHTS},
        metadata_routing=True,
    )
    with pytest.raises(UsageError) as caught:
        values(evaluator)
    assert "[sample_weight] are passed but are not explicitly set as requested" in str(caught.value)


def test_the_interval_is_the_corrected_one_of_nadeau_and_bengio() -> None:
    best, default = [0.9, 0.85, 0.95, 0.92, 0.88], [0.85, 0.86, 0.9, 0.91, 0.84]
    found = compare(best, default, 120, 30, name="accuracy")
    d = [b - a for a, b in zip(default, best, strict=True)]
    mean = sum(d) / 5
    variance = sum((x - mean) ** 2 for x in d) / 4
    half = stats.t(4).interval(0.95)[1] * math.sqrt(variance * (1 / 5 + 30 / 120))
    assert found.folds == 5
    assert found.gain == pytest.approx(mean, abs=1e-15)
    assert found.low == pytest.approx(mean - half)
    assert found.high == pytest.approx(mean + half)
    assert found.low is not None
    assert found.high is not None
    naive = stats.ttest_rel(best, default).confidence_interval(0.95)
    assert found.high - found.low > naive.high - naive.low
    no_overlap = compare(best, default, 1e12, 1)
    assert no_overlap.low == pytest.approx(naive.low, rel=1e-9)


def test_losses_are_better_when_smaller() -> None:
    up = compare([2.0, 3.0], [1.0, 1.5], 8, 2)
    down = compare([-2.0, -3.0], [-1.0, -1.5], 8, 2, direction="minimize")
    assert (down.gain, down.low, down.high) == (up.gain, up.low, up.high)
    assert "better over 2 paired folds" in down.text


def test_the_text_states_the_uncertainty() -> None:
    clear = compare([0.9] * 4, [0.8] * 4, 75, 25, name="accuracy").text
    assert clear.startswith(
        "The winner's accuracy is 0.9, the default configuration's 0.8: 0.1 better by the same amount on each of 4"
    )
    assert "chance" not in clear
    assert clear.endswith("so the uncertainty is unknown.")
    assert "which may be chance" in compare([0.9, 0.7], [0.8, 0.8], 75, 25).text
    assert "chance" not in compare([0.90, 0.92], [0.80, 0.81], 75, 25).text
    assert "worse" in compare([0.7, 0.6], [0.8, 0.8], 75, 25).text
    equal = compare([0.9 - 1 / 599, 0.7 - 1 / 599, 0.1 - 1 / 599], [0.9, 0.7, 0.1], 400, 200)
    assert (equal.low, equal.high) == (None, None)
    assert compare([2e-15, 3e-15], [1e-15, 1e-15], 8, 2).low is not None
    assert "worse by the same amount on each of 3 paired folds, so the uncertainty is unknown" in equal.text
    single = compare([0.9], [0.8], 75, 25)
    assert (single.low, single.high) == (None, None)
    assert "on one split" in single.text
    same = "The winner and the default configuration have the same accuracy on"
    assert compare([0.9, 0.7], [0.9, 0.7], 75, 25, name="accuracy").text == f"{same} each of 2 paired folds, 0.8."
    assert compare([0.9], [0.9], 75, 25, name="accuracy").text == f"{same} one split, 0.9."


def test_scores_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(UsageError, match="Got 2 and 1"):
        compare([1.0, 2.0], [1.0], 1, 1)


@pytest.mark.parametrize("where", ["here", "elsewhere", "before"])
def test_concluding_compares_the_winner_with_the_default_on_the_same_folds(where: str) -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, refit=False)
    evaluator.check(SPACE, {"value": "maximize"})
    best = TrialContext(params={"C": 1.0})
    if where == "here":
        values(evaluator, C=0.01)
        values(evaluator, C=1.0)
    elif where == "before":  # the winner has reports from another process
        reports = list(SklearnEvaluator(estimator=SVC(), X=X, y=y).evaluate(best))
        best = TrialContext(params={"C": 1.0}, resume_step=len(reports), reports=reports)
    found = evaluator.conclude(best)
    expected = compare(
        cross_val_score(SVC(C=1.0), X, y).tolist(), cross_val_score(SVC(C=0.01), X, y).tolist(), 120, 30, name="value"
    )
    assert found == {
        "default_value": expected.default,
        "gain": expected.gain,
        "gain_low": expected.low,
        "gain_high": expected.high,
        "comparison": f"{expected.text} Like the score, the gain is optimistic;"
        " a holdout or nested cross-validation gives an unbiased score.",
    }
    same = evaluator.conclude(TrialContext(params={"C": 0.01}))
    assert same == {"comparison": "The winner is the default configuration."}


def test_the_comparison_names_the_score_that_is_not_optimistic() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, holdout=0.2)
    evaluator.check(SPACE, {"value": "maximize"})
    found = evaluator.conclude(TrialContext(params={"C": 1.0}))["comparison"]
    assert found.endswith(". Like the score, the gain is optimistic; the score on the holdout is not.")


def test_on_a_single_split_the_gain_has_no_interval() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, refit=False, cv=ShuffleSplit(1, random_state=0))
    evaluator.check(SPACE, {"value": "maximize"})
    assert evaluator.conclude(TrialContext(params={"C": 1.0})).keys() == {"default_value", "gain", "comparison"}


def test_a_failing_default_is_described_not_raised() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y)
    evaluator.check(Space({"C": Categorical(-1.0, 1.0, default=-1.0)}), {"value": "maximize"})
    found = evaluator.conclude(TrialContext(params={"C": 1.0}))
    assert found["comparison"].startswith("The default configuration fails: InvalidParameterError")
    assert found["refit_rows"] == 150


def test_a_default_whose_score_is_no_number_fails() -> None:
    evaluator = SklearnEvaluator(
        estimator=SVC(), X=X, y=y, refit=False, scoring=lambda model, *rows: np.nan if model.C < 1 else 1.0
    )
    evaluator.check(SPACE, {"value": "maximize"})
    found = evaluator.conclude(TrialContext(params={"C": 1.0}))
    assert found == {"comparison": "The default configuration fails: its value is not a finite number on every fold."}


def test_an_evaluator_compares_with_the_default_under_each_objective_that_it_is_used_for() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, refit=False)
    evaluator.check(SPACE, {"accuracy": "maximize"})
    for name in ("accuracy", "f1_macro"):
        found = evaluator.conclude(TrialContext(params={"C": 1.0}, objectives=(name,)))
        assert found[f"default_{name}"] == cross_val_score(SVC(C=0.01), X, y, scoring=name).mean()


def test_nested_scores_equal_grid_search_in_a_loop() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, cv=3, holdout=0.2)
    found = nested_score(
        evaluator, SPACE, outer=StratifiedKFold(3, shuffle=True, random_state=0), trials=3, sampler=Listed(), seed=0
    )
    expected, inner, params = [], [], []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        search = GridSearchCV(SVC(), {"C": [0.001, 0.01, 1.0]}, cv=3)
        search.fit(X[train], y[train])
        expected.append(search.score(X[test], y[test]))
        inner.append(search.best_score_)
        params.append(search.best_params_)
    assert found.scores == tuple(expected)
    assert found.inner == pytest.approx(inner, abs=1e-15)
    assert found.params == tuple(params)
    assert found.mean == np.mean(expected)
    assert found.std == np.std(expected)
    assert found.optimism == pytest.approx(np.mean(inner) - np.mean(expected))


def test_nested_optimism_of_a_loss_is_positive_if_the_inner_loss_is_smaller() -> None:
    data = load_diabetes(return_X_y=True)
    space = {"alpha": [0.01, 0.1, 1.0]}
    evaluator = SklearnEvaluator(estimator=Ridge(), X=data[0], y=data[1], cv=3)
    sampler = type("S", (), {"suggest": lambda _, h, rng: {"alpha": space["alpha"][h.next_number % 3]}})()
    found = nested_score(
        evaluator, space, objective={"rmse": "minimize"}, outer=KFold(2), trials=3, sampler=sampler, seed=0
    )
    assert found.optimism == pytest.approx(found.mean - np.mean(found.inner))
    with pytest.raises(UsageError, match="takes one objective"):
        nested_score(evaluator, space, objective={"rmse": "minimize", "r2": "maximize"}, sampler=sampler)
    with pytest.raises(UsageError, match="needs a score as its objective"):
        nested_score(evaluator, space, objective={"fit_time": "minimize"}, sampler=sampler)


def test_nested_scores_with_metadata_routing_equal_grid_search_in_a_loop() -> None:
    """Enabled by the option alone: the winner's fit must not receive the weights that only the scorer requests."""
    weights = {"sample_weight": WEIGHTS, "importance": WEIGHTS[::-1] ** 2}
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = SVC(random_state=0).set_fit_request(sample_weight=True)
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight="importance")
        expected = []
        for train, test in StratifiedKFold(3).split(X, y):
            search = GridSearchCV(estimator, {"C": [0.001, 0.01, 1.0]}, cv=3, scoring=scorer)
            search.fit(X[train], y[train], **{name: values[train] for name, values in weights.items()})
            expected.append(scorer(search.best_estimator_, X[test], y[test], sample_weight=weights["importance"][test]))
    evaluator = SklearnEvaluator(
        estimator=estimator, X=X, y=y, cv=3, scoring={"acc": scorer}, fit_params=weights, metadata_routing=True
    )
    found = nested_score(evaluator, SPACE, objective={"acc": "maximize"}, outer=3, trials=3, sampler=Listed(), seed=0)
    assert found.scores == tuple(expected)


def by_group() -> Any:
    return GroupKFold(2).set_split_request(groups=True)  # an error unless metadata routing is enabled


def test_nested_splitters_may_request_groups() -> None:
    groups, splitter = np.arange(len(y)) % 4, f"{__name__}:by_group"
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, groups=groups, cv=splitter, metadata_routing=True)
    found = nested_score(evaluator, {"C": [1.0]}, outer=splitter, trials=1, seed=0)
    folds = GroupKFold(2).split(X, y, groups)
    assert found.scores == tuple(SVC().fit(X[train], y[train]).score(X[test], y[test]) for train, test in folds)


def test_nested_cross_validation_without_a_successful_trial_is_an_error() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, cv=2)
    with pytest.raises(UsageError, match="'nested-0' has no successful trial"):
        nested_score(evaluator, {"C": [-1.0]}, outer=2, trials=1, seed=0)


def test_nested_cross_validation_refuses_inner_folds_of_row_numbers() -> None:
    rows = [(np.arange(60), np.arange(60, 90))]  # would be rows of the outer training part, without an error
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, cv=rows)
    with pytest.raises(UsageError, match=r"evaluator\.cv: Row numbers refer to all rows, but each search has only"):
        nested_score(evaluator, SPACE, sampler=Listed(), seed=0)
