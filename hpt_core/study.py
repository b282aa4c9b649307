"""The study: the public face of hpt in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import definition as definitions
from hpt_core import liveness
from hpt_core.components import Pause, Stop, Suggestion
from hpt_core.constraints import parse_constraints
from hpt_core.decisions import Decisions
from hpt_core.errors import EvaluationError, Mistake, SpaceExhausted, UsageError
from hpt_core.ledger import Ledger
from hpt_core.opening import open_study
from hpt_core.options import build
from hpt_core.plugins import Plugins, default_plugins
from hpt_core.settings import Settings
from hpt_core.space import Space
from hpt_core.told import End, end_of
from hpt_core.trial import Params, Report, Trial, TrialContext
from hpt_core.warm_start import WarmStart, earlier_of, warm_start

if TYPE_CHECKING:
    from hpt_core.history import History

__all__ = ["Study"]


class Study:
    """A search: a space, objectives, and the components that work on it, under a name in a store.

    Components are given by name (``"bayes"``), as a mapping (``{"use": "bayes", "n_initial": 8}``) or as objects.
    What is in the store under ``name`` goes on: the same study resumes, a changed one is refused.

    Args:
        space: A `Space`, or parameters by name.
        objective: ``"minimize"``, ``"maximize"``, or a mapping of names to those; several are a Pareto search.
        constraints: Metrics (or objectives) that a trial has to keep within bounds to be the best, as in
            ``{"latency_ms": "<= 50"}``. A trial that does not return such a metric has failed.
        name: The study's name in the store.
        sampler: Who proposes points; None: what the study has recorded, else the installed default.
        evaluator: What evaluates a configuration: a component, or a function of params that returns the value or
            is a generator of reports. May also be given to `run`.
        store: Where the log is kept: a component, a name, a URL (``sqlite:///hpt.db``) or a path. Default: memory.
        stop: Stopping rules, one or a list, or none; the first that says so stops the trial or the study.
        executor: Who runs several workers. Default: processes on this machine.
        seed: Any int >= 0; None: drawn once and recorded.
        duplicates: ``"avoid"`` exact repeats of a point, ``"reuse"`` the earlier result, or ``"allow"`` them.
        reproducible: With k workers, decide on trial t from the results of trials <= t - k only, so that the trials do
            not depend on timing.
        retries: How often a trial that was lost with its worker (not failed by itself) is run again.
        max_failures: A run ends when its first so many trials all fail with the same error.
        trial_timeout: Seconds that a trial may take; it then runs in a process of its own, which is killed.
        amend: Go on with the recorded study under this changed definition.
        plugins: The plugins to use; None: all installed.

    Raises:
        UsageError: With every mistake in the first argument that has one.
    """

    def __init__(
        self,
        space: Space | Mapping[str, Any],
        *,
        objective: str | Mapping[str, str] = "minimize",
        constraints: Mapping[str, str] | None = None,
        name: str = "study",
        sampler: Any = None,
        evaluator: Any = None,
        store: Any = None,
        stop: Any = (),
        executor: Any = None,
        seed: int | None = None,
        duplicates: str = "avoid",
        reproducible: bool = False,
        retries: int = 1,
        max_failures: int = 3,
        trial_timeout: float | None = None,
        amend: bool = False,
        plugins: Plugins | None = None,
    ) -> None:
        given = {
            "name": name,
            "seed": seed,
            "duplicates": duplicates,
            "reproducible": reproducible,
            "retries": retries,
            "max_failures": max_failures,
            "trial_timeout": trial_timeout,
        }
        self.settings: Settings = build(Settings, given, "")
        self.plugins = plugins or default_plugins()
        self.space = space if isinstance(space, Space) else Space(space)
        self.objectives = definitions.parse_objectives(objective)
        self.constraints = parse_constraints(constraints)
        self.sampler: Any = None if sampler is None else self.plugins.make("sampler", sampler)
        self.evaluator: Any = None if evaluator is None else self.plugins.make("evaluator", evaluator)
        self.rules = self._make_rules(() if stop is None else stop)
        executor = self.plugins.default("executor") if executor is None else executor
        self.executor = self.plugins.make("executor", executor)
        self.store = self.plugins.make_store(self.plugins.default("store") if store is None else store)
        self.ledger = Ledger(self.store, name)
        beside: Path | None = getattr(self.store, "folder", None)
        self._folder = None if beside is None else beside / self.settings.folder_name
        self.amend = amend
        self.workers = 0  # not said yet: as recorded, else 1
        self.stop_reason = ""
        self._decisions: Decisions | None = None
        self._me = liveness.this_process()

    @property
    def named_rules(self) -> list[tuple[str, Any]]:
        """The stopping rules with the names that they have in the log."""
        return [(self.plugins.name_of(type(rule)) or type(rule).__name__, rule) for rule in self.rules]

    @property
    def name(self) -> str:
        """The study's name in its store."""
        return self.settings.name

    # --- running ----------------------------------------------------------------------------------------

    def run(self, evaluator: Any = None, *, trials: int | None = None, workers: int = 1) -> str:
        """Run trials until the study has had enough.

        Running again resumes; running twice at once, from two processes, shares the work.

        Args:
            evaluator: As in `Study`; needed here if it was not given there.
            trials: How many trials the study may have *in all*, those of earlier runs included; None: no limit.
            workers: How many processes evaluate at once. With 1 (and no ``trial_timeout``) trials run in this one.

        Returns:
            Why the run ended, in words.

        Raises:
            UsageError: If the study cannot be run like this.
            NothingSucceededError: If the first ``max_failures`` trials of the run failed with the same error.
            KeyboardInterrupt: On Ctrl-C, after the running trials were recorded as interrupted.
        """
        from hpt_core.worker import run_study

        if evaluator is not None:
            self.evaluator = self.plugins.make("evaluator", evaluator)
        if self.evaluator is None:
            raise UsageError("Nothing evaluates the trials: give an evaluator to Study or to run().")
        workers = _count("workers", workers)
        if trials is not None:
            trials = _count("trials", trials)
        self.workers, self._decisions = workers, None  # a run joins the study anew, with the evaluator of this call
        self.stop_reason = run_study(self, trials, workers)
        return self.stop_reason

    # --- owning the loop --------------------------------------------------------------------------------

    def ask(self) -> Trial:
        """Take the next trial: one that was enqueued, else one that the sampler suggests.

        Returns:
            The trial, recorded as running; end it with `tell`.

        Raises:
            SpaceExhausted: If there is nothing left to try.
        """
        claimed = self.decisions.claim(self._me, None, judge=False)
        if isinstance(claimed, Stop):
            raise SpaceExhausted(f"Nothing is left to ask for: {claimed.reason}.")
        if claimed is None:
            raise UsageError("Earlier trials have to end before the next one: tell their results first.")
        return claimed

    def report(self, trial: Trial | int, step: int, value: float, **metrics: float) -> Stop | Pause | None:
        """Record evidence of a running trial and hear what the stopping rules say.

        Args:
            trial: The trial or its number.
            step: How much evidence there is now; grows, from 1.
            value: The first objective's value.
            metrics: Anything else measured; further objectives by their name.

        Returns:
            The decision: None to go on. A trial that is stopped or paused has been recorded as such.

        Raises:
            UsageError: If the trial is not running, or the numbers are none.
        """
        running = self.decisions.running(trial)
        try:
            return self.decisions.report(running, Report(step, value, metrics))
        except EvaluationError as err:
            raise UsageError(f"Trial {running.number}: {err}") from err

    def tell(self, trial: Trial | int, result: object) -> Trial:
        """Record how a trial ended.

        Args:
            trial: The trial or its number.
            result: What an evaluator may return (a number, a mapping by name, with several objectives a tuple), or a
                `Failure`, the exception that ended it, or a `Stop` for one that was stopped early. NaN and infinity
                are recorded as a failure of kind ``invalid-value``: the trial diverged.

        Returns:
            The trial as it is now.

        Raises:
            UsageError: If the trial is not running, or the result is none of these; then nothing is recorded.
        """
        running = self.decisions.running(trial)
        remedy = " It runs on: tell its result, or the exception or a Failure if it failed."
        return self.decisions.end(running, self._end_of(result, f"Trial {running.number}", remedy))

    def enqueue(self, params: Params) -> Trial:
        """Have a configuration evaluated before any that the sampler suggests.

        Args:
            params: The configuration; parameters with a declared default may be left out.

        Returns:
            Its trial: the one that is there already if this point was ever taken.

        Raises:
            InvalidParamsError: If it does not lie in the space, with the reasons.
        """
        return self.decisions.enqueue(Suggestion(self.space.validate(params), source="given"))

    def enqueue_from(self, other: Study | History, *, top: int = 5) -> WarmStart:
        """Begin where an earlier study ended: `enqueue` its best distinct configurations.

        A parameter that only the earlier study had is dropped, one that only this study has starts from its default,
        and a configuration with a value that this space does not allow is passed over for the next best.

        Args:
            other: The earlier study, or its history; of several objectives the front is taken.
            top: How many configurations, at most.

        Returns:
            An object with the ``trials``, and with what was ``dropped``, ``filled`` in and ``passed_over``; its text
            says all that.
        """
        top = _count("top", top)
        name, earlier = earlier_of(other)
        return warm_start(self.space, earlier, name=name, top=top, enqueue=self.decisions.enqueue)

    def add_trial(self, params: Params | Suggestion, result: object = None) -> Trial:
        """Record a trial that was evaluated elsewhere; unlike `enqueue` also at a point that was taken before.

        Args:
            params: The configuration; parameters with a declared default may be left out. A `Suggestion` keeps its
                source and notes.
            result: As for `tell`; None: it runs, to be ended with `tell`.

        Raises:
            InvalidParamsError: If it does not lie in the space, with the reasons.
            UsageError: If the result is none, as for `tell`; then there is no trial.
        """
        end = None if result is None else self._end_of(result, "result")
        given = params if isinstance(params, Suggestion) else Suggestion(params, source="given")
        trial = self.decisions.add(self._me, attrs.evolve(given, params=self.space.validate(given.params)))
        return trial if end is None else self.decisions.end(trial, end)

    def invalidate(self, number: int, reason: str) -> None:
        """Declare a trial's result wrong: it stays in the log, and nothing learns from it any more.

        Raises:
            UsageError: If there is no such trial.
        """
        self.decisions.invalidate(number, reason)

    # --- looking ----------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """The study as its log tells it now."""
        return self.decisions.ledger.sync()

    @property
    def trials(self) -> Sequence[Trial]:
        """Every trial, index = number."""
        return self.history.trials

    @property
    def best(self) -> Trial | None:
        """The complete trial with the best first objective that keeps the constraints; None before the first."""
        return self.history.best

    @property
    def front(self) -> Sequence[Trial]:
        """With several objectives: the trials that keep the constraints and that no other such beats in all of them."""
        return self.history.front

    def to_dataframe(self) -> Any:
        """The trials as a pandas data frame, a column per parameter; needs pandas.

        Raises:
            UsageError: If pandas is not installed.
        """
        return self.history.to_dataframe()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __repr__(self) -> str:
        """Say the name, the space's size and the count of trials."""
        size, count = len(self.space), len(self.ledger.history.trials)
        words = f"{size} parameter{'s' * (size != 1)}, {count} trial{'s' * (count != 1)}"
        return f"<Study {self.name!r}: {words}>"

    # --- what the worker needs --------------------------------------------------------------------------

    @property
    def decisions(self) -> Decisions:
        """What decides in this study; the first use creates or resumes it in the store."""
        if self._decisions is None:
            open_study(self)
            self._decisions = self._decide()
            self._decisions.recover()
        return self._decisions

    def context(self, trial: Trial) -> TrialContext:
        """What the evaluator is given for a trial."""
        history = self.ledger.history
        digest = hashlib.blake2b(f"{history.seed}:{trial.number}".encode(), digest_size=4).digest()
        return TrialContext(
            params=trial.params,
            number=trial.number,
            seed=int.from_bytes(digest),
            objectives=tuple(self.objectives),
            workdir=None if self._folder is None else self._folder / f"trial-{trial.number}",
            resume_step=trial.reports[-1].step if trial.reports and history.resumable else 0,
            reports=tuple(trial.reports) if history.resumable else (),
        )

    def serve(self, store: Any) -> None:
        """Work on another store object from now on, as a worker does that is served by its supervisor."""
        self.store = store
        self.ledger = Ledger(store, self.name)
        self._decisions = self._decide()
        self.ledger.sync()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to a worker without the open store, the log and the plugins; it finds its own."""
        left_out = {"plugins": self.plugins.disabled, "ledger": None, "_decisions": None, "executor": None}
        return {**self.__dict__, **left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive at a worker: find the plugins that are installed here, but for those that were left out."""
        self.__dict__.update(state)
        self.plugins = Plugins(state["plugins"])
        self.ledger = Ledger(self.store, self.name)

    def _end_of(self, result: object, where: str, remedy: str = "") -> End:
        if isinstance(result, BaseException):
            from hpt_core.worker import failure_of

            result = failure_of(result)
        return end_of(result, tuple(self.objectives), self.constraints, where=where, remedy=remedy)

    def _decide(self) -> Decisions:
        settings = self.settings
        return Decisions(
            ledger=self.ledger,
            sampler=self.sampler,
            rules=self.named_rules,
            duplicates=settings.duplicates,
            lag=(self.workers or 1) if settings.reproducible else 0,
            retries=settings.retries,
            max_failures=settings.max_failures,
        )

    # --- making components ------------------------------------------------------------------------------

    def _make_rules(self, stop: Any) -> list[Any]:
        if not isinstance(stop, (list, tuple)):
            return [self.plugins.make("stopping rule", stop, "stop")]
        rules: list[Any] = []
        mistakes: list[Mistake] = []
        for i, rule in enumerate(stop):
            try:
                rules.append(self.plugins.make("stopping rule", rule, f"stop[{i}]"))
            except UsageError as err:
                mistakes += err.mistakes
        if mistakes:
            raise UsageError(*mistakes)
        return rules


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(Mistake(name, f"Must be an int >= 1. Got {value!r}."))
    return int(value)
