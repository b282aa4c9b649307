"""The evaluator `torch`: trains a PyTorch model, one report per epoch."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Generator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from hpt_core import Report, Space, TrialContext, UsageError, option
from hpt_evaluator_torch.arguments import resolve_callable
from hpt_evaluator_torch.checks import find_mistakes, option_mistakes
from hpt_evaluator_torch.frameworks import kind_of, refuse_options, split_made
from hpt_evaluator_torch.names import BUILTIN, metric_functions, name_mistakes, source_of
from hpt_evaluator_torch.recipe import Recipe, bind, make_recipe

if TYPE_CHECKING:
    from hpt_evaluator_torch.data import Data
    from hpt_evaluator_torch.epochs import Run, Wanted

__all__ = ["TorchEvaluator"]

_SEED_LIMIT = 2**32 - 1


@attrs.define(kw_only=True, eq=False, slots=False)
class TorchEvaluator:
    """Trains a PyTorch model and reports its validation metrics after each epoch.

    A parameter of the space goes to what has an argument of its name: a setting below (``batch_size``, ``epochs``,
    ``clip_norm``, ``amp``, ``optimizer``, ``scheduler``, ``loss``), else the optimiser (``lr``, ``weight_decay``), the
    scheduler, the loss; and the model function gets each parameter that it asks for by name, or all of them as
    ``params``. A killed or paused trial goes on where it was; on a CPU its result is the same to the bit.

    Example::

        TorchEvaluator(model="model:make_model", data="model:load_data", epochs=20)
    """

    model: Any = option(
        None,
        help='Function or class that makes a new model: an object, "module:name", or {use = ..., arguments}. It may '
        "give a Lightning module (or a pair of one and its Trainer) or a skorch net; a net may also stand here itself.",
    )
    data: Any = option(
        None,
        help='"module:function" (or {use = ..., arguments}) giving (train, validation), a dict with those, or a '
        "Lightning datamodule. A Lightning module with a `train_dataloader` of its own needs none.",
    )
    train: Any = option(
        None,
        help="Instead of a model: your own function, a generator that yields once per epoch. It is given what it asks "
        "for by name: params, trial, device, data, or any parameter.",
    )
    epochs: int = option(10, ge=1, help="How many epochs a whole trial has; a report after each.")
    batch_size: int = option(32, ge=1, help="Rows per step. A DataLoader of yours keeps its own unless this is tuned.")
    optimizer: Any = option(
        "adam", help='Its name (adam, adamw, sgd, ...), "torch.optim:Class", or {use = ..., lr = ...}.'
    )
    scheduler: Any = option(
        None, help="Of the learning rate: none, cosine, onecycle, step, exponential, linear, plateau, a path, a table."
    )
    loss: Any = option(
        None, help="cross_entropy, mse, l1, huber, bce, nll, a path or a table. Default: by the type of the targets."
    )
    metrics: list[Any] | dict[str, Any] = option(
        factory=list,
        help="Measured beside the objectives: accuracy, error, bits, perplexity, rmse, mse, mae, or functions "
        "(outputs, targets) of yours and metrics of torchmetrics, which may be objectives, too.",
    )
    clip_norm: float | None = option(None, gt=0, help="Largest norm of the gradient; None: it is not clipped.")
    amp: bool = option(False, help="Mixed precision, where the device has it.")
    device: str = option("auto", help="auto (the first of cuda, mps and cpu that there is), cpu, cuda, cuda:1, mps.")
    threads: int | None = option(None, ge=1, help="CPU threads of torch while a trial runs; None: as it is.")
    drop_last: bool = option(False, help="Leave out an epoch's last batch if it is smaller than the others.")
    eval_batch_size: int = option(256, ge=1, help="Rows at a time when the validation set is measured.")
    seed: int = option(0, ge=0, le=_SEED_LIMIT, help="Seeds the loading of the data: every worker has the same.")
    checkpoint_every: int | None = option(
        None, ge=1, help="Epochs between checkpoints; None: as often as costs about 0.25 % of the time."
    )
    keep: Literal["none", "last", "best"] = option(
        "none", help="Weights that stay in a complete trial's folder: none, the last epoch's, the best epoch's."
    )
    resumable: bool | None = option(
        None, help="Whether a `train` function heeds trial.resume_step; without one a trial always goes on."
    )

    evidence = "curve"
    _directions: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _model_ref: weakref.ReferenceType[Any] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        mistakes = option_mistakes(self)
        if mistakes:
            raise UsageError(*mistakes)
        if self.resumable is None:
            self.resumable = self.train is None

    def __getstate__(self) -> dict[str, Any]:
        options = {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}
        return {"options": options, "directions": self._directions}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state["options"])  # type: ignore[misc]  # the options are all there is to it
        self._directions = state["directions"]

    @property
    def steps(self) -> int | None:
        """The last report's step: the number of epochs; a `train` function's is not known."""
        return self.epochs if self.train is None else None

    # --- what all trials share --------------------------------------------------------------------------

    @cached_property
    def loaded(self) -> Data:
        """The data, loaded once per process."""
        from hpt_evaluator_torch.data import load_data
        from hpt_evaluator_torch.randomness import seed_all

        seed_all(self.seed)
        return load_data(self.data)

    @cached_property
    def functions(self) -> dict[str, Any]:
        """The user's own metrics by name."""
        return metric_functions(self.metrics)

    @cached_property
    def _scratch(self) -> Path:
        """Where checkpoints lie if the study's store has no folder: they go with the process."""
        folder = tempfile.mkdtemp(prefix="hpt-torch-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    # --- what the core calls ----------------------------------------------------------------------------

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Find the user's mistakes before the first trial.

        Args:
            space: The space of the study.
            objectives: Name -> ``"minimize"`` or ``"maximize"``.

        Raises:
            UsageError: With all mistakes found.
        """
        mistakes = find_mistakes(self, space, objectives)
        if mistakes:
            raise UsageError(*mistakes)
        self._directions = dict(objectives)

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, Any]:
        """Train one configuration.

        Args:
            trial: What to evaluate.

        Yields:
            A report after each epoch. The value is the first objective's; the other metrics stand beside it.

        Returns:
            None: the last report tells the result. Or what a `train` function returned.

        Raises:
            EvaluationError: Of kind ``out-of-memory``, on whatever device.
        """
        from hpt_evaluator_torch import device as devices
        from hpt_evaluator_torch.randomness import undisturbed

        device = devices.pick_device(self.device)
        failure = result = None
        devices.free_memory(device, self._model_ref)  # of a trial that ended by an exception or was stopped
        try:
            with undisturbed(device), devices.settled(self.threads):
                result = yield from self._reports(trial, device)
        except Exception as err:
            failure = devices.out_of_memory(err)
            if failure is None:
                raise
        finally:
            devices.free_memory(device, self._model_ref)
        if failure is not None:  # raised here, where the exception that holds the tensors is gone
            raise failure
        return result

    def conclude(self, best: TrialContext) -> dict[str, Any] | None:
        """Say where the winner's weights are, if they were to be kept."""
        weights = None if best.workdir is None else best.workdir / "weights.pt"
        return {"weights": str(weights)} if weights is not None and weights.is_file() else None

    def discard(self, trial: TrialContext) -> None:
        """Remove the checkpoints of a trial that will not go on; what a `train` function keeps is its own affair."""
        if self.train is None and (trial.workdir is not None or "_scratch" in self.__dict__):
            shutil.rmtree(self._folder(trial), ignore_errors=True)

    # --- one trial --------------------------------------------------------------------------------------

    def _reports(self, trial: TrialContext, device: Any) -> Generator[Report, None, Any]:
        from hpt_evaluator_torch.epochs import run_epochs
        from hpt_evaluator_torch.randomness import seed_all

        _ = self.loaded  # before the seed is set: loading may draw from it
        seed_all(trial.seed)
        if self.train is not None:
            return (yield from self._own_reports(trial, device))
        recipe = make_recipe(self, trial.params, lambda: self.loaded.extras)
        model, trainer = split_made(recipe.make_model())
        wanted = self._wanted(trial)
        run = self._run(recipe, model, trainer, trial=trial, device=device, wanted=wanted)
        return (yield from run_epochs(run, trial, self._folder(trial), wanted))

    def _run(
        self, recipe: Recipe, model: Any, trainer: Any, *, trial: TrialContext, device: Any, wanted: Wanted
    ) -> Run:
        """Whatever trains this kind of model."""
        kind = kind_of(model)
        self._model_ref = weakref.ref(model)
        if kind == "lightning":
            from hpt_evaluator_torch.lightning_modules import LightningRun

            idle = ("loss", "metrics", "scheduler", *(() if trainer is None else ("amp", "clip_norm")))
            refuse_options(self, "LightningModule", idle)
            return LightningRun(model, trainer, recipe, self.loaded, trial=trial, device=device)
        if kind == "skorch":
            from hpt_evaluator_torch.skorch_nets import SkorchRun

            refuse_options(self, "skorch net", ("amp", "clip_norm", "drop_last", "loss", "metrics", "scheduler"))
            return SkorchRun(model, recipe, self.loaded, trial=trial, device=device)
        from hpt_evaluator_torch.training import Training

        mistakes = name_mistakes(self._directions, self.functions, validated=self.loaded.valid is not None)
        if mistakes:
            raise UsageError(*mistakes)
        return Training(recipe, model, self.loaded, device=device, seed=trial.seed, wanted=wanted)

    def _folder(self, trial: TrialContext) -> Path:
        return trial.workdir or self._scratch / f"trial-{trial.number}"

    def _wanted(self, trial: TrialContext) -> Wanted:
        from hpt_evaluator_torch.epochs import Wanted
        from hpt_evaluator_torch.metrics import Metric

        first = trial.objectives[0]
        direction = self._directions.get(first, BUILTIN.get(source_of(first), "minimize"))
        listed = self.metrics if isinstance(self.metrics, list) else self.metrics.values()
        sources = [source_of(name) for name in (*trial.objectives, *listed) if isinstance(name, str)]
        return Wanted(
            objectives=trial.objectives,
            names=sorted({name for name in sources if name in BUILTIN and name not in self.functions}),
            functions={name: Metric(function) for name, function in self.functions.items()},
            keep=self.keep,
            maximize=direction == "maximize",
            every=self.checkpoint_every,
        )

    def offered(self, trial: TrialContext | None = None, device: Any = None) -> dict[str, Any]:
        """What a `train` function may ask for by name, beside single parameters."""
        params = {} if trial is None else dict(trial.params)
        offered = {"params": params, "trial": trial, "device": device}
        if self.data is not None:
            offered["data"] = None if trial is None else self.loaded
        return offered

    def _own_reports(self, trial: TrialContext, device: Any) -> Generator[Report, None, Any]:
        from hpt_evaluator_torch.own import own_reports

        function, fixed = resolve_callable(self.train, "evaluator.train")
        given = bind(function, {**fixed, **self.offered(trial, device)}, trial.params, "evaluator.train")
        result = function(**given)
        return (yield from own_reports(result, trial, device, resumable=bool(self.resumable)))
