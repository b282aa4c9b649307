"""The views `trials` and `reports` against a replay of the log in plain Python, written for this test alone."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Float, History, Record, Space
from hpt_store_sqlite.store import SqliteStore

START = 1_700_000_000.25
SPACE = Space({"x": Float(0, 1)})


def created(*, resumable: bool = False) -> Record:
    definition = {
        "space": SPACE.to_json(),
        "objectives": {"accuracy": "maximize", "ms": "minimize"},
        "seed": 0,
        "evidence": {"kind": "curve", "steps": None, "resumable": resumable},
    }
    return {"event": "created", "time": START, "format": 1, "definition": definition, "provenance": {}}


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def iso(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# --- the oracle ---------------------------------------------------------------------------------------------


class Replay:
    """The rows that the views should have, by going through the log record by record."""

    def __init__(self, records: Sequence[Record], *, resumable: bool) -> None:
        self.trials: dict[int, dict[str, Any]] = {}
        self.resumable = resumable
        for record in records:
            handle = getattr(self, str(record["event"]), None)
            if handle and record.get("trial") is not None:
                handle(self.trials.get(record["trial"]), record)

    def enqueued(self, _: object, record: Record) -> None:
        self._add(record, "given")

    def _add(self, record: Record, source: str) -> dict[str, Any]:
        row = dict.fromkeys(["value", "values", "reason", "failure_kind", "failure_message", "started", "ended"])
        row |= {"number": record["trial"], "state": "waiting", "params": record["params"], "source": source}
        row |= {"duration": None, "worker": None, "attempt": 0, "invalid": None, "reports": [], "final": False}
        row |= {"worked": 0.0, "in_pause": False}
        return self.trials.setdefault(record["trial"], row)

    def started(self, row: dict[str, Any] | None, record: Record) -> None:
        row = row or self._add(record, record["source"])
        if not row["final"] and row["invalid"] is None and record["attempt"] == row["attempt"] + 1:
            row |= {"state": "running", "attempt": record["attempt"], "worker": record["worker"], "reason": None}
            row |= {"started": record["time"], "in_pause": False}

    def reported(self, row: dict[str, Any], record: Record) -> None:
        if self._runs(row, record):
            row["reports"].append((record["step"], record["value"], record.get("metrics", {}), record["time"]))

    def paused(self, row: dict[str, Any], record: Record) -> None:
        if self._runs(row, record):
            row |= {"state": "paused", "reason": record["reason"], "in_pause": True}
            row["worked"] += record["time"] - row["started"]

    def released(self, row: dict[str, Any], record: Record) -> None:
        if self._runs(row, record):
            row |= {"state": "waiting"}
            row["reports"] = row["reports"] if self.resumable else []

    def _runs(self, row: dict[str, Any], record: Record) -> bool:
        return bool(row["state"] == "running" and record["attempt"] == row["attempt"])

    def finished(self, row: dict[str, Any], record: Record) -> None:
        if row["final"] or record["attempt"] != row["attempt"]:
            return
        values = record.get("values")
        row |= {"final": True, "state": record["state"], "values": values, "value": values and values[0]}
        row |= {"reason": record.get("reason"), "ended": record["time"]}
        row |= {"failure_kind": record.get("kind"), "failure_message": record.get("message")}
        last = 0.0 if row["in_pause"] or row["started"] is None else record["time"] - row["started"]
        row["duration"] = None if row["started"] is None else row["worked"] + last

    def invalidated(self, row: dict[str, Any], record: Record) -> None:
        if row["invalid"] is None:
            row["invalid"] = record["reason"]


# --- logs ---------------------------------------------------------------------------------------------------

ATTEMPTED: dict[str, Record] = {
    "reported": {"step": 1, "value": 0.5},
    "paused": {"seen": 1, "rule": "r", "reason": "later", "evidence": {}},
    "released": {"kind": "worker-lost"},
    "complete": {"event": "finished", "state": "complete", "values": [0.1, 2.0], "metrics": {"m": 1.0}},
    "stopped": {"event": "finished", "state": "stopped", "reason": "enough", "rule": "r", "values": [0.25, 3.0]},
    "silent": {"event": "finished", "state": "stopped", "reason": "no value", "rule": "r"},
    "failed": {"event": "finished", "state": "failed", "kind": "error", "message": 'it\'s "bad"', "detail": "…"},
}
STEPS = st.tuples(
    st.sampled_from(["enqueued", "started", "started", "again", "invalidated", *ATTEMPTED]),
    st.integers(0, 3),  # which trial
    st.integers(0, 1),  # how many attempts too late
    st.integers(0, 40).map(lambda eighths: eighths / 8),  # seconds later
)


def log_of(steps: Sequence[tuple[str, int, int, float]]) -> list[Record]:
    """A log such as workers write who may be thought dead and go on, but take trials under the study's lock."""
    attempts: dict[int, int] = {}
    ended: set[int] = set()
    records: list[Record] = []
    time = START
    for kind, chosen, late, gap in steps:
        time += gap
        trial = min(chosen, len(attempts))
        is_new = trial == len(attempts)
        record: Record = {"event": kind, "time": time, "trial": trial}
        if kind == "enqueued" and is_new:
            attempts[trial] = 0
            record["params"] = {"x": 0.5}
        elif kind == "started" and trial not in ended:
            attempts[trial] = attempts.get(trial, 0) + 1
            record |= {"params": {"x": trial / 4}, "worker": f"w{len(records)}", "attempt": attempts[trial]}
            record |= {"seen": len(records), "source": "sampler"}
        elif kind == "invalidated" and not is_new:
            record["reason"] = f"wrong at {len(records)}"
        elif kind in ATTEMPTED and not is_new:
            record |= {"attempt": max(0, attempts[trial] - late), "time": time, **ATTEMPTED[kind]}
            if record["event"] == "finished" and record["attempt"] == attempts[trial]:
                ended.add(trial)
        else:
            continue
        records.append(record)
    return records


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views") / "hpt.db"


@given(steps=st.lists(STEPS, max_size=40), resumable=st.booleans())
def test_views_tell_what_a_replay_tells(
    one_file: Path, steps: list[tuple[str, int, int, float]], *, resumable: bool
) -> None:
    records = [created(resumable=resumable), *log_of(steps)]
    store = SqliteStore(path=one_file)
    study = f"study {len(store.studies())}"
    store.append(study, records)
    store.close()
    expected = Replay(records, resumable=resumable).trials
    rows = query(store.path, f"SELECT * FROM trials WHERE study = '{study}'")
    reports = query(store.path, f"SELECT * FROM reports WHERE study = '{study}'")

    assert [row["number"] for row in rows] == sorted(expected)
    for row in rows:
        assert as_told(row) == as_replayed(expected[row["number"]])
    told = [(r["trial"], r["step"], r["value"], json.loads(r["metrics"]), r["time"]) for r in reports]
    assert told == [
        (number, step, value, metrics, iso(time))
        for number, trial in sorted(expected.items())
        for step, value, metrics, time in trial["reports"]
    ]
    compare_with_core(records, expected)


def as_told(row: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in row.items() if name != "study"}
    row["values"], row["params"] = json.loads(row["values"] or "null"), json.loads(row["params"])
    row["duration"] = pytest.approx(row["duration"])
    return row


def as_replayed(trial: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in trial.items() if name not in ("reports", "final", "worked", "in_pause")}
    return row | {"started": iso(trial["started"]), "ended": iso(trial["ended"])}


def compare_with_core(records: Sequence[Record], expected: dict[int, dict[str, Any]]) -> None:
    """The oracle must agree with the core, which owns the meaning of a log."""
    history = History()
    history.extend(records)
    for trial in history.trials:
        row = expected[trial.number]
        assert (str(trial.state), trial.attempt, trial.invalid) == (row["state"], row["attempt"], row["invalid"])
        assert list(trial.values or ()) == (row["values"] or [])
        assert [(r.step, r.value) for r in trial.reports] == [r[:2] for r in row["reports"]]
        assert trial.duration == row["duration"]


def test_the_rows_of_a_small_study(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db")
    steps = [("enqueued", 0, 0, 0.0), ("started", 0, 0, 1.0), ("reported", 0, 0, 0.5), ("complete", 0, 0, 0.25)]
    store.append("digits", [created(), *log_of(steps)])
    store.close()
    assert query(store.path, "SELECT * FROM trials") == [
        {
            "study": "digits",
            "number": 0,
            "state": "complete",
            "value": 0.1,
            "values": "[0.1,2.0]",
            "params": '{"x":0.5}',
            "reason": None,
            "failure_kind": None,
            "failure_message": None,
            "started": "2023-11-14T22:13:21.250Z",
            "ended": "2023-11-14T22:13:22.000Z",
            "duration": 0.75,
            "worker": "w1",
            "source": "given",
            "attempt": 1,
            "invalid": None,
        }
    ]
    assert query(store.path, "SELECT * FROM reports") == [
        {
            "study": "digits",
            "trial": 0,
            "step": 1,
            "value": 0.5,
            "metrics": "{}",
            "time": "2023-11-14T22:13:21.750Z",
        }
    ]
    found = query(store.path, "SELECT number FROM trials WHERE json_extract(params, '$.x') > 0.4")
    assert found == [{"number": 0}]


def test_the_views_take_no_part_in_reading(tmp_path: Path) -> None:
    store = SqliteStore(path=tmp_path / "hpt.db")
    store.append("s", [created()])
    store.close()
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.executescript("DROP VIEW trials; CREATE VIEW trials AS SELECT load_extension('evil')")
    assert store.read("s") == [created()]
    assert store.append("s", [{"event": "note"}]) == 2
    store.close()
