"""What hpt costs beside a training loop written by hand, on the example cnn_digits.

    python benchmarks/torch_cost.py [trials]

Both train the same model to the same bits, in turn. Shown are the processor time and the wall time of one trial of 12
epochs, hpt's over that of the loop, with the store in memory and in SQLite: median and quartiles.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hpt_core as hpt

EXAMPLE = Path(__file__).parents[1] / "examples" / "cnn_digits"
EPOCHS = 12
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
    """A study that trains the one configuration again and again, with another seed each time."""
    evaluator = {
        "use": "torch", "model": "cnn:make_model", "data": "cnn:load_data", "optimizer": "adamw",
        "scheduler": "onecycle", "epochs": EPOCHS, "threads": 1, "device": "cpu",
    }  # fmt: skip
    space = {name: [value] for name, value in PARAMS.items()}
    objective = {"accuracy": "maximize"}
    return hpt.Study(
        space, objective=objective, seed=0, store=store, duplicates="allow", sampler="random", evaluator=evaluator
    )


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Processor and wall seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.process_time() - processor, time.perf_counter() - wall


def compare(name: str, study: hpt.Study, trials: int) -> None:
    """Print what a trial costs in this store."""
    loaded = hpt.import_object("cnn:load_data")()
    data = [tuple(map(torch.from_numpy, loaded[part])) for part in ("train", "valid")]
    study.run(trials=1)
    first = study.trials[0]
    if [report.value for report in first.reports] != by_hand(data, study.context(first).seed):
        sys.exit("The two trainings differ.")
    ratios, plain = [], []
    for number in range(1, trials + 1):
        hand = timed(lambda number=number: by_hand(data, number))  # type: ignore[misc]  # bound now
        ours = timed(lambda number=number: study.run(trials=number + 1))  # type: ignore[misc]  # bound now
        plain.append(hand)
        ratios.append([a / b for a, b in zip(ours, hand, strict=True)])
    for column, kind in enumerate(("processor", "wall")):
        low, middle, high = np.percentile(np.array(ratios)[:, column], [25, 50, 75])
        seconds = np.median(np.array(plain)[:, column])
        print(f"{name:8s} {kind:10s} by hand {seconds:6.3f} s   ratio {middle:6.4f}   ({low:6.4f} to {high:6.4f})")


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    sys.path.insert(0, str(EXAMPLE))
    torch.set_num_threads(1)
    compare("memory", study_in("memory"), trials)
    with tempfile.TemporaryDirectory() as folder:
        study = study_in(f"sqlite:///{folder}/cost.db")
        compare("sqlite", study, trials)
        study.close()


if __name__ == "__main__":
    main()
