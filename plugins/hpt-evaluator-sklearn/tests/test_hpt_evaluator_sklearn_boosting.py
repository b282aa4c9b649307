"""Estimators that treat their parameters as CatBoost, LightGBM and XGBoost do."""

from __future__ import annotations

import copy
from typing import Any, Self

import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpt_core import Space, TrialContext, UsageError
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

X, y = load_iris(return_X_y=True)
ACCURACY = {"accuracy": "maximize"}


class ListsWhatIsGiven(DecisionTreeClassifier):
    """As CatBoost: ``get_params`` has only what was given, copied, and ``set_params`` takes anything."""

    def __init__(self, depth: int | None = None, ignored: Any = None, l2_leaf_reg: float | None = None) -> None:
        super().__init__(random_state=0)
        given = {"depth": depth, "ignored": ignored, "l2_leaf_reg": l2_leaf_reg}
        self._given = {name: value for name, value in given.items() if value is not None}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return copy.deepcopy(self._given)

    def set_params(self, **params: Any) -> Self:
        self._given.update(params)
        return self

    def fit(self, X: Any, y: Any) -> Self:
        self.max_depth = self._given.get("depth")
        super().fit(X, y)
        return self


class TakesAny(DecisionTreeClassifier):
    """As LightGBM and XGBoost: it takes any parameter."""

    def __init__(self, num_leaves: int = 31, **others: Any) -> None:
        super().__init__(random_state=0)
        self.num_leaves = num_leaves
        self._others = others

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"num_leaves": self.num_leaves, **self._others}

    def set_params(self, **params: Any) -> Self:
        self.num_leaves = params.pop("num_leaves", self.num_leaves)
        self._others.update(params)
        return self

    def fit(self, X: Any, y: Any) -> Self:
        self.max_depth, self.max_leaf_nodes = self._others.get("max_bin"), self.num_leaves
        super().fit(X, y)
        return self


class NeedsValidation(DecisionTreeClassifier):
    """As LightGBM and XGBoost with ``early_stopping_rounds``."""

    message = "Must have at least 1 validation dataset for early stopping."

    def fit(self, X: Any, y: Any) -> Self:
        raise ValueError(self.message)


class LacksClasses(NeedsValidation):
    """As GradientBoostingClassifier with ``n_iter_no_change``."""

    message = "The training data after the early stopping split is missing some classes."


class NoParams:
    """As a model that is no scikit-learn estimator."""

    def fit(self, X: Any, y: Any) -> Self:
        return self

    def predict(self, X: Any) -> Any:
        return [0] * len(X)


def mistakes(space: dict[str, Any], **options: Any) -> list[str]:
    try:
        SklearnEvaluator(X=X, y=y, **options).check(Space(space), ACCURACY)
    except UsageError as err:
        return [str(mistake) for mistake in err.mistakes]
    return []


def score(params: dict[str, Any], **options: Any) -> float:
    evaluator = SklearnEvaluator(X=X, y=y, **options)
    reports = list(evaluator.evaluate(TrialContext(params, objectives=("accuracy",))))
    return sum(report.value for report in reports) / len(reports)


def tree(depth: int) -> float:
    return float(cross_val_score(DecisionTreeClassifier(max_depth=depth, random_state=0), X, y).mean())


@pytest.mark.parametrize(("model", "name"), [(ListsWhatIsGiven, "depth"), (TakesAny, "max_bin")])
def test_a_parameter_that_the_estimator_takes_without_listing_it_is_tuned(model: type, name: str) -> None:
    pipeline = [["scale", "passthrough"], ["model", model]]
    assert mistakes({name: [1, 2]}, estimator=model) == []
    assert mistakes({f"model__{name}": [1, 2]}, pipeline=pipeline) == []
    assert mistakes({name: [1, 2]}, pipeline=pipeline, params={name: f"model__{name}"}) == []
    for depth in (1, 2):
        assert score({name: depth}, estimator=model) == pytest.approx(tree(depth), rel=1e-12)
        assert score({f"model__{name}": depth}, pipeline=pipeline) == pytest.approx(tree(depth), rel=1e-12)
    assert tree(1) < tree(2)


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        (ListsWhatIsGiven, "depht", "ListsWhatIsGiven has no parameter 'depht'. Did you mean 'depth'?"),
        (ListsWhatIsGiven, "zz", "ListsWhatIsGiven has no parameter 'zz'. It has: depth, ignored, l2_leaf_reg."),
        (ListsWhatIsGiven, "model__depth", "ListsWhatIsGiven has no parameter 'model__depth'."),
        (TakesAny, "model__num_leaves", "TakesAny has no parameter 'model__num_leaves'. Did you mean 'num_leaves'?"),
    ],
)
def test_a_parameter_that_the_estimator_does_not_take_is_refused(model: type, name: str, message: str) -> None:
    (found,) = mistakes({name: [1, 2]}, estimator=model)
    assert found.startswith(f"space.{name}: {message}")
    assert "all the same" not in found


def test_a_parameter_that_looks_misspelt_is_refused_until_the_estimator_has_it() -> None:
    (found,) = mistakes({"num_leafs": [3, 4]}, estimator=TakesAny)
    unless = "If it takes 'num_leafs' all the same, give it a value in the estimator."
    assert found == f"space.num_leafs: TakesAny has no parameter 'num_leafs'. Did you mean 'num_leaves'? {unless}"
    assert mistakes({"num_leafs": [3, 4]}, estimator=TakesAny(num_leafs=3)) == []
    assert mistakes({"max_leaves": [3, 4]}, estimator=TakesAny) == []  # an alias of LightGBM


def test_a_list_becomes_a_tuple_if_the_estimator_cannot_be_cloned_with_it() -> None:
    with pytest.raises(RuntimeError, match="Cannot clone"):  # so nothing else can be done with it
        cross_val_score(ListsWhatIsGiven(ignored=["a"]), X, y)
    table = {"use": f"{__name__}:ListsWhatIsGiven", "ignored": ["a"]}
    assert mistakes({"depth": [1, 2]}, estimator=table) == []
    assert score({"depth": 2}, estimator=table) == pytest.approx(tree(2), rel=1e-12)
    recipe = SklearnEvaluator(X=X, y=y, estimator=table).recipe
    assert recipe.build({}).get_params() == {"ignored": ("a",)}


def test_an_estimator_that_cannot_be_cloned_is_refused() -> None:
    model = ListsWhatIsGiven(ignored=["a"])
    for path, options in (("estimator", {"estimator": model}), ("pipeline[0]", {"pipeline": [["model", model]]})):
        (found,) = mistakes({"depth": [1]}, **options)
        assert found.startswith(f"evaluator.{path}: Cannot clone object ListsWhatIsGiven(")
        assert found.endswith("Give tuples instead of lists, or give the argument to fit (`fit_params`).")


def test_a_model_that_never_grows_is_refused_unless_it_is_a_choice() -> None:
    message = "evaluator.resource: SVC cannot grow: it has neither `warm_start` nor `partial_fit`."
    (found,) = mistakes({"C": [1.0]}, estimator=SVC(), resource="growth")
    assert found.startswith(message)
    pipeline = [["scale", "sklearn.preprocessing:StandardScaler"], ["model", SVC()]]
    (found,) = mistakes({"model__C": [1.0]}, pipeline=pipeline, resource="growth")
    assert found.startswith(message)
    no_params = Pipeline([("scale", StandardScaler()), ("model", NoParams())])
    (found,) = mistakes({"scale__with_mean": [True]}, estimator=no_params, resource="growth")
    assert found.startswith(message.replace("SVC", "NoParams"))
    choices = {"model": {"svc": SVC(), "tree": DecisionTreeClassifier()}}
    assert mistakes({"model": ["svc", "tree"]}, choices=choices, resource="growth") == []
    for model in ("sklearn.ensemble:RandomForestClassifier", "sklearn.linear_model:SGDClassifier"):
        assert mistakes({"n_jobs": [1]}, estimator=model, resource="growth") == []


def test_a_missing_validation_set_is_explained() -> None:
    with pytest.raises(ValueError, match="early stopping") as caught:
        score({}, estimator=NeedsValidation())
    (note,) = caught.value.__notes__
    assert "Split a validation set off in the `fit` of a subclass" in note
    with pytest.raises(ValueError, match="early stopping") as caught:
        score({}, estimator=LacksClasses())
    assert not hasattr(caught.value, "__notes__")
