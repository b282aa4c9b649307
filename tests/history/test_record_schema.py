"""Records with the wrong shape are reported when a store is read, each with its position in the log and the problem."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Failure, Float, Report, StoreError, Study
from hpt_core.builtin.memory import MemoryStore
from hpt_core.history import events, record_schema
from hpt_core.history.record_schema import record_problem
from hpt_core.history.replay import Replay
from hpt_core.study.loading import load_history

if TYPE_CHECKING:
    from hpt_core.history.events import Record

DEFINITION = {
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "objectives": {"value": "minimize"},
    "sampler": {"use": "random"},
    "evaluator": None,
    "evidence": {"kind": "curve", "steps": None, "resumable": False},
    "stop": [],
    "seed": 0,
    "duplicates": "avoid",
    "reproducible": 0,
}
PROVENANCE = {"python": "3.13", "platform": "x", "packages": {"hpt-core": "1"}}
ALL: Sequence[Record] = [
    events.created(0.0, DEFINITION, PROVENANCE),
    events.amended(1.0, DEFINITION, ["seed: was 1"]),
    events.joined(2.0, "w", PROVENANCE),
    events.enqueued(3.0, 0, {"x": 0.5}, "told", {"a": 1}),
    events.started(4.0, 0, {"x": 0.5}, "w", 1, 3, info={"a": 1}),
    events.reported(5.0, 0, 1, Report(1, 0.5, {"ms": 3.0})),
    events.paused(6.0, 0, 1, 4, "rule", "later", {}),
    events.complete(7.0, 0, 1, [0.5], {"ms": 3.0}, "again"),
    events.completed_early(7.0, 0, 1, [0.5], {"ms": 3.0}, 5, "rule", "enough", {}),
    events.stopped_early(7.0, 0, 1, [0.5], 5, "rule", "bad", {}),
    events.failed(7.0, 0, 1, Failure("error", "no", "trace")),
    events.released(7.0, 0, 1, "worker-lost"),
    events.invalidated(8.0, 0, "wrong data"),
    events.heartbeat(9.0, "w"),
    events.study_stopped(9.0, 9, "budget", "enough", {"n": 1}),
    events.note(9.0, "conclusion", {"a": 1}),
]
NONSENSE: dict[str, list[Any]] = {
    "float": ["1", None, True, [], 10**400],
    "int": ["1", None, True, 1.5, -1],
    "str": [1, None, ["x"], {}],
    "Mapping": ["x", 1, None, [1]],
    "Sequence": ["x", 1, {}, ["x"], [None], [10**400]],
}
UNREAD = {"seen", "differences", "kind"}
"""Keys that only the audit, people or programs use (but see below: `kind` of failures, `seen` of `stopped`)."""
BUILDERS = [
    made for _, made in inspect.getmembers(events, inspect.isfunction) if made.__module__ == "hpt_core.history.events"
]


def wrong_kinds() -> list[tuple[Record, str, Any]]:
    """Each record with each of its keys, and nonsense by the type that the builder's signature gives the key."""
    found = []
    by_event: dict[str, list[Any]] = {}
    for made in BUILDERS:
        ends = ("complete", "completed_early", "stopped_early", "failed")
        names = {"study_stopped": "stopped", **dict.fromkeys(ends, "finished")}
        by_event.setdefault(names.get(made.__name__, made.__name__), []).append(inspect.signature(made).parameters)
    for record in ALL:
        for signature in by_event[record["event"]]:
            for name in [key for key in record if key in signature and key not in UNREAD]:
                if record["event"] in {"paused", "finished"} and name == "evidence":
                    continue
                kind = re.split(r"[\[ ]", str(signature[name].annotation).replace("Params", "Mapping"))[0]
                found += [(record, name, value) for value in NONSENSE[kind]]
    return found


def study_on(store: MemoryStore) -> Study:
    return Study({"x": Float(0, 1)}, sampler="random", store=store, seed=0)


def evaluate(params: dict[str, Any]) -> float:
    return float(params["x"])


def test_all_kinds_of_records_are_covered() -> None:
    assert len(ALL) == len(BUILDERS)
    assert [record_problem(record) for record in ALL] == [""] * len(ALL)


def test_each_event_is_checked_and_replayed() -> None:
    assert {record["event"] for record in ALL} == {*record_schema._KEYS, "finished"} == {*Replay._HANDLERS}


@pytest.mark.parametrize(("record", "name", "value"), wrong_kinds())
def test_a_value_of_the_wrong_type_is_reported(record: Record, name: str, value: Any) -> None:
    assert f"its `{name}` must be " in record_problem({**record, name: value})


@pytest.mark.parametrize("time", [-62_135_596_801.0, 253_402_300_800.0])
def test_a_time_that_is_no_date_is_reported(time: float) -> None:
    with pytest.raises(ValueError, match="year"):
        datetime.fromtimestamp(time, UTC)
    assert "its `time` must be Unix seconds" in record_problem({**ALL[0], "time": time})


@pytest.mark.parametrize("change", [{}, *({"seen": value} for value in NONSENSE["int"])], ids=str)
def test_a_study_that_ended_at_no_position_cannot_be_run_again(change: dict[str, Any]) -> None:
    """A run compares the position of the last end with its own."""
    store = MemoryStore()
    study_on(store).run(evaluate, trials=1)
    *earlier, stopped = store.read("study")
    damaged = MemoryStore()
    damaged.append("study", [*earlier, {key: value for key, value in stopped.items() if key != "seen"} | change])
    with pytest.raises(StoreError, match=rf"Record {len(earlier) + 1} .* its `seen` must be an int >= 0\."):
        study_on(damaged).run(evaluate, trials=1)


@pytest.mark.parametrize("record", ALL[7:11], ids=lambda record: record["state"])
@pytest.mark.parametrize(("name", "value"), [("values", "x"), ("metrics", "x"), ("rule", 1), ("reason", 1)])
def test_what_is_read_of_every_finished_trial_is_checked_in_every_state(record: Record, name: str, value: Any) -> None:
    assert f"its `{name}` must be " in record_problem({**record, name: value})


def test_an_infinite_parameter_is_reported() -> None:
    infinite = json.loads("1e999")  # what a store reads from a digit too many
    assert "its `params` must be a table without infinite numbers" in record_problem(
        {**ALL[4], "params": {"x": infinite}}
    )


@pytest.mark.parametrize("record", ALL, ids=lambda record: record["event"])
def test_a_missing_key_is_reported(record: Record) -> None:
    needed = set(record) - {"info", "metrics", "differences", "seen", "reason", "source", "values", "evidence", "kind"}
    if record.get("state") == "complete":
        needed.discard("rule")  # only of a trial that a rule declared complete
    for name in needed:
        assert "It is missing." in record_problem({key: value for key, value in record.items() if key != name})


@pytest.mark.parametrize("name", sorted(DEFINITION))
@pytest.mark.parametrize("value", ["x", 1.5, ["x"], {"x": 1}, {"use": 1}, -1, True])
def test_a_definition_with_nonsense_cannot_be_read(name: str, value: Any) -> None:
    if (name, value) == ("duplicates", "x") or (name in {"evidence", "space"} and isinstance(value, dict)):
        return  # these make sense
    store = MemoryStore()
    store.append("s", [events.created(0.0, {**DEFINITION, name: value}, PROVENANCE)])
    with pytest.raises(StoreError, match=r"The study 's' in memory cannot be read\. Record 1 of the log is damaged: "):
        load_history(store)


@pytest.mark.parametrize(("name", "value"), [("python", 3), ("platform", None), ("packages", ["x"]), ("files", 1)])
def test_a_provenance_with_nonsense_is_reported(name: str, value: Any) -> None:
    """A run compares it with its own, and says what has changed."""
    store, damaged = MemoryStore(), MemoryStore()
    study_on(store).run(evaluate, trials=1)
    damaged.append("study", [_with_provenance(record, {name: value}) for record in store.read("study")])
    with pytest.raises(StoreError, match=rf"Record 1 of the log is damaged: its `provenance\.{name}` must be "):
        study_on(damaged).run(evaluate, trials=1)


def _with_provenance(record: Record, change: dict[str, Any]) -> Record:
    return {**record, "provenance": {**record["provenance"], **change}} if "provenance" in record else record


def test_what_hpt_writes_is_well_formed() -> None:
    store = MemoryStore()
    study_on(store).run(evaluate, trials=2)
    assert not any(map(record_problem, store.read("study")))


@given(st.dictionaries(st.sampled_from(sorted({key for record in ALL for key in record})), st.none() | st.text()))
def test_any_record_is_replayed_or_reported(change: dict[str, Any]) -> None:
    for record in ALL[2:]:
        store = MemoryStore()
        store.append("s", [ALL[0], {**record, **change}])
        try:
            load_history(store)
        except StoreError as err:
            assert "Record 2 of the log is damaged: " in str(err)  # noqa: PT017 - it may also be read


def without_a_beginning(records: list[Record]) -> list[Record]:
    return records[1:]


def with_a_later_format(records: list[Record]) -> list[Record]:
    return [{**records[0], "format": 2}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_beginning, r"Its log has no record that defines the study\. Restore a backup of the store\.$"),
        (with_a_later_format, r"It was written by a newer hpt \(log format 2, known: 1\): update hpt-core\. The log"),
    ],
)
def test_a_log_that_cannot_be_read_is_reported(change: Callable[[list[Record]], list[Record]], said: str) -> None:
    store = MemoryStore()
    store.append("s", change([ALL[0], ALL[13]]))
    with pytest.raises(StoreError, match=rf"^The study 's' in memory cannot be read\. {said}"):
        load_history(store)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([ALL[4]], r"Record 1 .*: it precedes the record that defines the study\."),
        ([ALL[1], ALL[0]], r"Record 1 .*: it precedes the record that defines the study\."),
        (
            [ALL[0], {**ALL[4], "trial": 1}],
            r"Record 2 .*: it is about trial 1, but the records before it start only 0\.",
        ),
        ([ALL[0], ALL[3], ALL[3]], r"Record 3 of the log is damaged: its `trial` must be 1, the next number\. Got 0\."),
    ],
)
def test_a_record_in_the_wrong_place_is_reported(records: list[Record], said: str) -> None:
    store = MemoryStore()
    store.append("s", records)
    with pytest.raises(
        StoreError, match=rf"cannot be read\. {said} .*, or delete this and all later records of the study"
    ):
        load_history(store)


def test_a_record_of_a_later_hpt_is_accepted() -> None:
    assert record_problem({"event": "frobnicated", "time": 1.0, "trial": "x"}) == ""
    assert record_problem({**ALL[12], "later": object()}) == ""
