"""The overhead of hpt compared with Optuna and scikit-learn, measured in one run.

    .venv/bin/python benchmarks/overhead.py [ask-tell sqlite import large folds]    # `make setup` installs the peers

Each line shows hpt's figure, the peer's, and their ratio; lower is better. The two are measured alternately, and
medians of the repeats are shown.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

import hpt_core as hpt

PARAMETERS = 5
SPACE = {f"x{i}": hpt.Float(0.0, 1.0) for i in range(PARAMETERS)}


def value_of(params: dict[str, float]) -> float:
    """A trivial objective, so that only the framework is measured."""
    return sum(params.values())


def show(name: str, ours: float, theirs: float, unit: str, peer: str) -> None:
    """Print one line of the table."""
    print(f"{name:44s} {ours:10.4g} {unit:6s} {theirs:10.4g} {unit:6s} {peer:14s} ratio {ours / theirs:.3f}")


def paired(ours: Callable[[], float], theirs: Callable[[], float], repeats: int = 5) -> tuple[float, float]:
    """Medians of two measurements taken alternately."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


# --- ask and tell in memory ----------------------------------------------------------------------------


def hpt_ask_tell(trials: int) -> float:
    """Microseconds per trial."""
    study = hpt.Study(SPACE, sampler="random", seed=0)
    start = time.perf_counter()
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, value_of(trial.params))
    return (time.perf_counter() - start) / trials * 1e6


def optuna_ask_tell(trials: int) -> float:
    """Microseconds per trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    start = time.perf_counter()
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, sum(trial.suggest_float(name, 0, 1) for name in SPACE))
    return (time.perf_counter() - start) / trials * 1e6


def ask_tell() -> None:
    """Ask + tell, random sampler, 5 parameters, in memory."""
    for trials in (1_000, 10_000):
        pair = paired(partial(hpt_ask_tell, trials), partial(optuna_ask_tell, trials), 3)
        show(f"ask + tell, random, memory, {trials:,} trials", *pair, "us", "optuna")


# --- one study on disk, several processes --------------------------------------------------------------

HPT_WORKER = """
import sys, hpt_core as hpt
path, trials = sys.argv[1], int(sys.argv[2])
space = {f"x{i}": hpt.Float(0.0, 1.0) for i in range(5)}
study = hpt.Study(space, sampler="random", store=f"sqlite:///{path}", seed=0)
study.ledger.sync(); study.decisions
print("ready", flush=True); sys.stdin.readline()
for _ in range(trials):
    trial = study.ask()
    study.tell(trial, sum(trial.params.values()))
"""
OPTUNA_WORKER = """
import sys, optuna
kind, path, trials = sys.argv[1], sys.argv[2], int(sys.argv[3])
optuna.logging.set_verbosity(optuna.logging.ERROR)
if kind == "journal":
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
else:
    storage = f"sqlite:///{path}"
sampler = optuna.samplers.RandomSampler()
study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True, sampler=sampler)
print("ready", flush=True); sys.stdin.readline()
for _ in range(trials):
    trial = study.ask()
    study.tell(trial, sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(5)))
"""


def together(code: str, arguments: list[str], processes: int, trials: int) -> float:
    """Milliseconds per trial of several processes that start at the same moment."""
    command = [sys.executable, "-c", code, *arguments, str(trials // processes)]
    running = []
    for _ in range(processes):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        running.append(process)
    start = time.perf_counter()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in running:
        if process.wait() != 0:
            msg = "a worker failed"
            raise RuntimeError(msg)
    return (time.perf_counter() - start) / trials * 1e3


def sqlite() -> None:
    """Trials on one SQLite study, fully durable, from 1, 2 and 4 processes."""
    for processes in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            count = iter(range(100))

            def place(folder: str = folder, count: Iterator[int] = count) -> str:
                return str(Path(folder) / f"{next(count)}.db")

            def ours(place: Callable[[], str] = place, n: int = processes) -> float:
                return together(HPT_WORKER, [place()], n, 1000)

            for kind in ("sqlite", "journal"):

                def theirs(kind: str = kind, place: Callable[[], str] = place, n: int = processes) -> float:
                    return together(OPTUNA_WORKER, [kind, place()], n, 100 if kind == "sqlite" else 400)

                pair = paired(ours, theirs, 3)
                show(f"trial on SQLite (durable), {processes} process(es)", *pair, "ms", f"optuna {kind}")


# --- start ----------------------------------------------------------------------------------------------


def wall(*command: str) -> float:
    """Milliseconds of a whole process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


def start_up() -> None:
    """Start-up of whole processes, including the interpreter."""
    hpt_cli = str(Path(sys.executable).parent / "hpt")
    optuna = (sys.executable, "-c", "import optuna")
    for name, command in (
        ("import hpt_core", (sys.executable, "-c", "import hpt_core")),
        ("hpt --version", (hpt_cli, "--version")),
        ("hpt --help", (hpt_cli, "--help")),
        ("hpt plugins", (hpt_cli, "plugins")),
    ):
        pair = paired(partial(wall, *command), partial(wall, *optuna))
        show(name, *pair, "ms", "import optuna")


# --- a large study --------------------------------------------------------------------------------------

FILL = """
import sys, time, hpt_core as hpt
from hpt_core.history import events
path, trials = sys.argv[1], int(sys.argv[2])
space = {f"x{i}": hpt.Float(0.0, 1.0) for i in range(5)}
study = hpt.Study(space, sampler="random", store=f"sqlite:///{path}", seed=0)
import numpy as np
rng, made = np.random.default_rng(0), hpt.Space(space)
study.decisions
batch = []
for number in range(trials):
    params = made.sample(rng)
    batch.append(events.started(1.0, number, params, "w", 1, len(batch)))
    batch.append(events.complete(2.0, number, 1, [rng.random()], {}))
study.store.append("study", batch)
"""
OPEN = """
import resource, sys, time, json, hpt_core as hpt
start = time.perf_counter()
space = {f"x{i}": hpt.Float(0.0, 1.0) for i in range(5)}
study = hpt.Study(space, sampler="random", store=f"sqlite:///{sys.argv[1]}", seed=0)
best = study.best.value
opened = time.perf_counter()
for _ in range(20):
    trial = study.ask(); study.tell(trial, 1.0)
more = (time.perf_counter() - opened) / 20
print(json.dumps([opened - start, more * 1e3, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def large() -> None:
    """Open a large study on SQLite, find the best trial, add trials."""
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        for trials in (1_000, 100_000):
            path = str(Path(folder) / f"{trials}.db")
            subprocess.run([sys.executable, "-c", FILL, path, str(trials)], check=True)
            answer = subprocess.run([sys.executable, "-c", OPEN, path], check=True, capture_output=True, text=True)
            opened, more, memory = json.loads(answer.stdout)
            costs[trials] = more
            opening = f"open and best {opened:.2f} s, peak {memory:.0f} MB"
            print(f"{trials:,} trials on SQLite: {opening}, one more {more:.2f} ms")
    print(f"one more trial at 100,000 against 1,000: {costs[100_000] / costs[1_000]:.2f} x")


# --- GridSearchCV's own job -----------------------------------------------------------------------------


def folds() -> None:
    """Overhead per fit beyond fitting and scoring: same folds, one process, a trivial estimator."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import GridSearchCV

    class Trivial(ClassifierMixin, BaseEstimator):
        """Does nothing, quickly."""

        def __init__(self, a: int = 0) -> None:
            self.a = a

        def fit(self, X: object, y: object) -> Trivial:  # noqa: ARG002
            self.classes_ = np.array([0, 1])
            return self

        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.zeros(len(X))

        def score(self, X: object, y: object) -> float:  # noqa: ARG002
            return 0.5

    X, y = np.zeros((100, 5)), np.arange(100) % 2
    points = list(range(200))

    def ours() -> float:
        from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

        evaluator = SklearnEvaluator(estimator=Trivial(), data=(X, y), cv=5, refit=False)
        study = hpt.Study({"a": hpt.Ordinal(*points)}, objective="maximize", sampler="grid", evaluator=evaluator)
        start = time.perf_counter()
        study.run()
        return (time.perf_counter() - start) / (len(points) * 5) * 1e3

    def theirs() -> float:
        search = GridSearchCV(Trivial(), {"a": points}, cv=5, refit=False)
        start = time.perf_counter()
        search.fit(X, y)
        return (time.perf_counter() - start) / (len(points) * 5) * 1e3

    show("per fit, 200 points x 5 folds, trivial fit", *paired(ours, theirs, 3), "ms", "GridSearchCV")


PARTS = {"ask-tell": ask_tell, "sqlite": sqlite, "import": start_up, "large": large, "folds": folds}


def main() -> None:
    """Run the named parts, or all."""
    warnings.filterwarnings("ignore")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
