"""What is read: the state of a study after replaying its records, with columns for numerics."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_core import columns
from hpt_core.columns import read_only
from hpt_core.constraints import violation
from hpt_core.pareto import non_dominated
from hpt_core.replay import Replayed
from hpt_core.trial import State, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["History"]


class History(Replayed):
    """A study as its log tells it; samplers and rules read it and never change it.

    Columns: row i is trial number i. Objectives are *losses* here: smaller is better; no other place handles the sign.

    Attributes:
        trials: Every trial, index = number.
        position: How many records were replayed.
        definition: How the study is defined now, as JSON-shaped data.
        provenance: With what it was last run.
        workers: Every process that ran it -> when it was last heard of, Unix seconds by the clock that is furthest on.
        open: The trials that have not ended, by number.
        session: The trials that ended since a process last began to run the study, in that order.
        invalid_count: How many trials the user declared invalid.
        stop: The last record of a stop of the study, None if it never stopped.
        notes: Subject -> what was noted last.
        clock: Unix seconds that `elapsed` counts up to; None: the last record's time.
        closing: Whether no new trial will come, budget or space being used up: true only while `promote` is asked then.
    """

    # --- the study -------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, idle gaps between runs left out."""
        running_on = 0.0 if self.clock is None or self._last_time is None else self.clock - self._last_time
        return self._active_seconds + max(0.0, running_on)

    # --- trials and columns -----------------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """The number that the next new trial gets."""
        return len(self.trials)

    @property
    def keys(self) -> Mapping[Any, int]:
        """`Space.key` of every point that was ever taken (invalid trials left out) -> its first trial."""
        return self._keys

    @property
    def unit(self) -> NDArray[np.float64]:
        """Unit-cube coordinates, (n, d). NaN where a parameter is inactive; NaN rows lie outside the space."""
        return self._columns.unit(self.space, self.trials)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Losses, (n, m); NaN where a trial has no value."""
        return read_only(self._columns.losses[: len(self.trials)])

    @property
    def excess(self) -> NDArray[np.float64]:
        """How far each trial is beyond each of `constraints`, (n, c): above 0 breaks it; NaN where not known."""
        return read_only(self._columns.excess[: len(self.trials)])

    @property
    def violation(self) -> NDArray[np.float64]:
        """What each trial adds up to beyond the constraints, as shares of the bounds, (n,); 0 where all are kept."""
        return violation(self.constraints, self.excess)

    @property
    def feasible(self) -> NDArray[np.intp]:
        """Numbers of the complete trials that keep every constraint, ascending; without constraints `complete`."""
        return self._columns.feasible()

    @property
    def complete(self) -> NDArray[np.intp]:
        """Numbers of the complete trials that can be learnt from, ascending."""
        return self._columns.numbers(columns.COMPLETE)

    @property
    def stopped(self) -> NDArray[np.intp]:
        """Numbers of the trials stopped early that have a (partial) value, ascending."""
        return self._columns.numbers(columns.STOPPED)

    @property
    def pending(self) -> NDArray[np.intp]:
        """Numbers of the trials that have not ended: running, waiting or paused; ascending."""
        return self._columns.numbers(columns.WAITING, columns.RUNNING, columns.PAUSED)

    @property
    def failed(self) -> NDArray[np.intp]:
        """Numbers of the trials that failed on their own account, ascending; lost ones say nothing."""
        return self._columns.numbers(columns.FAILED)

    @property
    def best(self) -> Trial | None:
        """The feasible trial with the lowest first loss, the earliest of equals; None before the first."""
        if self._best is None:
            numbers = self._columns.feasible(anywhere=True)
            if len(numbers):
                self._best = int(numbers[np.argmin(self._columns.losses[numbers, 0])])
        return None if self._best is None else self.trials[self._best]

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other feasible trial beats in every objective, by number."""
        numbers = self._columns.feasible(anywhere=True)
        return [self.trials[i] for i in numbers[non_dominated(self._columns.losses[numbers])]]

    @property
    def least_violated(self) -> Trial | None:
        """The complete trial that breaks the constraints least, the earliest of equals; None where one is feasible."""
        numbers = self._columns.numbers(columns.COMPLETE, anywhere=True)
        if not len(numbers) or self.best is not None:
            return None
        return self.trials[int(numbers[np.argmin(np.nan_to_num(self.violation[numbers], nan=np.inf))])]

    def curve(self, trial: Trial, metric: str | None = None, *, maximize: bool = False) -> list[tuple[int, float]]:
        """A trial's reports as losses.

        Args:
            trial: One of `trials`.
            metric: An objective's or a metric's name; None: the first objective.
            maximize: Whether more is better, for a metric that is no objective.

        Returns:
            (step, loss) in order of step; reports that lack the metric are left out.
        """
        objectives = self.objectives
        if metric is None or metric == objectives[0]:
            sign = self._signs[0]
            return [(report.step, sign * report.value) for report in trial.reports]
        sign = -1.0 if maximize else 1.0
        if metric in objectives:
            sign = self._signs[objectives.index(metric)]
        return [(r.step, sign * r.metrics[metric]) for r in trial.reports if metric in r.metrics]

    def loss_of(self, value: float, objective: int = 0) -> float:
        """A value in the user's sign as a loss."""
        return self._signs[objective] * value

    def value_of(self, loss: float, objective: int = 0) -> float:
        """A loss as a value in the user's sign."""
        return self._signs[objective] * loss

    def to_dataframe(self) -> Any:
        """The trials as a pandas data frame, a column per parameter; needs pandas.

        Raises:
            UsageError: If pandas is not installed.
        """
        from hpt_core.export import to_dataframe

        return to_dataframe(self)

    # --- views --------------------------------------------------------------------------------------------

    def as_seen_by(self, trial: int, lag: int) -> History:
        """What the decisions on ``trial`` may see in a reproducible study with ``lag`` workers.

        Args:
            trial: The number of the trial that is decided on.
            lag: Results of the trials up to ``trial - lag`` are seen; the later ones look as just started, those
                behind ``trial`` are not there.

        Returns:
            A history of its own that shares the unchanged trials with this one.
        """
        view = copy.copy(self)
        known = min(len(self.trials), trial + 1)
        view.trials = self.trials[:known]
        view._columns, view._best = self._columns.first(known), None
        hidden = [n for n in range(max(0, trial - lag + 1), min(trial, known)) if self.trials[n].invalid is None]
        for number in hidden:
            kept = self.trials[number]
            view.trials[number] = Trial(number, kept.params, State.RUNNING, info=kept.info, source=kept.source)
            view._columns.set_state(view.trials[number])
            view._columns.set_results(view.trials[number])
        view.open = {n: view.trials[n] for n in sorted({*self.open, *hidden}) if n < known}
        view.session = sorted((t for t in self.session if t.number <= trial - lag), key=lambda t: t.number)
        view._keys = self._keys.copy()  # a copy of all is quick, a look at each of 100,000 is not
        if known < len(self.trials):
            view._keys = {key: number for key, number in self._keys.items() if number < known}
        return view
