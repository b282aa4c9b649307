"""``hpt show``: how a study is defined and how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli import words
from hpt_core.cli.reading import Opened, json_option, open_study, store_option, study_option
from hpt_core.cli.summaries import summaries
from hpt_core.cli.text import data, duration, emit_json, paragraph
from hpt_core.export import shortfall

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.history import History

__all__ = ["command"]

_SETTINGS = ("seed", "duplicates", "reproducible")


@click.command("show", short_help="Show how a study is defined and how it stands.")
@store_option
@study_option
@json_option
@click.pass_obj
def command(session: Session, store: str | None, study: str | None, as_json: bool) -> None:
    """Show how a study is defined, how it stands, what was decided, and with what software it ran.

    Nothing of the study is run: a stranger's store is safe to look into.

    JSON: {store, study, definition, provenance, objectives, trials, states, failures, invalid, elapsed, best, front,
    constraints, least_violated, default, stopped, notes, rules}; "best", "front", "least_violated" (where no trial
    keeps the constraints) and "default" are rows as of `hpt trials --json`, "rules" holds {rule, summary} for each rule
    that has something to tell.
    """
    from hpt_core.export import summary

    with open_study(session, store, study) as opened:
        about = summary(opened.history) | {"rules": list(summaries(session.plugins, opened.history))}
        if as_json:
            recorded = {"definition": opened.history.definition, "provenance": opened.history.provenance}
            emit_json("show", {**opened.head, **recorded, **about})
        else:
            data("\n".join([*_definition(opened), *_standing(opened.history, about), *_background(opened.history)]))


def _definition(opened: Opened) -> Iterator[str]:
    definition, space = opened.history.definition, opened.history.space
    yield f"Study {opened.name} in {opened.head['store']}"
    yield paragraph("objective", words.objectives(definition["objectives"]))
    if definition.get("constraints"):
        yield paragraph("constraints", words.constraints(definition["constraints"]))
    yield paragraph("space", words.size_of(space))
    yield words.space_table(space)
    for key in ("sampler", "evaluator"):
        yield paragraph(key, words.component(definition[key]))
    for rule in definition["stop"]:
        yield paragraph("stopping rule", words.component(rule))
    settings = {key: definition[key] for key in _SETTINGS if definition.get(key) or key == "seed"}
    yield paragraph("settings", words.pairs(settings))


def _standing(history: History, about: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    states = words.counts(about["states"])
    yield paragraph("trials", f"{about['trials']}: {states}; worked on for {duration(about['elapsed'])}")
    if words.sources(history):
        yield paragraph("suggested by", words.sources(history))
    if about["invalid"]:
        yield paragraph("invalid", f"{about['invalid']} of them, declared so by the user")
    if about["front"]:
        yield paragraph("front", f"{len(about['front'])} trials that no other beats in every objective")
        yield words.front_table(history)
    elif about["best"]:
        yield paragraph("best", words.trial_line(history, history.trials[about["best"]["number"]]))
    elif about["least_violated"]:
        yield paragraph("best", shortfall(history))
    if about["default"]:
        yield paragraph("default", words.trial_line(history, history.trials[about["default"]["number"]]))
    for line in words.failures(history):
        yield paragraph("failed", line)
    yield from _decisions(history)
    for one in about["rules"]:
        yield paragraph("rule", f"{one['rule']}: {words.pairs(one['summary'])}")


def _decisions(history: History) -> Iterator[str]:
    by_rule: dict[str, list[int]] = {}
    for trial in history.trials:
        if trial.rule:
            by_rule.setdefault(f"{trial.state} by {trial.rule}", []).append(trial.number)
    for what, numbers in by_rule.items():
        last = history.trials[numbers[-1]]
        yield paragraph("decided", f"{len(numbers)} {what}, the last: trial {last.number}: {last.reason}")
    if history.stop is not None:
        yield paragraph("ended", f"{history.stop['reason']} (rule {history.stop['rule']})")
    for subject, content in history.notes.items():
        yield paragraph(subject, words.pairs(content))


def _background(history: History) -> Iterator[str]:
    provenance = history.provenance
    if not provenance:
        return
    yield ""
    yield paragraph("run with", f"Python {provenance.get('python')} on {provenance.get('platform')}")
    yield paragraph("packages", words.pairs(provenance.get("packages", {})))
