"""The contracts: what a sampler, evaluator, stopping rule, store and executor must do.

The contracts are protocols, so a component needs no base class. A component is an attrs class whose fields are its
options (see `hpt_core.options`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from hpt_core.history.trial import Params
from hpt_core.structure import table_field, text_field

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.random import Generator

    from hpt_core.history.events import Record
    from hpt_core.history.history import History
    from hpt_core.history.trial import Failure, Report, Trial, TrialContext

__all__ = [
    "KINDS",
    "Evaluator",
    "Executor",
    "Kind",
    "Pause",
    "PromotionRule",
    "Sampler",
    "Stop",
    "StoppingRule",
    "Store",
    "StudyRule",
    "Suggestion",
    "TrialRule",
    "WorkerCall",
    "location_of",
    "path_of",
]


@attrs.frozen
class Suggestion:
    """A configuration, with notes of the sampler about it.

    Attributes:
        params: The configuration: a value for each active parameter.
        info: JSON-shaped notes (a model's prediction, fitted hyperparameters). They are stored in the log, so a later
            suggestion may use them and remains a pure function of the log.
        source: The part of a composed sampler that proposed it.
    """

    params: Params
    info: Mapping[str, Any] = attrs.field(factory=dict, validator=table_field)
    source: str = attrs.field(default="sampler", validator=text_field)


@attrs.frozen
class Stop:
    """The decision to stop a trial or a study.

    Attributes:
        reason: One sentence for people.
        evidence: JSON-shaped numbers that the decision is based on.
        value: The value of a stopped trial, in the user's sign. None: the last report (a curve) or the mean of the
            reports (folds).
        complete: Whether a trial with a curve is complete, because more steps would not change its result: it may then
            be the best. It is only stopped if its last report lacks an objective or a metric with a constraint.
    """

    reason: str = attrs.field(validator=text_field)
    evidence: Mapping[str, Any] = attrs.field(factory=dict, validator=table_field)
    value: float | None = None
    complete: bool = False


@attrs.frozen
class Pause:
    """The decision to pause a trial; `PromotionRule.promote` may resume it later.

    Attributes:
        reason: One sentence for people.
        evidence: JSON-shaped numbers that the decision is based on.
    """

    reason: str = attrs.field(validator=text_field)
    evidence: Mapping[str, Any] = attrs.field(factory=dict, validator=table_field)


@runtime_checkable
class Sampler(Protocol):
    """Proposes configurations. It never records or stops anything.

    Samplers, evaluators and stopping rules may have a method ``check(space, objectives)``. It is called before the
    first trial, and by `hpt check`, with the `Space` and a mapping of objective -> ``minimize`` or ``maximize``. It
    raises a `UsageError` for a study that can never work. An error from any other method counts as a fault of the
    component.
    """

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        """Propose the next configuration.

        A pure function of its arguments and the options: ``rng`` is the only source of randomness, the result depends
        on no other state (a cache must not change it), and the history is not modified.

        Args:
            history: The history of the study, including running trials.
            rng: A generator made from the study's seed and the new trial's number.

        Returns:
            A configuration inside ``history.space``, alone or as a `Suggestion`.

        Raises:
            SpaceExhausted: If nothing is left to suggest.
        """
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates one configuration. It never chooses configurations.

    Optional attributes:

    - ``evidence``: ``"curve"`` (later reports are more accurate: epochs, rounds, growing subsets) or ``"folds"`` (step
      i is the same split for every trial). Default ``"curve"``.
    - ``steps``: the step of the last report of a whole trial, None if unknown. Default None.
    - ``resumable``: whether a trial can resume after ``trial.resume_step``. It then must, whatever it finds in
      ``trial.workdir``: a checkpoint, a checkpoint of a later step (whose report was not recorded), or none. Default
      False.
    - ``sources``: the options that name the user's code and data: functions, import paths, paths of files, command
      lines and other evaluators, in any lists and mappings. Digests of those files are recorded, and a changed file is
      reported when the study is resumed.
    - ``conclude(best: TrialContext) -> Mapping | None``: called once when a run ends with a new best trial, for
      example to refit and save it and to score a holdout. The JSON-shaped result is recorded and shown; the next call
      in this study receives it as ``best.concluded``.
    - ``discard(trial: TrialContext)``: called, perhaps more than once, for a trial that was stopped or failed. The
      trial is never resumed, so its checkpoints may be deleted.
    - ``finish(trial: TrialContext)``: called, perhaps more than once, for a trial that a rule declared complete, after
      its generator was closed. Checkpoints may be deleted; what is kept of a complete trial stays.
    """

    def evaluate(self, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """Evaluate one configuration.

        Args:
            trial: The trial to evaluate; see `TrialContext`.

        Returns:
            A number, a mapping by objective name (further names are metrics), or a generator of `Report` whose
            return value is the final result. If the generator returns None, the value is its last report (a curve) or
            the mean of its reports (folds). The generator is closed when the trial is stopped.

        Raises:
            EvaluationError: To give a failure a kind; any other exception is a failure of kind ``error``.
        """
        ...


class TrialRule(Protocol):
    """A stopping rule that judges trials; see `StoppingRule`.

    Optional attribute ``evidence``, as of an `Evaluator`: the only kind of evidence that the rule can judge. A study
    whose evaluator gives the other kind is rejected before its first trial.

    Optional method ``check_evidence(kind, *, steps, resumable) -> str | None``: called before the first trial with what
    the evaluator declares. It raises `UsageError` if the rule can never judge such reports. If it will merely never act
    on them, for example because a trial has too few steps, it returns a sentence that says so, which is shown as a
    warning. It is called for nested rules as well.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Decide on a running trial right after a report, which is ``trial.reports[-1]``."""
        ...


class StudyRule(Protocol):
    """A stopping rule that judges studies; see `StoppingRule`.

    Any rule may have a method ``summary(history) -> Mapping | None``. It returns JSON-shaped facts about a study in
    progress (an estimate of the rule's own errors, the improvement that is still possible), which `hpt show` prints.
    It is called for nested rules as well, as the study's definition lists them, so a rule that contains rules need not
    forward it.
    """

    def judge_study(self, history: History) -> Stop | None:
        """Decide, before each new trial, whether to stop the study."""
        ...


class PromotionRule(Protocol):
    """A stopping rule that resumes paused trials; see `StoppingRule`.

    Optional method ``retire(history) -> Mapping[int, Stop] | None``: the paused trials that will never be resumed, by
    number, each with its `Stop`. It is called right before ``promote``.
    """

    def promote(self, history: History) -> int | None:
        """Name a paused trial, by number, to resume instead of starting a new one; None if there is none.

        Called before each new trial, and with ``history.closing`` set once no new trial will be started.
        """
        ...


StoppingRule = TrialRule | StudyRule | PromotionRule
"""Stops trials or studies. It needs at least one of the three methods; all are pure functions of the history."""


@runtime_checkable
class Store(Protocol):
    """An ordered, durable log of records for each study, and a lock. It does not interpret the records.

    A record is a dict with string keys and JSON values (finite numbers, strings, bools, None, lists, dicts). Records
    are read exactly as they were written, including types and the order of keys. Only ``append`` and ``lock`` may
    create or change anything on disk. All methods may be called from any thread of the process that opened the store.

    Optional attributes: ``location``, where the store is, for people (default: its option ``path``); and ``folder``, a
    `pathlib.Path` beside the store where trials may keep files. Optional method ``append_lazily(study, records)``: like
    ``append``, but without waiting for the disk. Its records survive the death of the process and, after the next
    ``append``, a power failure as well. The core uses it for the starts of trials, reports and heartbeats.

    A method that cannot do its work (a full disk, a damaged file, a record that is not JSON) raises a `StoreError` that
    states the problem and the remedy. Any other exception counts as a bug.
    """

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Append the records durably, all or none.

        Returns:
            The position of the last one, which is the number of the study's records. Positions run from 1 without gaps.
        """
        ...

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read the records after position ``after``, in order. A study that does not exist has none."""
        ...

    def studies(self) -> Sequence[str]:
        """The names of the studies that have records, in order of creation."""
        ...

    def lock(self, study: str) -> AbstractContextManager[object]:
        """Hold the study's lock, which excludes other processes and threads.

        It excludes other holders, not other appends. It is released when its process dies, in whatever way. A study is
        locked before its first record exists.
        """
        ...

    def close(self) -> None:
        """Release files and connections. Closing twice is harmless."""
        ...


class WorkerCall(Protocol):
    """What an executor runs: a picklable object that, when called, runs the trial loop until the study is done.

    Attributes:
        store: The study's store as opened by the calling process, for workers that are served through this process.
            It is not pickled with the worker.
        trial_timeout: Seconds that a trial may take before the executor must kill its worker (failure kind
            ``timeout``); None: no limit.
    """

    store: Store
    trial_timeout: float | None

    def __call__(self, name: str, store: Store | None = None) -> str:
        """Run the loop as worker ``name`` on ``store`` (None: open the study's own store).

        Returns:
            The reason why the loop ended, for people.
        """
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs workers and reports those that died.

    Optional attribute ``elsewhere``: whether it also runs a single worker itself, because trials are meant for another
    machine. By default, the process that runs the study does the work of a single worker.
    """

    def run(self, worker: WorkerCall, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended.

        Args:
            worker: What to run; each copy gets its own name.
            count: Number of workers, at least 1.
            lost: To be called as ``lost(name, failure)`` when the worker ``name`` died, with what is known of the cause
                (kind ``killed``, ``timeout``, ``out-of-memory`` or ``worker-lost``). It records the failure of the
                worker's trial, and returns whether to start a replacement.

        Raises:
            Exception: Whatever a worker raised, after the other workers were ended.
        """
        ...


@attrs.frozen
class Kind:
    """A kind of component: what the core, the command line and the kits know of it.

    Attributes:
        contracts: Its protocols. A component has all methods of at least one of them.
        hook: The hook by which a plugin names its components of this kind.
        kit: The conformance kit in `hpt_core.testing`.
        fixture: The fixture of the kit that makes the component.
        optional: The methods and attributes that it may have but does not need, sorted; of a stopping rule also those
            of its contracts, of which one suffices.
    """

    contracts: tuple[type, ...]
    hook: str
    kit: str
    fixture: str
    optional: tuple[str, ...]

    @property
    def methods(self) -> list[list[str]]:
        """The methods of each contract."""
        return [[name for name in vars(contract) if not name.startswith("_")] for contract in self.contracts]


KINDS = {
    "sampler": Kind((Sampler,), "hpt_samplers", "SamplerKit", "make_sampler", ("check",)),
    "evaluator": Kind(
        (Evaluator,),
        "hpt_evaluators",
        "EvaluatorKit",
        "make_evaluator",
        ("check", "conclude", "discard", "evidence", "finish", "resumable", "sources", "steps"),
    ),
    "stopping rule": Kind(
        (TrialRule, StudyRule, PromotionRule),
        "hpt_stopping_rules",
        "StoppingRuleKit",
        "make_rule",
        ("check", "check_evidence", "evidence", "judge_study", "judge_trial", "promote", "retire", "summary"),
    ),
    "store": Kind((Store,), "hpt_stores", "StoreKit", "make_store", ("append_lazily", "folder", "location")),
    "executor": Kind((Executor,), "hpt_executors", "ExecutorKit", "make_executor", ("elsewhere",)),
}
"""Name -> kind of component."""


def location_of(store: Store) -> str:
    """Where a store is, for people: its ``location``, else its option ``path``, else its class."""
    return str(getattr(store, "location", getattr(store, "path", type(store).__name__)))


def path_of(store: object) -> str | None:
    """The file or folder that a store keeps its studies in, as it was given; None if its option ``path`` names none."""
    path = getattr(store, "path", None)
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
