"""The life of a trial: epoch by epoch, with checkpoints between, so that it can end and go on anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import EvaluationError, Report, TrialContext
from hpt_evaluator_torch.checkpoints import Checkpoints, write_atomically
from hpt_evaluator_torch.metrics import Metric
from hpt_evaluator_torch.names import source_of
from hpt_evaluator_torch.randomness import capture, restore, undisturbed

if TYPE_CHECKING:
    from hpt_evaluator_torch.training import Training

__all__ = ["Wanted", "give", "report_of", "run_epochs"]

_SHARE = 0.005  # of the training time goes into checkpoints, unless the user says how often
_FIRST_COST = 0.01  # seconds, before one was written: there is none in the first two seconds


@attrs.frozen
class Wanted:
    """What is to be measured and kept.

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


def run_epochs(training: Training, trial: TrialContext, folder: Path, wanted: Wanted) -> Generator[Report, None, None]:
    """Train from where the trial was to its last epoch.

    Where the newest checkpoint is older than the last report, the epochs between are trained again, unreported: the
    result is the same.

    Args:
        training: Freshly started.
        trial: Whose ``resume_step`` was the last one reported.
        folder: For checkpoints and weights.
        wanted: What to measure and keep.

    Yields:
        A report per epoch that was not reported before.
    """
    settings = training.recipe.settings
    identity = {"params": repr(sorted(trial.params.items())), "seed": trial.seed, "epochs": settings.epochs}
    checkpoints = Checkpoints(folder, identity)
    pace = _Pace(wanted.every)
    weights = _Weights(folder / "weights.pt", wanted)
    done = _resume(training, trial, checkpoints, weights)
    for epoch in range(done + 1, settings.epochs + 1):
        found = {"train_loss": training.train(epoch), **training.measure(wanted.names, wanted.functions)}
        training.end_epoch(found)
        report = report_of(epoch, found, wanted.objectives)
        weights.keep(epoch, report.value, training, last=epoch == settings.epochs)

        def save(epoch: int = epoch) -> None:
            random = capture(training.device)
            state = {"training": training.state_dict(), "random": random, "weights": weights.best}
            checkpoints.save(epoch, state)

        saved = epoch < settings.epochs and pace.due(epoch)
        if saved:
            pace.time(save)
        if epoch > trial.resume_step:
            yield from give(report, training.device, partial(_leave, checkpoints, None if saved else save))
    checkpoints.clear(all_files=wanted.keep == "none")


def _resume(training: Training, trial: TrialContext, checkpoints: Checkpoints, weights: _Weights) -> int:
    """Load the newest checkpoint not beyond the last report; returns its step, 0 for none."""
    found = checkpoints.load(trial.resume_step) if trial.resume_step else None
    if found is None:
        checkpoints.clear(all_files=True)
        return 0
    step, state = found
    training.load_state_dict(state["training"])
    restore(state["random"], training.device)
    weights.best = state["weights"]
    return step


def _leave(checkpoints: Checkpoints, save: Callable[[], None] | None) -> None:
    """Keep one checkpoint of a trial that is stopped or set aside."""
    if save is not None:
        save()
    checkpoints.prune(1)


def give(report: Report, device: Any, at_end: Callable[[], None] | None = None) -> Generator[Report, None, None]:
    """Yield a report; what others draw meanwhile does not change this training.

    Args:
        report: The report.
        device: Whose generators are kept.
        at_end: Called if the trial ends here: it may only have been set aside.
    """
    try:
        with undisturbed(device):
            yield report
    except GeneratorExit:
        if at_end is not None:
            at_end()
        raise


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
    """When a checkpoint is worth its time. It changes no result, so it may look at the clock."""

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._cost = _FIRST_COST
        self._last = time.monotonic()

    def due(self, epoch: int) -> bool:
        if self._every is not None:
            return epoch % self._every == 0
        return time.monotonic() - self._last >= self._cost / _SHARE

    def time(self, save: Any) -> None:
        start = time.monotonic()
        save()
        self._last = time.monotonic()
        self._cost = self._last - start


class _Weights:
    """The weights that stay: the last epoch's, or those of the best one so far."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._path, self._wanted = path, wanted
        self.best: float | None = None

    def keep(self, epoch: int, value: float, training: Training, *, last: bool) -> None:
        """Write them if this epoch is the one."""
        keep, sign = self._wanted.keep, -1 if self._wanted.maximize else 1
        better = keep == "best" and (self.best is None or sign * value < sign * self.best)
        if better:
            self.best = value
        if better or (keep == "last" and last):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically({"epoch": epoch, "model": training.model.state_dict()}, self._path)
