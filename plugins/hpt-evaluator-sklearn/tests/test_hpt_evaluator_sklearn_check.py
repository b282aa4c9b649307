"""The user's mistakes are found before the first trial, all at once, each with its key path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, PredefinedSplit, StratifiedKFold, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from hpt_core import Space, UsageError
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

IRIS = "sklearn.datasets:load_iris"
STUDY: dict[str, Any] = {
    "pipeline": [["scale", "sklearn.preprocessing:StandardScaler"], "model"],
    "choices": {"model": {"svm": "sklearn.svm:SVC", "forest": {"use": "sklearn.ensemble:RandomForestClassifier"}}},
    "params": {"C": "model__C", "depth": "model__max_depth"},
    "data": IRIS,
}
SPACE: dict[str, Any] = {
    "model": ["svm", "forest"],
    "C": {"low": 0.1, "high": 10.0, "when": {"model": "svm"}},
    "depth": {"low": 2, "high": 9, "when": {"model": "forest"}},
}


def mistakes(space: dict[str, Any], objectives: dict[str, str] | None = None, **options: Any) -> list[str]:
    evaluator = SklearnEvaluator(**options)
    try:
        evaluator.check(Space(space), objectives or {"accuracy": "maximize"})
    except UsageError as err:
        return [str(mistake) for mistake in err.mistakes]
    return []


def test_a_study_without_mistakes_passes() -> None:
    assert mistakes(SPACE, **STUDY) == []
    assert mistakes({"C": [1.0, 2.0], "kernel": "linear"}, estimator=SVC(), data=IRIS) == []


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"CC": [1.0]}, "space.CC: SVC has no parameter 'CC'. Did you mean 'C'?"),
        ({"svc__C": [1.0]}, "space.svc__C: SVC has no parameter 'svc__C'. Did you mean 'C'?"),
        ({"kernel__x": [1.0]}, "space.kernel__x: 'kernel__x': 'kernel' is 'rbf', which has no parameters."),
    ],
)
def test_a_parameter_that_the_estimator_lacks_is_refused(space: dict[str, Any], message: str) -> None:
    assert mistakes(space, estimator=SVC(), data=IRIS) == [message]


@pytest.mark.parametrize("now", ["sklearn.dummy:DummyClassifier", "passthrough"])
@pytest.mark.parametrize(
    ("value", "stands_for"), [("sklearn.svm.SVC", "sklearn.svm:SVC"), ("sklearn.svm:SVC", "sklearn.svm:SVC")]
)
def test_a_string_as_a_step_is_refused(now: str, value: str, stands_for: str) -> None:
    pipeline = [["scale", "sklearn.preprocessing:StandardScaler"], ["model", now]]
    found = mistakes({"model": [value, "passthrough"]}, pipeline=pipeline, data=IRIS)
    message = f"space.model: 'model' must be an estimator, which {value!r} is not. Give its estimator in "
    assert found == [f'{message}`choices.model`: {{ "{value}" = "{stands_for}" }}.']
    choices = {"model": {value: stands_for}}
    assert mistakes({"model": [value, "passthrough"]}, pipeline=pipeline, data=IRIS, choices=choices) == []
    assert mistakes({"scale": ["passthrough"]}, pipeline=[*pipeline[:1], ["model", stands_for]], data=IRIS) == []


def test_a_parameter_is_checked_under_every_choice_in_which_it_is_active() -> None:
    free = SPACE | {"C": {"low": 0.1, "high": 10.0}}
    found = mistakes(free, **STUDY)
    assert len(found) == 1
    assert found[0].startswith("space.C: RandomForestClassifier has no parameter 'C' (when model = 'forest').")
    wrong = SPACE | {"depth": {"low": 2, "high": 9, "when": {"model": "svm"}}}
    assert mistakes(wrong, **STUDY)[0].startswith("space.depth: SVC has no parameter 'max_depth' (when model = 'svm')")


def test_conditions_of_parents_are_respected() -> None:
    space = SPACE | {
        "kernel": {"choices": ["rbf", "poly"], "when": {"model": "svm"}},
        "degree": {"low": 2, "high": 4, "when": {"kernel": "poly"}},
    }
    names = STUDY["params"] | {"kernel": "model__kernel", "degree": "model__degree"}
    assert mistakes(space, **(STUDY | {"params": names})) == []


def test_a_short_name_without_a_mapping_gets_a_hint_how_to_write_it() -> None:
    assert mistakes(SPACE, **(STUDY | {"params": {"depth": "model__max_depth"}})) == [
        ("space.C: Pipeline has no parameter 'C'. Did you mean 'model__C'? Then write `params = { C = \"model__C\" }`.")
    ]


def test_names_in_params_and_choices_must_be_in_the_space() -> None:
    space = {"modle": ["svm", "forest"], "model": ["svm", "forrest"]}
    found = mistakes(space, **(STUDY | {"params": {"D": "model__C"}}))
    assert found == [
        "evaluator.params.D: The space has no parameter 'D'.",
        "space.model: `choices.model` has no 'forrest'. Did you mean 'forest'? It has: svm, forest.",
    ]
    assert mistakes({"modle": ["svm"]}, **(STUDY | {"params": {}})) == [
        ("evaluator.choices.model: The space has no parameter 'model' to choose among these. Did you mean 'modle'?")
    ]
    emptied = {"params": {}, "choices": {"model": {}}, "pipeline": [["model", "sklearn.svm:SVC"]]}
    nothing = mistakes({"model": ["svm"]}, **(STUDY | emptied))
    assert nothing == ["space.model: `choices.model` has no 'svm'. It has: none."]


def test_the_text_for_none_must_be_in_the_space() -> None:
    tree: dict[str, Any] = {"estimator": "sklearn.tree:DecisionTreeClassifier", "data": IRIS}
    space = {"ccp_alpha": {"low": 0.0, "high": 1.0}, "max_depth": ["none", 5]}
    assert mistakes(space, none="none", **tree) == []
    assert mistakes(space, none="None", **tree) == [
        "evaluator.none: No parameter of an estimator has the value 'None' in the space. Did you mean 'none'?"
    ]


def test_choices_for_a_step_that_the_estimator_lacks_are_refused() -> None:
    pipeline = [["scale", "sklearn.preprocessing:StandardScaler"], ["model", "sklearn.svm:SVC"]]
    choices = {"modle": STUDY["choices"]["model"]}
    space = {"modle": ["svm", "forest"], "modle__C": {"low": 0.1, "high": 10.0, "when": {"modle": "svm"}}}
    assert mistakes(space, pipeline=pipeline, choices=choices, data=IRIS) == [
        "space.modle: Pipeline has no parameter 'modle'. Did you mean 'model'?"
    ]


def test_two_parameters_with_one_target_are_refused_unless_they_exclude_each_other() -> None:
    names = {"small": "model__max_features", "large": "model__max_features"}
    apart = {
        "model": ["svm", "forest"],
        "kind": {"choices": ["s", "l"], "when": {"model": "forest"}},
        "small": {"choices": [1, 2], "when": {"model": "forest", "kind": "s"}},
        "large": {"choices": [3, 4], "when": {"model": "forest", "kind": "l"}},
    }
    names_apart = names | {"kind": "model__criterion"}
    assert mistakes(apart, **(STUDY | {"params": names_apart})) == []
    both = {name: {"choices": [1, 2], "when": {"model": "forest"}} for name in names}
    assert mistakes({"model": ["svm", "forest"]} | both, **(STUDY | {"params": names})) == [
        "space.large: Sets 'model__max_features', as does 'small', and both can be active at once."
    ]


@pytest.mark.parametrize(
    ("objectives", "scoring", "message"),
    [
        (
            {"acuracy": "maximize"},
            None,
            "objective.acuracy: There is no scorer 'acuracy'. Did you mean 'accuracy'?",
        ),
        ({"accuracy": "minimize"}, None, "objective.accuracy: Is a scikit-learn score: greater is better"),
        ({"value": "minimize"}, None, "objective.value: Is a scikit-learn score: greater is better"),
        ({"neg_log_loss": "minimize"}, None, "The loss to minimise is called 'log_loss'."),
        ({"log_loss": "maximize"}, None, "Is a loss: minimise it, or maximise the scorer 'neg_log_loss'."),
        ({"rmse": "maximize"}, None, "maximise the scorer 'neg_root_mean_squared_error'."),
        ({"accuracy": "maximize"}, "f1_macro", "Name the objective 'f1_macro', or leave scoring out."),
        (
            {"quality": "maximize"},
            "f1_marco",
            "evaluator.scoring: There is no scorer 'f1_marco'. Did you mean",
        ),
        ({"quality": "maximize"}, accuracy_score, 'write it as { use = "sklearn.metrics:accuracy_score"'),
        ({"quality": "maximize"}, {"use": "sklearn.metrics:nope"}, "has no 'nope'"),
        ({"quality": "maximize"}, {"use": "sklearn.metrics:nope"}, "evaluator.scoring.use: "),
        ({"value": "maximize"}, {"f2": {"use": "sklearn.metrics:nope"}}, "evaluator.scoring.f2.use: "),
        ({"value": "maximize"}, {"a": "accuracy", "f2": "nope"}, "evaluator.scoring.f2: There is no scorer 'nope'."),
        (
            {"quality": "maximize"},
            {"use": "sklearn.metrics:fbeta_score", "betta": 2.0, "greater_is_better": True},
            "evaluator.scoring.betta: fbeta_score has no parameter 'betta'. Did you mean 'beta'?",
        ),
        (
            {"quality": "maximize"},
            {"use": "sklearn.metrics:f1_score", "response_method": 3},
            "evaluator.scoring: The 'response_method' parameter of make_scorer must be",
        ),
        ({"f2": "maximize"}, {"f2": {"beta": 2.0}}, 'evaluator.scoring.f2: Needs a key `use = "module:metric"`.'),
        ({"quality": "maximize"}, {}, "evaluator.scoring: The table of scorers is empty."),
        ({"quality": "maximize"}, [], "A list of scorers must contain names"),
        ({"quality": "maximize"}, 3, "Must be a scorer: a name or a callable. Got 3."),
        ({"roc_auk": "maximize"}, {"f1": "f1"}, "which are: f1. Did you mean 'roc_auc'?"),
        ({"quality": "maximize"}, ["f1"], "objective.quality: Is not one of the scores, which are: f1."),
        ({"a": "maximize", "b": "maximize"}, "accuracy", "objective.b: Is not one of the scores, which are: a."),
        ({"accuracy": "maximize", "fit_time": "maximize"}, None, "objective.fit_time: Is a time in seconds: minimise"),
        ({"accuracy": "maximize"}, {"fit_time": "r2"}, "evaluator.scoring.fit_time: Is measured with every fit."),
    ],
)
def test_objectives_and_scorers_are_checked(objectives: dict[str, str], scoring: Any, message: str) -> None:
    found = mistakes({"C": [1.0]}, objectives, estimator=SVC(), data=IRIS, scoring=scoring)
    assert len(found) == 1
    assert message in found[0]


def test_each_wrong_scorer_has_its_own_key() -> None:
    found = mistakes({"C": [1.0]}, {"a": "maximize"}, estimator=SVC(), data=IRIS, scoring={"a": "nope", "b": "nope"})
    assert [text.partition(": ")[0] for text in found] == ["evaluator.scoring.a", "evaluator.scoring.b"]


def test_an_estimator_without_score_needs_a_scorer() -> None:
    found = mistakes({"nu": [0.1]}, {"value": "maximize"}, estimator=OneClassSVM(), data=IRIS)
    assert found == ["objective.value: OneClassSVM has no `score` of its own: give `evaluator.scoring`."]


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (1, "k-fold cross-validation requires at least one train/test split"),
        (51, "n_splits=51 cannot be greater than the number of members in each class"),
        ("sklearn.model_selection:KFoldd", "Did you mean 'KFold'?"),
        (
            {"use": "sklearn.model_selection:KFold", "splits": 3},
            "evaluator.cv.splits: KFold has no parameter",
        ),
        (GroupKFold(3), "Give the `groups` option"),
        (
            [[[0, 1], [2, 150]]],
            "evaluator.cv[0]: The test part of fold 0 has row 150, but there are 150 rows.",
        ),
        ([[[0, -200], [2]]], "The train part of fold 0 has row -200, but there are 150 rows."),
        ([[[0, 1], []]], "The test part of fold 0 must be a non-empty list of row numbers."),
        ([[[0, 1], [False] * 150]], "The test part of fold 0 must be a non-empty list of row numbers."),
        ([[[True] * 149, [0]]], "The train part of fold 0 must be a non-empty list of row numbers."),
        (PredefinedSplit([-1] * 150), "made no folds."),
        (
            StratifiedShuffleSplit(5, test_size=0.9, train_size=0.9, random_state=0),
            "evaluator.cv: StratifiedShuffleSplit: The sum of test_size and train_size",
        ),
        ([[0, 1, 2]], "evaluator.cv[0]: Must be a pair of row numbers [train, test]. Got [0, 1, 2]."),
        ("five", "Must be an import path 'module:name'. Got 'five'."),
    ],
    ids=repr,
)
def test_folds_that_cannot_be_made_are_refused(cv: Any, message: str) -> None:
    found = mistakes({"C": [1.0]}, estimator=SVC(), data=IRIS, cv=cv)
    assert len(found) == 1
    assert found[0].startswith("evaluator.cv")
    assert message in found[0]


def test_all_mistakes_are_reported_at_once() -> None:
    found = mistakes(
        {"CC": [1.0]},
        {"acc": "maximize"},
        estimator="sklearn.svm:SVC",
        data={"file": "none.csv", "target": "y"},
        save=Path("no/such/folder/model.joblib"),
    )
    places = [line.split(":")[0] for line in found]
    assert places == ["evaluator.data.file", "space.CC", "objective.acc", "evaluator.save"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "is a folder"),
        ("m" * 300, "It is no usable path"),
        ("a\0b", "It is no usable path"),
        (os.devnull, f"'{os.devnull}' is not a regular file. Give another path."),
        ("link", "There is no folder '"),
        ("file/m.joblib", "There is no folder 'file'."),
    ],
)
def test_a_path_that_no_model_can_be_saved_to_is_refused(
    path: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device or a pipe would be replaced by a file."""
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere/m.joblib")
    Path("file").touch()
    (found,) = mistakes({"C": [1.0]}, estimator="sklearn.svm:SVC", data=IRIS, save=Path(path))
    assert found.startswith("evaluator.save: ")
    assert problem in found


def test_a_data_file_with_a_name_that_is_too_long_does_not_exist() -> None:
    (found,) = mistakes({"C": [1.0]}, estimator="sklearn.svm:SVC", data={"file": "m" * 300 + ".csv", "target": "y"})
    assert found.startswith("evaluator.data.file: There is no file 'mmm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout": 1.5}, "holdout: Must be a fraction below 1 or a whole number of rows. Got 1.5."),
        ({"holdout": 0.2, "refit": False}, "holdout: Needs refit = true. Got 0.2."),
        ({"save": Path("m"), "refit": False}, "save: Needs refit = true. Got m."),
        ({"seed": -1}, "must be an int >= 0"),
        ({"holdout": -0.1}, "must be a number >= 0"),
    ],
)
def test_invalid_options_are_refused_on_creation(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SklearnEvaluator(estimator=SVC(), data=IRIS, **options)
    assert message in str(caught.value)


def test_a_holdout_of_all_rows_is_refused() -> None:
    found = mistakes({"C": [1.0]}, estimator=SVC(), data=IRIS, holdout=150)
    assert len(found) == 1
    assert found[0].startswith("evaluator.holdout: test_size=150 should be either positive and smaller")


def test_a_kernel_chosen_by_the_space_needs_a_square_matrix() -> None:
    """Without the holdout, the columns are no longer those of the rows."""
    X, y = evaluator_data()
    kernel, space = X @ X.T, {"kernel": ["rbf", "precomputed"], "shape": ["ovr", "precomputed"]}
    options = {"estimator": SVC(), "X": kernel, "y": y, "params": {"shape": "decision_function_shape"}}
    assert mistakes(space, **options) == []
    (found,) = mistakes(space, **options, holdout=0.2)
    assert found.startswith("space.kernel: 'precomputed' needs a square X. Got 120 x 150. For a holdout or nested")
    (found,) = mistakes({"metric": "precomputed"}, estimator=KNeighborsClassifier(), X=X, y=y)
    assert found.startswith("space.metric: 'precomputed' needs a square X. Got 150 x 4.")
    both = {"estimator": SVC(kernel="precomputed"), "X": kernel, "y": y, "holdout": 0.2}
    assert mistakes({"kernel": ["precomputed"], "C": [1.0, 2.0]}, **both) == []


def test_a_kernel_of_any_choice_needs_a_square_matrix() -> None:
    """Also of one that is not the first, which stands in the template."""
    X, y = evaluator_data()
    kernel = X @ X.T
    svm, tree = SVC(), DecisionTreeClassifier()
    by_parameter = {"choices": {"model": {"tree": tree, "svm": svm}}, "params": {"kernel": "model__kernel"}, "y": y}
    space = {"model": ["tree", "svm"], "kernel": {"choices": ["rbf", "precomputed"], "when": {"model": "svm"}}}
    assert mistakes(space, **by_parameter, X=kernel) == []
    (found,) = mistakes(space, **by_parameter, X=X)
    assert found.startswith("space.kernel: 'precomputed' needs a square X. Got 150 x 4.")

    by_choice = {"choices": {"model": {"tree": tree, "svm": SVC(kernel="precomputed")}}, "y": y}
    assert mistakes({"model": ["tree", "svm"]}, **by_choice, X=kernel) == []
    assert mistakes({"model": ["tree"]}, **by_choice, X=X) == []
    (found,) = mistakes({"model": ["tree", "svm"]}, **by_choice, X=kernel, holdout=0.2)
    assert found.startswith("space.model: 'svm' needs a square X. Got 120 x 150.")
    assert "make it the first choice instead" in found
    by_choice["choices"]["model"] = {"svm": SVC(kernel="precomputed"), "tree": tree}
    assert mistakes({"model": ["tree", "svm"]}, **by_choice, X=kernel, holdout=0.2) == []


def test_a_shuffling_splitter_is_seeded_without_changing_the_users_object() -> None:
    mine = StratifiedKFold(3, shuffle=True)
    evaluator = SklearnEvaluator(estimator=SVC(), data=IRIS, cv=mine, seed=4)
    expected = StratifiedKFold(3, shuffle=True, random_state=4).split(*evaluator_data())
    for (train, test), (a, b) in zip(evaluator.split_data.folds.splits, expected, strict=True):
        assert np.array_equal(train, a)
        assert np.array_equal(test, b)
    assert mine.random_state is None


def evaluator_data() -> Any:
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)
