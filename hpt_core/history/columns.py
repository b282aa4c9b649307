"""The numeric columns of a history: one row per trial, extended in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_core.history.trial import State, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core.history.constraints import Constraint
    from hpt_core.space.space import Space

__all__ = ["COMPLETE", "FAILED", "PAUSED", "RUNNING", "STOPPED", "WAITING", "Columns", "carry_over", "read_only"]

# Codes of the state column. SILENT: the trial says nothing about its point (its worker was lost, or it was stopped
# without a value). INVALID: the trial was invalidated and must not be used.
WAITING, RUNNING, PAUSED, COMPLETE, STOPPED, FAILED, SILENT, INVALID = range(8)
_OPEN_CODES = {State.WAITING: WAITING, State.RUNNING: RUNNING, State.PAUSED: PAUSED}
_LOST = frozenset({"worker-lost", "interrupted"})
_FIRST_ROWS = 64


class _Points:
    """The unit-cube points computed so far: ``rows`` (>= count, d), of which the first ``count`` are in use."""

    def __init__(self) -> None:
        self.rows = np.empty((0, 0))
        self.count = 0


class Columns:
    """Losses, states and unit-cube points of the trials; row i is trial i.

    Attributes:
        count: Number of rows in use.
        losses: (>= count, m) losses; NaN for a trial without a value.
        excess: (>= count, c) how far each trial exceeds each constraint; NaN if unknown.
        codes: (>= count,) the state of each trial, as one of the codes of this module.
    """

    def __init__(self, signs: Mapping[str, float], constraints: tuple[Constraint, ...] = (), count: int = 0) -> None:
        self.signs: Mapping[str, float] = signs
        self.constraints: tuple[Constraint, ...] = constraints
        self.count: int = count
        self.losses: NDArray[np.float64] = np.full((max(_FIRST_ROWS, count), len(signs)), np.nan)
        self.excess: NDArray[np.float64] = np.full((max(_FIRST_ROWS, count), len(constraints)), np.nan)
        self.codes: NDArray[np.int8] = np.zeros(max(_FIRST_ROWS, count), dtype=np.int8)
        self._inside: NDArray[np.bool_] | None = None
        self._points = _Points()
        self._best: int | None = None
        self._version = 0
        self._numbers: dict[tuple[int, ...], tuple[int, NDArray[np.intp]]] = {}

    def add(self) -> None:
        """Add a row for a new trial."""
        if self.count == len(self.codes):
            self.codes = np.concatenate([self.codes, np.zeros_like(self.codes)])
            self.losses = np.concatenate([self.losses, np.full_like(self.losses, np.nan)])
            self.excess = np.concatenate([self.excess, np.full_like(self.excess, np.nan)])
        self.count += 1
        self._version += 1

    def set_state(self, trial: Trial) -> None:
        """Set the code of a trial from its state. Its results must be set before."""
        number, code = trial.number, _code(trial)
        self.codes[number] = code
        self._version += 1
        if number == self._best:
            self._best = None
        elif self._best is not None and code == COMPLETE and (self.excess[number] <= 0.0).all():
            self._best = min(self._best, number, key=lambda one: (self.losses[one, 0], one))

    def set_results(self, trial: Trial) -> None:
        """Set a trial's losses and its excess over the constraints."""
        if trial.values is None:
            self.losses[trial.number] = self.excess[trial.number] = np.nan
            return
        self.losses[trial.number] = [sign * v for sign, v in zip(self.signs.values(), trial.values, strict=False)]
        if self.constraints:
            evidence = trial.reports[-1].metrics if trial.partial and trial.reports else {}
            known = {**evidence, **trial.metrics, **dict(zip(self.signs, trial.values, strict=False))}
            self.excess[trial.number] = [bound.excess(known.get(bound.metric)) for bound in self.constraints]

    def restrict(self, inside: NDArray[np.bool_]) -> None:
        """Set which of the trials so far lie inside an amended space; the encoded points are discarded."""
        self._inside = inside
        self._points = _Points()
        self._version += 1

    def unit(self, space: Space, trials: Sequence[Trial]) -> NDArray[np.float64]:
        """The unit-cube points of the trials, (count, d). A point never changes, so only new rows are computed."""
        points, d = self._points, len(space.columns)
        if len(points.rows) < self.count or points.rows.shape[1] != d:
            grown = np.full((max(_FIRST_ROWS, 2 * self.count), d), np.nan)
            if points.count:
                grown[: points.count] = points.rows[: points.count]
            points.rows = grown
        new = [trial for trial in trials[points.count :] if self.is_inside(trial.number)]
        if new:
            points.rows[[trial.number for trial in new]] = space.to_unit([trial.params for trial in new])
        points.count = max(points.count, self.count)
        return read_only(points.rows[: self.count])

    def numbers(self, *codes: int, anywhere: bool = False) -> NDArray[np.intp]:
        """The numbers of the trials that have one of the codes, ascending.

        Args:
            codes: The codes.
            anywhere: Whether to include trials outside an amended space.
        """
        key = (*codes, -1) if anywhere else codes
        cached = self._numbers.get(key)
        if cached is not None and cached[0] == self._version:
            return cached[1]
        column = self.codes[: self.count]
        chosen = column == codes[0]
        for code in codes[1:]:
            chosen |= column == code
        if self._inside is not None and not anywhere:
            chosen[: len(self._inside)] &= self._inside[: self.count]
        numbers = read_only(np.flatnonzero(chosen))
        self._numbers[key] = (self._version, numbers)
        return numbers

    def feasible(self, *, anywhere: bool = False) -> NDArray[np.intp]:
        """The numbers of the complete trials that satisfy every constraint, ascending; ``anywhere`` as in `numbers`."""
        complete = self.numbers(COMPLETE, anywhere=anywhere)
        if not self.constraints:
            return complete
        return read_only(complete[(self.excess[complete] <= 0.0).all(axis=1)])

    def best(self) -> int | None:
        """The feasible trial with the lowest first loss, anywhere, the earliest of equals; None if there is none."""
        if self._best is None:
            numbers = self.feasible(anywhere=True)
            if len(numbers):
                self._best = int(numbers[np.argmin(self.losses[numbers, 0])])
        return self._best

    def first(self, count: int) -> Columns:
        """A copy of the first ``count`` rows, which can be changed independently."""
        view = Columns(self.signs, self.constraints)
        view.count = count
        view.losses, view.codes = self.losses[:count].copy(), self.codes[:count].copy()
        view.excess = self.excess[:count].copy()
        view._inside = self._inside
        view._points = self._points  # shared, else each view would compute all of them again
        return view

    def is_inside(self, number: int) -> bool:
        """Whether a trial's configuration lies inside the space, which may have been amended since."""
        return self._inside is None or number >= len(self._inside) or bool(self._inside[number])


def carry_over(trial: Trial, before: Sequence[str], now: Sequence[str]) -> None:
    """Update a trial to amended objectives: a value of a former objective becomes a metric, and vice versa."""
    if before != now and trial.state in (State.COMPLETE, State.STOPPED):
        known = {**trial.metrics, **dict(zip(before, trial.values or (), strict=False))}
        trial.values = tuple(known[name] for name in now) if all(name in known for name in now) else None
        trial.metrics = known if trial.values is None else {k: v for k, v in known.items() if k not in now}


def _code(trial: Trial) -> int:
    if trial.invalid is not None:
        return INVALID
    if trial.state is State.COMPLETE:
        return COMPLETE if trial.values is not None else SILENT
    if trial.state is State.STOPPED:
        return STOPPED if trial.values is not None else SILENT
    if trial.failure is not None:
        return SILENT if trial.failure.kind in _LOST else FAILED
    return _OPEN_CODES[trial.state]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of an array."""
    view = array.view()
    view.flags.writeable = False
    return view
