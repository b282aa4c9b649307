"""Growing models and growing training sets: each level must have the score of a fit at that size."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.decomposition import LatentDirichletAllocation, MiniBatchDictionaryLearning, MiniBatchNMF
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from sklearn.model_selection import (
    ShuffleSplit,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from hpt_core import Report, Space, TrialContext, UsageError
from hpt_evaluator_sklearn.data.subsets import nested_order
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

X, y = load_iris(return_X_y=True)
SPLIT = StratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=0)
SHUFFLED = ShuffleSplit(n_splits=1, test_size=0.2, random_state=0)


def finish(run: Generator[Report, None, dict[str, float]]) -> tuple[list[Report], dict[str, float]]:
    """All reports of a trial and its final result."""
    reports = []
    while True:
        try:
            reports.append(next(run))
        except StopIteration as end:
            return reports, end.value


def curve(
    estimator: Any, params: dict[str, Any] | None = None, **options: Any
) -> tuple[list[Report], dict[str, float]]:
    options = {"X": X, "y": y} | options
    return finish(SklearnEvaluator(estimator=estimator, **options).evaluate(TrialContext(params=params or {})))


def reconstruction(estimator: Any, X: Any, y: Any = None) -> float:
    return -float(np.square(X - estimator.inverse_transform(estimator.transform(X))).sum())


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=10, max_depth=2, random_state=3),
        ExtraTreesClassifier(n_estimators=10, max_depth=2, random_state=3),
        GradientBoostingClassifier(n_estimators=10, max_depth=1, learning_rate=0.02, random_state=3),
        make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=10, max_depth=2, random_state=3)),
    ],
    ids=lambda e: type(e).__name__,
)
def test_each_step_of_a_growing_ensemble_scores_like_an_ensemble_of_that_size(estimator: Any) -> None:
    reports, result = curve(estimator, resource="growth", levels=5)
    name = next(n for n in estimator.get_params() if n.endswith("n_estimators"))
    for report in reports:
        fresh = clone(estimator).set_params(**{name: 2 * report.step})
        assert report.value == cross_val_score(fresh, X, y, cv=SPLIT)[0]
    assert [r.step for r in reports] == [1, 2, 3, 4, 5]
    assert result["value"] == reports[-1].value
    assert "std_value" not in result  # of a single fold, it would be 0
    assert [r.metrics["fit_time"] for r in reports] == sorted(r.metrics["fit_time"] for r in reports)


def test_a_pipeline_with_a_memory_grows_in_the_same_way(tmp_path: Path) -> None:
    steps = StandardScaler(), RandomForestClassifier(n_estimators=10, max_depth=2, random_state=3)
    plain, remembering = (
        curve(make_pipeline(*map(clone, steps), memory=memory), resource="growth", grow="n_estimators", levels=5)[0]
        for memory in (None, str(tmp_path))
    )
    assert [(r.step, r.value) for r in remembering] == [(r.step, r.value) for r in plain]
    assert len(plain) == 5


def test_boosting_iterations_of_a_regressor_grow_over_several_folds() -> None:
    X, y = load_diabetes(return_X_y=True)
    estimator = HistGradientBoostingRegressor(max_iter=9, random_state=0)
    reports, result = curve(estimator, X=X, y=y, resource="growth", levels=3, cv=2)
    expected = [cross_val_score(clone(estimator).set_params(max_iter=n), X, y, cv=2) for n in (3, 6, 9)]
    assert [r.value for r in reports] == pytest.approx([scores.mean() for scores in expected], abs=1e-12)
    assert result["std_value"] == pytest.approx(expected[-1].std(), abs=1e-12)


@pytest.mark.parametrize("validation_fraction", [0.1, None])
def test_boosting_that_stops_early_grows_no_further(validation_fraction: float | None) -> None:
    X, y = load_diabetes(return_X_y=True)
    early = HistGradientBoostingRegressor(
        max_iter=12, learning_rate=0.5, max_depth=2, early_stopping=True, n_iter_no_change=2, tol=100, random_state=0
    ).set_params(validation_fraction=validation_fraction)
    reports, _ = curve(early, X=X, y=y, cv=SHUFFLED, resource="growth", levels=4)
    with threadpool_limits(1):
        sizes = [clone(early).set_params(max_iter=n) for n in (3, 6, 9, 12)]
        expected = [cross_val_score(one, X, y, cv=SHUFFLED)[0] for one in sizes]
        unstopped = cross_val_score(clone(early).set_params(early_stopping=False), X, y, cv=SHUFFLED)[0]
    assert [r.value for r in reports] == expected
    assert unstopped != expected[-1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_iterations_continue_and_add_up_to_max_iter() -> None:
    estimator = Lasso(alpha=1e-3, max_iter=12, tol=0)  # each iteration depends only on the coefficients
    data = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(data[0]), data[1]
    reports, _ = curve(estimator, X=X, y=y, resource="growth", levels=3, cv=2)
    scores = [cross_val_score(clone(estimator).set_params(max_iter=n), X, y, cv=2).mean() for n in (4, 8, 12)]
    assert [r.value for r in reports] == pytest.approx(scores, abs=1e-12)
    assert abs(scores[2] - scores[1]) > 1e-6


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", [HuberRegressor(max_iter=20), PoissonRegressor(max_iter=8)], ids=str)
def test_a_solver_that_forgets_its_state_ends_with_the_score_of_an_ordinary_fit(estimator: Any) -> None:
    X, y = load_diabetes(return_X_y=True)
    reports, _ = curve(estimator, X=X, y=y, resource="growth", levels=4, cv=2)
    assert reports[-1].value == cross_val_score(estimator, X, y, cv=2).mean()
    assert len({report.value for report in reports}) == 4


@pytest.mark.parametrize(
    ("model", "scoring"),
    [
        (SGDClassifier(loss="log_loss"), None),
        (SGDOneClassSVM(), lambda model, X, *_: model.score_samples(X).mean()),
        (SGDRegressor(), None),
    ],
    ids=lambda part: type(part).__name__,
)
def test_epochs_by_partial_fit_are_the_epochs_of_fit(model: Any, scoring: Any) -> None:
    model = clone(model).set_params(shuffle=False, tol=None, max_iter=6, random_state=0)
    estimator = make_pipeline(StandardScaler(), model)
    reports, _ = curve(estimator, resource="growth", levels=3, cv=SPLIT, scoring=scoring)
    assert len(reports) == 3
    for report in reports:
        fresh = make_pipeline(StandardScaler(), clone(model).set_params(max_iter=2 * report.step))
        expected = cross_val_score(fresh, X, y, cv=SPLIT, scoring=scoring)[0]
        assert report.value == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_tuned_size_is_the_full_size() -> None:
    forest = RandomForestClassifier(max_depth=2, random_state=3)
    reports, _ = curve(forest, {"n_estimators": 4}, resource="growth", levels=9, report_at=[3, 5])
    expected = [cross_val_score(clone(forest).set_params(n_estimators=n), X, y, cv=SPLIT)[0] for n in (2, 3, 4)]
    assert [r.step for r in reports] == [3, 5, 9]
    assert [r.value for r in reports] == expected


def test_a_model_smaller_than_the_number_of_steps_keeps_its_size_in_some() -> None:
    forest = RandomForestClassifier(2, max_depth=2, random_state=3)
    reports, _ = curve(forest, resource="growth", levels=4)
    expected = [cross_val_score(clone(forest).set_params(n_estimators=n), X, y, cv=SPLIT)[0] for n in (1, 1, 2, 2)]
    assert [r.value for r in reports] == expected


def test_a_model_from_choices_grows() -> None:
    table = {"forest": RandomForestClassifier(20), "svc": SVC()}
    chosen = SklearnEvaluator(choices={"model": table}, X=X, y=y, cv=SPLIT, resource="growth", levels=4)
    alone = SklearnEvaluator(estimator=RandomForestClassifier(20), X=X, y=y, cv=SPLIT, resource="growth", levels=4)
    reports, _ = finish(chosen.evaluate(TrialContext({"model": "forest"})))
    plain, _ = finish(alone.evaluate(TrialContext({})))
    assert [(r.step, r.value) for r in reports] == [(r.step, r.value) for r in plain]
    assert len(reports) == 4
    assert len(finish(chosen.evaluate(TrialContext({"model": "svc"})))[0]) == 1


@pytest.mark.parametrize("model", [AdaBoostClassifier(n_estimators=3, random_state=0), SVC()], ids=str)
def test_a_model_that_cannot_grow_reports_once_at_the_end(model: Any) -> None:
    reports, result = curve(make_pipeline(StandardScaler(), model), resource="growth")
    expected = cross_val_score(make_pipeline(StandardScaler(), model), X, y, cv=SPLIT)[0]
    assert [(r.step, r.value) for r in reports] == [(9, expected)]
    assert result["value"] == expected


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier((5,), max_iter=20, early_stopping=True),
        Perceptron(class_weight="balanced"),
        SGDClassifier(early_stopping=True),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_whose_parameters_rule_out_epochs_reports_once(estimator: Any) -> None:
    reports, _ = curve(estimator, resource="growth")
    expected = cross_val_score(clone(estimator).set_params(random_state=0), X, y, cv=SPLIT)[0]
    assert [(r.step, r.value) for r in reports] == [(9, expected)]
    with pytest.raises(ValueError, match="partial_fit"):
        curve(estimator, resource="growth", grow="partial_fit")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("estimator", "scoring"),
    [
        (LatentDirichletAllocation(3, random_state=0), None),
        (MiniBatchDictionaryLearning(3, max_iter=5, random_state=0), reconstruction),
        (MiniBatchKMeans(3, random_state=0), None),
        (MiniBatchNMF(3, random_state=0), reconstruction),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_model_whose_partial_fit_is_no_epoch_reports_once(estimator: Any, scoring: Any) -> None:
    reports, _ = curve(estimator, y=None, cv=SHUFFLED, resource="growth", scoring=scoring)
    with threadpool_limits(1):
        expected = cross_val_score(estimator, X, cv=SHUFFLED, scoring=scoring)[0]
    assert [(r.step, r.value) for r in reports] == [(9, expected)]
    steps, _ = curve(estimator, y=None, cv=SHUFFLED, resource="growth", scoring=scoring, grow="partial_fit")
    assert len(steps) == 9


def test_gradient_boosting_with_early_stopping_reports_once() -> None:
    estimator = GradientBoostingClassifier(n_iter_no_change=2, learning_rate=0.5, random_state=0)
    reports, _ = curve(estimator, resource="growth")
    assert [(r.step, r.value) for r in reports] == [(9, cross_val_score(estimator, X, y, cv=SPLIT)[0])]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_for_several_labels_grows_by_epochs() -> None:
    labels = np.stack([y == 0, X[:, 0] > 6, X[:, 1] > 3], axis=1).astype(int)
    network = MLPClassifier((8,), max_iter=30, tol=0, n_iter_no_change=30, learning_rate_init=0.01, random_state=0)
    reports, _ = curve(network, y=labels, cv=3, resource="growth", levels=3)
    expected = [cross_val_score(clone(network).set_params(max_iter=n), X, labels, cv=3).mean() for n in (10, 20, 30)]
    assert [r.value for r in reports] == expected


def test_an_optimiser_stopped_early_issues_no_warning_and_a_network_learns() -> None:
    data: dict[str, Any] = {"X": load_digits().data / 16, "y": load_digits().target}
    reports, _ = curve(LogisticRegression(max_iter=200), resource="growth", levels=20, **data)
    assert reports[-1].value > 0.9
    with pytest.warns(ConvergenceWarning):  # of the full number of iterations, as in an ordinary fit
        curve(LogisticRegression(max_iter=50), resource="growth", levels=5, **data)
    network = MLPClassifier(hidden_layer_sizes=(20,), max_iter=10)
    reports, _ = curve(network, resource="growth", levels=5, **data)
    assert reports[0].value < reports[-1].value


@pytest.mark.parametrize(
    ("estimator", "how", "message"),
    [
        (SGDClassifier(max_iter=2.5), "max_iter", "the parameter must be an int >= 1. Got 2.5."),
        (SVC(), "n_estimators", "SVC cannot grow by n_estimators: it needs the parameters 'n_estimators' and"),
        (SVC(), "partial_fit", "SVC cannot grow by partial_fit: it has no such method."),
        (RandomForestClassifier(n_estimators=0), "n_estimators", "the parameter must be an int >= 1. Got 0."),
    ],
)
def test_impossible_growth_is_refused(estimator: Any, how: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        curve(estimator, resource="growth", grow=how)
    assert message in str(caught.value)
    evaluator = SklearnEvaluator(estimator=estimator, X=X, y=y, resource="growth", grow=how)
    with pytest.raises(UsageError) as beforehand:
        evaluator.check(Space({"verbose": [0]}), {"value": "maximize"})
    assert str(beforehand.value) == str(caught.value)


def test_a_model_without_max_iter_can_grow_by_epochs() -> None:
    reports, _ = curve(MultinomialNB(), resource="growth", grow="partial_fit", levels=3)
    assert len(reports) == 3


def test_training_subsets_are_nested_paired_and_end_with_all_rows() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, resource="subsets", cv=3)
    shared = evaluator.shared(("value",))
    parts = [shared._subset(step, 9) for step in (1, 3, 9)]
    for i, (train, test) in enumerate(shared.folds.splits):
        sizes = [len(part.splits[i][0]) for part in parts]
        assert sizes == [-(-len(train) // 9), -(-len(train) // 3), len(train)]
        for small, large in itertools.pairwise(parts):
            assert set(small.splits[i][0]) <= set(large.splits[i][0])
        assert all((part.splits[i][1] == test).all() for part in parts)
        assert [sorted(np.bincount(y[part.splits[i][0]], minlength=3)) for part in parts[:2]] == [
            sorted(np.bincount(np.arange(sizes[0]) % 3)),
            sorted(np.bincount(np.arange(sizes[1]) % 3)),
        ]


def test_each_level_of_a_subset_curve_is_the_score_of_that_subset() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, resource="subsets", cv=3)
    reports, result = finish(evaluator.evaluate(TrialContext(params={"C": 2.0})))
    assert [r.step for r in reports] == [1, 3, 9]
    for report in reports:
        folds = evaluator.shared(("value",))._subset(report.step, 9).splits
        assert report.value == cross_val_score(SVC(C=2.0), X, y, cv=list(folds)).mean()
    assert result["value"] == cross_val_score(SVC(C=2.0), X, y, cv=3).mean()
    again, _ = finish(
        SklearnEvaluator(estimator=SVC(), X=X, y=y, resource="subsets", cv=3).evaluate(TrialContext(params={"C": 2.0}))
    )
    assert [r.value for r in again] == [r.value for r in reports]


def test_subsets_of_a_time_series_are_its_latest_rows() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, resource="subsets", cv=TimeSeriesSplit(2), report_at=[1])
    train, _ = evaluator.shared(("value",))._subset(1, 9).splits[0]
    assert train.tolist() == list(range(44, 50))


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=5), seed=st.integers(0, 2**32 - 1))
def test_every_prefix_of_the_order_is_a_fair_sample(counts: list[int], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    order = nested_order(len(labels), labels, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(labels)))
    for size in range(len(counts), len(labels) + 1):
        seen = np.bincount(labels[order[:size]], minlength=len(counts))
        share = np.array(counts) * size / len(labels)
        assert (seen >= 1).all()
        assert (np.abs(seen - share) <= len(counts) + 1).all()


def test_without_classes_the_order_is_a_random_permutation() -> None:
    orders = [nested_order(20, None, np.random.default_rng(seed)) for seed in range(20)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({order[0] for order in orders}) > 5


def test_evidence_steps_and_resumable_match_the_reports() -> None:
    folds = SklearnEvaluator(estimator=SVC(), X=X, y=y)
    assert (folds.evidence, folds.steps, folds.resumable) == ("folds", 5, True)
    levels = SklearnEvaluator(estimator=SVC(), X=X, y=y, resource="subsets", levels=27)
    assert (levels.evidence, levels.steps) == ("curve", 27)
    assert levels.report_steps == [1, 3, 9, 27]
    assert len(levels.split_data.folds) == 1
    regression = SklearnEvaluator(estimator="sklearn.linear_model:Ridge", X=X, y=y, resource="growth")
    assert isinstance(regression.split_data.splitter, ShuffleSplit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"report_at": [0]}, "report_at: Steps go from 1 to 9. Got 0."),
        ({"grow": "max_iter"}, "grow: Needs resource = \"growth\". Got 'folds'."),
        ({"metadata_routing": True, "resource": "growth"}, "resource: Growing models do not support metadata"),
    ],
)
def test_invalid_options_of_growth_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SklearnEvaluator(estimator=SVC(), X=X, y=y, **options)
    assert str(caught.value).startswith(message)


def test_weights_reach_the_step_that_grows() -> None:
    weights = np.linspace(0.01, 3, 150)
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=6, max_depth=1, random_state=0))
    fit_params = {"randomforestclassifier__sample_weight": weights}
    reports, _ = curve(pipeline, resource="growth", levels=2, fit_params=fit_params)
    assert reports[-1].value == cross_val_score(pipeline, X, y, cv=SPLIT, params=fit_params)[0]
    for name in ("sample_weight", "forest__sample_weight"):
        with pytest.raises(UsageError, match="must be written step__name"):
            curve(pipeline, resource="growth", fit_params={name: weights})


def test_the_space_of_a_growing_model_is_checked() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, resource="growth")
    with pytest.raises(UsageError, match="Did you mean 'C'"):
        evaluator.check(Space({"c": [1.0]}), {"value": "maximize"})


def test_multilabel_targets_are_split_without_stratification() -> None:
    labels = np.stack([y == 0, X[:, 0] > 6], axis=1).astype(int)
    reports, _ = curve("sklearn.neighbors:KNeighborsClassifier", y=labels, resource="subsets", holdout=0.2)
    assert [r.step for r in reports] == [1, 3, 9]
