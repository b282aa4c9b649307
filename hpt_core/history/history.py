"""The history: the state of a study after its records were replayed, with array columns for numerics."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_core.history import columns
from hpt_core.history.columns import read_only
from hpt_core.history.constraints import Constraint, violation
from hpt_core.history.pareto import non_dominated
from hpt_core.history.replay import Replay
from hpt_core.history.trial import State, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["History"]


class History(Replay):
    """The state of a study as recorded in its log. Samplers and rules read it and never change it.

    Row i of a column is trial i. Objectives appear as *losses*: smaller is better. No other package handles the sign.

    Attributes:
        trials: All trials; the index is the trial number.
        position: How many records were replayed.
        definition: The current definition of the study, as JSON-shaped data.
        provenance: The software that the study was last run with.
        workers: Process -> the time of its last record, in Unix seconds of the clock that is furthest ahead.
        open: The trials that have not ended, by number.
        session: The trials that ended since a process last joined the study, in the order in which they ended.
        invalid_count: How many trials the user declared invalid.
        stop: The last ``stopped`` record, None if the study never stopped.
        ended: The same record; None once a trial was started after it: the study goes on.
        notes: Subject -> the content of its last note.
        clock: The time up to which `elapsed` counts, in Unix seconds. None: the time of the last record.
        closing: Whether no new trial will start because the budget or the space is used up. Only set while ``retire``
            and ``promote`` of a rule are called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock: float | None = None
        self.closing = False
        self._hidden: list[int] = []  # the trials whose results a view hides

    def __repr__(self) -> str:
        """Show the number of trials and their states; the attributes have the rest."""
        count, states = len(self.trials), Counter(trial.state for trial in self.trials)
        words = [f"{count} trial{'s' * (count != 1)}", *(f"{number} {state}" for state, number in states.items())]
        return f"<History: {', '.join(words)}>"

    # --- the study ------------------------------------------------------------------------------------

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of the objectives, in order."""
        return tuple(self.definition["objectives"])

    @property
    def directions(self) -> tuple[str, ...]:
        """``minimize`` or ``maximize``, one per objective."""
        return tuple(self.definition["objectives"].values())

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints on the results, each with ``metric``, ``relation`` and ``bound``. Empty if there are none."""
        return self._columns.constraints

    @property
    def seed(self) -> int:
        """The study's seed."""
        return int(self.definition["seed"])

    @property
    def evidence(self) -> str:
        """The kind of evidence that the evaluator reports: ``curve`` or ``folds``."""
        return str(self.definition.get("evidence", {}).get("kind", "curve"))

    @property
    def steps(self) -> int | None:
        """The step of the last report of a whole trial; None if the evaluator does not declare it."""
        steps = self.definition.get("evidence", {}).get("steps")
        return None if steps is None else int(steps)

    @property
    def elapsed(self) -> float:
        """Seconds of work on the study, without the idle gaps between runs."""
        running_on = 0.0 if self.clock is None or self._last_time is None else self.clock - self._last_time
        return self._active_seconds + max(0.0, running_on)

    # --- trials and columns ---------------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """The number that the next new trial gets."""
        return len(self.trials)

    @property
    def keys(self) -> Mapping[Any, int]:
        """`Space.key` of each point -> its first trial. Invalid trials are left out."""
        return self._keys

    def untried(self, params: Mapping[str, Any]) -> bool:
        """Whether a sampler may suggest a configuration: it satisfies the requirements and is in no valid trial."""
        return self.space.allows(params) and self.space.key(params) not in self._keys

    @property
    def unit(self) -> NDArray[np.float64]:
        """Unit-cube coordinates, (n, d). NaN if a parameter is inactive. Points outside the space are rows of NaN."""
        return self._columns.unit(self.space, self.trials)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Losses, (n, m). NaN if a trial has no value."""
        return read_only(self._columns.losses[: len(self.trials)])

    @property
    def excess(self) -> NDArray[np.float64]:
        """By how much each trial exceeds each of `constraints`, (n, c). Above 0: violated. NaN: unknown."""
        return read_only(self._columns.excess[: len(self.trials)])

    @property
    def violation(self) -> NDArray[np.float64]:
        """The total violation of each trial, relative to the bounds, (n,). 0 if it satisfies all constraints."""
        return violation(self.constraints, self.excess)

    @property
    def feasible(self) -> NDArray[np.intp]:
        """Numbers of the complete trials that satisfy all constraints, ascending. Without constraints: `complete`."""
        return self._columns.feasible()

    @property
    def complete(self) -> NDArray[np.intp]:
        """Numbers of the complete, valid trials inside the space, ascending."""
        return self._columns.numbers(columns.COMPLETE)

    @property
    def stopped(self) -> NDArray[np.intp]:
        """Numbers of the trials that were stopped early with a (partial) value, ascending."""
        return self._columns.numbers(columns.STOPPED)

    @property
    def pending(self) -> NDArray[np.intp]:
        """Numbers of the trials that have not ended (running, waiting or paused), ascending."""
        return self._columns.numbers(columns.WAITING, columns.RUNNING, columns.PAUSED)

    @property
    def waiting(self) -> NDArray[np.intp]:
        """Numbers of the trials that are to be started, or started again, ascending; also those outside the space."""
        return self._columns.numbers(columns.WAITING, anywhere=True)

    @property
    def failed(self) -> NDArray[np.intp]:
        """Numbers of the trials that failed, ascending. Trials lost with their worker are left out."""
        return self._columns.numbers(columns.FAILED)

    def changed_since(self, position: int) -> NDArray[np.intp]:
        """Numbers of the trials with a record after this position of the log, ascending.

        For a cache that follows a study. Trials whose results this history hides (see `as_seen_by`) are among them. As
        they appear as running, a cache must also look again at the trials that were running when it last looked.
        """
        changed = np.array(self._changed[: len(self.trials)]) > position
        changed[self._hidden] = True
        return np.flatnonzero(changed)

    @property
    def best(self) -> Trial | None:
        """The feasible trial with the lowest first loss, the earliest of equals. None if there is none."""
        number = self._columns.best()
        return None if number is None else self.trials[number]

    @property
    def front(self) -> list[Trial]:
        """The Pareto front: the feasible trials that no other feasible trial dominates, by number."""
        numbers = self._columns.feasible(anywhere=True)
        if not len(numbers):  # perhaps there are no objectives yet
            return []
        return [self.trials[i] for i in numbers[non_dominated(self._columns.losses[numbers])]]

    @property
    def least_violated(self) -> Trial | None:
        """The complete trial with the smallest violation, the earliest of equals. None if a trial is feasible."""
        numbers = self._columns.numbers(columns.COMPLETE, anywhere=True)
        if not len(numbers) or self.best is not None:
            return None
        return self.trials[int(numbers[np.argmin(np.nan_to_num(self.violation[numbers], nan=np.inf))])]

    def curve(self, trial: Trial, metric: str | None = None, *, maximize: bool = False) -> list[tuple[int, float]]:
        """A trial's reports as losses.

        Args:
            trial: One of `trials`.
            metric: The name of an objective or a metric. None: the first objective.
            maximize: Whether larger is better. Only used for a metric that is not an objective.

        Returns:
            (step, loss) in order of step. Reports without the metric are left out.
        """
        sign = self._sign(metric, maximize)
        if metric is None or metric == self.objectives[0]:
            return [(report.step, sign * report.value) for report in trial.reports]
        return [(r.step, sign * r.metrics[metric]) for r in trial.reports if metric in r.metrics]

    def loss_of(self, value: float, objective: int | str | None = 0, *, maximize: bool = False) -> float:
        """Convert a value in the user's sign to a loss.

        Args:
            value: A value of an objective or a metric.
            objective: The index or the name of an objective, or the name of a metric. None: the first objective.
            maximize: Whether larger is better. Only used for a metric that is not an objective.
        """
        return self._sign(objective, maximize) * value

    def value_of(self, loss: float, objective: int | str | None = 0, *, maximize: bool = False) -> float:
        """Convert a loss to a value in the user's sign; the arguments are those of `loss_of`."""
        return self._sign(objective, maximize) * loss

    def _sign(self, objective: int | str | None, maximize: bool) -> float:
        signs = self._columns.signs
        if isinstance(objective, str):
            return signs.get(objective, -1.0 if maximize else 1.0)
        return tuple(signs.values())[objective or 0]

    def to_dataframe(self) -> Any:
        """The trials as a pandas data frame with a column per parameter. Requires pandas.

        Raises:
            UsageError: If pandas is not installed.
        """
        from hpt_core.history.export import to_dataframe

        return to_dataframe(self)

    # --- views ----------------------------------------------------------------------------------------

    def as_seen_by(self, trial: int, lag: int) -> History:
        """The history that a reproducible study with ``lag`` workers uses to decide on ``trial``.

        Args:
            trial: The number of the trial to decide on.
            lag: The results of the trials up to ``trial - lag`` are visible. Later trials appear as just started, and
                those after ``trial`` are left out.

        Returns:
            A separate history that shares the unchanged trials with this one.
        """
        view = copy.copy(self)
        known = min(len(self.trials), trial + 1)
        view.trials = self.trials[:known]
        view._columns = self._columns.first(known)
        hidden = [n for n in range(max(0, trial - lag + 1), min(trial, known)) if self.trials[n].invalid is None]
        for number in hidden:
            actual = self.trials[number]
            view.trials[number] = Trial(number, actual.params, State.RUNNING, info=actual.info, source=actual.source)
            view._columns.set_results(view.trials[number])
            view._columns.set_state(view.trials[number])
        view._hidden = hidden
        view.open = {n: view.trials[n] for n in sorted({*self.open, *hidden}) if n < known}
        end = bisect_right(self._session_by_number, trial - lag, key=attrgetter("number"))
        view.session, view._session_by_number = self._session_by_number[:end], self._session_by_number[:end]
        view._keys = self._keys.copy()
        for later in self.trials[known:]:
            key = self.space.key(later.params)
            if view._keys.get(key) == later.number:
                del view._keys[key]
        return view
