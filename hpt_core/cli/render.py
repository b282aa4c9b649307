"""Studies as text for people: spaces, components, configurations, results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpt_core.cli.text import number, shorten, table
from hpt_core.history.export import outcome
from hpt_core.values import counted

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.history.trial import Trial
    from hpt_core.space.space import Space
    from hpt_core.study.study import Study

__all__ = [
    "component", "constraints", "counts", "failures", "front_summary", "front_table", "is_kept", "objectives", "pairs",
    "params_table", "sentences_and_facts", "size_of", "sources", "space_table", "states", "trial_line",
]  # fmt: skip

_STATES = ("complete", "stopped", "failed", "running", "paused", "waiting", "invalid")
_SOURCES = {
    "fill": "the core (at random, as the sampler gave known or forbidden points)",
    "given": "the user",
    "sampler": "the sampler",
    "warm-start": "the warm start",
}
_STATE_WORDS = {"stopped": "stopped early"}
_FRONT = 20
"""Trials of the front in a summary of a study; ``hpt best`` lists them all."""
_CHOICES = 100
"""Columns for the choices of one parameter: a table is as wide as its widest cell, and there may be thousands."""


def pairs(params: Mapping[str, Any]) -> str:
    """A configuration on one line: ``C=12.3, model=svm``."""
    return ", ".join(f"{name}={number(value)}" for name, value in params.items())


def sentences_and_facts(content: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """What an evaluator concluded: the texts that are whole sentences, and everything else by name."""
    facts = dict(content)
    sentences = [key for key, value in facts.items() if isinstance(value, str) and value.endswith(".")]
    return [facts.pop(key) for key in sentences], facts


def params_table(params: Mapping[str, Any], kind: str = "parameter") -> str:
    """A configuration or metrics, one per line, floats in full precision."""
    rows = [[name, repr(v) if isinstance(v, float) else number(v)] for name, v in params.items()]
    return table([kind, "value"], rows, "  ")


def objectives(directions: Mapping[str, str]) -> str:
    """``accuracy (maximize), seconds (minimize)``."""
    return ", ".join(f"{name} ({direction})" for name, direction in directions.items())


def constraints(bounds: Mapping[str, str]) -> str:
    """``latency_ms <= 50, size <= 1e+06``."""
    return ", ".join(f"{metric} {bound}" for metric, bound in bounds.items())


def is_kept(study: Study) -> bool:
    """Whether the study outlives this process, as in every store but the core's own."""
    return bool(study.plugins.describe(study.store)["use"] != "memory")


def states(history: History) -> Counter[str]:
    """How many trials are in each state. Those that the user declared invalid count as ``invalid``."""
    return Counter(trial.state.value if trial.invalid is None else "invalid" for trial in history.trials)


def counts(found: Mapping[str, int]) -> str:
    """``52 complete, 6 stopped early, 2 failed``."""
    return ", ".join(f"{found[s]} {_STATE_WORDS.get(s, s)}" for s in _STATES if found.get(s)) or "none"


def failures(history: History) -> Iterator[str]:
    """One line per kind of failure, with its count and an example. Invalid trials are left out."""
    by_kind: dict[str, list[Trial]] = {}
    for trial in history.trials:
        if trial.failure is not None and trial.invalid is None:
            by_kind.setdefault(trial.failure.kind, []).append(trial)
    for kind, trials in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        last = trials[-1]
        yield f"{len(trials)} {kind}; the last was trial {last.number}: {last.failure.message if last.failure else ''}"


def trial_line(history: History, trial: Trial) -> str:
    """A trial with its result and configuration on one line."""
    result = outcome(history, trial) or trial.state.value
    return f"{result} (trial {trial.number}: {pairs(trial.params)})"


def front_summary(history: History) -> tuple[str, str]:
    """The size of the Pareto front in words, and a table of its first trials."""
    front = history.front
    more = f"; the first {_FRONT} are listed here, all of them by `hpt best`" if len(front) > _FRONT else ""
    return f"{counted(len(front), 'non-dominated trial')}{more}", front_table(history, front[:_FRONT])


def front_table(history: History, front: Sequence[Trial]) -> str:
    """Trials of the Pareto front as a table."""
    bounded = [bound.metric for bound in history.constraints if bound.metric not in history.objectives]
    rows = [
        [str(t.number), *map(number, (*(t.values or ()), *(t.metrics[name] for name in bounded))), pairs(t.params)]
        for t in front
    ]
    return table(["trial", *history.objectives, *bounded, "configuration"], rows)


def component(described: Mapping[str, Any] | None) -> str:
    """A recorded component on one line: its name and its non-empty options."""
    if described is None:
        return "none"
    options = {k: _option(v) for k, v in described.items() if k != "use" and v not in (None, {}, [], "")}
    return str(described["use"]) + (f" ({pairs(options)})" if options else "")


def _option(value: object) -> object:
    """The value of an option; components in it are text like the outer one."""
    if isinstance(value, Mapping) and "use" in value:
        return component(value)
    if isinstance(value, list) and any(isinstance(item, Mapping) and "use" in item for item in value):
        return f"[{', '.join(number(_option(item)) for item in value)}]"
    return value


def sources(history: History) -> str:
    """The valid trials of each source and the last choice's reason: ``28 by bayes, 12 by tpe (in turn)``.

    Empty if there is one sampler only.
    """
    counts = Counter(trial.source for trial in history.trials if trial.invalid is None)
    if not counts.keys() - {"sampler", "given"}:
        return ""
    why = history.trials[-1].info.get("why")
    listed = ", ".join(f"{count} by {_SOURCES.get(source, source)}" for source, count in counts.items())
    return listed + (f" ({why})" if why else "")


def size_of(space: Space) -> str:
    """The size of a space: ``3 parameters, 120 configurations``."""
    conditional = sum(1 for parameter in space.parameters.values() if parameter.when)
    parts = [counted(len(space), "parameter")]
    if conditional:
        parts.append(f"{conditional} of them conditional")
    uncounted = "infinite" if any(p.size is None for p in space.parameters.values()) else "more than can be counted"
    parts.append(uncounted if space.size is None else counted(space.size, "configuration"))
    return ", ".join(parts)


def space_table(space: Space) -> str:
    """The parameters of a space, one per line, without the columns that are empty."""
    rows = []
    for name, form in space.to_json().items():
        when = " and ".join(f"{p} is {' or '.join(map(number, v))}" for p, v in form.get("when", {}).items())
        default = number(form["default"]) if "default" in form else ""
        rows.append([name, form["type"], _range(form), default, when, form.get("requires", "")])
    header = ["parameter", "type", "values", "default", "active when", "requires"]
    shown = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return table([header[i] for i in shown], [[row[i] for i in shown] for row in rows], "  ", wrap=True)


def _range(form: Mapping[str, Any]) -> str:
    if "low" in form:
        step = f", step {number(form['step'])}" if form.get("step") not in (None, 1) else ""
        return f"{number(form['low'])} to {number(form['high'])}{', log' if form.get('log') else ''}{step}"
    if "choices" in form:
        text = (" < " if form["type"] == "ordinal" else ", ").join(map(number, form["choices"]))
        return text if len(text) <= _CHOICES else f"{shorten(text, _CHOICES)} ({len(form['choices'])} choices)"
    return number(form["value"])
