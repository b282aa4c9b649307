"""How a trial is trained: by the loop of this plugin, by Lightning, by skorch, or by the user's own function.

The first three are each a `hpt_evaluator_torch.epochs.Run`, which `run_epochs` runs; what the last one yields is
reported as it comes.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from hpt_core import Report, TrialContext, UsageError
from hpt_evaluator_torch.arguments import resolve_callable
from hpt_evaluator_torch.epochs import Run, Wanted, run_epochs
from hpt_evaluator_torch.frameworks import kind_of, split_made
from hpt_evaluator_torch.metrics import Metric
from hpt_evaluator_torch.names import BUILTIN, name_mistakes, source_of
from hpt_evaluator_torch.randomness import seed_all
from hpt_evaluator_torch.recipe import bind, make_recipe
from hpt_evaluator_torch.train_function import own_reports
from hpt_evaluator_torch.training import Training

if TYPE_CHECKING:
    from hpt_evaluator_torch.evaluator import TorchEvaluator

__all__ = ["reports_of"]


def reports_of(evaluator: TorchEvaluator, trial: TrialContext, device: Any) -> Generator[Report, None, Any]:
    """Train one configuration.

    Args:
        evaluator: The options.
        trial: What to evaluate.
        device: Where to train.

    Returns:
        What a `train` function returned; else None, and the last report is the result.
    """
    _ = evaluator.loaded  # before the seed is set: loading may draw from it, and so may making metrics
    if evaluator.train is not None:
        return (yield from _own_reports(evaluator, trial, device))
    wanted = _wanted(evaluator, trial)
    yield from run_epochs(_run(evaluator, trial, device, wanted), trial, evaluator.folder(trial), wanted)


def _own_reports(evaluator: TorchEvaluator, trial: TrialContext, device: Any) -> Generator[Report, None, Any]:
    function, fixed = resolve_callable(evaluator.train, "evaluator.train")
    given = bind(function, {**fixed, **evaluator.offered(trial, device)}, trial.params, "evaluator.train")
    seed_all(trial.seed)
    return (yield from own_reports(function(**given), trial, device, resumable=bool(evaluator.resumable)))


def _run(evaluator: TorchEvaluator, trial: TrialContext, device: Any, wanted: Wanted) -> Run:
    """Make a new model, and the `Run` that trains this kind."""
    data, seed = evaluator.loaded, trial.seed
    recipe = make_recipe(evaluator, trial.params, lambda: data.extras)
    seed_all(seed)
    model, trainer = split_made(recipe.make_model())
    kind = kind_of(model)
    evaluator.last_model = weakref.ref(model)
    if kind == "lightning":
        from hpt_evaluator_torch.lightning_modules import LightningRun

        return LightningRun(model, trainer, recipe, data, device=device, seed=seed)
    if kind == "skorch":
        from hpt_evaluator_torch.skorch_nets import SkorchRun

        return SkorchRun(model, recipe, data, device=device)
    mistakes = name_mistakes(evaluator.directions, evaluator.functions, validated=data.valid is not None)
    if mistakes:
        raise UsageError(*mistakes)
    return Training(recipe, model, data, device=device, seed=seed, wanted=wanted)


def _wanted(evaluator: TorchEvaluator, trial: TrialContext) -> Wanted:
    first, metrics, own = trial.objectives[0], evaluator.metrics, evaluator.functions
    direction = evaluator.directions.get(first, BUILTIN.get(source_of(first), "minimize"))
    listed = metrics if isinstance(metrics, list) else metrics.values()
    sources = [source_of(name) for name in (*trial.objectives, *listed) if isinstance(name, str)]
    return Wanted(
        objectives=trial.objectives,
        names=sorted({name for name in sources if name in BUILTIN and name not in own}),
        functions={name: Metric(function) for name, function in own.items()},
        keep=evaluator.keep,
        maximize=direction == "maximize",
        every=evaluator.checkpoint_every,
    )
