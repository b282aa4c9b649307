"""skorch nets, epoch by epoch."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from hpt_core import EvaluationError, import_object
from hpt_evaluator_torch.data import is_datamodule
from hpt_evaluator_torch.frameworks import aliases, not_for_the_model, refuse
from hpt_evaluator_torch.randomness import capture, restore

if TYPE_CHECKING:
    from hpt_core import TrialContext
    from hpt_evaluator_torch.data import Data
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["SkorchRun"]

_FORGETFUL = {"EpochScoring", "EpochTimer", "PassthroughScoring", "PrintLog", "ProgressBar"}
_OF_THE_CLOCK = ("dur", "epoch")


class SkorchRun:
    """A skorch net in training; see `hpt_evaluator_torch.epochs.Run`.

    Args:
        net: Not initialised yet. Parameters that the model function did not take are set on it, if it has them.
        recipe: The settings.
        data: Its validation part takes the place of the net's own split.
        trial: The trial.
        device: Where to train.
    """

    def __init__(self, net: Any, recipe: Recipe, data: Data, *, trial: TrialContext, device: Any) -> None:
        self.device, self.epochs = device, recipe.settings.epochs
        if isinstance(data.train, DataLoader) or is_datamodule(data.train):
            raise EvaluationError("A skorch net makes its batches by itself: `data` must give arrays or datasets.")
        left = not_for_the_model(recipe, trial.params, {"epochs"})
        own = {name: value for name, value in left.items() if name in net.get_params() or "__" in name}
        refuse({name: value for name, value in left.items() if name not in own}, "skorch net")
        if data.valid is not None:
            own["train_split"] = import_object("skorch.helper:predefined_split")(data.valid)
        net.set_params(device=str(device), **own)
        net.initialize()
        net.notify("on_train_begin", X=data.train, y=None)
        self.model, self._net, self._train = net.module_, net, data.train
        self._ended = self._broken = False

    def epoch(self, _number: int) -> dict[str, float] | None:
        """Train one more epoch; the numbers in the net's history are what there is."""
        if self._ended:
            return None
        self._broken = True
        try:
            self._net.fit_loop(self._train, None, epochs=1)
        except KeyboardInterrupt as err:  # this is how a callback ends a training
            if not _by_a_callback(err):
                raise
            self._ended = True
        self._broken = False
        row = self._net.history[-1]
        return aliases(_numbers(row)) if "train_loss" in row else None

    def state_dict(self) -> dict[str, Any] | None:
        """All that the next epoch depends on; None where something may keep more, as other callbacks do."""
        if not _is_plain(self._net):
            return None
        return {name: part.state_dict() for name, part in self._parts()} | {"random": capture(self.device)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
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
    """Whether a net is of skorch's own classes, with nothing that remembers more than one epoch."""
    own = {f"iterator_train__{name}" for name in ("batch_sampler", "generator", "sampler")} & net.get_params().keys()
    kinds = [type(callback) for _, callback in net.callbacks_]
    return (
        not own
        and type(net).__module__.startswith("skorch.")
        and all(kind.__module__.startswith("skorch.") and kind.__name__ in _FORGETFUL for kind in kinds)
    )


def _by_a_callback(err: BaseException) -> bool:
    """Whether an exception was raised by a callback of skorch's or the user's."""
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
        and not name.startswith(_OF_THE_CLOCK)
    }
