"""The overhead of hpt over a hand-written training loop, on the example cnn_digits.

    python benchmarks/torch_cost.py [trials]

Both train the same model alternately, with bit-identical results, with the store in memory, in SQLite and as CSV. Shown
for one trial of 12 epochs, as processor time and as wall time:

- the ratio of hpt's time to the loop's: median and quartiles; on a busy machine its noise exceeds the overhead itself;
- hpt's own time, spent on anything that the hand-written loop does not do, as a share of the loop's time.
"""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hpt_core as hpt
from hpt_evaluator_torch.training import Training

EXAMPLE = Path(__file__).parents[1] / "examples" / "cnn_digits"
EPOCHS = 12
BLOCK = 4
PARAMS = {"lr": 0.003, "weight_decay": 1e-4, "batch_size": 32, "channels": 16, "hidden": 128, "dropout": 0.3}


def by_hand(data: Any, seed: int) -> list[float]:
    """Train and return the accuracy after each epoch."""
    (X, y), (V, w) = data
    torch.manual_seed(seed)
    model = hpt.import_object("cnn:make_model")(PARAMS["channels"], PARAMS["hidden"], PARAMS["dropout"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=PARAMS["lr"], weight_decay=PARAMS["weight_decay"])
    steps = EPOCHS * -(-len(X) // 32)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PARAMS["lr"], total_steps=steps)
    criterion = torch.nn.CrossEntropyLoss()
    told = []
    for epoch in range(1, EPOCHS + 1):
        model.train()
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed + epoch))
        total = 0.0
        for rows in order.split(32):
            optimizer.zero_grad()
            loss = criterion(model(X[rows]), y[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            outputs = [model(part) for part in V.split(256)]
            total = sum(criterion(o, t).item() * len(t) for o, t in zip(outputs, w.split(256), strict=True))
        told.append((torch.cat(outputs).argmax(1) == w).sum().item() / len(w))
    return told


def study_in(store: str) -> hpt.Study:
    """A study that trains a single configuration repeatedly, with a new seed each time."""
    evaluator = {
        "use": "torch", "model": "cnn:make_model", "data": "cnn:load_data", "optimizer": "adamw",
        "scheduler": "onecycle", "epochs": EPOCHS, "threads": 1, "device": "cpu",
    }  # fmt: skip
    space = {name: [value] for name, value in PARAMS.items()}
    objective = {"accuracy": "maximize"}
    return hpt.Study(
        space, objective=objective, seed=0, store=store, duplicates="allow", sampler="random", evaluator=evaluator
    )


def now() -> np.ndarray:
    """Processor and wall seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def timed(call: Callable[[], Any]) -> Any:
    """Processor and wall seconds of a call."""
    start = now()
    call()
    return now() - start


class Watch:
    """Measures everything that the hand-written loop also does: seeds, model, optimiser, steps, validation."""

    def __init__(self) -> None:
        self.spent = np.zeros(2)
        cnn = importlib.import_module("cnn")
        parts = ((cnn, "make_model"), (Training, "__init__"), (Training, "train"), (Training, "measure"))
        for owner, name in (*parts, (torch, "manual_seed")):
            setattr(owner, name, self._timing(getattr(owner, name)))

    def _timing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            start = now()
            try:
                return method(*args, **kwargs)
            finally:
                self.spent += now() - start

        return call


def compare(name: str, store: str, trials: int, watch: Watch) -> None:
    """Print the cost of a trial with this store."""
    study = study_in(store)
    loaded = hpt.import_object("cnn:load_data")()
    data = [tuple(map(torch.from_numpy, loaded[part])) for part in ("train", "valid")]
    study.run(trials=1)
    first = study.trials[0]
    if [report.value for report in first.reports] != by_hand(data, study.context(first).seed):
        sys.exit("The two trainings differ.")
    plain, ours, own = [], [], []
    for start in range(1, trials + 1, BLOCK):  # a run writes records of its own, whose cost a block shares
        numbers = range(start, start + BLOCK)
        plain.append(timed(lambda numbers=numbers: [by_hand(data, n) for n in numbers]) / BLOCK)  # type: ignore[misc]
        before = watch.spent.copy()
        ours.append(timed(lambda numbers=numbers: study.run(trials=numbers.stop)) / BLOCK)  # type: ignore[misc]
        own.append(ours[-1] - (watch.spent - before) / BLOCK)
    study.close()
    for column, kind in enumerate(("processor", "wall")):
        low, middle, high = np.percentile(np.array(ours)[:, column] / np.array(plain)[:, column], [25, 50, 75])
        seconds, cost = np.median(np.array(plain)[:, column]), np.mean(own, axis=0)[column]
        share = np.sum(own, axis=0)[column] / np.sum(plain, axis=0)[column]
        print(
            f"{name:8s} {kind:10s} by hand {seconds:6.3f} s   ratio {middle:6.4f} ({low:6.4f} to {high:6.4f})   "
            f"own {1e3 * cost:6.1f} ms = {share:7.3%}"
        )


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    sys.path.insert(0, str(EXAMPLE))
    torch.set_num_threads(1)
    watch = Watch()
    compare("memory", "memory", trials, watch)
    with tempfile.TemporaryDirectory() as folder:
        compare("sqlite", f"sqlite:///{folder}/cost.db", trials, watch)
        compare("csv", f"csv:///{folder}/cost.csv", trials, watch)


if __name__ == "__main__":
    main()
