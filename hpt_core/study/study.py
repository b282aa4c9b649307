"""`Study`, the main class of the Python API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import liveness
from hpt_core.components import Pause, Stop, Suggestion
from hpt_core.errors import EvaluationError, SpaceExhausted, UsageError
from hpt_core.history import definition as definitions
from hpt_core.history.constraints import parse_constraints
from hpt_core.history.trial import Params, Report, Trial, TrialContext
from hpt_core.loop.changes import add, enqueue, invalidate, running_trial
from hpt_core.loop.ledger import Ledger
from hpt_core.loop.results import Result, parse_result
from hpt_core.mistakes import Mistakes
from hpt_core.options import build
from hpt_core.plugins.checks import rules_by_path, run_checks
from hpt_core.plugins.plugins import Plugins, default_plugins
from hpt_core.space.space import Space
from hpt_core.study.opening import amendments, complete, decisions_of, open_study
from hpt_core.study.settings import RunSettings, Settings
from hpt_core.study.warm_start import WarmStart, warm_start
from hpt_core.values import counted

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.loop.decisions import Decisions

__all__ = ["Study"]


class Study:
    """A search: a space, objectives and the components that search it, stored under a name.

    A component is given by name (``"bayes"``), as a mapping (``{"use": "bayes", "n_initial": 8}``) or as an object.
    If the store already holds a study ``name``, it is resumed; a changed definition is refused unless ``amend`` is set.

    Args:
        space: A `Space`, or a mapping of names to parameters.
        objective: ``"minimize"``, ``"maximize"``, or a mapping of names to those. Several objectives are optimized for
            their Pareto front.
        constraints: Bounds on metrics or objectives, as in ``{"latency_ms": "<= 50"}``. Only a trial that satisfies
            them can be the best. A trial that does not return such a metric fails.
        name: The study's name in the store.
        sampler: Suggests configurations. None: the sampler that the study recorded, else the installed default.
        evaluator: Evaluates a configuration: a component, or a function of the params that returns the value or
            yields reports. May also be passed to `run`.
        store: Keeps the log: a component, a name, a URL (``sqlite:///hpt.db``) or a path. Default: memory.
        stop: A stopping rule or a list of them, which are asked in order. The first `Stop` ends the trial or the study.
        executor: Runs several workers. Default: processes on this machine.
        seed: An int >= 0. None: drawn once and recorded.
        duplicates: ``"avoid"`` exact repeats of a point, ``"reuse"`` the earlier result, or ``"allow"`` them.
        reproducible: With k workers, decide on trial t from the results of trials <= t - k only, so that the trials do
            not depend on timing.
        retries: How often in a row a trial is rerun if its worker was lost (not if the trial itself failed). If the
            evaluator resumes trials, each report starts the count again.
        max_failures: A run ends if its first ``max_failures`` trials all fail with the same error.
        trial_timeout: The longest that a trial may take, in seconds or as text such as ``"10m"``. Trials then run in
            other processes, which are killed when they exceed it.
        amend: Resume the recorded study with this changed definition.
        plugins: The plugins to use. None: all installed ones.

    Raises:
        UsageError: With the mistakes of all arguments.
        PluginError: If a component cannot be loaded.
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
        trial_timeout: float | str | None = None,
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
        plugins = plugins or default_plugins()
        self.plugins: Plugins = plugins
        executor = plugins.default("executor") if executor is None else executor
        store = plugins.default("store") if store is None else store
        mistakes = Mistakes()
        collect = mistakes.collect
        self.settings: Settings = collect(build, Settings, given, "")
        self.space: Space = space if isinstance(space, Space) else collect(Space, space)
        self.objectives: dict[str, str] = collect(definitions.parse_objectives, objective)
        self.constraints: dict[str, str] = collect(parse_constraints, constraints)
        self.sampler: Any = None if sampler is None else collect(plugins.make, "sampler", sampler)
        self.evaluator: Any = None if evaluator is None else collect(plugins.make, "evaluator", evaluator)
        rules = rules_by_path(stop).items()
        self.rules_by_path: dict[str, Any] = {at: collect(plugins.make, "stopping rule", one, at) for at, one in rules}
        self.rules: list[Any] = list(self.rules_by_path.values())
        self.executor: Any = collect(plugins.make, "executor", executor)
        self.store: Any = collect(plugins.make_store, store)
        mistakes.raise_all()
        self.ledger: Ledger = Ledger(self.store, name)
        store_folder: Path | None = getattr(self.store, "folder", None)
        self._folder = None if store_folder is None else store_folder / self.settings.folder_name
        self.amend = amend
        self.workers: int = 0  # not given yet: as recorded, else 1
        self.stop_reason: str = ""
        self._decisions: Decisions | None = None
        self._accepted = False  # whether the recorded definition was compared with this one

    @property
    def named_rules(self) -> list[tuple[str, Any]]:
        """The stopping rules, each with its name in the log."""
        return [(self.plugins.name_of(type(rule)) or type(rule).__name__, rule) for rule in self.rules]

    @property
    def name(self) -> str:
        """The study's name in its store."""
        return self.settings.name

    # --- running --------------------------------------------------------------------------------------

    def run(self, evaluator: Any = None, *, trials: int | None = None, workers: int = 1) -> str:
        """Run trials until a stopping rule or the trial limit ends the study.

        Running the study again resumes it. Two processes that run it at the same time share the work.

        Args:
            evaluator: As for `Study`; required here if it was not given there.
            trials: The most trials that the study may have *in total*, including those of earlier runs. None: no limit.
            workers: The number of worker processes. With 1 and no ``trial_timeout``, trials run in this process.

        Returns:
            Why the run ended, in words.

        Raises:
            UsageError: If the study has no evaluator, or its components do not fit together.
            NothingSucceededError: If the first ``max_failures`` trials of the run failed with the same error.
            KeyboardInterrupt: On Ctrl-C, after the running trials were recorded as interrupted.
        """
        from hpt_core.loop.running import run_study

        if evaluator is None and self.evaluator is None:
            raise UsageError("The study has no evaluator: pass one to Study or to run().")
        before, mistakes = (self.evaluator, self.workers), Mistakes()
        made = self.evaluator if evaluator is None else mistakes.collect(self.plugins.make, "evaluator", evaluator)
        given: RunSettings = mistakes.collect(build, RunSettings, {"trials": trials, "workers": workers}, "")
        mistakes.raise_all()
        self.evaluator, self.workers = made, given.workers
        self._decisions = None  # each run joins the study again, with its own evaluator
        try:
            self.stop_reason = run_study(self, given.trials, given.workers)
        except UsageError:
            self.evaluator, self.workers = before  # with those that were refused, the study could not even be read
            raise
        return self.stop_reason

    # --- owning the loop ------------------------------------------------------------------------------

    def ask(self) -> Trial:
        """Start the next trial: one that was lost, enqueued or promoted by a rule, else one that the sampler suggests.

        Returns:
            The trial, recorded as running. End it with `tell`. If this process dies, the next one that opens the study
            lets the trial run again. Processes on other machines do so after five minutes without a report, as only
            `run` sends heartbeats.

        Raises:
            SpaceExhausted: If there is nothing left to try.
            UsageError: If the decision depends on the results of running trials, or if the sampler or a rule does not
                fit the study. A new study is then not recorded.
        """
        if self._decisions is None:
            run_checks(None, self.sampler, self.rules_by_path, self.space, self.objectives)
        claimed = self.decisions.claim(liveness.this_process(), None, judge=False)
        if isinstance(claimed, Stop):
            raise SpaceExhausted(f"There is no further trial: {claimed.reason}.")
        if claimed is None:
            raise UsageError("The next trial depends on running ones: tell their results first.")
        return claimed

    def report(self, trial: Trial | int, step: int, value: float, **metrics: float) -> Stop | Pause | None:
        """Record a report of a running trial and let the stopping rules judge it.

        Args:
            trial: The trial or its number.
            step: How much evidence there is now. Starts at 1 and grows with each report.
            value: The first objective's value.
            metrics: Further measurements by name, including the other objectives.

        Returns:
            None to continue, else the decision, which has been recorded.

        Raises:
            UsageError: If the trial is not running, ``step`` does not grow, or a value is not a finite number.
        """
        decisions = self.decisions
        with decisions.ledger.mutex:  # another thread may report or end the same trial
            running = running_trial(decisions.ledger, trial)
            try:
                return decisions.report(running, Report(step, value, metrics))
            except EvaluationError as err:
                raise UsageError(f"Trial {running.number}: {err}") from err

    def tell(self, trial: Trial | int, result: object) -> Trial:
        """Record how a trial ended.

        Args:
            trial: The trial or its number.
            result: Anything that an evaluator may return (a number, a mapping by name, or a tuple for several
                objectives), or a `Failure`, or the exception that ended the trial, or a `Stop` if you stopped it
                early. NaN and infinity mean that the trial diverged: a failure of kind ``invalid-value``.

        Returns:
            The ended trial.

        Raises:
            UsageError: If the trial is not running, or the result is none of these. Nothing is recorded then.
        """
        decisions = self.decisions
        remedy = " The trial is still running: tell its result, or the exception or a Failure if it failed."
        with decisions.ledger.mutex:  # another thread may end the same trial
            running = running_trial(decisions.ledger, trial)
            return decisions.end(running, self._parse(result, f"Trial {running.number}", remedy))

    def enqueue(self, params: Params) -> Trial:
        """Queue a configuration, to be evaluated before those that the sampler suggests.

        Args:
            params: The configuration; parameters with a declared default may be left out.

        Returns:
            Its trial. If the study already has a trial at this point, that one.

        Raises:
            InvalidParamsError: If the configuration is outside the space, with the reasons.
        """
        return self._enqueue(Suggestion(self.space.validate(params), source="given"))

    def enqueue_from(self, other: Study | History, *, top: int = 5) -> WarmStart:
        """Warm-start from an earlier study: `enqueue` its best distinct configurations.

        A parameter that only the earlier study has is dropped, one that only this study has gets its default, and a
        configuration with a value outside this space is passed over for the next best.

        Args:
            other: The earlier study or its history. With several objectives its Pareto front is used.
            top: The most configurations to enqueue.

        Returns:
            An object with the enqueued ``trials``, the parameters ``dropped`` and ``filled`` in, and the configurations
            ``passed_over``. Its ``str`` summarizes them.
        """
        earlier, name = (other._recorded(), other.name) if isinstance(other, Study) else (other, "")  # noqa: SLF001 - of this class
        return warm_start(self.space, earlier, name=name, top=top, enqueue=self._enqueue)

    def add_trial(self, params: Params | Suggestion, result: object = None) -> Trial:
        """Record a trial that was evaluated elsewhere. Unlike `enqueue`, this allows a point that was tried before.

        Args:
            params: The configuration; parameters with a declared default may be left out. A `Suggestion` keeps its
                ``source`` and ``info``.
            result: As for `tell`. None: the trial is running, until `tell` ends it.

        Raises:
            InvalidParamsError: If the configuration is outside the space, with the reasons.
            UsageError: If `tell` would refuse the result. No trial is recorded then.
        """
        parsed = None if result is None else self._parse(result, "result")
        given = params if isinstance(params, Suggestion) else Suggestion(params, source="given")
        given = attrs.evolve(given, params=self.space.validate(given.params))
        trial = add(self.decisions.ledger, liveness.this_process(), given)
        return trial if parsed is None else self.decisions.end(trial, parsed)

    def invalidate(self, number: int, reason: str) -> None:
        """Declare a trial's result wrong. The trial stays in the log but is ignored from now on.

        Raises:
            UsageError: If there is no such trial.
        """
        invalidate(self.decisions.ledger, number, reason)

    # --- reading --------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """The current state of the study, read from its log. A study that its store does not have is recorded first."""
        recorded = self._recorded()
        return recorded if recorded.exists else self.decisions.ledger.sync()

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials; the index is the trial number. One whose process died stays running until a run resumes it."""
        return self._recorded().trials

    @property
    def best(self) -> Trial | None:
        """The complete trial with the best first objective that satisfies the constraints; None if there is none."""
        return self._recorded().best

    @property
    def front(self) -> Sequence[Trial]:
        """The Pareto front: the complete trials that satisfy the constraints and that no other such trial dominates."""
        return self._recorded().front

    def _recorded(self) -> History:
        """The history, read without recording a new study or joining one that another process may be running."""
        history = self.ledger.sync()
        if history.exists and not self._accepted:
            complete(self, history)
            _, changed, _ = amendments(self, history)  # refuses another definition unless `amend` is set
            if changed:
                return self.decisions.ledger.sync()  # which amends it
            self._accepted = True
        return history

    def to_dataframe(self) -> Any:
        """The trials as a pandas data frame with a column per parameter. Requires pandas.

        Raises:
            UsageError: If pandas is not installed.
        """
        return self.history.to_dataframe()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __repr__(self) -> str:
        """Show the name, the number of parameters and the number of trials."""
        words = f"{counted(len(self.space), 'parameter')}, {counted(len(self.ledger.history.trials), 'trial')}"
        return f"<Study {self.name!r}: {words}>"

    # --- used by the worker ---------------------------------------------------------------------------

    @property
    def decisions(self) -> Decisions:
        """The study's decisions. The first access creates or resumes the study in its store."""
        if self._decisions is None:
            self._decisions, self._accepted = open_study(self), True
        return self._decisions

    def context(self, trial: Trial) -> TrialContext:
        """The `TrialContext` for the evaluator."""
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
        """Switch to another store object: the one that a supervisor serves to its worker."""
        self.store = store
        self.ledger = Ledger(store, self.name)
        self._decisions = decisions_of(self)
        self.ledger.sync()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what a worker sets up itself: the plugins, the log and the executor."""
        left_out = {"plugins": self.plugins.disabled, "ledger": None, "_decisions": None, "executor": None}
        return {**self.__dict__, **left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set up in a worker with the plugins installed there, except the disabled ones."""
        self.__dict__.update(state)
        self.plugins = Plugins(state["plugins"])
        self.ledger = Ledger(self.store, self.name)

    def _enqueue(self, given: Suggestion) -> Trial:
        return enqueue(self.decisions.ledger, given)

    def _parse(self, result: object, where: str, remedy: str = "") -> Result:
        return parse_result(result, tuple(self.objectives), self.constraints, where=where, remedy=remedy)
