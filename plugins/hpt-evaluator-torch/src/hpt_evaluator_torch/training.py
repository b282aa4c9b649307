"""The training of one configuration: epochs of gradient steps, and all the state that they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch.utils.data import DataLoader

from hpt_core import EvaluationError
from hpt_evaluator_torch.data import Data, TrainBatches, is_datamodule, resized, rows_of, split_batch, valid_batches
from hpt_evaluator_torch.device import autocast_of, scaler_of
from hpt_evaluator_torch.epochs import Wanted
from hpt_evaluator_torch.metrics import Metric, mean_loss, measure
from hpt_evaluator_torch.parts import default_loss, make_loss, make_scheduler
from hpt_evaluator_torch.randomness import capture, restore
from hpt_evaluator_torch.recipe import Recipe

__all__ = ["Training"]


@attrs.define(eq=False)
class Training:
    """One model being trained.

    Attributes:
        model: The model, on its device.
        batches: What an epoch consists of.
        data: The data; the validation part is measured on.
        loss: Of outputs and targets.
        optimizer: Takes the steps.
        scheduler: Sets the learning rate; None: nobody does.
        per_batch: Whether it does so after each batch (else each epoch).
        recipe: The settings.
        wanted: What to measure.
        device: Where the model is.
    """

    model: Any
    batches: TrainBatches
    data: Data
    loss: Any
    optimizer: Any
    scheduler: Any
    per_batch: bool
    recipe: Recipe
    wanted: Wanted
    device: Any
    scaler: Any
    _autocast: Any = attrs.field(alias="autocast")

    @classmethod
    def start(cls, recipe: Recipe, model: Any, data: Data, *, device: Any, seed: int, wanted: Wanted) -> Training:
        """Set everything up around a fresh model.

        Args:
            recipe: The settings and parts.
            model: A module.
            data: The data.
            device: Where to train.
            seed: Of the order of rows: epoch e has that of ``torch.Generator().manual_seed(seed + e)``.
            wanted: What to measure.
        """
        settings = recipe.settings
        if is_datamodule(data.train):
            raise EvaluationError(f"A {type(data.train).__name__} is for Lightning modules: give datasets or loaders.")
        train = data.train
        if isinstance(train, DataLoader) and "batch_size" in recipe.tuned:
            train = resized(train, settings.batch_size)
        batches = TrainBatches(train, settings.batch_size, seed, drop_last=settings.drop_last)
        model = model.to(device)
        chosen = recipe.parts["optimizer"]
        if chosen is None:
            raise EvaluationError("A model cannot be trained without an optimizer.")
        given = {"model": model} if "model" in chosen.signature.names else {}
        optimizer = chosen.make(model.parameters(), **{**given, **chosen.arguments})
        part = recipe.parts["scheduler"]
        scheduler, per_batch = None, False
        if part is not None:
            scheduler, per_batch = make_scheduler(part, optimizer, epochs=settings.epochs, batches=batches)
        part = recipe.parts["loss"]
        return cls(
            model=model,
            batches=batches,
            data=data,
            loss=None if part is None else _moved(make_loss(part), device),
            optimizer=optimizer,
            scheduler=scheduler,
            per_batch=per_batch,
            recipe=recipe,
            wanted=wanted,
            device=device,
            scaler=scaler_of(device, amp=settings.amp),
            autocast=autocast_of(device, amp=settings.amp),
        )

    @property
    def epochs(self) -> int:
        """How many there are."""
        return self.recipe.settings.epochs

    def epoch(self, number: int) -> dict[str, float]:
        """Train one epoch, from 1, and measure."""
        found = {"train_loss": self.train(number), **self.measure(self.wanted.names, self.wanted.functions)}
        self.end_epoch(found)
        return found

    def train(self, epoch: int) -> float:
        """Train one epoch.

        Args:
            epoch: From 1.

        Returns:
            The mean loss over its rows, as they were met.
        """
        self.model.train()
        losses, rows = [], []
        for batch in self.batches.of_epoch(epoch):
            inputs, targets = split_batch(batch, self.device)
            losses.append(self._step(inputs, targets))
            rows.append(rows_of(targets))
            if self.scheduler is not None and self.per_batch:
                self.scheduler.step()
        if not rows:
            raise EvaluationError("An epoch has no batch: the training set is smaller than one batch, or empty.")
        return mean_loss(losses, rows)

    def _step(self, inputs: tuple[Any, ...], targets: Any) -> Any:
        if self.loss is None:
            self.loss = default_loss(targets)
        optimizer, scaler, norm = self.optimizer, self.scaler, self.recipe.settings.clip_norm
        optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self.loss(self.model(*inputs), targets)
        if not scaler.is_enabled():
            loss.backward()
            if norm is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), norm)
            optimizer.step()
            return loss.detach()
        scaler.scale(loss).backward()
        if norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), norm)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    def measure(self, names: list[str], functions: Mapping[str, Metric]) -> dict[str, float]:
        """Measure the model on the validation data; nothing where there is none."""
        if self.data.valid is None:
            return {}
        batches = valid_batches(self.data.valid, self.recipe.settings.eval_batch_size)
        return measure(self.model, batches, self.loss, names, functions, device=self.device, autocast=self._autocast)

    def end_epoch(self, found: Mapping[str, float]) -> None:
        """Let a scheduler that steps once per epoch do so.

        Args:
            found: The epoch's metrics; one that waits for a plateau watches the validation loss.
        """
        if self.scheduler is None or self.per_batch:
            return
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(found.get("loss", found["train_loss"]))
        else:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": scheduler,
            "scaler": self.scaler.state_dict(),
            "random": capture(self.device),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        restore(state["random"], self.device)

    def close(self) -> None:
        """Nothing is left to do."""


def _moved(loss: Any, device: Any) -> Any:
    return loss.to(device) if isinstance(loss, torch.nn.Module) else loss
