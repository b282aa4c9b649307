"""Fitted transformers are shared between trials without any effect on the scores."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.metrics import get_scorer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from hpt_core import TrialContext
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator
from hpt_evaluator_sklearn.fitting.transformers import TransformerCache, is_plain, step_key

X, y = load_iris(return_X_y=True)
WORDS = np.array(["red apple", "green pear", "blue plum", "dark night"])
TEXTS = [f"{WORDS[i % 4]} {WORDS[(i * 7 + i // 3) % 4]}" for i in range(120)]
LABELS = np.arange(120) % 4


class Counting(TransformerMixin, BaseEstimator):
    """A scaler that counts its fits."""

    fits: ClassVar[list[int]] = []

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def fit(self, X: Any, y: Any = None) -> Counting:
        self.mean_ = np.mean(X, axis=0)
        self.fits.append(1)
        return self

    def transform(self, X: Any) -> Any:
        return (X - self.mean_) * self.factor


class Vandal(ClassifierMixin, BaseEstimator):
    """Writes to the rows that it is given."""

    def fit(self, X: Any, y: Any) -> Vandal:
        self.classes_ = np.unique(y)
        if hasattr(X, "data") and hasattr(X, "tocsr"):
            X.data[:] = 0
        else:
            X[:] = 0
        return self

    def predict(self, X: Any) -> Any:
        return np.full(X.shape[0], self.classes_[0])


def doubled(rows: Any) -> Any:
    return rows * 2


def text_of(frame: Any) -> Any:
    return frame["text"]


def closure(factor: float) -> Any:
    """A function whose result depends on a captured variable."""
    return lambda rows: rows * factor


def asking(transformer: Any) -> Any:
    """The transformer with a metadata request, which is not among its parameters."""
    with sklearn.config_context(enable_metadata_routing=True):
        return transformer.set_fit_request(sample_weight=True)


def scores(evaluator: SklearnEvaluator, **params: Any) -> list[float]:
    return [report.value for report in evaluator.evaluate(TrialContext(params=params))]


def test_a_transformer_is_fitted_once_per_fold_and_content() -> None:
    pipeline = Pipeline([("c", Counting()), ("model", SVC())])
    evaluator = SklearnEvaluator(estimator=pipeline, X=X, y=y, cv=3)
    Counting.fits.clear()
    for C in (0.1, 1.0, 10.0):
        expected = cross_val_score(clone(pipeline).set_params(model__C=C), X, y, cv=3).tolist()
        Counting.fits.clear()
        assert scores(evaluator, model__C=C) == expected
        assert len(Counting.fits) == (3 if C == 0.1 else 0)
    assert (
        scores(evaluator, c__factor=2.0)
        == cross_val_score(clone(pipeline).set_params(c__factor=2.0), X, y, cv=3).tolist()
    )
    Counting.fits.clear()
    scores(evaluator, c__factor=2.0, model__C=5.0)
    assert Counting.fits == []


def test_without_a_cache_every_transformer_is_fitted() -> None:
    evaluator = SklearnEvaluator(estimator=make_pipeline(Counting(), SVC()), X=X, y=y, cv=3, cache_mb=0)
    Counting.fits.clear()
    scores(evaluator)
    scores(evaluator)
    assert len(Counting.fits) == 6


def test_trials_with_a_fit_time_as_objective_share_no_transformers() -> None:
    evaluator = SklearnEvaluator(estimator=make_pipeline(Counting(), SVC()), X=X, y=y, cv=3)
    Counting.fits.clear()
    for _ in range(2):
        list(evaluator.evaluate(TrialContext(params={}, objectives=("accuracy", "fit_time"))))
    assert len(Counting.fits) == 6


@pytest.mark.parametrize(
    "pipeline",
    [
        make_pipeline(StandardScaler(), PCA(2, random_state=0), SVC()),
        make_pipeline(SelectKBest(f_classif, k=2), MinMaxScaler(), SVC()),
        make_pipeline(ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2])]), SVC()),
        make_pipeline(FunctionTransformer(np.log1p), SVC()),
        make_pipeline(FunctionTransformer(lambda rows: rows * 2), SVC()),
        make_pipeline(FunctionTransformer(closure(2)), StandardScaler(), SVC()),
        make_pipeline("passthrough", StandardScaler(copy=False), SVC()),
        make_pipeline(make_pipeline(StandardScaler(), PCA(3, random_state=1)), SVC()),
    ],
    ids=["pca", "select", "columns", "function", "lambda", "closure", "in-place", "nested"],
)
def test_scores_equal_cross_val_score_with_an_empty_and_a_filled_cache(pipeline: Any) -> None:
    evaluator = SklearnEvaluator(estimator=pipeline, X=X, y=y)
    expected = cross_val_score(pipeline, X, y).tolist()
    for _ in range(2):
        assert scores(evaluator) == expected


def test_sparse_rows_are_shared_and_protected() -> None:
    models: dict[str, Any] = {"vandal": Vandal(), "svm": LinearSVC(random_state=0)}
    evaluator = SklearnEvaluator(
        pipeline=[["words", TfidfVectorizer()], "model"],
        choices={"model": models},
        params={"grams": "words__ngram_range"},
        X=TEXTS,
        y=LABELS,
        cv=3,
    )
    for grams in ([1, 1], [1, 2], [1, 1]):
        for name in ("vandal", "svm", "vandal", "svm"):
            pipeline = make_pipeline(TfidfVectorizer(ngram_range=tuple(grams)), clone(models[name]))
            expected = cross_val_score(pipeline, TEXTS, LABELS, cv=3).tolist()
            assert scores(evaluator, model=name, grams=grams) == expected
    cache = evaluator.shared(("value",)).cache
    assert cache is not None
    assert cache.hits >= 9


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_between_steps_are_shared(library: str) -> None:
    pipeline = make_pipeline(StandardScaler(), SVC()).set_output(transform=library)
    evaluator = SklearnEvaluator(estimator=pipeline, X=X, y=y, cv=3)
    for C in (0.1, 1.0):
        expected = cross_val_score(clone(pipeline).set_params(svc__C=C), X, y, cv=3).tolist()
        assert scores(evaluator, svc__C=C) == expected
    cache = evaluator.shared(("value",)).cache
    assert cache is not None
    assert cache.hits == 3


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_between_steps_is_shared(library: str) -> None:
    frame = pytest.importorskip(library).DataFrame({"text": TEXTS})
    pipeline = make_pipeline(FunctionTransformer(text_of), TfidfVectorizer(), LinearSVC(random_state=0))
    evaluator = SklearnEvaluator(estimator=pipeline, X=frame, y=LABELS, cv=3)
    expected = cross_val_score(pipeline, frame, LABELS, cv=3).tolist()
    assert scores(evaluator) == scores(evaluator) == expected
    cache = evaluator.shared(("value",)).cache
    assert cache is not None
    assert cache.hits == 6


def test_dense_rows_are_protected() -> None:
    models: dict[str, Any] = {"vandal": Vandal(), "svm": SVC()}
    evaluator = SklearnEvaluator(pipeline=[["scale", StandardScaler()], "model"], choices={"model": models}, X=X, y=y)
    for name in ("vandal", "svm", "vandal", "svm"):
        expected = cross_val_score(make_pipeline(StandardScaler(), models[name]), X, y).tolist()
        assert scores(evaluator, model=name) == expected


def test_scoring_the_training_rows_does_not_change_shared_rows() -> None:
    """The first step writes to the rows that it is given, and returns them."""
    pipeline, rows = make_pipeline(StandardScaler(with_mean=False, copy=False), SVC()), csr_array(X)
    evaluator = SklearnEvaluator(estimator=pipeline, X=rows, y=y, return_train_score=True)
    for C in (0.01, 1.0, 10.0):
        expected = cross_val_score(clone(pipeline).set_params(svc__C=C), rows, y)
        assert scores(evaluator, svc__C=C) == expected.tolist()


def test_fit_arguments_reach_their_steps() -> None:
    weights = np.linspace(0.01, 2, 150)
    pipeline = Pipeline([("scale", StandardScaler()), ("svm", SVC(C=0.05))])
    params = {"svm__sample_weight": weights, "scale__sample_weight": weights}
    evaluator = SklearnEvaluator(estimator=pipeline, X=X, y=y, fit_params=params)
    expected = cross_val_score(pipeline, X, y, params=params).tolist()
    assert scores(evaluator) == scores(evaluator) == expected


def test_steps_without_metadata_are_shared_with_routing() -> None:
    weights = np.linspace(0.01, 2, 150)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(Counting(), SVC().set_fit_request(sample_weight=True))
        scorer = get_scorer("accuracy").set_score_request(sample_weight=False)
        given = {"sample_weight": weights}
        evaluator = SklearnEvaluator(estimator=pipeline, X=X, y=y, cv=3, scoring=scorer, fit_params=given)
        for C in (0.1, 10.0):
            changed = clone(pipeline).set_params(svc__C=C)
            expected = cross_val_score(changed, X, y, cv=3, scoring=scorer, params=given).tolist()
            Counting.fits.clear()
            assert scores(evaluator, svc__C=C) == expected
            assert len(Counting.fits) == (3 if C == 0.1 else 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (StandardScaler(), StandardScaler(), True),
        (StandardScaler(), StandardScaler(with_mean=False), False),
        (StandardScaler(), MinMaxScaler(), False),
        (PCA(2, random_state=1), PCA(2, random_state=1), True),
        (PCA(1, random_state=1), PCA(True, random_state=1), False),
        (PCA(1, random_state=1), PCA(1.0, random_state=1), False),
        (SelectKBest(f_classif), SelectKBest(f_classif), True),
        (SelectKBest(f_classif, k=np.int64(1)), SelectKBest(f_classif, k=np.int64(2)), False),
        (StandardScaler(), StandardScaler().set_output(transform="pandas"), False),
        (FunctionTransformer(np.log1p), FunctionTransformer(np.exp), False),
        (FunctionTransformer(np.log1p), FunctionTransformer(np.log1p), True),
        (FunctionTransformer(np.sort), FunctionTransformer(doubled), False),
        (FunctionTransformer(kw_args={"a": PCA}), FunctionTransformer(kw_args={"a": MinMaxScaler}), False),
        (FunctionTransformer(kw_args={"a": [1]}), FunctionTransformer(kw_args={"a": (1,)}), False),
        (FunctionTransformer(kw_args={"a": 1}), FunctionTransformer(kw_args={"a": True}), False),
        (FunctionTransformer(kw_args={"a": np.ones(2)}), FunctionTransformer(kw_args={"a": np.ones(2)}), True),
        (FunctionTransformer(kw_args={"a": np.ones(2)}), FunctionTransformer(kw_args={"a": np.ones(3)}), False),
        (
            make_pipeline(StandardScaler(), MinMaxScaler()),
            make_pipeline(StandardScaler(), MinMaxScaler((0, 2))),
            False,
        ),
    ],
)
def test_the_key_is_the_content(one: Any, other: Any, same: bool) -> None:
    assert step_key(one) is not None
    assert (step_key(one) == step_key(other)) is same
    assert step_key(one) == step_key(clone(one))


@pytest.mark.parametrize(
    "transformer",
    [
        PCA(2),
        PCA(2, random_state=np.random.RandomState(0)),
        FunctionTransformer(closure(2)),
        FunctionTransformer(object()),
        make_pipeline(StandardScaler(), PCA(2)),
        asking(StandardScaler()),
        ColumnTransformer([("a", np.array([StandardScaler()]), [0])]),
    ],
    ids=["random", "random-state", "closure", "object", "nested", "metadata", "object array"],
)
def test_random_or_incomparable_transformers_are_never_shared(transformer: Any) -> None:
    assert step_key(transformer) is None


def test_the_cache_stays_within_its_limit() -> None:
    cache = TransformerCache(limit=1000)
    rows = np.zeros(50)
    for i in range(5):
        cache.put((i,), StandardScaler(), rows.copy())
    assert [cache.get((i,)) is not None for i in range(5)] == [False, False, False, True, True]
    cache.put(("big",), StandardScaler(), np.zeros(500))
    assert cache.get(("big",)) is None
    cache.get((3,))
    cache.put((5,), StandardScaler(), rows.copy())
    assert [cache.get((i,)) is not None for i in (3, 4, 5)] == [True, False, True]
    assert cache._size <= 1000


def test_rows_of_an_unknown_type_are_not_cached() -> None:
    cache = TransformerCache(limit=1000)
    rows = ["a", "b"]
    assert cache.put(("list",), StandardScaler(), rows) is rows
    assert cache.get(("list",)) is None


def test_only_a_pipeline_that_just_fits_its_steps_is_plain() -> None:
    assert is_plain(make_pipeline(StandardScaler(), SVC()))
    assert not is_plain(make_pipeline(StandardScaler(), SVC(), memory="somewhere"))
    assert is_plain(make_pipeline(SVC()))
    assert not is_plain(Pipeline([]))
    assert not is_plain(make_pipeline(StandardScaler(), "passthrough"))
    assert not is_plain(type("Mine", (Pipeline,), {})([("a", StandardScaler()), ("b", SVC())]))
    assert not is_plain(SVC())
