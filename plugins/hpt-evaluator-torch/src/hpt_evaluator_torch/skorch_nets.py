"""skorch nets, epoch by epoch. What happened before ``resume_step`` is trained again, unreported."""

from __future__ import annotations

import numbers
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from hpt_core import import_object
from hpt_evaluator_torch.epochs import give, report_of
from hpt_evaluator_torch.frameworks import aliases, not_for_the_model, refuse

if TYPE_CHECKING:
    from hpt_core import Report, TrialContext
    from hpt_evaluator_torch.data import Data
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["skorch_reports"]

_OF_THE_CLOCK = ("dur", "epoch")


def skorch_reports(
    net: Any, recipe: Recipe, data: Data, trial: TrialContext, device: Any
) -> Generator[Report, None, None]:
    """Train a net.

    Args:
        net: Not initialised yet. Parameters that the model function did not take are set on it, if it has them.
        recipe: The settings.
        data: Its validation part takes the place of the net's own split.
        trial: The trial.
        device: Where to train.

    Yields:
        A report per epoch, of the numbers in the net's history.
    """
    left = not_for_the_model(recipe, trial.params, {"epochs"})
    own = {name: value for name, value in left.items() if name in net.get_params()}
    refuse({name: value for name, value in left.items() if name not in own}, "skorch net")
    if data.valid is not None:
        own["train_split"] = import_object("skorch.helper:predefined_split")(data.valid)
    net.set_params(device=str(device), **own)
    net.initialize()
    net.notify("on_train_begin", X=data.train, y=None)
    for epoch in range(1, recipe.settings.epochs + 1):
        net.fit_loop(data.train, None, epochs=1)
        if epoch > trial.resume_step:
            yield from give(report_of(epoch, aliases(_numbers(net.history[-1])), trial.objectives), device)
    net.notify("on_train_end", X=data.train, y=None)


def _numbers(row: Any) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, numbers.Real)
        and not name.endswith(("_best", "_batch_count"))
        and not name.startswith(_OF_THE_CLOCK)
    }
