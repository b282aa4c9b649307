"""skorch nets, epoch by epoch."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from hpt_core import EvaluationError, import_object
from hpt_evaluator_torch.data import is_datamodule
from hpt_evaluator_torch.frameworks import aliases, refuse
from hpt_evaluator_torch.randomness import capture, restore

if TYPE_CHECKING:
    from hpt_evaluator_torch.data import Data
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["SkorchRun"]

_STATELESS = {"EpochScoring", "EpochTimer", "PassthroughScoring", "PrintLog", "ProgressBar"}
_NOT_METRICS = ("dur", "epoch")


class SkorchRun:
    """A skorch net in training; see `hpt_evaluator_torch.epochs.Run`.

    Args:
        net: The net, not initialised yet. The batch size is set on it, and its parameters that the model function did
            not receive.
        recipe: The settings.
        data: The data; its validation part replaces the net's own split.
        device: Where to train.
    """

    def __init__(self, net: Any, recipe: Recipe, data: Data, *, device: Any) -> None:
        self.device, self.epochs = device, recipe.settings.epochs
        if isinstance(data.train, DataLoader) or is_datamodule(data.train):
            raise EvaluationError("A skorch net makes its own batches: `data` must return arrays or datasets.")
        heeded = {"batch_size", *recipe.for_training}
        known = net.get_params().keys() - {"optimizer"}  # a class, which no parameter of a space can be
        own = {name: v for name, v in recipe.params.items() if name in heeded and (name in known or "__" in name)}
        left = [name for name in recipe.for_training if name != "epochs" and name not in own]
        refuse("skorch net", params=left, options=recipe.options)
        if data.valid is not None:
            own["train_split"] = import_object("skorch.helper:predefined_split")(data.valid)
        net.set_params(device=str(device), **own)
        net.initialize()
        net.notify("on_train_begin", X=data.train, y=None)
        self.model, self._net, self._train = net.module_, net, data.train
        self._ended = self._broken = False

    def epoch(self, _number: int) -> dict[str, float] | None:
        """Train one more epoch and return the numbers in the net's history."""
        if self._ended:
            return None
        self._broken = True
        try:
            self._net.fit_loop(self._train, None, epochs=1)
        except KeyboardInterrupt as err:  # this is how a callback ends a training
            if not _raised_by_callback(err):
                raise
            self._ended = True
        self._broken = False
        row = self._net.history[-1]
        return aliases(_numbers(row)) if "train_loss" in row else None

    def state_dict(self) -> dict[str, Any] | None:
        """Everything that the next epoch depends on; None if callbacks or iterators may have further state."""
        if not _is_plain(self._net):
            return None
        return {name: part.state_dict() for name, part in self._parts()} | {"random": capture(self.device)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict`."""
        for name, part in self._parts():
            part.load_state_dict(state[name])
        restore(state["random"], self.device)

    def _parts(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self._net, f"{name}_")) for name in ("module", "criterion", "optimizer")]

    def close(self) -> None:
        """Tell the callbacks that the training has ended."""
        if not self._broken:
            self._net.notify("on_train_end", X=self._train, y=None)


def _is_plain(net: Any) -> bool:
    """Whether a net is of skorch's own classes, without callbacks or iterators that keep state between epochs."""
    own = {f"iterator_train__{name}" for name in ("batch_sampler", "generator", "sampler")} & net.get_params().keys()
    kinds = [type(callback) for _, callback in net.callbacks_]
    return (
        not own
        and type(net).__module__.startswith("skorch.")
        and all(kind.__module__.startswith("skorch.") and kind.__name__ in _STATELESS for kind in kinds)
    )


def _raised_by_callback(err: BaseException) -> bool:
    """Whether a callback raised the exception."""
    callback, trace = import_object("skorch.callbacks:Callback"), err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and isinstance(trace.tb_frame.f_locals.get("self"), callback)


def _numbers(row: Any) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, numbers.Real)
        and not name.endswith(("_best", "_batch_count"))
        and not name.startswith(_NOT_METRICS)
    }
