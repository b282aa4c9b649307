"""A study as one page of HTML, which opens offline, needs no network, and runs no code from the study."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
import plotly.io
import plotly.offline

from hpt_report_html.captions import caption
from hpt_report_html.downsample import BEST, MOST
from hpt_report_html.figure_style import failed, shown
from hpt_report_html.importance import of_each_objective
from hpt_report_html.limits import is_feasible
from hpt_report_html.pictures import drawn
from hpt_report_html.subject import history_of

if TYPE_CHECKING:
    from hpt_core import History, Study, Trial
    from hpt_report_html.importance import Importance

__all__ = ["content_of", "rendered", "report", "resource"]

_MINUTE = 60
_ROWS = 100  # of the table of trials
_MOST_BEST = 20  # of a front
_MOST_FAILURES = 20  # of the table of failures
_MESSAGE = 300  # characters of a failure's message
_NUMBER = re.compile(r"0x[\da-f]+|-?\d+(\.\d+)?(e[-+]?\d+)?", re.IGNORECASE)


def report(study: Study | History, name: str = "study") -> str:
    """Write a study as one page of HTML.

    Args:
        study: The study, or its history, see `hpt_core.load_history`.
        name: What the study is called.

    Returns:
        HTML. All texts of the study are escaped, and a content security policy forbids all scripts but those that draw
        the figures.

    Raises:
        UsageError: If it is neither a study nor a history.
    """
    return rendered(content_of(history_of(study), name), [plotly.offline.get_plotlyjs(), resource("draw.js")])


def rendered(content: Mapping[str, Any], scripts: Sequence[str], *, live: bool = False) -> str:
    """The page with a study's content.

    Args:
        content: As `content_of` returns it.
        scripts: The scripts of the page, in order; no others may run.
        live: Whether the page follows the study, so that it may ask its own server for updates.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(resource("page.html"))
    page = template.render(**content, scripts=scripts, hashes=[_hash(script) for script in scripts], live=live)
    return page.encode(errors="replace").decode()  # a failure may name a file whose name is not Unicode


def content_of(history: History, name: str) -> dict[str, Any]:
    """What the page shows of a study, by the names of the template."""
    shares = of_each_objective(history)
    figures, front, failures = drawn(history, shares), _front(history), _failures(history)
    return {
        "name": name,
        "position": history.position,
        "head": list(_headline(history)),
        "best": _best(history),
        "front": [_cells(history, trial) for trial in _spread(front)],
        "more": max(0, len(front) - _MOST_BEST),
        "nearest": history.least_violated is not None,
        "failures": failures[:_MOST_FAILURES],
        "more_failures": max(0, len(failures) - _MOST_FAILURES),
        "captions": {title: caption(history, title) for title in figures},
        "wide": ["Each parameter", "Parallel coordinates"] + ["Pareto front"] * (len(history.objectives) > 2),
        "figures": _as_json(figures),
        "importances": _in_words(shares),
        "columns": [*history.objectives, *_limited(history), *history.space.columns],
        "rows": list(_rows(history)),
        "left_out": max(0, len(history.trials) - _ROWS),
        "made": list(_made(history)),
    }


def resource(name: str) -> str:
    """A file of the package: the template, or a script."""
    return (files("hpt_report_html") / name).read_text(encoding="utf-8")


def _as_json(figures: Mapping[str, Any]) -> str:
    """The figures by element id, as JSON that cannot close the element that contains it."""
    parts = (f'"figure-{i}": {plotly.io.to_json(figure)}' for i, figure in enumerate(figures.values(), 1))
    return f"{{{', '.join(parts)}}}".replace("<", "\\u003c")


def _hash(script: str) -> str:
    """The hash by which a content security policy allows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _headline(history: History) -> Iterator[tuple[str, str]]:
    """Name and text of each line at the top of the page."""
    goals = ", ".join(f"{direction} {name}" for name, direction in history.definition["objectives"].items())
    yield "objective", goals
    if history.constraints:
        yield "constraints", ", ".join(f"{name} {bound}" for name, bound in history.definition["constraints"].items())
    states = Counter(str(trial.state) for trial in history.trials)
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield "trials", f"{len(history.trials)}: {counted}" if states else "none"
    if len(history.trials) > MOST:
        yield "in the figures", f"at most {MOST}, including the {BEST} best"
    seconds = history.elapsed
    duration = f"{seconds:.1f} s" if seconds < _MINUTE else str(timedelta(seconds=round(seconds)))
    yield "duration", f"{duration}; processes: {len(history.workers)}"
    if history.invalid_count:
        yield "invalid", f"{history.invalid_count} of them, marked by the user"
    if history.ended is not None:
        yield "ended", history.ended["reason"]


def _best(history: History) -> dict[str, Any] | None:
    """The best trial, or the least violating one if none satisfies the constraints."""
    trial = history.least_violated or history.best
    if trial is None:
        return None
    bounds = {bound.metric: f" ({bound})" for bound in history.constraints}
    values = zip(history.objectives, trial.values or (), strict=True)
    return {
        "number": trial.number,
        "values": {name: shown(value) + bounds.get(name, "") for name, value in values},
        "metrics": {name: shown(value) + bounds.get(name, "") for name, value in trial.metrics.items()},
        "params": {name: shown(value) for name, value in trial.params.items()},
    }


def _front(history: History) -> list[Trial]:
    """The trials on the front of several objectives, in order of the first objective, best first."""
    found = history.front if len(history.objectives) > 1 else ()
    return sorted(found, key=lambda trial: history.loss_of(trial.value or 0.0))


def _failures(history: History) -> list[tuple[int, str, str, int]]:
    """Count, kind, message and last trial of the failures that differ only in numbers, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], tuple[str, int]] = {}
    for trial, failure in failed(history):
        message = failure.message
        alike = failure.kind, _NUMBER.sub("0", message)
        counts[alike] += 1
        last[alike] = message[:_MESSAGE] + "\u2026" * (len(message) > _MESSAGE), trial.number
    return [(count, alike[0], *last[alike]) for alike, count in counts.most_common()]


def _spread(trials: Sequence[Trial]) -> list[Trial]:
    """At most 20 of these trials, evenly spaced from the first to the last."""
    count = min(len(trials), _MOST_BEST)
    return [trials[i * (len(trials) - 1) // max(1, count - 1)] for i in range(count)]


def _limited(history: History) -> list[str]:
    """The metrics that have constraints and are no objectives."""
    return [bound.metric for bound in history.constraints if bound.metric not in history.objectives]


def _cells(history: History, trial: Trial, *state: str) -> list[str]:
    """A trial in a row of a table."""
    values = trial.values or ("",) * len(history.objectives)
    metrics = (trial.metrics.get(name, "") for name in _limited(history))
    params = (trial.params.get(name, "") for name in history.space.columns)
    return [shown(cell) for cell in (trial.number, *state, *values, *metrics, *params)]


def _in_words(shares: Mapping[str, Mapping[str, Importance]]) -> dict[str, dict[str, str]]:
    """Parameter -> objective -> its share."""
    found: dict[str, dict[str, str]] = {}
    for objective, by_name in shares.items():
        for name, share in by_name.items():
            found.setdefault(name, {})[objective] = f"{share.mean:.1%} ± {share.sd:.1%}"
    return found


def _rows(history: History) -> Iterator[list[str]]:
    """The best trials first, then infeasible, invalid and stopped ones, then those without a value."""
    kept = is_feasible(history)

    def state(trial: Trial) -> str:
        if trial.invalid is not None:
            return "invalid"
        return str(trial.state) if trial.state != "complete" or kept[trial.number] else "violates a constraint"

    def loss(trial: Trial) -> tuple[bool, bool, float]:
        counts = state(trial) == "complete"
        return trial.value is None, not counts, 0.0 if trial.value is None else history.loss_of(trial.value)

    for trial in sorted(history.trials, key=loss)[:_ROWS]:
        yield _cells(history, trial, state(trial))


def _made(history: History) -> Iterator[tuple[str, str]]:
    """The definition of the study and the software that it was run with, by which it can be repeated."""
    definition, provenance = history.definition, history.provenance
    for part in ("space", "seed", "sampler", "evaluator", "stop"):
        if definition[part] not in (None, []):
            yield part, json.dumps(definition[part], ensure_ascii=False)
    yield "software", ", ".join(f"{name} {version}" for name, version in provenance.get("packages", {}).items())
    yield "Python", f"{provenance.get('python', '')} on {provenance.get('platform', '')}"
