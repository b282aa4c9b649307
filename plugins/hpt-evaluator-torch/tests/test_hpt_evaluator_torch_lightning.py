"""Lightning modules train as with their own ``Trainer`` and report what they log, epoch by epoch."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pl: Any = pytest.importorskip("lightning.pytorch")

import torch
from torch.utils.data import DataLoader, TensorDataset

from hpt_core import EvaluationError, Report, Study, TrialContext, UsageError
from hpt_evaluator_torch.evaluator import TorchEvaluator
from hpt_evaluator_torch.lightning_modules import LightningRun

pytestmark = pytest.mark.filterwarnings("ignore")
F = torch.nn.functional


def data() -> Any:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=generator)
    y = (X[:, 0] > 0).long()
    return (X[:40], y[:40]), (X[40:], y[40:])


class Module(pl.LightningModule):
    """Uses random numbers (dropout) and a scheduler, and logs in all the hooks that modules log in."""

    def __init__(self, lr: float, dropout: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        nn = torch.nn
        self.net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, 2))

    def training_step(self, batch: Any, _: int) -> Any:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        outputs = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(outputs, batch[1]))
        self.log("val_hits", (outputs.argmax(1) == batch[1]).float().mean())

    def on_train_epoch_end(self) -> None:
        self.log("rate", self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        steps = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        return {"optimizer": steps, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(steps, 6)}


class Rows(pl.LightningDataModule):
    """Splits at random in ``setup``, and shuffles with the global generator."""

    def __init__(self, batch_size: int = 16) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.sizes: list[int] = []

    def setup(self, stage: str) -> None:
        del stage
        (X, y), (V, w) = data()
        whole = TensorDataset(torch.cat([X, V]), torch.cat([y, w]))
        self.parts = torch.utils.data.random_split(whole, [40, 20])

    def train_dataloader(self) -> Any:
        self.sizes.append(self.batch_size)
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


def test_a_module_trains_like_a_plain_torch_loop() -> None:
    found = reports(evaluator(lambda lr: Module(lr, dropout=0.0), epochs=3))
    (X, y), (V, w) = data()
    torch.manual_seed(3)
    net = Module(0.03, dropout=0.0).net
    steps = torch.optim.AdamW(net.parameters(), lr=0.03)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(steps, 6)
    for epoch in range(1, 4):
        net.train()
        for rows in torch.randperm(40, generator=torch.Generator().manual_seed(3 + epoch)).split(16):
            steps.zero_grad()
            F.cross_entropy(net(X[rows]), y[rows]).backward()
            steps.step()
        rate.step()
        with torch.no_grad():
            outputs = net.eval()(V)
        assert found[epoch - 1].step == epoch
        assert found[epoch - 1].value == pytest.approx(F.cross_entropy(outputs, w).item())
        assert found[epoch - 1].metrics["hits"] == pytest.approx((outputs.argmax(1) == w).float().mean().item())


@pytest.mark.parametrize("shared", [False, True])
def test_loaders_that_shuffle_have_the_same_order_in_each_trial(*, shared: bool) -> None:
    class Watched(Module):
        def training_step(self, batch: Any, i: int) -> Any:
            trained.append(batch[0][:, 0].tolist())
            return super().training_step(batch, i)

        def validation_step(self, batch: Any, i: int) -> None:
            validated.append(batch[0][:, 0].tolist())
            super().validation_step(batch, i)

    generator = torch.Generator()
    train, valid = (
        DataLoader(TensorDataset(*part), 40, shuffle=True, generator=generator if shared else torch.Generator())
        for part in data()
    )
    trained: list[list[float]] = []
    validated: list[list[float]] = []
    for _ in range(2):
        reports(evaluator(Watched, lambda: (train, valid), epochs=2))
    assert trained[0] != trained[1]  # the order of an epoch
    assert trained[:2] == trained[2:]
    assert validated[:2] == validated[2:]
    assert shared or validated[0] == validated[1]


def test_values_logged_at_the_end_of_an_epoch_are_reported_with_it() -> None:
    rates = [report.metrics["rate"] for report in reports(evaluator(Module))]
    steps = torch.optim.SGD([torch.zeros(1)], lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps, 6)
    expected = []
    for _ in range(6):
        steps.step()
        schedule.step()
        expected.append(schedule.get_last_lr()[0])
    assert rates == pytest.approx(expected)


def test_a_custom_trainer_is_used_and_epochs_without_validation_give_no_report() -> None:
    made = evaluator(with_trainer(check_val_every_n_epoch=2, max_epochs=99, min_epochs=99, num_sanity_val_steps=2))
    assert [report.step for report in reports(made)] == [2, 4, 6]
    assert [report.step for report in reports(made, upto=1)] == [2]
    found = reports(evaluator(with_trainer(accumulate_grad_batches=3)), upto=1)
    assert found != reports(evaluator(Module), upto=1)
    with pytest.raises(EvaluationError, match=r"configures its own training: leave out the option `clip_norm`"):
        reports(evaluator(with_trainer(), clip_norm=1.0))
    _, trainer = with_trainer()(0.1)
    reports(evaluator(lambda lr: (Module(lr), trainer), epochs=1))
    with pytest.raises(EvaluationError, match="must make a new Trainer for each trial"):
        reports(evaluator(lambda lr: (Module(lr), trainer)))


@pytest.mark.parametrize("source", [data, Rows])
@pytest.mark.parametrize("greedy", [True, False])
def test_memory_is_freed_and_running_out_of_it_is_reported(source: Any, greedy: bool) -> None:
    refs: list[Any] = []

    class Greedy(Module):
        def training_step(self, batch: Any, number: int) -> Any:
            return super().training_step(batch, number) + (torch.empty(2**57) if greedy else 0)

    def make(lr: float) -> Any:
        module = Greedy(lr)
        refs.append(weakref.ref(module))
        return module

    study = Study({"lr": [0.1]}, objective={"val_loss": "minimize"}, evaluator=evaluator(make, source))
    study.run(trials=1)
    failure = study.trials[0].failure
    assert (failure and failure.kind) == ("out-of-memory" if greedy else None)
    assert [ref() for ref in refs] == [None]


def test_a_tuned_batch_size_is_set_on_the_datamodule() -> None:
    rows = Rows()
    reports(evaluator(Module, lambda: rows, epochs=1), params={"lr": 0.1, "batch_size": 8})
    assert rows.sizes == [8]
    del rows.batch_size
    with pytest.raises(EvaluationError, match="`batch_size` is tuned, and Rows has neither this attribute"):
        reports(evaluator(Module, lambda: rows, epochs=1), params={"lr": 0.1, "batch_size": 4})
    with pytest.raises(EvaluationError, match="A Rows is for Lightning modules: give datasets or loaders"):
        reports(evaluator(lambda: torch.nn.Linear(4, 2), lambda: rows), params={}, objectives=("loss",))


class WithLoaders(Module):
    """Has its own loaders, and shuffles with the global generator."""

    def __init__(self, lr: float, batch_size: int = 16) -> None:
        super().__init__(lr)
        self.save_hyperparameters()

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*data()[0]), self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*data()[1]), 20)


@pytest.mark.parametrize("model", [WithLoaders, f"{__name__}:WithLoaders", {"use": WithLoaders}])
def test_a_module_with_its_own_loaders_needs_no_data(tmp_path: Path, model: Any) -> None:
    made = evaluator(model, None, epochs=3)
    study = Study({"lr": [0.03], "batch_size": [8]}, objective={"val_loss": "minimize"}, seed=0, evaluator=made)
    study.run(trials=1)
    trial = study.trials[0]
    torch.manual_seed(study.context(trial).seed)
    alone = WithLoaders(0.03, 8)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=3, num_sanity_val_steps=0, enable_checkpointing=False, **quiet)
    trainer.fit(alone)
    assert trial.value == float(trainer.callback_metrics["val_loss"])
    whole = reports(made)
    assert reports(made, tmp_path / "t", upto=2) + reports(made, tmp_path / "t", resume_step=2) == whole


def test_a_model_function_with_an_argument_params_receives_all_parameters() -> None:
    found = reports(evaluator(lambda params: Module(params["lr"]), epochs=1))
    assert found == reports(evaluator(Module, epochs=1))


def test_a_module_without_loaders_needs_data() -> None:
    for model in (f"{__name__}:Module", {"use": f"{__name__}:Module"}):
        with pytest.raises(UsageError, match="data: A model needs data to train on"):
            Study({"lr": [0.1]}, objective={"val_loss": "minimize"}, evaluator=evaluator(model, None)).run(trials=1)


def test_mixed_precision_is_used_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    precisions: list[str] = []

    class Spy(Module):
        def on_train_start(self) -> None:
            precisions.append(self.trainer.precision)

    found = reports(evaluator(Spy, keep="best", amp=True), tmp_path)
    assert precisions == ["bf16-mixed"]
    kept = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert kept["epoch"] == min(found, key=lambda report: report.value).step
    assert kept["model"].keys() == Module(0.1).state_dict().keys()


def test_a_module_may_have_arguments_with_the_names_of_options_of_the_training() -> None:
    received = []

    def make(lr: float, optimizer: str, loss: str) -> Any:
        received.append((optimizer, loss))
        return Module(lr)

    reports(evaluator(make, epochs=1), params={"lr": 0.1, "optimizer": "sgd", "loss": "mse"})
    assert received == [("sgd", "mse")]
    for params, options, left in [
        ({"optimizer": "sgd"}, {}, "parameter 'optimizer' must be"),
        ({}, {"optimizer": "sgd"}, "leave out the option `optimizer`"),
    ]:
        with pytest.raises(EvaluationError, match=f"A LightningModule configures its own training: .*{left}"):
            reports(evaluator(Module, **options), params={"lr": 0.1, **params})


def test_a_trial_can_be_stopped_and_errors_are_raised() -> None:
    assert len(reports(evaluator(Module, epochs=50), upto=1)) == 1

    class Broken(Module):
        def training_step(self, batch: Any, _: int) -> Any:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reports(evaluator(Broken))
    with pytest.raises(EvaluationError, match=r"A LightningModule configures its own training: leave out .* `loss`"):
        reports(evaluator(Module, loss="mse"))
    for name in ("weight_decay", "optimizer__weight_decay"):
        with pytest.raises(EvaluationError, match=f"the parameter '{name}' must be one of the model function's"):
            reports(evaluator(Module), params={"lr": 0.1, name: 0.1})


def test_an_interrupt_ends_the_training_after_the_current_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    closing, steps = threading.Event(), []
    close = LightningRun.close

    def close_and_signal(self: LightningRun) -> None:
        self._stopping = True
        closing.set()
        close(self)

    class Interrupts(Module):
        def training_step(self, batch: Any, number: int) -> Any:
            steps.append(number)
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)
                closing.wait()
            return super().training_step(batch, number)

    monkeypatch.setattr(LightningRun, "close", close_and_signal)
    with pytest.raises(KeyboardInterrupt):
        reports(evaluator(Interrupts, batch_size=4))
    assert steps == [0, 1]


def test_a_training_that_diverges_fails() -> None:
    class Diverging(Module):
        def training_step(self, batch: Any, _: int) -> Any:
            loss = super().training_step(batch, _)
            return loss * float("nan") if self.current_epoch == 2 else loss

    with pytest.raises(EvaluationError, match=r"The training diverged: after epoch 3 \w+ is nan and weights") as caught:
        reports(evaluator(Diverging), objectives=("val_hits",))
    assert caught.value.kind == "invalid-value"


def test_the_trainer_comes_from_the_package_of_the_module() -> None:
    other = pytest.importorskip("pytorch_lightning")
    names = [name for name in vars(Module) if not name.startswith("__") or name == "__init__"]
    body = {name: getattr(Module, name) for name in names if name != "__init__"}

    def init(self: Any, lr: float) -> None:
        other.LightningModule.__init__(self)
        self.save_hyperparameters({"lr": lr})
        self.net = torch.nn.Linear(4, 2)

    module = type("Other", (other.LightningModule,), {**body, "__init__": init})
    assert importlib.import_module("lightning.pytorch").LightningModule not in module.__mro__
    assert len(reports(evaluator(module, epochs=2))) == 2
