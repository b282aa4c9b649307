"""Runs a trial epoch by epoch, with checkpoints, so that it can stop after any epoch and resume elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import attrs

from hpt_core import EvaluationError, Report, TrialContext
from hpt_evaluator_torch.checkpoints import Checkpoints, write_atomically
from hpt_evaluator_torch.metrics import Metric
from hpt_evaluator_torch.names import source_of
from hpt_evaluator_torch.randomness import undisturbed

__all__ = ["Run", "Wanted", "report_of", "run_epochs"]

_SHARE = 0.0025  # of the training time goes into checkpoints, unless the user says how often
_FIRST_COST = 0.01  # seconds, before one was written: there is none in the first four seconds


@attrs.frozen
class Wanted:
    """What to measure and which weights to keep.

    Attributes:
        objectives: Their names, in order.
        names: Metrics known by name that are measured beside the loss.
        functions: The user's own metrics.
        keep: Whose weights stay when the trial is complete: ``none``, ``last`` or ``best``.
        maximize: Whether the first objective is better when it is large.
        every: Epochs between checkpoints; None: as often as costs little.
    """

    objectives: Sequence[str]
    names: list[str]
    functions: Mapping[str, Metric]
    keep: str = "none"
    maximize: bool = False
    every: int | None = None


class Run(Protocol):
    """A model in training, by any framework: `Training`, `LightningRun` and `SkorchRun` are such classes.

    Attributes:
        model: A module.
        device: Where it is.
    """

    model: Any
    device: Any

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        ...

    def epoch(self, number: int, /) -> Mapping[str, float] | None:
        """Train epoch ``number`` (from 1) and return its metrics, perhaps none; None if the training has ended."""
        ...

    def state_dict(self) -> dict[str, Any] | None:
        """All state that the next epoch depends on, as plain values and tensors; None if it cannot be captured."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore `state_dict`; called before the first epoch."""
        ...

    def close(self) -> None:
        """End the training; called once."""
        ...


def run_epochs(run: Run, trial: TrialContext, folder: Path, wanted: Wanted) -> Generator[Report, None, None]:
    """Train from the trial's last checkpoint to its last epoch.

    Where the newest checkpoint is older than the last report, the epochs between are trained again, unreported: the
    result is the same.

    Args:
        run: Freshly started.
        trial: Whose ``resume_step`` was the last one reported.
        folder: For checkpoints and weights.
        wanted: What to measure and keep.

    Yields:
        A report per epoch that was not reported before.

    Raises:
        EvaluationError: Of kind ``invalid-value`` if the training diverges.
    """
    identity = {"params": repr(sorted(trial.params.items())), "seed": trial.seed, "epochs": run.epochs}
    checkpoints = Checkpoints(folder, identity)
    pace = _Pace(wanted.every)
    weights = _Weights(folder / "weights.pt", wanted)
    epoch = _resume(run, trial, checkpoints, weights)
    try:
        while epoch < run.epochs:
            found = run.epoch(epoch + 1)
            if found is None:
                break
            epoch += 1
            if not found:
                continue
            _check_divergence(run.model, epoch, found)
            report = report_of(epoch, found, wanted.objectives)
            weights.keep(epoch, report.value, run.model)
            save = partial(_save, run, epoch, checkpoints, weights)
            saved = epoch < run.epochs and pace.due(epoch)
            if saved:
                pace.time(save)
            if epoch <= trial.resume_step:
                continue
            try:
                with undisturbed(run.device):
                    yield report
            except GeneratorExit:  # the trial is stopped, only set aside, or complete: the evaluator is told later
                if not saved:
                    save()
                checkpoints.prune(1)
                weights.end(epoch, run.model)
                raise
        weights.end(epoch, run.model)
    finally:
        run.close()
    checkpoints.clear(all_files=wanted.keep == "none")


def _resume(run: Run, trial: TrialContext, checkpoints: Checkpoints, weights: _Weights) -> int:
    """Load the newest checkpoint not beyond the last report. Return its step, 0 if there is none."""
    found = checkpoints.load(trial.resume_step) if trial.resume_step else None
    if found is None:
        checkpoints.clear(all_files=True)
        return 0
    step, state = found
    run.load_state_dict(state["training"])
    weights.best = state["weights"]
    return step


def _save(run: Run, epoch: int, checkpoints: Checkpoints, weights: _Weights) -> None:
    state = run.state_dict()
    if state is not None:
        checkpoints.save(epoch, {"training": state, "weights": weights.best})


def _check_divergence(model: Any, epoch: int, found: Mapping[str, float]) -> None:
    """Raise an error if a metric is NaN because weights are: the predictions of such a model mean nothing.

    A loss alone may be NaN for other reasons (a batch all of whose targets are ignored).
    """
    bad = [name for name, value in found.items() if math.isnan(value)]
    if bad and not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        msg = f"The training diverged: after epoch {epoch} {bad[0]} is nan and weights are not finite."
        raise EvaluationError(msg, kind="invalid-value")


def report_of(step: int, found: Mapping[str, float], objectives: Sequence[str]) -> Report:
    """Make a report of an epoch's metrics.

    Args:
        step: The epoch.
        found: Metrics by their own names.
        objectives: The first one is the value; ``val_x`` stands for ``x``.

    Raises:
        EvaluationError: If an objective was not measured.
    """
    sources = {name: name if name in found else source_of(name) for name in objectives}
    missing = [name for name, source in sources.items() if source not in found]
    if missing:
        raise EvaluationError(f"Nothing measures the objective {missing[0]!r}. Measured: {', '.join(sorted(found))}.")
    first, *others = objectives
    rest = {name: value for name, value in found.items() if name != sources[first]}
    return Report(step, found[sources[first]], rest | {name: found[sources[name]] for name in others})


class _Pace:
    """Decides when a checkpoint is worth its time. It changes no result, so it may depend on the clock."""

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._cost = _FIRST_COST
        self._last = time.monotonic()

    def due(self, epoch: int) -> bool:
        if self._every is not None:
            return epoch % self._every == 0
        return time.monotonic() - self._last >= self._cost / _SHARE

    def time(self, save: Callable[[], None]) -> None:
        start = time.monotonic()
        save()
        self._last = time.monotonic()
        self._cost = self._last - start


class _Weights:
    """The weights that are kept: the last epoch's, or those of the best one so far."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._path, self._wanted = path, wanted
        self.best: float | None = None

    def keep(self, epoch: int, value: float, model: Any) -> None:
        """Write the weights if the best epoch's are wanted and this epoch is the best so far."""
        sign = -1 if self._wanted.maximize else 1
        if self._wanted.keep == "best" and (self.best is None or sign * value < sign * self.best):
            self.best = value
            self._write(epoch, model)

    def end(self, epoch: int, model: Any) -> None:
        """Write the weights if the last epoch's are wanted."""
        if self._wanted.keep == "last":
            self._write(epoch, model)

    def _write(self, epoch: int, model: Any) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically({"epoch": epoch, "model": model.state_dict()}, self._path)
        except OSError as err:
            raise EvaluationError(f"The weights {self._path} cannot be written: {err}") from None
