"""``hpt show``: show the definition and the state of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli import render
from hpt_core.cli.reading import Opened, json_option, open_study, store_option, study_option
from hpt_core.cli.summaries import summaries, without_defaults
from hpt_core.cli.text import data, duration, emit_json, paragraph
from hpt_core.history.export import shortfall, summary

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.history.history import History

__all__ = ["command"]

_SETTINGS = ("seed", "duplicates", "reproducible")


@click.command("show", short_help="Show the definition and the state of a study.")
@store_option
@study_option
@json_option
@click.pass_obj
def command(session: Session, store: str | None, study: str | None, as_json: bool) -> None:
    """Show the definition and the state of a study, the decisions of its rules, and the software that it ran with.

    No code of the study is run, so a store from somebody else is safe to inspect.

    JSON: {store, study, definition, provenance, objectives, trials, states, failures, invalid, elapsed, best, front,
    constraints, least_violated, default, stopped, notes, rules}; "best", "front", "least_violated" (if no trial
    satisfies the constraints) and "default" are rows as in `hpt trials --json`; "rules" has {rule, summary} for each
    rule that provides a summary.
    """
    with open_study(session, store, study) as opened:
        about = summary(opened.history) | {"rules": list(summaries(session.plugins, opened.history))}
        if as_json:
            recorded = {"definition": opened.history.definition, "provenance": opened.history.provenance}
            emit_json("show", {**opened.head, **recorded, **about})
        else:
            rules = [without_defaults(session.plugins, spec) for spec in opened.history.definition["stop"]]
            data("\n".join([*_definition(opened, rules), *_state(opened.history, about), *_provenance(opened.history)]))


def _definition(opened: Opened, rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    definition, space = opened.history.definition, opened.history.space
    yield f"Study {opened.name} in {opened.head['store']}"
    yield paragraph("objective", render.objectives(definition["objectives"]))
    if definition.get("constraints"):
        yield paragraph("constraints", render.constraints(definition["constraints"]))
    yield paragraph("space", render.size_of(space))
    yield render.space_table(space)
    for key in ("sampler", "evaluator"):
        yield paragraph(key, render.component(definition[key]))
    for rule in rules:
        yield paragraph("stopping rule", render.component(rule))
    settings = {key: definition[key] for key in _SETTINGS if definition.get(key) or key == "seed"}
    yield paragraph("settings", render.pairs(settings))


def _state(history: History, about: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    states = render.counts(render.states(history))
    count = f"{about['trials']}: {states}; {duration(about['elapsed'])} in total" if about["trials"] else "none yet"
    yield paragraph("trials", count)
    if render.sources(history):
        yield paragraph("suggested", render.sources(history))
    if about["front"]:
        count, rows = render.front_summary(history)
        yield paragraph("front", count)
        yield rows
    elif about["best"]:
        yield paragraph("best", render.trial_line(history, history.trials[about["best"]["number"]]))
    elif about["least_violated"]:
        yield paragraph("best", shortfall(history))
    if about["default"]:
        yield paragraph("default", render.trial_line(history, history.trials[about["default"]["number"]]))
    for line in render.failures(history):
        yield paragraph("failed", line)
    yield from _decisions(history)
    for one in about["rules"]:
        yield paragraph("rule", f"{one['rule']}: {render.pairs(one['summary'])}")


def _decisions(history: History) -> Iterator[str]:
    by_rule: dict[str, list[int]] = {}
    for trial in history.trials:
        if trial.rule:
            by_rule.setdefault(f"{trial.state} by {trial.rule}", []).append(trial.number)
    for what, numbers in by_rule.items():
        last = history.trials[numbers[-1]]
        yield paragraph("decided", f"{len(numbers)} {what}; the last was trial {last.number}: {last.reason}")
    if history.ended is not None:
        yield paragraph("ended", f"{history.ended['reason']} (rule {history.ended['rule']})")
    for subject, content in history.notes.items():
        if content.keys() <= {"trial"}:
            continue  # the evaluator had nothing to say
        sentences, facts = render.sentences_and_facts(content)
        yield paragraph(subject, " ".join([render.pairs(facts) + "." * bool(sentences), *sentences]))


def _provenance(history: History) -> Iterator[str]:
    provenance = history.provenance
    if not provenance:
        return
    yield ""
    yield paragraph("run with", f"Python {provenance.get('python')} on {provenance.get('platform')}")
    yield paragraph("packages", render.pairs(provenance.get("packages", {})))
