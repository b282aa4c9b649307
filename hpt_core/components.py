"""The contracts: what a sampler, evaluator, stopping rule, store and executor must do.

They are protocols: a component needs no base class. A component is an attrs class whose fields are its
options (see `hpt_core.options`). Any of them may have a method ``check(space, objectives)`` (objectives: name ->
direction), which is called before the first trial and raises `UsageError` with what can never work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from hpt_core.errors import HptError, Mistake, PluginError, UsageError
from hpt_core.structure import table_field, text_field
from hpt_core.trial import Params

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.random import Generator

    from hpt_core.events import Record
    from hpt_core.history import History
    from hpt_core.space import Space
    from hpt_core.trial import Failure, Report, Trial, TrialContext

__all__ = [
    "KINDS",
    "Evaluator",
    "Executor",
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
    "checked",
    "fit_together",
    "lacking",
    "location_of",
    "look_ahead",
    "one",
    "undeclared",
]

KINDS = ("sampler", "evaluator", "stopping rule", "store", "executor")

_METHODS = {
    "sampler": (("suggest",),),
    "evaluator": (("evaluate",),),
    "stopping rule": (("judge_trial",), ("judge_study",), ("promote",)),
    "store": (("append", "read", "studies", "lock", "close"),),
    "executor": (("run",),),
}
"""The methods that a component of each kind must have: all of one of these groups."""


@attrs.frozen
class Suggestion:
    """A configuration and what the sampler wants to remember about it.

    Attributes:
        params: The configuration: a value for each active parameter.
        info: JSON-shaped notes (a model's prediction, fitted hyperparameters). They are in the log, so that a
            later suggestion may start from them and stay a pure function of the log.
        source: Which part of a composed sampler proposed it.
    """

    params: Params
    info: Mapping[str, Any] = attrs.field(factory=dict, validator=table_field)
    source: str = attrs.field(default="sampler", validator=text_field)


@attrs.frozen
class Stop:
    """The decision to stop a trial or a study.

    Attributes:
        reason: One sentence for people.
        evidence: JSON-shaped numbers that the decision rests on.
        value: The value to give a stopped trial, in the user's sign; None takes the last report (a curve) or
            the mean of the reports (folds).
    """

    reason: str = attrs.field(validator=text_field)
    evidence: Mapping[str, Any] = attrs.field(factory=dict, validator=table_field)
    value: float | None = None


@attrs.frozen
class Pause:
    """The decision to set a trial aside; `PromotionRule.promote` may name it later.

    Attributes:
        reason: One sentence for people.
        evidence: JSON-shaped numbers that the decision rests on.
    """

    reason: str = attrs.field(validator=text_field)
    evidence: Mapping[str, Any] = attrs.field(factory=dict, validator=table_field)


@runtime_checkable
class Sampler(Protocol):
    """Proposes points. Never records, never stops anything.

    Optional method ``check(space, objectives)`` of samplers, evaluators and stopping rules: called before the first
    trial and by `hpt check` with the `Space` and a mapping of objective -> ``minimize`` or ``maximize``; raises a
    `UsageError` for what can never work. What any other method raises is taken for a fault of the component.
    """

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        """Propose the next configuration.

        A pure function of its arguments and the options: no other randomness than ``rng``, no state that the
        answer depends on (a cache must not change the answer), and the history is left as it is.

        Args:
            history: All that is known; running trials included.
            rng: A generator made from the study's seed and the new trial's number.

        Returns:
            A configuration inside ``history.space``, alone or as a `Suggestion`.

        Raises:
            SpaceExhausted: When nothing is left to suggest.
        """
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Fits or scores one configuration. Never chooses points.

    Optional attributes:

    - ``evidence``: ``"curve"`` (a later report is truer: epochs, rounds, growing subsets) or ``"folds"`` (step
      i means the same split for every trial). Default ``"curve"``.
    - ``steps``: how many reports a whole trial gives, None if not known. Default None.
    - ``resumable``: whether a trial can go on behind ``trial.resume_step``, which it then does whatever is left in
      ``trial.workdir``: a checkpoint, one of a later step (its report was not recorded), or none. Default False.
    - ``conclude(best: TrialContext) -> Mapping``: called once when a run ends with a winner; refits and saves
      it, scores a holdout. What it returns (JSON-shaped) is recorded and shown.
    - ``discard(trial: TrialContext)``: called for a trial that was stopped or failed, perhaps more than once: it never
      goes on, and its checkpoints may go.
    """

    def evaluate(self, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """Evaluate one configuration.

        Args:
            trial: What to evaluate; see `TrialContext`.

        Returns:
            A number, a mapping by objective name (further names are metrics), or a generator of `Report` whose
            return value is the final result. A generator that returns None has its last report (a curve) or the
            mean of its reports (folds) as its value. The generator is closed when the trial is stopped.

        Raises:
            EvaluationError: To say of which kind a failure is; any other exception is one of kind ``error``.
        """
        ...


class TrialRule(Protocol):
    """A stopping rule that judges trials; see `StoppingRule`.

    Optional attribute ``evidence``, as of an `Evaluator`: the only kind that it can judge. A study with an evaluator of
    the other kind is then refused before its first trial.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Decide on a running trial right after it reported. Its last report is ``trial.reports[-1]``."""
        ...


class StudyRule(Protocol):
    """A stopping rule that judges studies; see `StoppingRule`.

    Optional method of any rule ``summary(history) -> Mapping | None``: what it has to tell of a study while it goes on
    (an estimate of its own errors, what is left to gain), JSON-shaped. `hpt show` prints it. Rules inside others are
    asked, too, as the study's definition has them: a rule made of rules passes nothing on.
    """

    def judge_study(self, history: History) -> Stop | None:
        """Decide, before each new trial, whether the study has had enough."""
        ...


class PromotionRule(Protocol):
    """A stopping rule that has paused trials go on; see `StoppingRule`.

    Optional method ``retire(history) -> Mapping[int, Stop] | None``: the paused trials that will never go on, by
    number, each with its `Stop`. It is asked right before ``promote``.
    """

    def promote(self, history: History) -> int | None:
        """Name a paused trial to go on with, by number, instead of starting a new one.

        It is asked before each new trial, and with ``history.closing`` where none will come any more.
        """
        ...


StoppingRule = TrialRule | StudyRule | PromotionRule
"""Says 'enough'. Any one of the three methods will do, and all are pure functions of the history."""


@runtime_checkable
class Store(Protocol):
    """An ordered, durable log of records for each study, and a lock. It gives the records no meaning.

    A record is a dict with string keys and JSON values (finite numbers, strings, bools, None, lists, dicts); what
    is read equals what was written, types and the order of keys included. Only ``append`` and ``lock`` may create or
    change anything on disk. All methods may be called from any thread of the process that opened it.

    Optional attribute ``location``: where it is, for people (else its option ``path`` is taken for that); and
    ``folder``: a `pathlib.Path` beside it where trials may keep files. Optional method
    ``append_lazily(study, records)``: as ``append`` without waiting for the disk. What it wrote outlives its process,
    and after the next ``append`` a power cut, too; the core writes the starts of trials, reports and heartbeats so.

    Each method raises a `StoreError`, which says what is the matter and what to do, where it cannot do its work (a full
    disk, a damaged file, a record that is no JSON); anything else is taken for a bug.
    """

    def append(self, study: str, records: Sequence[Record]) -> int:
        """Write the records, all or none, durably, behind all that are there.

        Returns:
            The position of the last one: the count of the study's records. Positions run from 1 without gaps.
        """
        ...

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """Read the records behind position ``after``, in order. A study that is not there has none."""
        ...

    def studies(self) -> Sequence[str]:
        """Names of the studies that have records, in order of creation."""
        ...

    def lock(self, study: str) -> AbstractContextManager[object]:
        """Hold the study's lock between processes.

        It keeps other holders out, not other appends; it is released when its process dies, however. A study is
        locked before its first record is there.
        """
        ...

    def close(self) -> None:
        """Give back files and connections. Closing twice is harmless."""
        ...


class WorkerCall(Protocol):
    """What an executor runs: picklable; calling it runs the one loop until the study is done.

    Attributes:
        store: The study's store as the calling process has it, for workers that are served through this process.
            It does not travel with the worker.
        trial_timeout: Seconds that a trial may take before its worker is to be killed (failure kind ``timeout``);
            None: no limit.
    """

    store: Store
    trial_timeout: float | None

    def __call__(self, name: str, store: Store | None = None) -> str:
        """Run the loop as worker ``name``, on ``store`` (None: open the study's own).

        Returns:
            Why it ended, in words.
        """
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs workers somewhere and tells when one died.

    Optional attribute ``elsewhere``: whether it runs a single worker, too, as trials are meant for another machine.
    Without it the process that runs the study does the work of one worker itself.
    """

    def run(self, worker: WorkerCall, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended.

        Args:
            worker: What to run; each copy is given a name of its own.
            count: How many, from 1.
            lost: To be called as ``lost(name, failure)`` when the worker ``name`` died, with what is known (kind
                ``killed``, ``timeout``, ``out-of-memory`` or ``worker-lost``): it records the failure of the trial
                that worker had. Returns whether to start another in its place.

        Raises:
            Exception: Whatever a worker raised; the others are ended first.
        """
        ...


def one(kind: str) -> str:
    """A kind with its article: ``an evaluator``."""
    return f"an {kind}" if kind.startswith("e") else f"a {kind}"


def location_of(store: Store) -> str:
    """Where a store is, for people: its ``location``, else its option ``path``, else its class."""
    return str(getattr(store, "location", getattr(store, "path", type(store).__name__)))


def look_ahead(components: Iterable[object], space: Space, objectives: Mapping[str, str]) -> None:
    """Let components object, by their ``check``, before the first trial to what can never work.

    Raises:
        UsageError: By the first of them that does.
        PluginError: If a ``check`` raises anything else.
    """
    for component in components:
        check = getattr(component, "check", None)
        if check is not None:
            try:
                check(space, dict(objectives))
            except HptError:
                raise
            except Exception as err:
                msg = f"{type(component).__name__} failed in check: {type(err).__name__}: {err}"
                raise PluginError(msg) from err


def fit_together(evaluator: object, rules: Iterable[object]) -> None:
    """See that the evaluator declares its reports, and that rules which judge one kind of evidence are given that.

    Raises:
        PluginError: If it declares what cannot be.
        UsageError: By the first rule that is given the other kind.
    """
    given = getattr(evaluator, "evidence", "curve")
    problem = undeclared(evaluator)
    if problem:
        raise PluginError(f"The evaluator {type(evaluator).__name__} declares its reports wrongly: {problem}")
    for i, rule in enumerate(rules):
        wanted = getattr(rule, "evidence", given)
        if wanted != given:
            said = [{"curve": "curves"}.get(kind, kind) for kind in (wanted, given)]
            message = (
                f"This rule judges {said[0]}, and the evaluator's reports are {said[1]}: take another rule, or an "
                f"evaluator whose `evidence` is {wanted!r}."
            )
            raise UsageError(Mistake(f"stop[{i}]", message))


def lacking(kind: str, component: object) -> str:
    """The methods that a component, or its class, must have to be one of a kind; empty where it has them."""
    choices = _METHODS[kind]
    if any(all(callable(getattr(component, m, None)) for m in methods) for methods in choices):
        return ""
    return " or ".join("/".join(methods) for methods in choices)


def undeclared(evaluator: object) -> str:
    """What is wrong with ``evidence``, ``steps`` or ``resumable`` of an evaluator; empty where nothing is."""
    evidence, steps = getattr(evaluator, "evidence", "curve"), getattr(evaluator, "steps", None)
    resumable = getattr(evaluator, "resumable", False)
    if evidence not in ("curve", "folds"):
        return f"`evidence` must be 'curve' or 'folds'. Got {evidence!r:.80}."
    if steps is not None and not (type(steps) is int and steps > 0):
        return f"`steps` must be an int above 0, or None. Got {type(steps).__name__} {steps!r:.80}."
    return "" if type(resumable) is bool else f"`resumable` must be a bool. Got {resumable!r:.80}."


def checked(kind: str, component: object, path: str) -> object:
    """A component, if it can be one of a kind.

    Args:
        kind: One of `KINDS`.
        component: The component.
        path: Key path, for messages.

    Raises:
        UsageError: If it is a class, or lacks what each of that kind has.
    """
    if isinstance(component, type):
        message = f"Must be {one(kind)}, not a class: write {component.__name__}(...)."
        raise UsageError(Mistake(path, message))
    wanted = lacking(kind, component)
    if wanted:
        message = (
            f"Must be {one(kind)}: a name, a mapping with 'use', "
            f"or an object with {wanted}(). Got {type(component).__name__} {component!r:.80}."
        )
        raise UsageError(Mistake(path, message))
    return component
