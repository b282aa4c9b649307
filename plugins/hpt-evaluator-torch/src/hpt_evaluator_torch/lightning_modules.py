"""Lightning modules, epoch by epoch. What happened before ``resume_step`` is trained again, unreported."""

from __future__ import annotations

import importlib
import queue
import sys
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from torch import Generator as RandomGenerator
from torch.utils.data import DataLoader

from hpt_evaluator_torch.epochs import give, report_of
from hpt_evaluator_torch.frameworks import aliases, not_for_the_model, refuse

if TYPE_CHECKING:
    from hpt_core import Report, TrialContext
    from hpt_evaluator_torch.data import Data
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["lightning_reports"]


def lightning_reports(
    module: Any, recipe: Recipe, data: Data, trial: TrialContext, device: Any
) -> Generator[Report, None, None]:
    """Train a module by a ``Trainer``, which runs in a thread and waits after each epoch.

    Args:
        module: With its own ``training_step``, ``validation_step`` and ``configure_optimizers``.
        recipe: The settings.
        data: The data.
        trial: The trial.
        device: Where to train.

    Yields:
        A report per epoch, of what the module logged.
    """
    refuse(not_for_the_model(recipe, trial.params, {"batch_size", "clip_norm", "epochs"}), "LightningModule")
    relay = _Relay()
    trainer = _trainer(recipe, device, relay)
    thread = threading.Thread(target=relay.run, args=(trainer, module, *_loaders(recipe, data, trial.seed)))
    thread.start()
    try:
        for epoch in range(1, recipe.settings.epochs + 1):
            found = relay.next()
            if found is None:
                return  # it stopped early by a callback of its own
            if epoch > trial.resume_step:
                yield from give(report_of(epoch, aliases(found), trial.objectives), device)
            relay.go_on.release()
        relay.next()
    finally:
        relay.stopping = True
        relay.go_on.release()
        thread.join()


class _Relay:
    """What the trainer's thread and the generator tell each other."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.stopping = False
        self._told: queue.Queue[dict[str, float] | BaseException | None] = queue.Queue()

    def run(self, trainer: Any, *arguments: Any) -> None:
        """Train; what is raised is told."""
        try:
            trainer.fit(*arguments)
        except BaseException as err:  # noqa: BLE001 - it is raised again where the generator waits
            self._told.put(err)
        self._told.put(None)

    def next(self) -> dict[str, float] | None:
        """The metrics of the next epoch; None when training has ended."""
        told = self._told.get()
        if isinstance(told, BaseException):
            raise told
        return told

    def end_of_epoch(self, trainer: Any, _module: Any) -> None:
        """Tell what was logged, and wait."""
        self._told.put({name: float(value) for name, value in trainer.callback_metrics.items()})
        self.go_on.acquire()
        trainer.should_stop = trainer.should_stop or self.stopping


def _trainer(recipe: Recipe, device: Any, relay: _Relay) -> Any:
    package = "lightning.pytorch" if "lightning" in sys.modules else "pytorch_lightning"
    pl = importlib.import_module(package)
    return pl.Trainer(
        max_epochs=recipe.settings.epochs,
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=1 if device.index is None else [device.index],
        gradient_clip_val=recipe.settings.clip_norm,
        callbacks=[pl.callbacks.LambdaCallback(on_train_epoch_end=relay.end_of_epoch)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _loaders(recipe: Recipe, data: Data, seed: int) -> tuple[Any, Any]:
    settings = recipe.settings
    train, valid = data.train, data.valid
    if not isinstance(train, DataLoader):
        order = RandomGenerator().manual_seed(seed)
        train = DataLoader(train, settings.batch_size, shuffle=True, generator=order, drop_last=settings.drop_last)
    if valid is not None and not isinstance(valid, DataLoader):
        valid = DataLoader(valid, settings.eval_batch_size)
    return train, valid
