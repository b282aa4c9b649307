"""Learning curves over two small spaces, trained once on a grid, so that any search is a look-up.

- ``cnn``: the network of examples/cnn_digits on 600 of its images, 27 epochs; the validation loss after each.
- ``boosting``: gradient boosting on breast cancer, 27 rounds on 5 folds; the log loss after each.

A configuration gives the index of each parameter among its levels, from 0. The parameters in `BETWEEN` may lie between
two levels, where the logarithm of the loss is interpolated. So the spaces are as large as real ones, while every loss
comes from a training.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["BETWEEN", "LEVELS", "STEPS", "Table", "load"]

STEPS = 27
LEVELS: dict[str, dict[str, list[Any]]] = {
    "cnn": {
        "lr": [1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3e-2, 6e-2, 1e-1],
        "batch_size": [64, 128],
        "channels": [4, 8],
        "hidden": [16, 64],
        "dropout": [0.0, 0.25, 0.5],
    },
    "boosting": {
        "learning_rate": [0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8],
        "max_leaf_nodes": [3, 6, 12, 24],
        "l2_regularization": [0.0, 5.0],
        "max_features": [0.2, 0.5, 1.0],
    },
}
BETWEEN = {"dropout", "learning_rate", "lr", "max_features"}


@attrs.frozen
class Table:
    """One workload.

    Attributes:
        name: The name of the workload.
        losses: An axis for each parameter, followed by (folds, steps).
    """

    name: str
    losses: NDArray[np.float64]

    def at(self, params: Any) -> NDArray[np.float64]:
        """The losses of a configuration, (folds, steps)."""
        found = np.log(self.losses)
        for name in LEVELS[self.name]:
            below = min(int(params[name]), len(found) - 1)
            share = params[name] - below
            found = found[below] if share == 0 else (1 - share) * found[below] + share * found[below + 1]
        return np.exp(found)


def load(name: str, folder: Path) -> Table:
    """Read a table; train it first if it does not exist."""
    path = folder / f"{name}.npz"
    if not path.exists():
        build(name, path)
    losses = np.load(path)["losses"]
    return Table(name, losses.reshape(*map(len, LEVELS[name].values()), *losses.shape[1:]))


def build(name: str, path: Path) -> None:
    """Train every configuration."""
    train = {"cnn": _cnn, "boosting": _boosting}[name]
    grid = list(itertools.product(*LEVELS[name].values()))
    losses = []
    for i, values in enumerate(grid):
        losses.append(train(dict(zip(LEVELS[name], values, strict=True))))
        if i % 20 == 0:
            sys.stderr.write(f"{name}: {i} of {len(grid)}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, losses=np.array(losses))


def _cnn(params: dict[str, Any]) -> NDArray[np.float64]:
    import torch

    sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "cnn_digits"))
    cnn = importlib.import_module("cnn")
    (X, y), (V, w) = ((torch.from_numpy(a), torch.from_numpy(b)) for a, b in cnn.load_data().values())
    X, y = X[:600], y[:600]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = cnn.make_model(params["channels"], params["hidden"], params["dropout"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=params["lr"])
    criterion = torch.nn.CrossEntropyLoss()
    told = []
    for _ in range(STEPS):
        model.train()
        for rows in torch.randperm(len(X)).split(params["batch_size"]):
            optimizer.zero_grad()
            criterion(model(X[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            told.append(min(float(criterion(model(V), w)), 100.0))
    return np.array([told])


def _boosting(params: dict[str, Any]) -> NDArray[np.float64]:
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    X, y = load_breast_cancer(return_X_y=True)
    folds = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        model = HistGradientBoostingClassifier(max_iter=STEPS, early_stopping=False, random_state=0, **params)
        model.fit(X[train], y[train])
        told = [log_loss(y[test], p, labels=[0, 1]) for p in model.staged_predict_proba(X[test])]
        folds.append(told)
    return np.array(folds)
