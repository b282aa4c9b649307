"""Lightning modules, epoch by epoch: a ``Trainer`` runs in a thread and waits after each one."""

from __future__ import annotations

import importlib
import logging
import queue
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from hpt_core import EvaluationError
from hpt_evaluator_torch.data import is_datamodule, reseed, train_batches
from hpt_evaluator_torch.frameworks import aliases, package_of, refuse
from hpt_evaluator_torch.randomness import capture, restore
from hpt_evaluator_torch.settings import PARTS, SETTINGS

if TYPE_CHECKING:
    from hpt_evaluator_torch.data import Data
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["LightningRun"]

_PRECISIONS = {torch.float16: "16-mixed", torch.bfloat16: "bf16-mixed"}


class LightningRun:
    """A Lightning module in training; see `hpt_evaluator_torch.epochs.Run`.

    Args:
        model: The module, with its own ``training_step``, ``validation_step`` and ``configure_optimizers``.
        trainer: The user's own ``Trainer``, or None.
        recipe: The settings.
        data: The data.
        device: Where to train; the user's own ``Trainer`` determines this itself.
        seed: Seed of the order of rows, as for other models.
    """

    def __init__(self, model: Any, trainer: Any, recipe: Recipe, data: Data, *, device: Any, seed: int) -> None:
        self.model, self._trainer = model, trainer
        self._quietly = _quiet if self._trainer is None else nullcontext
        self.device, self.epochs = device, recipe.settings.epochs
        self._seed = seed
        idle = {*PARTS, "metrics", *(() if self._trainer is None else ("amp", "clip_norm"))}
        left = [name for name in recipe.for_training if name in idle or name not in SETTINGS]
        refuse("LightningModule", params=left, options=[name for name in recipe.options if name in idle])
        self._package = package_of(self.model)
        pl = importlib.import_module(self._package)
        if self._trainer is None:
            self._trainer = _trainer(pl, recipe, device)
        elif self._trainer.state.fn is not None:
            raise EvaluationError(
                "The model function must make a new Trainer for each trial: this one has trained before."
            )
        self._trainer.fit_loop.max_epochs = self.epochs
        self._trainer.callbacks.append(_listener(pl, self))
        self._loaders = _loaders(recipe, data, model)
        self._results: queue.Queue[dict[str, float] | BaseException | None] = queue.Queue()
        self._go_on = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._stopping = self._measured = False
        self._number = 0
        self._last: dict[str, float] = {}
        self._state: Mapping[str, Any] = {}

    # --- as the evaluator sees it -----------------------------------------------------------------------

    def epoch(self, number: int) -> dict[str, float] | None:
        """Let the trainer run to the end of this epoch, and return the metrics that the module logged."""
        self._number = number
        if self._thread is not None:
            self._go_on.release()
        elif not self._state.get("ended"):
            self._thread = threading.Thread(target=self._fit, name="hpt-lightning", daemon=True)
            self._thread.start()
        else:
            return None
        result = self._results.get()
        if isinstance(result, BaseException):
            raise result
        return None if result is None else aliases(result)

    def state_dict(self) -> dict[str, Any]:
        """Lightning's own checkpoint, without the module's hyperparameters, and what that lacks."""
        # the trainer's `save_checkpoint` would write this to a file, in a format that depends on its strategy
        whole = self._trainer._checkpoint_connector.dump_checkpoint(weights_only=False)  # noqa: SLF001 - no public way
        return {
            "lightning": {name: value for name, value in whole.items() if "hyper_parameters" not in name},
            "found": self._last,
            "stop": bool(self._trainer.should_stop),
            "ended": bool(self._trainer.fit_loop.done),
            "random": capture(self.device),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict`. Load the weights here if that was the end, since no trainer will."""
        self._state = state
        if state["ended"]:
            self.model.load_state_dict(state["lightning"]["state_dict"])

    def close(self) -> None:
        """Make the trainer end its training, and wait for it."""
        self._stopping = True
        self._go_on.release()
        if self._thread is not None:
            self._thread.join()
        if "datamodule" in self._loaders:
            self._loaders["datamodule"].trainer = None  # it outlives the trial, whose memory must be freed

    # --- in the thread ----------------------------------------------------------------------------------

    def _fit(self) -> None:
        """Train, and pass on any exception."""
        try:
            with tempfile.TemporaryDirectory(prefix="hpt-") as folder, self._quietly(self._package):
                path = None
                if self._state:
                    path = Path(folder) / "checkpoint.ckpt"
                    torch.save(self._state["lightning"], path)
                self._trainer.fit(self.model, **self._loaders, ckpt_path=path)
        except BaseException as err:  # noqa: BLE001 - it is raised again in the waiting generator
            self._results.put(err)
        self._results.put(None)

    def started(self) -> None:
        """Restore the random state of the checkpoint."""
        self._reseed()
        if self._state:
            restore(self._state["random"], self.device)

    def _reseed(self) -> None:
        for name, seed in (("val_dataloaders", 0), ("train_dataloaders", self._seed + self._number)):
            if self._loaders.get(name) is not None:  # last the one for training: both may share a generator
                reseed(self._loaders[name], seed)

    def epoch_started(self) -> None:
        """Set the order of this epoch on the loader, and do what Lightning omits after a checkpoint."""
        self._reseed()
        if self._state:
            self._trainer.should_stop = self._state["stop"]  # wanted, but before its `min_epochs`
            if self.model.automatic_optimization:
                self._step_on_plateaus(self._state["found"], self._number - 1)
        self._state = {}

    def _step_on_plateaus(self, found: Mapping[str, float], epoch: int) -> None:
        """Step the schedulers for the epoch of the checkpoint, because Lightning writes it before they step."""
        for config in self._trainer.lr_scheduler_configs:
            due = config.interval == "epoch" and epoch % config.frequency == 0
            if config.reduce_on_plateau and due and config.monitor in found:
                config.scheduler.step(found[config.monitor])

    def batch_ended(self) -> None:
        """Stop in the middle of an epoch if the user interrupts the study."""
        self._trainer.should_stop = self._trainer.should_stop or self._stopping

    def validated(self) -> None:
        """Note that the objective is a new one."""
        self._measured = self._measured or not self._trainer.sanity_checking

    def epoch_ended(self) -> None:
        """Pass on the logged values, and wait."""
        self._last = {name: float(value) for name, value in self._trainer.callback_metrics.items()}
        self._results.put(dict(self._last) if self._measured or not self._trainer.enable_validation else {})
        self._measured = False
        if not self._stopping:
            self._go_on.acquire()
        if self._stopping:
            self._trainer.should_stop = True
            self._trainer.fit_loop.min_epochs = self._trainer.fit_loop.epoch_loop.min_steps = None


def _listener(pl: Any, run: LightningRun) -> Any:
    """A callback that runs after all others, as those that write checkpoints do."""

    class Listener(pl.callbacks.Checkpoint):
        def on_fit_start(self, *_: Any) -> None:
            run.started()

        def on_train_epoch_start(self, *_: Any) -> None:
            run.epoch_started()

        def on_train_batch_end(self, *_: Any) -> None:
            run.batch_ended()

        def on_validation_end(self, *_: Any) -> None:
            run.validated()

        def on_train_epoch_end(self, *_: Any) -> None:
            run.epoch_ended()

    return Listener()


def _trainer(pl: Any, recipe: Recipe, device: Any) -> Any:
    precision = _PRECISIONS[torch.get_autocast_dtype(device.type)] if recipe.settings.amp else None
    with _quiet(pl.__name__):
        return pl.Trainer(
            max_epochs=recipe.settings.epochs,
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=1 if device.index is None else [device.index],
            gradient_clip_val=recipe.settings.clip_norm,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence Lightning's log messages about devices and the end of training, which would come for each trial."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _loaders(recipe: Recipe, data: Data, model: Any) -> dict[str, Any]:
    """The arguments of `Trainer.fit`; none if the module has loaders of its own."""
    settings, train, valid = recipe.settings, data.train, data.valid
    tuned = "batch_size" in recipe.params
    if train is None or is_datamodule(train):
        if tuned:
            _set_batch_size(model if train is None else train, settings.batch_size)
        return {} if train is None else {"datamodule": train}
    train = train_batches(train, settings.batch_size, tuned=tuned, drop_last=settings.drop_last, fast=False)
    if valid is not None and not isinstance(valid, DataLoader):
        valid = DataLoader(valid, settings.eval_batch_size)
    return {"train_dataloaders": train, "val_dataloaders": valid}


def _set_batch_size(module: Any, size: int) -> None:
    """Set the tuned batch size on a datamodule or module that has one."""
    places = [place for place in (module, module.hparams) if hasattr(place, "batch_size")]
    if not places:
        msg = f"`batch_size` is tuned, and {type(module).__name__} has neither this attribute nor a hyperparameter."
        raise EvaluationError(msg)
    for place in places:
        place.batch_size = size
