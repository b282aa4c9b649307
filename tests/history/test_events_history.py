"""The replay against a naive one, and the columns against the trials."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Categorical, Failure, Float, Int, Report, Space, State, StoreError, Trial
from hpt_core.history import events
from hpt_core.history.history import History
from hpt_core.history.pareto import non_dominated
from hpt_core.testing import make_history

WIDE = Space({"x": Float(0, 1), "n": Int(1, 4), "c": Categorical("a", "b"), "d": Float(0, 2, when={"c": "b"})})
NARROW = Space({"x": Float(0, 1), "n": Int(2, 3), "c": Categorical("a", "b"), "d": Float(0, 2, when={"c": "b"})})
OTHER = Space({"x": Float(0, 1), "z": Int(1, 4)})
SPACES = (WIDE, NARROW, OTHER)
OBJECTIVES: Sequence[dict[str, str]] = (
    {"a": "minimize"},
    {"a": "maximize"},
    {"a": "minimize", "b": "maximize"},
    {"b": "maximize", "a": "minimize"},
    {"b": "minimize"},
)
POINTS: Sequence[dict[str, Any]] = (
    {"x": 0.25, "n": 1, "c": "a"},
    {"x": 0.25, "n": 2, "c": "a"},
    {"x": 0.5, "n": 3, "c": "b", "d": 1.0},
    {"x": 0.75, "n": 4, "c": "b", "d": 0.5},
)
KINDS = ("error", "timeout", "worker-lost", "interrupted")


def definition_of(space: int, objectives: int, *, resumable: bool = False) -> dict[str, Any]:
    return {
        "space": SPACES[space].to_json(),
        "objectives": OBJECTIVES[objectives],
        "evidence": {"kind": "curve", "steps": None, "resumable": resumable},
        "seed": 0,
        "reproducible": 0,
    }


# --- a naive replay -------------------------------------------------------------------------------


class Model:
    """Keeps trials as dicts and recomputes everything else from them on request."""

    def __init__(self) -> None:
        self.trials: list[dict[str, Any]] = []
        self.space, self.objectives, self.resumable = WIDE, OBJECTIVES[0], False
        self.worked, self.last = 0.0, None
        self.outside: set[int] = set()
        self.runs_for: dict[str, list[str]] = {}

    def apply(self, record: dict[str, Any]) -> None:
        time = record["time"]
        joins = record["event"] in {"joined", "amended"}
        others = any(trial["state"] == "running" for trial in self.trials)
        if self.last is None or (joins and not (others and time < self.last)):
            self.last = time
        else:
            self.worked += max(0.0, time - self.last)
            self.last = max(time, self.last)
        getattr(self, record["event"], lambda record: None)(record)

    def created(self, record: dict[str, Any]) -> None:
        self.define(record["definition"])

    def define(self, definition: dict[str, Any]) -> None:
        self.space = Space.from_json(definition["space"])
        self.objectives = definition["objectives"]
        self.resumable = definition["evidence"]["resumable"]

    def amended(self, record: dict[str, Any]) -> None:
        before = list(self.objectives)
        self.define(record["definition"])
        self.outside = {i for i, trial in enumerate(self.trials) if not self.space.contains(trial["params"])}
        for trial in self.trials:
            self.carry_over(trial, before)

    def carry_over(self, trial: dict[str, Any], before: list[str]) -> None:
        if trial["state"] in {"complete", "stopped"} and before != list(self.objectives):
            known = trial["metrics"] | dict(zip(before, trial["values"] or (), strict=False))
            fits = all(name in known for name in self.objectives)
            trial["values"] = tuple(known[name] for name in self.objectives) if fits else None
            trial["metrics"] = {k: v for k, v in known.items() if not (fits and k in self.objectives)}

    def joined(self, record: dict[str, Any]) -> None:
        self.runs_for[record["worker"]] = list(self.objectives)

    def add(self, params: dict[str, Any]) -> dict[str, Any]:
        trial: dict[str, Any] = {"params": params, "state": "waiting", "attempt": 0, "values": None, "metrics": {}}
        trial |= {"reports": [], "kind": None, "invalid": False}
        self.trials.append(trial)
        return trial

    def enqueued(self, record: dict[str, Any]) -> None:
        self.add(record["params"])

    def started(self, record: dict[str, Any]) -> None:
        if record["trial"] == len(self.trials):
            trial = self.add(record["params"])
        else:
            trial = self.trials[record["trial"]]
            over = trial["state"] in {"complete", "stopped", "failed"} or trial["invalid"]
            if over or record["attempt"] != trial["attempt"] + 1:
                return
            if not self.resumable:
                trial["reports"] = []
        trial |= {"state": "running", "attempt": record["attempt"], "process": record["worker"].split("/")[0]}

    def running(self, record: dict[str, Any]) -> dict[str, Any]:
        trial = self.trials[record["trial"]]
        current = trial["state"] == "running" and trial["attempt"] == record["attempt"]
        return trial if current else {"reports": []}  # a dummy that is never read

    def reported(self, record: dict[str, Any]) -> None:
        self.running(record)["reports"].append((record["step"], record["value"]))

    def paused(self, record: dict[str, Any]) -> None:
        self.running(record)["state"] = "paused"

    def released(self, record: dict[str, Any]) -> None:
        self.running(record)["state"] = "waiting"

    def finished(self, record: dict[str, Any]) -> None:
        trial = self.trials[record["trial"]]
        if trial["state"] in {"complete", "stopped", "failed"} or record["attempt"] != trial["attempt"]:
            return
        trial |= {"state": record["state"], "kind": record.get("kind"), "metrics": dict(record.get("metrics", {}))}
        runs_for = self.runs_for.get(trial["process"], list(self.objectives))
        if "values" in record and len(record["values"]) == len(runs_for):
            trial["values"] = tuple(record["values"])
            self.carry_over(trial, runs_for)

    def invalidated(self, record: dict[str, Any]) -> None:
        self.trials[record["trial"]]["invalid"] = True

    # --- expected state --------------------------------------------------------------------------------

    def where(self, *states: str, anywhere: bool = False, **more: Any) -> list[int]:
        return [
            i
            for i, trial in enumerate(self.trials)
            if trial["state"] in states
            and not trial["invalid"]
            and (anywhere or i not in self.outside)
            and all(trial[key] in allowed for key, allowed in more.items())
        ]

    def valued(self, state: str, *, anywhere: bool = False) -> list[int]:
        return [i for i in self.where(state, anywhere=anywhere) if self.trials[i]["values"] is not None]

    def losses(self) -> list[list[float]]:
        signs = [1 if way == "minimize" else -1 for way in self.objectives.values()]
        nothing = [math.nan] * len(signs)
        return [
            [sign * value for sign, value in zip(signs, trial["values"], strict=True)] if trial["values"] else nothing
            for trial in self.trials
        ]

    def best(self) -> int | None:
        losses = self.losses()
        return min(self.valued("complete", anywhere=True), key=lambda i: losses[i][0], default=None)

    def front(self) -> list[int]:
        losses = self.losses()
        numbers = self.valued("complete", anywhere=True)
        return [i for i in numbers if not any(dominates(losses[j], losses[i]) for j in numbers)]

    def keys(self) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for i, trial in enumerate(self.trials):
            if not trial["invalid"] and i not in self.outside:
                found.setdefault(self.space.key(trial["params"]), i)
        return found


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and list(a) != list(b)


def assert_same(history: History, model: Model) -> None:
    """Check that the history equals the naive replay."""
    assert [t.number for t in history.trials] == list(range(len(model.trials)))
    assert [
        (t.params, t.state.value, t.attempt, t.values, dict(t.metrics), t.failure and t.failure.kind)
        for t in history.trials
    ] == [(t["params"], t["state"], t["attempt"], t["values"], t["metrics"], t["kind"]) for t in model.trials]
    assert [[(r.step, r.value) for r in t.reports] for t in history.trials] == [t["reports"] for t in model.trials]
    np.testing.assert_array_equal(history.losses, np.reshape(model.losses(), (-1, len(model.objectives))))
    assert history.complete.tolist() == model.valued("complete")
    assert history.stopped.tolist() == model.valued("stopped")
    assert history.pending.tolist() == model.where("waiting", "running", "paused")
    assert history.waiting.tolist() == model.where("waiting", anywhere=True)
    assert history.failed.tolist() == model.where("failed", kind=("error", "timeout"))
    assert (None if history.best is None else history.best.number) == model.best()
    assert [t.number for t in history.front] == model.front()
    assert dict(history.keys) == model.keys()
    assert history.elapsed == pytest.approx(model.worked)
    assert history.invalid_count == sum(t["invalid"] for t in model.trials)
    open_states = {"waiting", "running", "paused"}
    has_to_end = {i for i, t in enumerate(model.trials) if t["state"] in open_states and not t["invalid"]}
    has_to_end |= {i for i, t in enumerate(model.trials) if t["state"] == "running"}
    assert set(history.open) == has_to_end
    rows = [
        history.space.to_unit(trial["params"])
        if i not in model.outside
        else np.full(len(history.space.columns), np.nan)
        for i, trial in enumerate(model.trials)
    ]
    np.testing.assert_array_equal(history.unit, np.reshape(rows, (-1, len(history.space.columns))))


# --- random logs, with stale and duplicate records ------------------------------------------------


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A log of unreliable workers: records of old attempts and of finished trials, in any order."""
    resumable = draw(st.booleans())
    clock, numbers, space, objectives = 1000.0, 0, 0, draw(st.integers(0, 2))
    records = [events.created(clock, definition_of(space, objectives, resumable=resumable), {})]
    for _ in range(draw(st.integers(0, 30))):
        clock += draw(st.sampled_from([0.0, 1.0, 2.5, -3.0]))
        event = draw(st.sampled_from(EVENTS))
        trial, attempt = draw(st.integers(0, max(0, numbers - 1))), draw(st.sampled_from([1, 1, 1, 1, 2, 2, 3]))
        if event == "amended":
            space, objectives = draw(st.integers(0, 1)), draw(st.integers(0, len(OBJECTIVES) - 1))
            made = events.amended(clock, definition_of(space, objectives, resumable=resumable), ["x"])
        elif event in {"enqueued", "new"}:
            point = draw(st.sampled_from([p for p in POINTS if SPACES[space].contains(p)]))
            new = (clock, numbers, point)
            worker = draw(st.sampled_from(WORKERS))
            made = events.enqueued(*new) if event == "enqueued" else events.started(*new, worker, 1, len(records))
            numbers += 1
        elif event in {"joined", "heartbeat", "note", "stopped", "unknown"}:
            made = {
                "joined": events.joined(clock, draw(st.sampled_from(WORKERS)).split("/")[0], {}),
                "heartbeat": events.heartbeat(clock, "h:1:1"),
                "note": events.note(clock, "conclusion", {"k": 1}),
                "stopped": events.study_stopped(clock, 0, "target", "reached", {}),
                "unknown": {"event": "of-a-later-hpt", "time": clock},
            }[event]
        elif numbers == 0:
            continue
        else:
            others = draw(st.sampled_from([objectives, objectives, 0, 2]))  # a process that missed an amendment
            made = draw(of_trial(event, clock, trial, attempt, len(OBJECTIVES[others])))
        records.append(made)
    return records


EVENTS = (
    *("new", "new", "new", "enqueued", "restarted", "reported", "reported", "paused", "released", "complete"),
    *("complete", "completed-early", "stopped-early", "failed", "invalidated", "amended", "joined"),
    *("heartbeat", "note", "stopped"),
    "unknown",
)
VALUES = st.sampled_from([-1.5, 0.0, 1.0, 2.0, 1e300])
WORKERS = ("h:1:1", "h:1:1/1", "h:2:2/1")


@st.composite
def of_trial(draw: st.DrawFn, event: str, clock: float, trial: int, attempt: int, objectives: int) -> dict[str, Any]:
    at = (clock, trial, attempt)
    values = [draw(VALUES) for _ in range(objectives)]
    metrics = draw(st.sampled_from([{}, {"a": 3.0}, {"b": 4.0}, {"c": 5.0}]))
    failure = Failure(draw(st.sampled_from(KINDS)), "m")
    partial = draw(st.sampled_from([values, None]))
    return {
        "restarted": lambda: events.started(clock, trial, {}, draw(st.sampled_from(WORKERS)), attempt, 0),
        "reported": lambda: events.reported(*at, Report(draw(st.integers(1, 5)), values[0])),
        "paused": lambda: events.paused(*at, 0, "rule", "why", {}),
        "released": lambda: events.released(*at, "worker-lost"),
        "complete": lambda: events.complete(*at, values, metrics),
        "completed-early": lambda: events.completed_early(*at, values, metrics, 0, "rule", "why", {}),
        "stopped-early": lambda: events.stopped_early(*at, partial, 0, "rule", "why", {}),
        "failed": lambda: events.failed(*at, failure),
        "invalidated": lambda: events.invalidated(clock, trial, "wrong data"),
    }[event]()


@given(logs(), st.integers(0, 30))
def test_the_replay_equals_a_naive_one(records: list[dict[str, Any]], early: int) -> None:
    history, model = History(), Model()
    for position, record in enumerate(records, start=1):
        history.apply(record)
        model.apply(record)
        if position in {early, len(records)}:
            assert_same(history, model)
    assert history.position == len(records)


def snapshot(history: History) -> Any:
    """The whole readable state as plain data that can be compared."""
    columns = [history.unit, history.losses, history.complete, history.stopped, history.pending, history.failed]
    return (
        [attrs.asdict(trial) for trial in history.trials],
        [np.asarray(column).tobytes() for column in columns],
        (history.position, dict(history.keys), history.elapsed, history.stop, history.notes, history.workers),
        [t.number for t in history.session],
        list(history.open),
    )


@given(logs(), st.data())
def test_incremental_replay_equals_replay_at_once(records: list[dict[str, Any]], data: st.DataObject) -> None:
    at_once, in_pieces = History(), History()
    at_once.extend(records)
    while in_pieces.position < len(records):
        end = data.draw(st.integers(in_pieces.position + 1, len(records)))
        in_pieces.extend(records[in_pieces.position : end])
        snapshot(in_pieces)  # caches filled by reading must not matter later
        _ = in_pieces.best, in_pieces.front
    assert snapshot(in_pieces) == snapshot(at_once)


@given(logs())
def test_records_are_plain_json(records: list[dict[str, Any]]) -> None:
    straight, through_text = History(), History()
    straight.extend(records)
    through_text.extend(json.loads(json.dumps(records, allow_nan=False)))
    assert snapshot(through_text) == snapshot(straight)


@given(logs(), st.integers(0, 12), st.integers(1, 5))
def test_a_view_hides_exactly_the_later_results(records: list[dict[str, Any]], number: int, lag: int) -> None:
    history = History()
    history.extend(records)
    before = snapshot(history)
    view = history.as_seen_by(number, lag)
    visible = [t for t in history.trials if t.number <= number]
    assert len(view.trials) == view.next_number == len(visible)
    for seen, real in zip(view.trials, visible, strict=True):
        hidden = number - lag < real.number < number and real.invalid is None
        if hidden:
            assert (seen.state, seen.values, seen.reports, seen.failure) == (State.RUNNING, None, [], None)
            assert (seen.params, seen.info, seen.source) == (real.params, real.info, real.source)
            assert np.isnan(view.losses[real.number]).all()
        else:
            assert seen is real
            np.testing.assert_array_equal(view.losses[real.number], history.losses[real.number])
    hidden_ones = [t.number for t in visible if number - lag < t.number < number and t.invalid is None]
    for column in ("complete", "stopped", "failed"):
        known = [i for i in getattr(history, column).tolist() if i <= number and i not in hidden_ones]
        assert getattr(view, column).tolist() == known
    inside = [i for i in hidden_ones if not np.isnan(history.unit[i]).all()]
    pending = [i for i in history.pending.tolist() if i <= number and i not in hidden_ones]
    assert view.pending.tolist() == sorted(pending + inside)
    np.testing.assert_array_equal(view.unit, history.unit[: len(visible)])
    assert dict(view.keys) == {key: i for key, i in history.keys.items() if i <= number}
    assert [t.number for t in view.session] == sorted(t.number for t in history.session if t.number <= number - lag)
    assert snapshot(history) == before


@given(logs(), st.integers(0, 30))
def test_the_trials_changed_since_a_position_are_those_with_a_record_after_it(
    records: list[dict[str, Any]], position: int
) -> None:
    """An amendment is about all trials that there are."""
    history, known, changed = History(), set[int](), set[int]()
    history.extend(records)
    for place, record in enumerate(records, start=1):
        about = {record["trial"]} if "trial" in record else known if record["event"] == "amended" else set()
        known = known | about
        changed |= about if place > position else set()
    assert history.changed_since(position).tolist() == sorted(changed)


@given(logs(), st.data())
def test_a_cache_that_follows_the_changes_is_right_in_each_view(
    records: list[dict[str, Any]], data: st.DataObject
) -> None:
    """It looks again at the trials that have changed, ran when it last looked, or were not there."""
    cached: list[dict[str, Any]] = []
    history, running, position = History(), set[int](), 0
    while history.position < len(records):
        end = data.draw(st.integers(history.position + 1, len(records)))
        history.extend(records[history.position : end])
        for number, lag in data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=3)):
            view = history.as_seen_by(number, lag)
            now = [attrs.asdict(trial) for trial in view.trials]
            again = {*view.changed_since(position).tolist(), *running, *range(len(cached), len(now))}
            cached = [now[i] if i in again else cached[i] for i in range(len(now))]
            running, position = {i for i, trial in enumerate(cached) if trial["state"] is State.RUNNING}, view.position
            assert cached == now


def test_an_invalid_trial_is_replayed_without_a_look_at_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study whose failed trials were retried has many of them."""
    history, looked, key_of = make_history(WIDE), list[object](), Space.key

    def counted(space: Space, params: dict[str, Any]) -> object:
        looked.append(params)
        return key_of(space, params)

    for number in range(20):
        history.apply(events.enqueued(0.0, number, {**POINTS[0], "x": number / 20}))
    monkeypatch.setattr(Space, "key", counted)
    for number in range(20):
        history.apply(events.invalidated(0.0, number, "wrong data"))
    assert not history.keys
    assert len(looked) == 20


def test_views_compute_the_point_of_each_trial_once(monkeypatch: pytest.MonkeyPatch) -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": i / 32}, 1.0) for i in range(20)])
    computed: list[Any] = []
    to_unit = Space.to_unit

    def counted(space: Space, params: Any) -> Any:
        computed.extend(params)
        return to_unit(space, params)

    monkeypatch.setattr(Space, "to_unit", counted)
    for number in range(21):
        assert history.as_seen_by(number, 4).unit[:, 0].tolist() == [i / 32 for i in range(min(number + 1, 20))]
    assert len(computed) == 20


@given(logs())
def test_the_best_of_a_view_is_the_best_visible_trial(records: list[dict[str, Any]]) -> None:
    history = History()
    history.extend(records)
    _ = history.best
    view = history.as_seen_by(3, 2)
    shown = [t for t in view.trials if t.state is State.COMPLETE and t.invalid is None and t.values is not None]
    losses = view.losses[:, 0]
    expected = min((t.number for t in shown), key=lambda i: losses[i], default=None)
    assert (None if view.best is None else view.best.number) == expected


# --- single facts ---------------------------------------------------------------------------------


def test_columns_cannot_be_written() -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)])
    for column in (history.unit, history.losses, history.complete, history.pending):
        with pytest.raises(ValueError, match="read-only"):
            column[...] = 0


def test_the_repr_of_a_history_counts_the_trials() -> None:
    assert repr(History()) == "<History: 0 trials>"
    history = make_history(
        {"x": Float(0, 1)}, [({"x": 0.5}, 1.0), ({"x": 0.6}, Failure("error", "e")), ({"x": 0}, 2.0)]
    )
    assert repr(history) == "<History: 3 trials, 2 complete, 1 failed>"


def test_losses_and_values_convert_by_sign() -> None:
    history = make_history(
        {"x": Float(0, 1)}, [({"x": 0.5}, (2.0, 3.0))], directions=("maximize", "minimize"), reports={0: [1.0, 2.0]}
    )
    assert history.losses.tolist() == [[-2.0, 3.0]]
    assert history.loss_of(5.0) == -5.0
    assert history.value_of(-5.0) == 5.0
    assert history.loss_of(5.0, 1) == 5.0
    for name, maximize, sign in (
        (None, True, -1),
        ("value0", False, -1),
        ("value1", True, 1),
        ("f1", True, -1),
        ("f1", False, 1),
    ):
        assert history.loss_of(5.0, name, maximize=maximize) == 5.0 * sign
        assert history.value_of(5.0 * sign, name, maximize=maximize) == 5.0
    assert history.curve(history.trials[0]) == [(1, -1.0), (2, -2.0)]


def test_a_curve_of_a_metric_leaves_out_reports_without_it() -> None:
    reports = {0: [Report(1, 0.1, {"f1": 0.3, "value1": 7.0}), Report(3, 0.2)]}
    history = make_history(
        {"x": Float(0, 1)}, [({"x": 0.5}, None)], directions=("minimize", "maximize"), reports=reports
    )
    trial = history.trials[0]
    assert history.curve(trial, "f1") == [(1, 0.3)]
    assert history.curve(trial, "f1", maximize=True) == [(1, -0.3)]
    assert history.curve(trial, "value1") == [(1, -7.0)]
    assert history.curve(trial, "value0") == [(1, 0.1), (3, 0.2)]


def test_gaps_between_runs_do_not_count_as_work() -> None:
    history = History()
    history.apply(events.created(0.0, definition_of(0, 0), {}))
    history.apply(events.joined(1.0, "h:1:1", {}))
    history.apply(events.heartbeat(5.0, "h:1:1"))
    history.apply(events.amended(900.0, definition_of(1, 0), []))
    history.apply(events.joined(900.0, "h:2:2", {}))
    history.apply(events.heartbeat(902.0, "h:2:2"))
    assert history.elapsed == 6.0
    history.clock = 904.0
    assert history.elapsed == 8.0
    assert history.workers == {"h:1:1": 5.0, "h:2:2": 902.0}


def test_a_clock_that_is_behind_adds_no_work() -> None:
    """Two machines, one ten seconds behind, that take turns writing for four seconds."""
    history = History()
    history.apply(events.created(100.0, definition_of(0, 0), {}))
    for second in (1, 2, 3, 4):
        history.apply(events.heartbeat(100.0 + second, "ahead:1:1"))
        history.apply(events.heartbeat(90.0 + second, "behind:1:1"))
    assert history.elapsed == 4.0


def test_joining_with_a_clock_that_is_behind_adds_no_work() -> None:
    """One clock is a year behind. Each join would otherwise add a year at the next record of another process."""
    year = 3.15e7
    history = History()
    history.apply(events.created(year, definition_of(0, 0), {}))
    history.apply(events.joined(year, "ahead:1:1", {}))
    history.apply(events.started(year, 0, {"x": 0.5}, "ahead:1:1", 1, 0))
    history.apply(events.enqueued(year, 1, {"x": 0.6}))  # while one trial waits, the other one runs
    for second in (1, 2, 3):
        history.apply(events.joined(second, f"behind:{second}:1", {}))
        history.apply(events.heartbeat(year + second, "ahead:1:1"))
    assert history.elapsed == 3.0


@pytest.mark.parametrize(
    "record",
    [
        {"event": "finished", "time": 1.0, "trial": 7, "attempt": 1, "state": "complete"},
        {"event": "started", "time": 1.0, "trial": 3, "params": POINTS[0], "worker": "w", "attempt": 1, "source": "s"},
        {"event": "reported", "time": 1.0},
        {"event": "finished", "time": 1.0, "trial": 0, "attempt": 1, "state": "splendid"},
        {"time": 1.0},
        {"event": "heartbeat"},
        {"event": "enqueued", "time": 1.0, "trial": 1, "params": 1.5},
    ],
)
def test_an_inconsistent_log_is_reported_as_damaged(record: dict[str, Any]) -> None:
    history = make_history(WIDE, running=[POINTS[0]])
    with pytest.raises(StoreError, match=f"Record {history.position + 1} "):
        history.apply(record)


def test_a_newer_log_is_refused() -> None:
    record = events.created(0.0, definition_of(0, 0), {}) | {"format": events.FORMAT + 1}
    with pytest.raises(StoreError, match="newer hpt"):
        History().apply(record)


def test_an_empty_log_has_no_study() -> None:
    history = History()
    assert not history.exists
    with pytest.raises(StoreError, match="no records"):
        _ = history.space


def test_the_result_of_an_invalidated_trial_changes_nothing() -> None:
    """It was declared invalid while it ran, so its later result must not become the best."""
    history = make_history(WIDE, [(POINTS[0], 5.0)], running=[POINTS[1]])
    assert history.best is history.trials[0]
    history.apply(events.invalidated(9.0, 1, "wrong data"))
    history.apply(events.complete(9.0, 1, 1, [0.0], {}))
    assert history.best is history.trials[0]
    assert history.complete.tolist() == [0]
    assert not history.open


def test_a_trial_that_misses_a_constraint_by_little_does_not_become_the_best() -> None:
    limit, first = {"ms": "<= 50"}, (POINTS[0], {"value": 5.0, "ms": 40.0})
    history = make_history(WIDE, [first], constraints=limit, running=[POINTS[1], POINTS[2]])
    assert history.best is history.trials[0]
    history.apply(events.complete(9.0, 1, 1, [1.0], {"ms": 50.5}))
    assert history.best is history.trials[0]
    history.apply(events.complete(9.0, 2, 1, [2.0], {"ms": 50.0}))
    assert history.best is history.trials[2]


def test_the_point_of_an_invalid_trial_is_still_free_after_an_amendment() -> None:
    history = History()
    history.apply(events.created(0.0, definition_of(0, 0), {}))
    for number in (1, 2):  # both lie inside the amended space
        history.apply(events.started(0.0, number - 1, POINTS[number], "w", 1, 1))
        history.apply(events.complete(0.0, number - 1, 1, [1.0], {}))
    history.apply(events.invalidated(0.0, 0, "wrong data"))
    history.apply(events.amended(0.0, definition_of(1, 0), ["space"]))
    assert history.keys == {history.space.key(POINTS[2]): 1}


def test_a_finished_trial_is_never_changed() -> None:
    history = make_history(WIDE, [(POINTS[0], 5.0)])
    before = copy.deepcopy(attrs.asdict(history.trials[0]))
    for record in (
        events.complete(9.0, 0, 1, [1.0], {}),
        events.complete(9.0, 0, 2, [1.0], {}),
        events.failed(9.0, 0, 1, Failure("error", "late")),
        events.started(9.0, 0, POINTS[0], "zombie", 2, 0),
        events.reported(9.0, 0, 1, Report(9, 9.0)),
        events.released(9.0, 0, 1, "worker-lost"),
    ):
        history.apply(record)
    assert attrs.asdict(history.trials[0]) == before


def test_an_amended_objective_finds_its_values_by_name() -> None:
    history = History()
    history.apply(events.created(0.0, definition_of(0, 2), {}))
    history.apply(events.started(0.0, 0, POINTS[0], "w", 1, 1))
    history.apply(events.complete(0.0, 0, 1, [1.0, 2.0], {}))
    history.apply(events.amended(0.0, definition_of(0, 4), ["objectives"]))
    trial = history.trials[0]
    assert (trial.values, trial.metrics) == ((2.0,), {"a": 1.0})
    history.apply(events.amended(0.0, definition_of(0, 3), ["objectives"]))
    assert (trial.values, trial.metrics) == ((2.0, 1.0), {})
    assert history.losses.tolist() == [[-2.0, 1.0]]


def test_states_compare_with_text() -> None:
    assert Trial(0, {}).state == "waiting"
    assert not Trial(0, {}).finished
    assert Trial(0, {}).duration is None


# --- the front ------------------------------------------------------------------------------------

AWKWARD = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, 1e17, 1e17 + 64, 1e308, -1e308, 5e-324])


@given(st.integers(1, 3).flatmap(lambda m: st.lists(st.lists(AWKWARD, min_size=m, max_size=m), max_size=12)))
def test_the_front_has_the_non_dominated_trials(rows: list[list[float]]) -> None:
    losses = np.array(rows).reshape(len(rows), -1 if rows else 2)
    expected = [not any(dominates(other, row) for other in rows) for row in rows]
    assert non_dominated(losses).tolist() == expected
