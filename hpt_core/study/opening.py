"""Opens a study: creates it in its store, or resumes the recorded one and reports what has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_core import liveness
from hpt_core.errors import DefinitionChangedError, Mistake
from hpt_core.history import definition as definitions
from hpt_core.history import events
from hpt_core.loop.decisions import Decisions
from hpt_core.plugins.checks import check_evidence, run_checks
from hpt_core.study import provenance as provenances
from hpt_core.study.recorded import recorded_component

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.study.study import Study

__all__ = ["amendments", "complete", "decisions_of", "open_study"]

_LOG = logging.getLogger("hpt")


def open_study(study: Study) -> Decisions:
    """Create the study in its store or resume the recorded one, and record that this process joined it.

    Args:
        study: The study. It takes the recorded sampler and seed if it was given none.

    Returns:
        What decides in the study. The trials of dead processes have been released.

    Raises:
        UsageError: If its components do not fit together. Their definition is not recorded, so it may be corrected.
        DefinitionChangedError: If the recorded definition differs and ``amend`` is not set.
    """
    ledger = study.ledger
    with ledger.lock():
        history = ledger.sync()
        complete(study, history)
        definition, found, idle = amendments(study, history) if history.exists else (_definition(study), [], [])
        records: list[events.Record] = []
        components = (study.sampler, study.evaluator, study.store, study.executor, *study.rules)
        provenance = provenances.provenance(components)
        if found or definition != history.definition:
            _check(study)
            if history.exists:
                records = [events.amended(ledger.now(), definition, [str(mistake) for mistake in found])]
            else:
                records = [events.created(ledger.now(), definition, provenance)]
        if history.exists:
            _tell_changes(study, history, found, idle)
            _warn_of_differences(study, history, provenance)
        ledger.write(*records, events.joined(ledger.now(), liveness.this_process(), provenance))
    decisions = decisions_of(study)
    decisions.recover()
    return decisions


def _check(study: Study) -> None:
    if study.evaluator is not None:
        check_evidence(study.evaluator, study.rules_by_path)
    # the check of an evaluator imports the user's code, which only a run needs
    run_checks(None, study.sampler, study.rules_by_path, study.space, study.objectives)


def decisions_of(study: Study) -> Decisions:
    """What decides in a study whose settings are complete."""
    settings = study.settings
    return Decisions(
        ledger=study.ledger,
        sampler=study.sampler,
        rules=study.named_rules,
        duplicates=settings.duplicates,
        lag=(study.workers or 1) if settings.reproducible else 0,
        retries=settings.retries,
        max_failures=settings.max_failures,
    )


def complete(study: Study, history: History) -> None:
    """Settle what a study was not given, its sampler, its seed and its number of workers: as recorded, else anew.

    Raises:
        UsageError: If the recorded sampler cannot be made here.
    """
    recorded, plugins, settings = history.definition if history.exists else {}, study.plugins, study.settings
    if study.sampler is None:
        study.sampler = (
            recorded_component(plugins, "sampler", recorded["sampler"], "sampler")
            if recorded
            else plugins.make("sampler", plugins.default("sampler"))
        )
    if settings.seed is None:
        settings.seed = history.seed if recorded else int(np.random.SeedSequence().generate_state(1)[0])
    study.workers = study.workers or int(recorded.get("reproducible", 0))


def _definition(study: Study, *, brief: bool = False, effective: bool = False) -> dict[str, Any]:
    """The definition of this study; ``brief`` and ``effective`` leave out options, see `description.describe`."""
    settings, describe = study.settings, partial(study.plugins.describe, brief=brief, effective=effective)
    return {
        "space": study.space.to_json(),
        "objectives": study.objectives,
        **({"constraints": study.constraints} if study.constraints else {}),
        "sampler": describe(study.sampler),
        "evaluator": None if study.evaluator is None else describe(study.evaluator),
        "evidence": definitions.evidence_of(study.evaluator),
        "stop": [describe(rule) for rule in study.rules],
        "seed": settings.seed,
        "duplicates": settings.duplicates,
        "reproducible": (study.workers or 1) if settings.reproducible else 0,
    }


def amendments(study: Study, history: History) -> tuple[dict[str, Any], list[Mistake], list[Mistake]]:
    """What has changed in the definition of a recorded study, whose settings are complete.

    Returns:
        The definition now, what differs from the recorded one, and what differs but affects no result.

    Raises:
        DefinitionChangedError: If the recorded definition differs and ``amend`` is not set.
    """
    now = _definition(study)
    before = definitions.with_current_options(
        history.definition, now, _definition(study, brief=True), _definition(study, effective=True)
    )
    idle = definitions.differences(history.definition, before)
    if before["evaluator"] is None or now["evaluator"] is None:  # with ask/tell, an evaluator may be added or removed
        known = before if now["evaluator"] is None else now
        before |= {key: known[key] for key in ("evaluator", "evidence")}
        now |= {key: known[key] for key in ("evaluator", "evidence")}
    if before["reproducible"] and now["reproducible"] and not any(trial.attempt for trial in history.trials):
        before["reproducible"] = now["reproducible"]  # no decision was made yet
    found = definitions.differences(before, now)
    if found and not study.amend:
        head = (
            f"The study {study.name!r} is recorded with another definition. "
            "Choose another name, or accept the change with amend=True in Python or --amend in the shell."
        )
        raise DefinitionChangedError(head, *found)
    return now, found, idle


def _tell_changes(study: Study, history: History, found: Sequence[Mistake], idle: Sequence[Mistake]) -> None:
    if found:
        text = f"The study {study.name!r} is resumed with an amended definition: {_listed(found)}."
        _LOG.warning("%s", text + _outside(study, history))
    elif idle:
        _LOG.info("The study %r is resumed with options that affect no result: %s.", study.name, _listed(idle))


def _listed(differences: Iterable[Mistake]) -> str:
    return "; ".join(str(mistake).removesuffix(".") for mistake in differences)


def _outside(study: Study, history: History) -> str:
    """How many results the amended space leaves out, in words."""
    values = history.complete
    count = sum(not study.space.contains(history.trials[number].params) for number in values)
    if not count:
        return ""
    return (
        f" {count} of {len(values)} complete trials lie outside the new space: "
        "samplers no longer see them, but one of them may still be the best."
    )


def _warn_of_differences(study: Study, history: History, provenance: Mapping[str, Any]) -> None:
    found = provenances.differences(history.provenance, provenance)
    if found:
        _LOG.warning(
            "The study %r was last run with other software or files, and its results so far still count: %s.",
            study.name,
            "; ".join(found),
        )
