"""Real problems: the cross-validated error of scikit-learn models on the data sets of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from problems import Problem, left_out

from hpt_core import Categorical, Float, Int, Params

__all__ = ["models"]


@cache
def _dataset(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    keep = np.random.default_rng(0).permutation(len(X))[:500]
    return X[keep], y[keep]


def _error(make: Callable[[Params], Any], data: str, params: Params) -> float:
    from sklearn.model_selection import cross_val_score

    X, y = _dataset(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # configurations that do not converge are part of the problem
        return float(1 - cross_val_score(make(params), X, y, cv=3, error_score=0.0).mean())


def _svc(params: Params) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=params["C"], gamma=params["gamma"], kernel=params["kernel"]))


def _forest(params: Params) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=10,
        max_depth=params["depth"],
        max_features=params["features"],
        min_samples_leaf=params["leaf"],
        criterion=params["criterion"],
        random_state=0,
    )


def _boosting(params: Params) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=0, **params)


def _mlp(params: Params) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    hidden = (params["units"],) * params["layers"]
    given = {name: value for name, value in params.items() if name not in ("units", "layers")}
    return make_pipeline(StandardScaler(), MLPClassifier(hidden, max_iter=25, random_state=0, **given))


def _pipeline(params: Params) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    steps: list[Any] = [StandardScaler()] if params["scale"] == "standard" else []
    if params["reduce"] == "pca":
        steps.append(PCA(params["components"], random_state=0))
    if params["model"] == "knn":
        steps.append(KNeighborsClassifier(params["k"], weights=params["weights"], p=params["p"]))
    elif params["model"] == "tree":
        steps.append(DecisionTreeClassifier(max_depth=params["depth"], ccp_alpha=params["alpha"], random_state=0))
    else:
        steps.append(LogisticRegression(C=params["C"], max_iter=100))
    return make_pipeline(*steps)


_SVC = {
    "C": Float(1e-3, 1e4, log=True),
    "gamma": Float(1e-6, 1e1, log=True),
    "kernel": Categorical("rbf", "sigmoid", "poly"),
}
_FOREST = {
    "depth": Int(1, 20),
    "features": Float(0.05, 1.0),
    "leaf": Int(1, 40, log=True),
    "criterion": Categorical("gini", "entropy"),
}
_BOOSTING = {
    "learning_rate": Float(1e-3, 1.0, log=True),
    "n_estimators": Int(5, 60, log=True),
    "max_depth": Int(1, 6),
    "subsample": Float(0.2, 1.0),
    "max_features": Float(0.05, 1.0),
    "min_samples_leaf": Int(1, 40, log=True),
}
_MLP = {
    "units": Int(4, 128, log=True),
    "layers": Int(1, 3),
    "learning_rate_init": Float(1e-5, 1e-1, log=True),
    "alpha": Float(1e-6, 1e1, log=True),
    "batch_size": Int(8, 128, log=True),
    "activation": Categorical("relu", "tanh", "logistic"),
}
_PIPELINE = {
    "scale": Categorical("none", "standard"),
    "reduce": Categorical("none", "pca"),
    "components": Int(2, 12, when={"reduce": "pca"}),
    "model": Categorical("knn", "tree", "logistic"),
    "k": Int(1, 40, log=True, when={"model": "knn"}),
    "weights": Categorical("uniform", "distance", when={"model": "knn"}),
    "p": Float(1.0, 4.0, when={"model": "knn"}),
    "depth": Int(1, 25, when={"model": "tree"}),
    "alpha": Float(1e-5, 1e-1, log=True, when={"model": "tree"}),
    "C": Float(1e-4, 1e3, log=True, when={"model": "logistic"}),
}


def models() -> Iterator[Problem]:
    """Five kinds of models on three data sets of at most 500 rows; none if scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401 - is it there?
    except ImportError:
        left_out("models", "scikit-learn is not installed")
        return
    known = {
        "svc": (_SVC, _svc),
        "forest": (_FOREST, _forest),
        "boosting": (_BOOSTING, _boosting),
        "mlp": (_MLP, _mlp),
        "pipeline": (_PIPELINE, _pipeline),
    }
    for data in ("digits", "breast_cancer", "wine"):
        for name, (space, make) in known.items():
            yield Problem("models", f"{name}-{data}", space, partial(_error, make, data))
