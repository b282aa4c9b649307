"""Audits a study: repeats every decision from the log and compares it with the recorded one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.components import Pause, Sampler, Stop, Store
from hpt_core.errors import SpaceExhausted
from hpt_core.history.history import History
from hpt_core.history.trial import State
from hpt_core.loop.decisions import OWN_REASONS
from hpt_core.loop.guard import Repeat, guarded_suggestion
from hpt_core.loop.rules import ask, ending, retired
from hpt_core.study.recorded import recorded_component

if TYPE_CHECKING:
    from hpt_core.history.events import Record
    from hpt_core.history.trial import Params, Trial
    from hpt_core.plugins.plugins import Plugins

__all__ = ["VerifyResult", "verify"]


@attrs.define
class VerifyResult:
    """The result of an audit.

    Attributes:
        checked: How many decisions were repeated.
        differences: The decisions that differ from the recorded ones, one sentence each. Empty if all agree.
    """

    checked: int = 0
    differences: list[str] = attrs.field(factory=list)


def verify(
    store: Store,
    name: str,
    plugins: Plugins,
    *,
    sampler: Sampler | None = None,
    rules: Sequence[tuple[str, Any]] | None = None,
) -> VerifyResult:
    """Recompute every suggestion and every stop of a study from its log.

    Args:
        store: The open store.
        name: The study's name.
        plugins: The plugins, which provide the sampler and the rules by their recorded names.
        sampler: The sampler, if it cannot be created by name because the study was given an object.
        rules: The rules as (name, rule), likewise.

    Raises:
        UsageError: If the sampler or the rules were not given and cannot be created by name.
    """
    return _Audit(store.read(name), plugins, sampler, rules).run()


class _Audit:
    def __init__(
        self,
        records: Sequence[Record],
        plugins: Plugins,
        sampler: Sampler | None,
        rules: Sequence[tuple[str, Any]] | None,
    ) -> None:
        self._records = records
        self._plugins = plugins
        self._given = (sampler, rules)
        self._sampler: Sampler | None = sampler
        self._rules: Sequence[tuple[str, Any]] = rules or ()
        self._history = History()
        self._result = VerifyResult()
        # Position -> the records that were decided on there; they come later in the log.
        self._decided: dict[int, list[Record]] = {}
        for position, record in enumerate(records):
            by_rule = record["event"] == "finished" and "rule" in record
            if by_rule or record["event"] in ("started", "paused", "stopped"):
                seen = record.get("seen")
                if type(seen) is int and 0 <= seen <= position:
                    self._decided.setdefault(seen, []).append(record)
                else:
                    self._differ(f"record {position + 1}: its `seen` is {seen!r}, which is not an earlier position")

    def run(self) -> VerifyResult:
        for record in self._records:
            self._check_all()
            self._history.apply(record)
            if record["event"] in ("created", "amended"):
                self._components(record["definition"])
        return self._result

    def _components(self, definition: Any) -> None:
        sampler, rules = self._given
        made = partial(recorded_component, self._plugins)
        if sampler is None:
            self._sampler = made("sampler", definition["sampler"], "sampler")
        if rules is None:
            specs = enumerate(definition["stop"])
            self._rules = [(spec["use"], made("stopping rule", spec, f"stop[{i}]")) for i, spec in specs]

    def _check_all(self) -> None:
        for record in self._decided.pop(self._history.position, ()):
            event = record["event"]
            if event == "started":
                self._check_start(record)
            elif event in ("finished", "paused"):
                self._check_trial(record)
            else:
                self._check_stop(record)

    def _view(self, number: int) -> History:
        lag = int(self._history.definition["reproducible"])
        return self._history if lag <= 1 else self._history.as_seen_by(number, lag)

    def _view_of_next(self) -> History:
        """What the decision about the next trial was based on."""
        return self._view(next(iter(self._history.waiting.tolist()), self._history.next_number))

    def _endings(self) -> Iterator[History]:
        """What a decision about paused trials may have been based on: with a new trial to come, or without."""
        view = self._view_of_next()
        yield view
        views = [view]
        if view is not self._history and all(t.state is not State.RUNNING for t in self._history.open.values()):
            views.append(self._history)  # no trial was running, so no result had to stay hidden
        for view in views:
            view.closing = True
            yield view
            view.closing = False

    def _check_start(self, record: Record) -> None:
        number = record["trial"]
        if number < len(self._history.trials):
            if self._history.trials[number].state is State.PAUSED:
                self._check_promotion(number)
            return  # enqueued or rerun: the sampler was not asked
        self._result.checked += 1
        assert self._sampler is not None
        duplicates = self._history.definition["duplicates"]
        try:
            again = guarded_suggestion(self._sampler, self._view(number), number, duplicates)
        except SpaceExhausted:
            self._differ(f"trial {number}: the sampler has nothing left, the log has {_shown(record['params'])}")
            return
        params = (again.suggestion if isinstance(again, Repeat) else again).params
        if params != record["params"]:
            recorded = _shown(record["params"])
            self._differ(f"trial {number}: the sampler suggests {_shown(params)}, the log has {recorded}")

    def _check_promotion(self, number: int) -> None:
        """Check that a rule promotes this trial, with a new trial to come or without."""
        self._result.checked += 1
        asked = [[ask(name, rule, "promote", view) for name, rule in self._rules] for view in self._endings()]
        if not any(number in answers for answers in asked):
            self._differ(f"trial {number}: no rule promotes it, the log says promoted")

    def _check_retirement(self, number: int, name: str) -> None:
        """Check that the rule retires this paused trial."""
        self._result.checked += 1
        asked = [[retired(name, rule, view) for rule in self._named(name, "retire")] for view in self._endings()]
        if not any(number in answer for answers in asked for answer in answers):
            self._differ(f"trial {number}: {name!r} does not retire it, the log says stopped")

    def _check_trial(self, record: Record) -> None:
        if record["rule"] == "given":
            return  # the user stopped it
        number, trials = record["trial"], self._history.trials
        if number >= len(trials) or not trials[number].reports:
            self._differ(f"trial {number}: it had no report, the log says ended by {record['rule']!r}")
            return
        trial = trials[number]
        if trial.state is State.PAUSED:
            self._check_retirement(trial.number, record["rule"])
            return
        view = self._view(trial.number)
        rules = self._named(record["rule"], "judge_trial")
        if not rules:
            self._differ(f"trial {trial.number}: the study has no rule {record['rule']!r}, the log says ended by it")
            return
        self._result.checked += 1
        asked = (ask(record["rule"], rule, "judge_trial", view, trial) for rule in rules)
        decision = next((decision for decision in asked if decision is not None), None)
        wanted = "paused" if record["event"] == "paused" else record["state"]
        found = _state_after(record["rule"], decision, view, trial)
        if found != wanted:
            self._differ(f"trial {trial.number}: {record['rule']!r} leaves it {found}, the log says {wanted}")

    def _check_stop(self, record: Record) -> None:
        rules = self._named(record["rule"], "judge_study")
        if not rules:
            if record["rule"] not in OWN_REASONS:
                self._differ(f"the study: it has no rule {record['rule']!r}, the log says ended by it")
            return
        self._result.checked += 1
        view = self._view_of_next()
        view.clock = record["time"]
        if all(ask(record["rule"], rule, "judge_study", view) is None for rule in rules):
            self._differ(f"the study: {record['rule']!r} does not stop it, the log says stopped: {record['reason']}")

    def _named(self, name: str, method: str) -> list[Any]:
        """The rules of this name that have the method. A study may have several rules of one kind."""
        return [rule for known, rule in self._rules if known == name and hasattr(rule, method)]

    def _differ(self, what: str) -> None:
        self._result.differences.append(what)


def _state_after(rule: str, decision: Stop | Pause | None, history: History, trial: Trial) -> State:
    if decision is None:
        return State.RUNNING
    return State.PAUSED if isinstance(decision, Pause) else ending(rule, decision, history, trial)[0]


def _shown(params: Params) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in params.items())
