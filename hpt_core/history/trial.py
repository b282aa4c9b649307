"""A trial: one evaluation of a configuration, with its reports and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs

from hpt_core.space.parameters import Params
from hpt_core.structure import text_field

__all__ = [
    "FAILURE_KINDS",
    "FINAL_STATES",
    "Failure",
    "Params",
    "Report",
    "State",
    "Trial",
    "TrialContext",
]

FAILURE_KINDS = (
    "error",
    "invalid-value",
    "timeout",
    "out-of-memory",
    "killed",
    "worker-lost",
    "interrupted",
)


class State(StrEnum):
    """The state of a trial. The last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


FINAL_STATES = frozenset({State.COMPLETE, State.STOPPED, State.FAILED})


@attrs.frozen
class Failure:
    """Why a trial failed.

    Attributes:
        kind: The kind of failure, as for `EvaluationError`.
        message: One sentence.
        detail: A traceback, or the tail of stderr. May be empty.
    """

    kind: str = attrs.field(validator=text_field)
    message: str = attrs.field(validator=text_field)
    detail: str = attrs.field(default="", validator=text_field)


@attrs.frozen
class Report:
    """Evidence that a trial reports while it runs.

    Attributes:
        step: How much evidence there is now, from 1 (completed epochs or folds). Grows within a trial.
        value: The value of the first objective in the user's sign: that of the current model (a *curve*), or of this
            fold alone (*folds*).
        metrics: Further measurements by name, including the other objectives.
    """

    step: int
    value: float
    metrics: Mapping[str, float] = attrs.field(factory=dict)


@attrs.define(eq=False, slots=True)
class Trial:
    """One trial as recorded in the log. Only the replay changes it.

    Attributes:
        number: From 0, in the order of creation.
        params: The configuration. Each access returns a new dict, so changing it does not affect the trial.
        state: See `State`.
        values: One per objective, in the user's sign. None until the trial ends with a result.
        metrics: Further results by name.
        reports: All reports so far, in order of step.
        failure: Why it failed; None if it did not.
        reason: Why it was stopped or paused, in words.
        rule: The name of the stopping rule that stopped or paused it.
        info: Notes that the sampler attached to its suggestion.
        source: Where the point came from: ``sampler``, ``given`` (enqueued), ``warm-start``, ``fill`` (chosen by the
            core because the sampler only gave known points, or points that break a requirement) or the name that a
            composed sampler gave.
        attempt: How many times it was started.
        worker: The name of the worker that last ran it.
        started: Unix seconds of the last start, None before the first.
        paused_at: Unix seconds of the pause after the last start, None if there was none.
        earlier_work: `work` before the last start.
        ended: Unix seconds, None before the end.
        partial: Whether the values are based on part of the evidence only.
        invalid: Why the user declared it invalid; None if they did not.
    """

    number: int
    _params: Params
    state: State = State.WAITING
    values: tuple[float, ...] | None = None
    metrics: Mapping[str, float] = attrs.field(factory=dict)
    reports: list[Report] = attrs.field(factory=list)
    failure: Failure | None = None
    reason: str = ""
    rule: str = ""
    info: Mapping[str, Any] = attrs.field(factory=dict)
    source: str = "sampler"
    attempt: int = 0
    worker: str = ""
    started: float | None = None
    ended: float | None = None
    partial: bool = False
    invalid: str | None = None
    paused_at: float | None = None
    earlier_work: tuple[tuple[str, float, float], ...] = ()

    def __repr__(self) -> str:
        """Show what matters in a list of trials; the attributes have the rest."""
        facts = {
            "values": self.values,
            "params": self.params,
            "metrics": dict(self.metrics),
            "failure": self.failure and self.failure.message,
            "reason": self.reason,
            "invalid": self.invalid,
        }
        shown = [f"{name}={fact!r}" for name, fact in facts.items() if fact]
        return f"<Trial {self.number} {self.state}: {', '.join(shown)}>"

    @property
    def params(self) -> Params:
        """The configuration, as a new dict."""
        return {k: deepcopy(v) if isinstance(v, (list, dict)) else v for k, v in self._params.items()}

    @property
    def value(self) -> float | None:
        """The first objective's value, None without a result."""
        return None if self.values is None else self.values[0]

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL_STATES

    @property
    def work(self) -> tuple[tuple[str, float, float], ...]:
        """Who worked on it from when to when: (worker, Unix seconds, Unix seconds), in order.

        Attempts that were lost or interrupted are left out, and so is work that goes on.
        """
        until = self.ended if self.paused_at is None else self.paused_at  # a rule may end a trial that is paused
        if self.started is None or until is None:
            return self.earlier_work
        return (*self.earlier_work, (self.worker, self.started, until))

    @property
    def duration(self) -> float | None:
        """Seconds of `work`; None before the end, and if it was never started."""
        if self.started is None or self.ended is None:
            return None
        return sum(until - start for _, start, until in self.work)


@attrs.define
class TrialContext:
    """What an evaluator receives.

    Attributes:
        params: The configuration to evaluate.
        number: The trial's number.
        seed: A 32-bit seed for this trial, the same in each attempt.
        objectives: The names of the objectives, in order.
        workdir: A folder for checkpoints, the same in each attempt. hpt does not create it. None if the store keeps
            nothing on disk.
        resume_step: The last step reported before the trial was paused or lost; 0 for a fresh start.
        reports: The reports up to that step if the evaluator is resumable, else empty.
        concluded: For ``conclude`` only: its last result in this study, with the number of the ``trial``; empty if it
            was not called before.
    """

    params: Params
    number: int = 0
    seed: int = 0
    objectives: tuple[str, ...] = ("value",)
    workdir: Path | None = None
    resume_step: int = 0
    reports: Sequence[Report] = ()
    concluded: Mapping[str, Any] = attrs.field(factory=dict)
