"""Trains one configuration: epochs of gradient steps, and all their state."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hpt_core import EvaluationError
from hpt_evaluator_torch.arguments import signature_of
from hpt_evaluator_torch.data import Data, is_datamodule, reseed, rows_of, split_batch, train_batches, valid_batches
from hpt_evaluator_torch.device import autocast_of, scaler_of
from hpt_evaluator_torch.epochs import Wanted, report_of
from hpt_evaluator_torch.losses import default_loss, make_loss
from hpt_evaluator_torch.metrics import mean_loss, measure
from hpt_evaluator_torch.randomness import capture, restore
from hpt_evaluator_torch.training_parts import Part, make_scheduler

if TYPE_CHECKING:
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["Training"]


class Training:
    """One model being trained; see `hpt_evaluator_torch.epochs.Run`.

    Args:
        recipe: The settings and parts.
        model: A module.
        data: The data; metrics are measured on its validation part.
        device: Where to train.
        seed: Seed of the order of rows; epoch e uses ``torch.Generator().manual_seed(seed + e)``.
        wanted: What to measure.
    """

    def __init__(self, recipe: Recipe, model: Any, data: Data, *, device: Any, seed: int, wanted: Wanted) -> None:
        if is_datamodule(data.train):
            raise EvaluationError(f"A {type(data.train).__name__} is for Lightning modules: give datasets or loaders.")
        self._settings, self._data, self._wanted = recipe.settings, data, wanted
        self._seed = seed
        size, tuned = recipe.settings.batch_size, "batch_size" in recipe.params
        self._batches = train_batches(data.train, size, tuned=tuned, drop_last=recipe.settings.drop_last)
        self.device, self.model = device, model.to(device)
        self._scaler = scaler_of(device, amp=recipe.settings.amp)
        self._autocast = autocast_of(device, amp=recipe.settings.amp)
        loss = recipe.parts["loss"]
        self._loss: Any = None if loss is None else make_loss(loss, device)
        self._modules = {"model": self.model}  # with parameters to train and state to save
        if self._loss is not None and isinstance(self._loss.function, torch.nn.Module):
            self._modules["loss"] = self._loss.function
        self._optimizer = self._made_optimizer(recipe.parts["optimizer"])
        self._by_closure = "closure" in signature_of(self._optimizer.step).required  # LBFGS
        self._scheduler, self._per_batch = self._made_scheduler(recipe.parts["scheduler"])

    def _made_optimizer(self, part: Part | None) -> Any:
        if part is None:
            raise EvaluationError("A model cannot be trained without an optimizer.")
        given = {"model": self.model} if "model" in part.signature.names else {}
        return part.make(self._parameters(), **{**given, **part.arguments})

    def _parameters(self) -> list[Any]:
        return [parameter for module in self._modules.values() for parameter in module.parameters()]

    def _made_scheduler(self, part: Part | None) -> tuple[Any, bool]:
        """The scheduler, and whether it steps once per batch (else per epoch)."""
        if part is None:
            return None, False
        scheduler, per_batch = make_scheduler(part, self._optimizer, epochs=self.epochs, batches=self._batches)
        rising = isinstance(scheduler, ReduceLROnPlateau) and scheduler.mode == "max"
        if rising and not self._wanted.maximize:
            name = self._wanted.objectives[0]
            msg = f'A plateau scheduler with mode = "max" watches the objective, and {name} is minimized.'
            raise EvaluationError(msg)
        return scheduler, per_batch

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self._settings.epochs

    def epoch(self, number: int) -> dict[str, float]:
        """Train epoch ``number``, from 1, and return its metrics."""
        found = {"train_loss": self.train(number), **self.measure()}
        self._end_epoch(found)
        return found

    def train(self, epoch: int) -> float:
        """Train one epoch.

        Args:
            epoch: From 1.

        Returns:
            The mean loss over its rows, each as it was when the row was used.
        """
        self.model.train()
        losses, rows = [], []
        reseed(self._batches, self._seed + epoch)
        for batch in self._batches:
            inputs, targets = split_batch(batch, self.device)
            losses.append(self._step(inputs, targets))
            rows.append(rows_of(targets))
            if self._scheduler is not None and self._per_batch:
                self._scheduler.step()
        if not rows:
            raise EvaluationError("An epoch has no batch: the training set is smaller than one batch, or empty.")
        return mean_loss(losses, rows)

    def _step(self, inputs: tuple[Any, ...], targets: Any) -> Any:
        if self._loss is None:
            self._loss = default_loss(targets)
        closure = functools.partial(self._backward, inputs, targets)
        if self._by_closure:
            loss = self._scaler.step(self._optimizer, closure)
        else:
            loss = closure()
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def _backward(self, inputs: tuple[Any, ...], targets: Any) -> Any:
        """Compute the gradient of the loss of a batch; returns the loss."""
        scaler, norm = self._scaler, self._settings.clip_norm
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self._loss(self.model(*inputs), targets)
        scaler.scale(loss).backward()  # no effect without half precision
        if norm is not None:
            scaler.unscale_(self._optimizer)
            groups = getattr(self._optimizer, "param_groups", [])  # one that combines others may have none
            trained = [parameter for group in groups for parameter in group["params"]] or self._parameters()
            torch.nn.utils.clip_grad_norm_(trained, norm)  # the gradients of others are never set to zero
        return loss

    def measure(self) -> dict[str, float]:
        """Return the metrics on the validation data; none if there is no such data."""
        if self._data.valid is None:
            return {}
        training = [part for module in self._modules.values() for part in module.modules() if part.training]
        for module in self._modules.values():
            module.eval()
        batches = valid_batches(self._data.valid, self._settings.eval_batch_size)
        names, functions, autocast = self._wanted.names, self._wanted.functions, self._autocast
        found = measure(self.model, batches, self._loss, names, functions, device=self.device, autocast=autocast)
        for part in training:  # not the others, such as a teacher in the loss, which is always in evaluation mode
            part.training = True
        return found

    def _end_epoch(self, found: Mapping[str, float]) -> None:
        """Step a scheduler that steps once per epoch.

        Args:
            found: The epoch's metrics. A plateau scheduler watches the validation loss, or in its mode ``max`` the
                objective.
        """
        if self._scheduler is None or self._per_batch:
            return
        if isinstance(self._scheduler, ReduceLROnPlateau):
            falling = found.get("loss", found["train_loss"])
            rising = report_of(1, found, self._wanted.objectives).value
            self._scheduler.step(falling if self._scheduler.mode == "min" else rising)
        else:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """All state that the next epoch depends on."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {"random": capture(self.device)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict`."""
        for name, part in self._parts().items():
            if name in state:  # the loss is not in checkpoints of version 0.1
                part.load_state_dict(state[name])
        restore(state["random"], self.device)

    def _parts(self) -> dict[str, Any]:
        """Everything that may have state."""
        parts = {**self._modules, "optimizer": self._optimizer, "scaler": self._scaler}
        return parts if self._scheduler is None else {**parts, "scheduler": self._scheduler}

    def close(self) -> None:
        """Nothing to do."""
