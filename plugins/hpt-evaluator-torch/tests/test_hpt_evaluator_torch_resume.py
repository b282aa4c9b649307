"""A trial that was killed, interrupted or paused resumes, and gives the results of an uninterrupted one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("torch")

import torch

from hpt_core import Pause, Report, Stop, Study, TrialContext
from hpt_evaluator_torch.epochs import _Pace
from hpt_evaluator_torch.evaluator import TorchEvaluator
from hpt_evaluator_torch.training import Training
from hpt_evaluator_torch.training_parts import OPTIMIZERS, SCHEDULERS

MODULE = '''
import os, signal
from pathlib import Path
import torch
from torch import nn

FUSE = Path(__file__).with_name("fuse")

def load():
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(80, 5, generator=generator)
    y = (X[:, 0] * X[:, 1] > 0).long()
    return (X[:60], y[:60]), (X[60:], y[60:])

def make(hidden):
    return nn.Sequential(nn.Linear(5, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 2))

def fuse(outputs, targets):
    """Kills the process when it is called for the n-th time, n as the file says."""
    if FUSE.exists():
        left = int(FUSE.read_text()) - 1
        FUSE.write_text(str(left)) if left else FUSE.unlink()
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return 0.0
'''
RUN = """
import sys, torch
torch.set_num_threads(1)
from hpt_core import Study
study = Study(
    {{"hidden": [4, 9], "lr": {{"low": 1e-3, "high": 1e-1, "log": True}}}},
    objective={{"loss": "minimize"}}, name="s", seed=1, store="sqlite:///" + sys.argv[1],
    evaluator={{"use": "torch", "model": "task:make", "data": "task:load", "metrics": ["task:fuse", "accuracy"],
               "optimizer": {{"use": "sgd", "momentum": 0.9}}, "scheduler": "cosine", "epochs": 6, "batch_size": 16,
               "device": "cpu", "checkpoint_every": {every}}},
)
study.run(trials=2)
for trial in study.trials:
    print(trial.state, trial.attempt, [(r.step, r.value, sorted(r.metrics.items())) for r in trial.reports])
study.close()
"""


def run(folder: Path, store: str, every: int | None = 1) -> subprocess.CompletedProcess[str]:
    (folder / "task.py").write_text(MODULE)
    command = [sys.executable, "-c", textwrap.dedent(RUN.format(every=every)), store]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of an uninterrupted run."""
    found = run(tmp_path_factory.mktemp("uninterrupted"), "uninterrupted.db")
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("every", "left"), [(1, [3, 4]), (4, [])])
def test_a_trial_whose_process_was_killed_resumes_and_gives_the_same_reports(
    tmp_path: Path, uninterrupted: str, every: int, left: list[int]
) -> None:
    (tmp_path / "fuse").write_text("5" if every == 1 else "4")
    killed = run(tmp_path, "killed.db", every)
    assert killed.returncode == -9
    names = [path.name for path in sorted(tmp_path.glob("**/trial-0/*"))]
    assert names == [f"checkpoint-{step:06d}.pt" for step in left]
    again = run(tmp_path, "killed.db", every)
    assert again.returncode == 0, again.stderr
    assert "complete 2" in again.stdout
    assert again.stdout.replace("complete 2", "complete 1", 1) == uninterrupted
    assert not list(tmp_path.glob("**/*.pt*"))


@attrs.define(kw_only=True)
class PauseAt:
    """Pauses the first two trials at a step, and promotes them, the later one first, before a third starts."""

    step: int = 2

    def judge_trial(self, history: Any, trial: Any) -> Pause | None:
        return Pause("for the test") if trial.number < 2 and trial.reports[-1].step == self.step else None

    def promote(self, history: Any) -> int | None:
        paused = [t.number for t in history.trials if t.state == "paused"]
        return paused[-1] if len(history.trials) == 2 and paused else None


def study(folder: Path | None, rules: Any = ()) -> Study:
    if folder is not None and not (folder / "task_of_pause.py").exists():
        (folder / "task_of_pause.py").write_text(MODULE)
    namespace: dict[str, Any] = {"__file__": str(Path("nowhere") / "task.py"), "__name__": "task"}
    exec(compile(MODULE, "task", "exec"), namespace)
    evaluator = TorchEvaluator(
        model=namespace["make"], data=namespace["load"], epochs=5, batch_size=16, device="cpu", threads=1,
        optimizer={"use": "adamw", "amsgrad": True}, scheduler="onecycle", clip_norm=1.0,
    )  # fmt: skip
    space = {"hidden": [4, 9], "lr": {"low": 1e-3, "high": 1e-1, "log": True}}
    store = None if folder is None else f"sqlite:///{folder / 'hpt.db'}"
    return Study(space, objective={"loss": "minimize"}, seed=1, evaluator=evaluator, store=store, stop=rules)


def reports_of(made: Study) -> list[Any]:
    return [[(r.step, r.value, dict(r.metrics)) for r in trial.reports] for trial in made.trials]


@pytest.mark.parametrize("on_disk", [True, False])
def test_pausing_and_promoting_give_bit_identical_reports(tmp_path: Path, on_disk: bool) -> None:
    uninterrupted = study(None)
    uninterrupted.run(trials=3)
    paused = study(tmp_path if on_disk else None, [PauseAt()])
    paused.run(trials=3)
    assert [trial.attempt for trial in paused.trials] == [2, 2, 1]
    assert reports_of(paused) == reports_of(uninterrupted)
    paused.close()
    assert not list(tmp_path.glob("**/*.pt"))


@attrs.define(kw_only=True)
class ThreeEnds:
    """Stops the first trial, pauses the second, fails in the third."""

    def judge_trial(self, history: Any, trial: Any) -> Stop | Pause | None:
        if trial.reports[-1].step < 3 or trial.number > 1:
            return None
        return (Stop, Pause)[trial.number]("enough")


def test_only_a_paused_trial_keeps_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(tmp_path, [ThreeEnds()])
    made.evaluator.checkpoint_every = 1
    train = Training.train

    def failing(self: Training, epoch: int) -> float:
        if len(made.trials) == 3 and epoch == 3:
            raise ZeroDivisionError
        return train(self, epoch)

    monkeypatch.setattr(Training, "train", failing)
    made.run(trials=4)
    made.close()
    assert [trial.state for trial in made.trials] == ["stopped", "paused", "failed", "complete"]
    files = [path.relative_to(tmp_path / "hpt.db.files") for path in tmp_path.glob("**/*.pt")]
    assert [(path.parts[-2], path.name) for path in files] == [("trial-1", "checkpoint-000003.pt")]


def reports(evaluator: TorchEvaluator, trial: TrialContext, upto: int | None = None) -> list[Report]:
    found = []
    generator = evaluator.evaluate(trial)
    for report in generator:
        found.append(report)
        if len(found) == upto:
            generator.close()
            break
    return found


class Balanced(torch.nn.Module):
    """Divides the loss by its running mean."""

    mean: Any

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(()))

    def forward(self, outputs: Any, targets: Any) -> Any:
        loss = torch.nn.functional.cross_entropy(outputs, targets)
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        return loss / self.mean


class Learnt(Balanced):
    """A loss with a parameter to train, which may be given an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, outputs: Any, targets: Any, power: int = 1) -> Any:
        return super().forward(outputs * self.scale**power, targets)


@pytest.mark.parametrize(
    "options",
    [
        *({"loss": loss} for loss in (Balanced, Balanced(), Learnt, {"use": Learnt(), "power": 2})),
        *({"loss": loss} for loss in (torch.nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])),)),
        *({"optimizer": name} for name in sorted(OPTIMIZERS)),
        *({"scheduler": name} for name in sorted(set(SCHEDULERS) - {"exponential"})),
        {"scheduler": {"use": "exponential", "gamma": 0.5}, "optimizer": {"use": "torch.optim:ASGD"}},
        {"optimizer": {"use": "torch.optim:LBFGS", "max_iter": 3}},
    ],
    ids=str,
)
def test_every_part_of_a_training_resumes_from_its_checkpoint(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trained: list[int] = []
    train = Training.train

    def spy(self: Training, epoch: int) -> float:
        trained.append(epoch)
        return train(self, epoch)

    monkeypatch.setattr(Training, "train", spy)
    evaluator = attrs.evolve(study(None).evaluator, **{"optimizer": "sgd", "scheduler": None, **options})
    context: dict[str, Any] = {"params": {"hidden": 4}, "seed": 9, "objectives": ("loss",), "workdir": tmp_path / "t"}
    whole = reports(evaluator, TrialContext(**context))
    begun = reports(evaluator, TrialContext(**context), upto=2)
    assert begun + reports(evaluator, TrialContext(**context, resume_step=2)) == whole
    assert trained == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert not caplog.text


def test_without_a_checkpoint_earlier_epochs_are_trained_again_but_not_reported(tmp_path: Path) -> None:
    evaluator = study(None).evaluator
    params = {"hidden": 4, "lr": 0.01}
    whole = reports(evaluator, TrialContext(params, seed=9, objectives=("loss",)))
    rest = reports(evaluator, TrialContext(params, seed=9, objectives=("loss",), resume_step=3, workdir=tmp_path / "t"))
    assert rest == whole[3:]


@pytest.mark.parametrize("cost", [0.1, 3.0])
def test_checkpoints_take_a_quarter_percent_of_the_time(cost: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace, written = _Pace(None), 0
    for epoch in range(20_000):
        clock[0] += 1.0
        if pace.due(epoch):
            pace.time(lambda: clock.__setitem__(0, clock[0] + cost))
            written += 1
    assert written * cost / clock[0] == pytest.approx(0.0025, rel=0.1)


def test_a_checkpoint_after_the_last_report_is_not_used(tmp_path: Path) -> None:
    evaluator = study(None).evaluator
    params = {"hidden": 4, "lr": 0.01}
    context: dict[str, Any] = {"params": params, "seed": 9, "objectives": ("loss",), "workdir": tmp_path / "t"}
    whole = reports(evaluator, TrialContext(**context))
    evaluator.checkpoint_every = 1
    reports(evaluator, TrialContext(**context), upto=4)
    assert reports(evaluator, TrialContext(**context, resume_step=3)) == whole[3:]


def test_random_numbers_drawn_elsewhere_before_a_pause_change_nothing(tmp_path: Path) -> None:
    evaluator = study(None).evaluator
    context: dict[str, Any] = {"params": {"hidden": 9, "lr": 0.01}, "seed": 9, "objectives": ("loss",)}
    whole = reports(evaluator, TrialContext(**context))
    generator = evaluator.evaluate(TrialContext(**context, workdir=tmp_path / "t"))
    next(generator)
    torch.rand(100)
    generator.close()
    assert [path.name for path in tmp_path.glob("t/*")] == ["checkpoint-000001.pt"]
    assert reports(evaluator, TrialContext(**context, workdir=tmp_path / "t", resume_step=1)) == whole[1:]


def test_a_checkpoint_of_another_configuration_is_not_used(tmp_path: Path) -> None:
    evaluator = study(None).evaluator
    context: dict[str, Any] = {"seed": 9, "objectives": ("loss",), "workdir": tmp_path / "t"}
    reports(evaluator, TrialContext({"hidden": 4, "lr": 0.01}, **context), upto=3)
    other = {"hidden": 4, "lr": 0.02}
    whole = reports(evaluator, TrialContext(other, seed=9, objectives=("loss",)))
    assert reports(evaluator, TrialContext(other, **context, resume_step=3)) == whole[3:]


@pytest.mark.parametrize("keep", ["none", "last", "best"])
def test_keep_selects_which_weights_are_kept(tmp_path: Path, keep: str) -> None:
    made = study(tmp_path)
    made.evaluator.keep = keep
    made.run(trials=2)
    found = sorted(tmp_path.glob("**/*.pt"))
    assert [path.name for path in found] == ([] if keep == "none" else ["weights.pt"] * 2)
    conclusion, best = made.history.notes["conclusion"], made.best
    made.close()
    assert best is not None
    if keep == "none":
        assert conclusion == {"trial": best.number}
        return
    assert conclusion["weights"].endswith(f"trial-{best.number}/weights.pt")
    kept = torch.load(conclusion["weights"], weights_only=True)
    wanted = min(best.reports, key=lambda r: r.value).step if keep == "best" else 5
    assert kept["epoch"] == wanted
    model = made.evaluator.model(best.params["hidden"])
    model.load_state_dict(kept["model"])
    X, y = made.evaluator.loaded.valid.tensors
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model.eval()(X), y).item()
    assert loss == next(r.value for r in best.reports if r.step == wanted)


@attrs.define(kw_only=True)
class CompleteAt:
    """Declares each trial complete at step 3."""

    def judge_trial(self, history: Any, trial: Any) -> Stop | None:
        return Stop("converged", complete=True) if trial.reports[-1].step == 3 else None


@pytest.mark.parametrize("keep", ["none", "last", "best"])
def test_a_trial_that_a_rule_completes_keeps_weights_but_no_checkpoint(tmp_path: Path, keep: str) -> None:
    made = study(tmp_path, [CompleteAt()])
    made.evaluator.keep = keep
    made.evaluator.checkpoint_every = 1
    made.run(trials=2)
    best = made.best
    conclusion = made.history.notes.get("conclusion")
    made.close()
    assert [(trial.state, len(trial.reports)) for trial in made.trials] == [("complete", 3)] * 2
    found = sorted(path.name for path in tmp_path.glob("**/*.pt"))
    assert found == ([] if keep == "none" else ["weights.pt"] * 2)
    if keep != "none":
        assert best is not None
        assert conclusion is not None
        wanted = min(best.reports, key=lambda r: r.value).step if keep == "best" else 3
        assert torch.load(conclusion["weights"], weights_only=True)["epoch"] == wanted
