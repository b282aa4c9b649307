"""Lightning modules that were killed or paused resume from their checkpoints bit for bit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pl: Any = pytest.importorskip("lightning.pytorch")

import torch
from torch.utils.data import DataLoader, TensorDataset

from hpt_core import Report, Study, TrialContext
from hpt_evaluator_torch.evaluator import TorchEvaluator

pytestmark = pytest.mark.filterwarnings("ignore")
F = torch.nn.functional


def data() -> Any:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=generator)
    y = (X[:, 0] > 0).long()
    return (X[:40], y[:40]), (X[40:], y[40:])


class Module(pl.LightningModule):
    """Uses random numbers (dropout) and a scheduler."""

    def __init__(self, lr: float, schedule: str = "cosine") -> None:
        super().__init__()
        self.save_hyperparameters()
        nn = torch.nn
        self.net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 2))

    def training_step(self, batch: Any, _: int) -> Any:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        outputs = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(outputs, batch[1]))

    def configure_optimizers(self) -> Any:
        kinds = torch.optim.lr_scheduler
        steps = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        if self.hparams.schedule == "onecycle":
            rate: Any = kinds.OneCycleLR(steps, 0.1, total_steps=self.trainer.estimated_stepping_batches)
            return {"optimizer": steps, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
        if self.hparams.schedule == "plateau":
            rate = kinds.ReduceLROnPlateau(steps, patience=0, threshold=0.5)
            return {"optimizer": steps, "lr_scheduler": {"scheduler": rate, "monitor": "val_loss"}}
        return {"optimizer": steps, "lr_scheduler": kinds.CosineAnnealingLR(steps, 6)}


class EndsEarly(Module):
    """Ends early, as its loss never improves by ``min_delta``."""

    def configure_callbacks(self) -> Any:
        return [pl.callbacks.EarlyStopping("val_loss", min_delta=1.0, patience=3)]


class TwoOptimizers(Module):
    """Uses manual optimisation."""

    def __init__(self, lr: float) -> None:
        super().__init__(lr)
        self.automatic_optimization = False

    def training_step(self, batch: Any, _: int) -> None:
        for steps in self.optimizers():
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            steps.zero_grad()
            self.manual_backward(loss)
            steps.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(self.net[0].parameters(), 0.01), torch.optim.Adam(self.net[4].parameters(), 0.02)]


class Rows(pl.LightningDataModule):
    """Splits at random in ``setup``, and shuffles with the global generator."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        del stage
        (X, y), (V, w) = data()
        whole = TensorDataset(torch.cat([X, V]), torch.cat([y, w]))
        self.parts = torch.utils.data.random_split(whole, [40, 20])

    def train_dataloader(self) -> Any:
        return DataLoader(self.parts[0], self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.parts[1], 20)


def with_trainer(**options: Any) -> Callable[[float], Any]:
    """A model function that returns its own ``Trainer``."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lambda lr: (Module(lr), pl.Trainer(**{**quiet, "enable_checkpointing": False, **options}))


def evaluator(model: Any, source: Any = data, **options: Any) -> TorchEvaluator:
    chosen = {"epochs": 6, "device": "cpu", "batch_size": 16, "checkpoint_every": 1, **options}
    return TorchEvaluator(model=model, data=source, **chosen)


def reports(made: TorchEvaluator, folder: Path | None = None, upto: int | None = None, **trial: Any) -> list[Report]:
    context = {"params": {"lr": 0.03}, "seed": 3, "objectives": ("val_loss",), "workdir": folder, **trial}
    found = []
    generator = made.evaluate(TrialContext(**context))
    for report in generator:
        found.append(report)
        if len(found) == upto:
            generator.close()
    return found


@pytest.mark.parametrize(
    ("model", "source"),
    [
        (Module, data),
        (Module, Rows),
        (lambda lr: Module(lr, "onecycle"), data),
        (lambda lr: Module(lr, "plateau"), data),
        (TwoOptimizers, data),
        (with_trainer(accumulate_grad_batches=2, gradient_clip_val=0.5), data),
    ],
    ids=["cosine", "datamodule", "onecycle", "plateau", "two", "accumulated"],
)
def test_a_trial_resumes_from_its_checkpoint_bit_for_bit(
    tmp_path: Path, model: Any, source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trained: list[int] = []

    def counting(lr: float) -> Any:
        made = model(lr)
        module = made[0] if isinstance(made, tuple) else made
        step = module.training_step

        def spy(*args: Any) -> Any:
            trained.append(module.current_epoch)
            return step(*args)

        module.training_step = spy
        return made

    made = evaluator(counting, source)
    whole = reports(made)
    assert [report.step for report in whole] == [1, 2, 3, 4, 5, 6]
    begun = reports(made, tmp_path / "t", upto=3)
    trained.clear()
    assert begun + reports(made, tmp_path / "t", resume_step=3) == whole
    assert sorted(set(trained)) == [3, 4, 5]
    assert not [record for record in caplog.records if record.name == "hpt"]
    assert not list(tmp_path.glob("**/*.pt"))


def test_a_checkpoint_is_written_once_and_not_by_lightning(tmp_path: Path) -> None:
    class FullDisk(pl.strategies.SingleDeviceStrategy):
        """Writes checkpoints in a format of its own, as the strategies for sharded models do."""

        def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("no space left on device")

    def model(lr: float) -> Any:
        return with_trainer(strategy=FullDisk(device="cpu"))(lr)

    made = evaluator(model)
    begun = reports(made, tmp_path, upto=3)
    assert len(list(tmp_path.glob("*.pt"))) == 1
    assert begun + reports(made, tmp_path, resume_step=3) == reports(evaluator(Module))


def test_a_module_that_ends_early_completes_the_trial_with_and_without_a_resume(tmp_path: Path) -> None:
    whole = reports(evaluator(EndsEarly))
    assert [report.step for report in whole] == [1, 2, 3, 4]
    kept = []
    for at in (2, 4):
        made, folder = evaluator(EndsEarly, keep="last"), tmp_path / f"t{at}"
        begun = reports(made, folder, upto=at)
        assert begun + reports(made, folder, resume_step=at) == whole
        kept.append(torch.load(folder / "weights.pt", weights_only=True))
    assert kept[0]["epoch"] == kept[1]["epoch"] == 4
    torch.testing.assert_close(kept[0]["model"], kept[1]["model"], rtol=0, atol=0)


class StopsAtTwo(pl.Callback):
    """Requests a stop after the second epoch, which ``min_epochs`` postpones."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.should_stop or pl_module.current_epoch == 1


def test_a_stop_postponed_by_min_epochs_survives_a_resume(tmp_path: Path) -> None:
    def made() -> TorchEvaluator:
        return evaluator(with_trainer(min_epochs=4, callbacks=[StopsAtTwo()]))

    whole = reports(made())
    assert [report.step for report in whole] == [1, 2, 3, 4]
    assert reports(made(), tmp_path / "t", upto=3) + reports(made(), tmp_path / "t", resume_step=3) == whole


@attrs.define(kw_only=True)
class PauseAt:
    """Pauses the first two trials after two epochs, and promotes them, the later one first, before a third starts."""

    def judge_trial(self, history: Any, trial: Any) -> Any:
        from hpt_core import Pause

        del history
        return Pause("for the test") if trial.number < 2 and trial.reports[-1].step == 2 else None

    def promote(self, history: Any) -> int | None:
        paused = [t.number for t in history.trials if t.state == "paused"]
        return paused[-1] if len(history.trials) == 2 and paused else None


def test_pausing_and_promoting_give_bit_identical_reports(tmp_path: Path) -> None:
    def study(rules: Any = (), **where: Any) -> Study:
        space = {"lr": {"low": 1e-3, "high": 1e-1, "log": True}}
        objective = {"val_loss": "minimize"}
        return Study(space, objective=objective, seed=1, evaluator=evaluator(Module, Rows), stop=rules, **where)

    uninterrupted, paused = study(), study([PauseAt()], store=f"sqlite:///{tmp_path / 'hpt.db'}")
    for made in (uninterrupted, paused):
        made.run(trials=3)
    assert [trial.attempt for trial in paused.trials] == [2, 2, 1]
    assert [trial.reports for trial in paused.trials] == [trial.reports for trial in uninterrupted.trials]
    paused.close()
    assert not list(tmp_path.glob("**/*.pt"))


RUN = """
import os, signal, sys, torch
from pathlib import Path
from hpt_core import Study
from {module} import Module, evaluator
torch.set_num_threads(1)
fuse = Path(sys.argv[1] + ".fuse")

class Killed(Module):
    def on_train_epoch_start(self):
        if fuse.exists() and self.current_epoch == 3:
            fuse.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

space = {{"lr": {{"low": 1e-3, "high": 1e-1, "log": True}}}}
study = Study(space, objective={{"val_loss": "minimize"}}, seed=1, name="s", evaluator=evaluator(Killed),
              store="sqlite:///" + sys.argv[1])
study.run(trials=2)
for trial in study.trials:
    print(trial.state, [(r.step, r.value, sorted(r.metrics.items())) for r in trial.reports])
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_trial_whose_process_was_killed_resumes_and_gives_the_same_reports(tmp_path: Path) -> None:
    def run(store: str) -> subprocess.CompletedProcess[str]:
        code = textwrap.dedent(RUN.format(module=Path(__file__).stem))
        command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / store)]
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)

    uninterrupted = run("uninterrupted.db")
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    (tmp_path / "killed.db.fuse").touch()
    assert run("killed.db").returncode == -9
    left = sorted(path.name for path in tmp_path.glob("**/*.pt"))
    assert left == ["checkpoint-000002.pt", "checkpoint-000003.pt"]
    again = run("killed.db")
    assert again.returncode == 0, again.stderr
    assert again.stdout == uninterrupted.stdout
    assert not list(tmp_path.glob("**/*.pt"))
