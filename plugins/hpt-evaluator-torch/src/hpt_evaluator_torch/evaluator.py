"""The evaluator `torch`: trains a PyTorch model, one report per epoch."""

from __future__ import annotations

import shutil
import tempfile
import traceback
import weakref
from collections.abc import Generator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from hpt_core import EvaluationError, Report, Space, TrialContext, UsageError, option
from hpt_evaluator_torch.checks import find_mistakes, option_mistakes
from hpt_evaluator_torch.names import metric_functions

if TYPE_CHECKING:
    from hpt_evaluator_torch.data import Data

__all__ = ["TorchEvaluator"]

_SEED_LIMIT = 2**32 - 1


@attrs.define(kw_only=True, eq=False, slots=False)
class TorchEvaluator:
    """Trains a PyTorch model and reports its validation metrics after each epoch.

    A parameter of the space sets the first of these that has an argument of its name: an option below (``batch_size``,
    ``epochs``, ``clip_norm``, ``amp``, ``optimizer``, ``scheduler``, ``loss``), the optimiser (``lr``,
    ``weight_decay``), the scheduler, the loss. The model function also receives each parameter that it has an argument
    for, or all of them as ``params``. A killed or paused trial resumes from its checkpoint; on a CPU its result is
    bit-identical to that of an uninterrupted one.

    Example::

        TorchEvaluator(model="model:make_model", data="model:load_data", epochs=20)
    """

    model: Any = option(
        None,
        help='Function or class that makes a new model: an object, "module:name", or {use = ..., arguments}. It may '
        "return a Lightning module (or a pair of it and a Trainer) or a skorch net. A net itself may be given, too.",
    )
    data: Any = option(
        None,
        help='"module:function" (or {use = ..., arguments}) returning (train, validation), a dict with those, or '
        "a Lightning datamodule. Not needed for a Lightning module with its own `train_dataloader`.",
    )
    train: Any = option(
        None,
        help="Instead of a model: your own training function, a generator that yields once per epoch. It receives "
        "those of these that it has arguments for: params, trial, device, data, any parameter of the space.",
    )
    epochs: int = option(10, ge=1, help="Number of epochs of a full trial. Each ends with a report.")
    batch_size: int = option(32, ge=1, help="Rows per step. Your own DataLoader keeps its own unless this is tuned.")
    optimizer: Any = option(
        "adam", help='Its name (adam, adamw, sgd, ...), "torch.optim:Class", or {use = ..., lr = ...}.'
    )
    scheduler: Any = option(
        None,
        help="Learning-rate scheduler: none, cosine, onecycle, step, exponential, linear, plateau, a path, a table.",
    )
    loss: Any = option(
        None,
        help="cross_entropy, mse, l1, huber, bce, nll, a path or a table. Default: chosen by the type of the targets.",
    )
    metrics: list[Any] | dict[str, Any] = option(
        factory=list,
        help="Measured in addition to the objectives: accuracy, error, bits, perplexity, rmse, mse, mae, or your own "
        "functions (outputs, targets) and metrics of torchmetrics, which may be objectives, too.",
    )
    clip_norm: float | None = option(None, gt=0, help="Maximum norm of the gradient. None: no clipping.")
    amp: bool = option(False, help="Mixed precision, if the device supports it.")
    device: str = option("auto", help="auto (the first available of cuda, mps and cpu), cpu, cuda, cuda:1, mps.")
    threads: int | None = option(None, ge=1, help="CPU threads of torch while a trial runs. None: unchanged.")
    drop_last: bool = option(False, help="Drop the last batch of an epoch if it is smaller than the others.")
    eval_batch_size: int = option(256, ge=1, help="Batch size on the validation set.")
    seed: int = option(
        0, ge=0, le=_SEED_LIMIT, help="Seed for loading the data, so that every worker has the same data."
    )
    checkpoint_every: int | None = option(
        None,
        ge=1,
        help="Epochs between checkpoints. None: as often as costs about 0.25 % of the time.",
        affects_results=False,
    )
    keep: Literal["none", "last", "best"] = option(
        "none",
        help="Weights kept in a complete trial's folder: none, the last epoch's, the best epoch's.",
        affects_results=False,
    )
    resumable: bool | None = option(
        None, help="Whether a `train` function resumes from trial.resume_step. Trials without one always resume."
    )

    evidence = "curve"
    directions: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    last_model: weakref.ReferenceType[Any] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        mistakes = option_mistakes(self)
        if mistakes:
            raise UsageError(*mistakes)
        if self.resumable is None:
            self.resumable = self.train is None

    def __getstate__(self) -> dict[str, Any]:
        options = {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}
        return {"options": options, "directions": self.directions}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state["options"])  # type: ignore[misc]  # the options are its whole state
        self.directions = state["directions"]

    @property
    def steps(self) -> int | None:
        """The last report's step: the number of epochs; unknown for a `train` function."""
        return self.epochs if self.train is None else None

    @property
    def sources(self) -> list[Any]:
        """The options that may name code and data of the user."""
        return [self.model, self.data, self.train, self.optimizer, self.scheduler, self.loss, self.metrics]

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
        """The folder of checkpoints if the study's store has none; it is removed when the process ends."""
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
        self.directions = dict(objectives)

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, Any]:
        """Train one configuration.

        Args:
            trial: What to evaluate.

        Yields:
            A report after each epoch. Its value is the first objective's; it carries the other metrics, too.

        Returns:
            What a `train` function returned; else None, and the last report is the result.

        Raises:
            EvaluationError: Of kind ``out-of-memory``, on any device; or for a mistake that no check could find.
        """
        from hpt_evaluator_torch import device as devices
        from hpt_evaluator_torch.randomness import undisturbed
        from hpt_evaluator_torch.runs import reports_of

        device = devices.pick_device(self.device)
        failure = result = None
        devices.free_memory(device, self.last_model)  # of a trial that ended by an exception or was stopped
        try:
            with undisturbed(device), devices.settled(self.threads):
                result = yield from reports_of(self, trial, device)
        except UsageError as err:  # what only loading the data or making the model brought to light
            detail = "".join(traceback.format_exception(err.__cause__)) if err.__cause__ else ""
            raise EvaluationError(str(err), detail=detail) from None
        except Exception as err:
            failure = devices.out_of_memory(err)
            if failure is None:
                raise
        finally:
            devices.free_memory(device, self.last_model)
        if failure is not None:  # raised here, after the exception that holds the tensors has been released
            raise failure
        return result

    def conclude(self, best: TrialContext) -> dict[str, Any] | None:
        """Return where the best trial's weights are, if they were kept."""
        weights = None if best.workdir is None else best.workdir / "weights.pt"
        return {"weights": str(weights)} if weights is not None and weights.is_file() else None

    def discard(self, trial: TrialContext) -> None:
        """Remove the checkpoints of a trial that will not resume, but never the files of a `train` function."""
        if self._may_have_checkpoints(trial):
            shutil.rmtree(self.folder(trial), ignore_errors=True)

    def finish(self, trial: TrialContext) -> None:
        """Remove the checkpoints of a trial that a rule declared complete, but not the weights that are kept."""
        from hpt_evaluator_torch.checkpoints import Checkpoints

        if self._may_have_checkpoints(trial):
            Checkpoints(self.folder(trial), {}).clear(all_files=self.keep == "none")

    def _may_have_checkpoints(self, trial: TrialContext) -> bool:
        return self.train is None and (trial.workdir is not None or "_scratch" in self.__dict__)

    # --- what a trial needs ------------------------------------------------------------------------------

    def folder(self, trial: TrialContext) -> Path:
        """The folder for a trial's checkpoints and weights."""
        return trial.workdir or self._scratch / f"trial-{trial.number}"

    def offered(self, trial: TrialContext | None = None, device: Any = None) -> dict[str, Any]:
        """The arguments that a `train` function may have, in addition to single parameters."""
        params = {} if trial is None else dict(trial.params)
        offered = {"params": params, "trial": trial, "device": device}
        if self.data is not None:
            offered["data"] = None if trial is None else self.loaded
        return offered
