"""Made-up histories for tests of samplers and stopping rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpt_core.components import Pause, Stop
from hpt_core.history import events
from hpt_core.history.checks import check_result
from hpt_core.history.constraints import parse_constraints
from hpt_core.history.history import History
from hpt_core.history.trial import Failure, Params, Report
from hpt_core.space.space import Space

if TYPE_CHECKING:
    from hpt_core.history.events import Record

__all__ = ["make_history", "make_records"]

Reports = Mapping[int, Sequence[float | Report]]


def make_history(
    space: Space | Mapping[str, Any],
    trials: Sequence[tuple[Params, object]] = (),
    **options: Any,
) -> History:
    """Make the history of a study with the given trials.

    Args:
        space: The space.
        trials: (params, outcome) in order of number. The outcome is a value (a tuple for several objectives, or a
            mapping by name, which may have metrics too), a `Failure`, a `Stop` or `Pause` that a rule decided after
            the trial's reports, or None for a trial that is still running.
        options: The options of `make_records`.

    Returns:
        The history. Its records are one second apart and start at Unix time 0.
    """
    history = History()
    history.extend(make_records(space, trials, **options))
    return history


def make_records(
    space: Space | Mapping[str, Any],
    trials: Sequence[tuple[Params, object]] = (),
    *,
    directions: Sequence[str] = ("minimize",),
    constraints: Mapping[str, str] | None = None,
    running: Sequence[Params] = (),
    reports: Reports | None = None,
    evidence: str = "curve",
    steps: int | None = None,
    resumable: bool = False,
    seed: int = 0,
) -> list[Record]:
    """Make the log of a study with the given trials.

    Args:
        space: The space.
        trials: See `make_history`.
        directions: One per objective. The objectives are named ``value`` or ``value0``, ``value1``, ...
        constraints: See `hpt_core.Study`; None for none.
        running: Configurations of further trials, which are still running, after the others.
        reports: Trial number -> its reports in order. A number is the value at the next step; steps start at 1.
        evidence: ``curve`` or ``folds``.
        steps: Number of steps of a complete trial.
        resumable: Whether trials can resume after a pause.
        seed: The study's seed.

    Returns:
        The records, one second apart from Unix time 0 on.
    """
    made = space if isinstance(space, Space) else Space(space)
    names = ["value"] if len(directions) == 1 else [f"value{i}" for i in range(len(directions))]
    definition = {
        "space": made.to_json(),
        "objectives": dict(zip(names, directions, strict=True)),
        "sampler": None,
        "evaluator": None,
        "evidence": {"kind": evidence, "steps": steps, "resumable": resumable},
        "stop": [],
        "seed": seed,
        "duplicates": "avoid",
        "reproducible": 0,
    }
    if constraints:
        definition["constraints"] = parse_constraints(constraints)
    records = [events.created(0.0, definition, {})]
    for number, (params, outcome) in enumerate([*trials, *((point, None) for point in running)]):
        records += _of_trial(len(records), number, params, _ended(outcome, names), (reports or {}).get(number, ()))
    return records


def _ended(outcome: object, names: Sequence[str]) -> object:
    """A result as values and metrics; any other outcome unchanged."""
    if outcome is None or isinstance(outcome, (Failure, Pause, Stop)):
        return outcome
    if not isinstance(outcome, Mapping):
        outcome = dict(zip(names, outcome if isinstance(outcome, tuple) else (outcome,), strict=True))
    return check_result(outcome, names)


def _of_trial(
    position: int, number: int, params: Params, outcome: object, reports: Sequence[float | Report]
) -> Iterator[Record]:
    """The records of one trial whose first record is at ``position`` in the log."""
    yield events.started(float(position), number, params, "worker", 1, position)
    for step, item in enumerate(reports, start=1):
        report = item if isinstance(item, Report) else Report(step, float(item))
        yield events.reported(float(position + step), number, 1, report)
    end = position + 1 + len(reports)
    if isinstance(outcome, Failure):
        yield events.failed(float(end), number, 1, outcome)
    elif isinstance(outcome, Pause):
        yield events.paused(float(end), number, 1, end, "rule", outcome.reason, outcome.evidence)
    elif isinstance(outcome, Stop):
        values = None if outcome.value is None else [outcome.value]
        yield events.stopped_early(float(end), number, 1, values, end, "rule", outcome.reason, outcome.evidence)
    elif isinstance(outcome, tuple):
        yield events.complete(float(end), number, 1, *outcome)
