"""The specifications of an estimator, and the estimators that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from hpt_core import UsageError
from hpt_core.study.sources import digests
from hpt_evaluator_sklearn.estimators.recipe import Recipe, make_recipe, seed_random_states
from hpt_evaluator_sklearn.estimators.specifications import resolve_estimator
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

SVM = "sklearn.svm:SVC"


def accuracy(estimator: Any, X: Any, y: Any) -> float:
    """A scorer."""
    return float(estimator.score(X, y))


def text_pipeline() -> Pipeline:
    """A factory that a specification names."""
    return make_pipeline(TfidfVectorizer(), LogisticRegression())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SVM, SVC()),
        (SVC, SVC()),
        (SVC(C=3), SVC(C=3)),
        ({"use": SVM, "C": 2.0, "kernel": "linear"}, SVC(C=2.0, kernel="linear")),
        (f"{__name__}:text_pipeline", text_pipeline()),
        (
            {
                "use": "sklearn.multiclass:OneVsRestClassifier",
                "estimator": {"use": "sklearn.linear_model:LogisticRegression", "solver": "liblinear"},
            },
            OneVsRestClassifier(estimator=LogisticRegression(solver="liblinear")),
        ),
        (
            [["scale", "sklearn.preprocessing:StandardScaler"], ["none", "passthrough"], ["svm", SVC(C=3)]],
            Pipeline([("scale", StandardScaler()), ("none", "passthrough"), ("svm", SVC(C=3))]),
        ),
        (
            {"use": "sklearn.preprocessing:MinMaxScaler", "feature_range": [0, 2]},
            MinMaxScaler(feature_range=(0, 2)),
        ),
        (
            {
                "use": "sklearn.feature_selection:SelectKBest",
                "score_func": {"import": "sklearn.feature_selection:mutual_info_classif"},
            },
            SelectKBest(score_func=mutual_info_classif),
        ),
        (
            {
                "use": "sklearn.compose:ColumnTransformer",
                "transformers": [["num", {"use": "sklearn.preprocessing:StandardScaler"}, ["a", "b"]]],
                "remainder": "drop",
            },
            ColumnTransformer([("num", StandardScaler(), ["a", "b"])], remainder="drop"),
        ),
        ([["scale", None], ["svm", SVM]], Pipeline([("scale", None), ("svm", SVC())])),
    ],
)
def test_every_specification_makes_the_expected_estimator(spec: Any, expected: Any) -> None:
    made = resolve_estimator(spec)
    assert repr(made) == repr(expected)
    assert type(made) is type(expected)
    assert made is not spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sklearn.svm:SVX", "has no 'SVX'. Did you mean 'SV"),
        ("sklearn.svn:SVC", "there is no module 'sklearn.svn'"),
        ("sklearn.svm.SVC", "Did you mean 'sklearn.svm:SVC'?"),
        ("SVC", "Did you mean 'sklearn.svm:SVC'?"),
        (
            {"use": SVM, "kernal": "rbf"},
            "estimator.kernal: SVC has no parameter 'kernal'. Did you mean 'kernel'?",
        ),
        ({"C": 1}, 'needs a key `use = "module:Class"`'),
        ("math:pi", "Must give an estimator with fit and get_params. Got 3.14"),
        (3, "Must give an estimator"),
        ([["scale"]], 'estimator[0]: Must be ["name", estimator]'),
        ({"use": "sklearn.compose:ColumnTransformer"}, "ColumnTransformer cannot be made"),
        (
            {"use": "sklearn.multiclass:OneVsRestClassifier", "estimator": SVM},
            f'estimator.estimator: Is a string. Write {{ use = "{SVM}" }} for the estimator',
        ),
        (
            {"use": "sklearn.pipeline:Pipeline", "steps": [["svm", SVM]]},
            f'estimator.steps[0][1]: Is a string. Write {{ use = "{SVM}" }}',
        ),
    ],
    ids=repr,
)
def test_an_invalid_specification_is_refused_with_path_and_remedy(spec: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_estimator(spec)
    assert message in str(caught.value)
    assert str(caught.value).startswith("estimator")


def test_the_users_object_is_never_changed() -> None:
    given = Pipeline([("svm", SVC(C=3))])
    Recipe(given).build({"svm__C": 5.0}, seed=1)
    assert given.get_params()["svm__C"] == 3
    assert given.get_params()["svm__random_state"] is None


def test_random_states_are_set_at_every_depth_unless_the_user_has_set_them() -> None:
    estimator = make_pipeline(BaggingClassifier(RandomForestClassifier(random_state=5)), RandomForestClassifier())
    seed_random_states(estimator, 7)
    states = {k: v for k, v in estimator.get_params().items() if k.endswith("random_state")}
    assert states == {
        "baggingclassifier__random_state": 7,
        "baggingclassifier__estimator__random_state": 5,
        "randomforestclassifier__random_state": 7,
    }


def test_lists_become_tuples_if_the_estimator_has_a_tuple() -> None:
    assert Recipe(TfidfVectorizer()).build({"ngram_range": [1, 2]}).ngram_range == (1, 2)
    assert Recipe(MLPClassifier()).build({"hidden_layer_sizes": [5, 5]}).hidden_layer_sizes == (5, 5)
    assert Recipe(SVC()).build({"class_weight": [1]}).class_weight == [1]


@pytest.mark.parametrize("value", ["none", 1])
def test_the_text_given_as_none_stands_for_none(value: Any) -> None:
    options: dict[str, Any] = {"pipeline": [["tree", "sklearn.tree:DecisionTreeClassifier"]], "none": "none"}
    recipe = SklearnEvaluator(data="sklearn.datasets:load_iris", **options).recipe
    assert recipe.build({"tree__max_depth": value}).get_params()["tree__max_depth"] == {"none": None}.get(value, value)
    assert Recipe(SVC()).build({"class_weight": "none"}).class_weight == "none"


def test_a_chosen_step_is_a_new_copy_and_takes_its_own_parameters() -> None:
    tables = {"model": {"svm": SVC(), "forest": {"use": "sklearn.ensemble:RandomForestClassifier", "n_jobs": 1}}}
    recipe = make_recipe(None, [["scale", StandardScaler()], "model"], tables, {"depth": "model__max_depth"})
    assert isinstance(recipe.template[-1], SVC)
    one = recipe.build({"model": "forest", "depth": 3})
    other = recipe.build({"model": "forest", "depth": 4})
    assert (one[-1].max_depth, other[-1].max_depth, one[-1].n_jobs) == (3, 4, 1)
    assert recipe.build({"model": None})[-1] is None
    assert recipe.build({"model": "passthrough"})[-1] == "passthrough"


def test_choices_alone_make_a_pipeline_of_one_step() -> None:
    recipe = make_recipe(None, None, {"algorithm": {"svm": SVM, "true": "sklearn.dummy:DummyClassifier"}}, {})
    assert isinstance(recipe.build({"algorithm": "svm", "algorithm__C": 4.0}), Pipeline)
    assert type(recipe.build({"algorithm": True})[0]).__name__ == "DummyClassifier"


def test_a_nested_part_can_be_a_choice() -> None:
    bagging = BaggingClassifier(estimator=LogisticRegression())
    recipe = make_recipe(Pipeline([("bag", bagging)]), None, {"inner": {"svm": SVM}}, {"inner": "bag__estimator"})
    built = recipe.build({"bag__estimator__C": 9.0, "inner": "svm"})
    assert repr(built[0].estimator) == "SVC(C=9.0)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "evaluator.estimator: Give `estimator`, or `pipeline`"),
        (
            {"estimator": SVM, "pipeline": [["a", SVM]]},
            "evaluator.estimator: Give `estimator`, or `pipeline`",
        ),
        ({"pipeline": ["model"]}, 'evaluator.pipeline[0]: Has no estimator: write it as ["model", estimator]'),
        ({"choices": {"model": {"svm": "sklearn.svm:SVX"}}}, "evaluator.choices.model.svm: Cannot import"),
    ],
    ids=repr,
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"estimator": None, "pipeline": None, "choices": {}, "names": {}} | options
    with pytest.raises(UsageError) as caught:
        make_recipe(**given)
    assert str(caught.value).startswith(message)


def test_two_active_parameters_with_one_target_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Recipe(SVC(), names={"a": "C"}).build({"a": 1.0, "C": 2.0})
    assert str(caught.value) == "space.C: Another active parameter sets 'C' too."


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ({"estimator": "mine:model"}, "mine.py"),
        ({"pipeline": [["scale", StandardScaler()], ["model", {"use": "mine:model"}]]}, "mine.py"),
        ({"pipeline": ["model"], "choices": {"model": {"svm": SVC(), "mine": "mine:model"}}}, "mine.py"),
        ({"estimator": SVC(), "data": {"use": "mine:data"}}, "mine.py"),
        ({"estimator": SVC(), "cv": "mine:Splitter"}, "mine.py"),
        ({"estimator": SVC(), "scoring": accuracy}, Path(__file__).name),
    ],
)
def test_the_files_of_the_user_are_those_that_the_options_name(
    options: dict[str, Any], file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study that is resumed reports which of them have changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").touch()
    assert [Path(name).name for name in digests(SklearnEvaluator(**options))] == [file]
