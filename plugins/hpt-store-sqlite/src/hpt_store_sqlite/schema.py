"""The tables of the file, the views for queries, and the statements on them.

``events`` is the log: one row per record. ``body`` is the whole record as JSON; ``event`` and ``trial`` are repeated
beside it for queries. The views apply the rules of the core's replay in SQL:

- A start counts if it is the first of its attempt and the trial was not declared invalid before. The attempt that
  started last is the current one.
- A report, pause, release or end counts if it belongs to the current attempt and the trial was not parked (paused, or
  released as lost) in that attempt before. The first end is final.
- Reports before a trial was released as lost do not count, unless the evaluator can resume.
- A trial's duration is the time from each start to the pause or the end of the same attempt; an attempt that was
  released as lost does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpt_store_sqlite.problems import damaged, foreign, newer

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["INSERT", "INSERT_LATE", "LAST", "NAMES", "READ", "create", "exists", "place"]

_APPLICATION_ID = 0x68707431
"""Marks a file as a store of hpt in its header ("hpt1")."""

_FORMAT = 1
"""Version of the tables and views, in the file's header; a file with a higher version is refused."""

_TABLES = {
    "studies": "CREATE TABLE studies (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "events": (
        "CREATE TABLE events (study_id INTEGER NOT NULL, seq INTEGER NOT NULL, event TEXT, trial INTEGER, "
        "attempt INTEGER, body TEXT NOT NULL, PRIMARY KEY (study_id, seq)) WITHOUT ROWID"
    ),
}

INSERT = (
    "INSERT INTO events SELECT study, seq, json_extract(body, '$.event'), json_extract(body, '$.trial'), "
    "json_extract(body, '$.attempt'), body FROM (SELECT ? AS study, ? AS seq, ? AS body)"
)
"""Arguments: a study's id, a position and a record."""

INSERT_LATE = (
    "INSERT INTO events SELECT id, seq, json_extract(body, '$.event'), json_extract(body, '$.trial'), "
    "json_extract(body, '$.attempt'), body FROM (SELECT ? AS study, ? AS seq, ? AS body) JOIN studies ON name = study "
    "WHERE seq = 1 + (SELECT max(events.seq) FROM events WHERE study_id = id)"
)
"""Arguments: a study's name, a position and a record. Inserts it if it directly follows the study's last record."""

READ = (
    "SELECT seq, body FROM events WHERE study_id = (SELECT id FROM studies WHERE name = ?) AND seq > ? "
    "ORDER BY seq LIMIT ?"
)
"""Arguments: a study, a position, and how many records after it to read."""

NAMES = "SELECT name FROM studies ORDER BY id"

LAST = "SELECT max(seq) FROM events WHERE study_id = (SELECT id FROM studies WHERE name = ?)"

_EFFECTIVE = """told AS (
  SELECT study_id, seq, trial, event, attempt,
    event = 'started' AND 1 = row_number() OVER (PARTITION BY study_id, trial, event, attempt ORDER BY seq)
      AND NOT max(event = 'invalidated') OVER (PARTITION BY study_id, trial ORDER BY seq) AS begins
  FROM events
  WHERE trial IS NOT NULL AND event IN (
    'enqueued', 'started', 'reported', 'paused', 'released', 'finished', 'invalidated')
), fenced AS (
  SELECT *, coalesce(
    max(CASE WHEN begins THEN attempt END) OVER (PARTITION BY study_id, trial ORDER BY seq), 0) AS current
  FROM told
), bounded AS (
  SELECT *,
    min(CASE WHEN event = 'finished' AND attempt = current THEN seq END) OVER (PARTITION BY study_id, trial) AS final,
    min(CASE WHEN event IN ('paused', 'released') AND attempt = current THEN seq END)
      OVER (PARTITION BY study_id, trial, attempt) AS parked
  FROM fenced
), effective AS (
  SELECT study_id, seq, trial, event, attempt FROM bounded
  WHERE event IN ('enqueued', 'invalidated')
    OR seq = final
    OR (current > 0 AND seq <= coalesce(final, seq) AND (begins OR seq = parked
      OR (event = 'reported' AND attempt = current AND seq <= coalesce(parked, seq))))
)"""

_TRIALS = """
CREATE VIEW trials AS
WITH {effective}, marks AS (
  SELECT study_id, trial,
    min(CASE WHEN event IN ('enqueued', 'started') THEN seq END) AS first,
    max(CASE WHEN event = 'started' THEN seq END) AS start,
    max(CASE WHEN event IN ('enqueued', 'started', 'paused', 'released', 'finished') THEN seq END) AS last,
    min(CASE WHEN event = 'finished' THEN seq END) AS final,
    min(CASE WHEN event = 'invalidated' THEN seq END) AS invalid
  FROM effective GROUP BY study_id, trial
), stretches AS (
  SELECT study_id, trial,
    min(CASE WHEN event = 'started' THEN seq END) AS start,
    min(CASE WHEN event IN ('paused', 'finished') THEN seq END) AS stop
  FROM effective WHERE attempt > 0 GROUP BY study_id, trial, attempt
), worked AS (
  SELECT stretches.study_id, stretches.trial,
    sum(json_extract(stop.body, '$.time') - json_extract(start.body, '$.time')) AS seconds
  FROM stretches
    JOIN events AS start ON start.study_id = stretches.study_id AND start.seq = stretches.start
    JOIN events AS stop ON stop.study_id = stretches.study_id AND stop.seq = stretches.stop
  GROUP BY stretches.study_id, stretches.trial
)
SELECT
  studies.name AS study,
  marks.trial AS number,
  CASE last.event WHEN 'finished' THEN json_extract(last.body, '$.state') WHEN 'started' THEN 'running'
    WHEN 'paused' THEN 'paused' ELSE 'waiting' END AS state,
  json_extract(final.body, '$.values[0]') AS value,
  json_extract(final.body, '$.values') AS "values",
  json_extract(first.body, '$.params') AS params,
  CASE WHEN last.event IN ('finished', 'paused') THEN json_extract(last.body, '$.reason') END AS reason,
  json_extract(final.body, '$.kind') AS failure_kind,
  json_extract(final.body, '$.message') AS failure_message,
  strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(start.body, '$.time'), 'unixepoch') AS started,
  strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(final.body, '$.time'), 'unixepoch') AS ended,
  CASE WHEN final.seq IS NOT NULL THEN worked.seconds END AS duration,
  json_extract(start.body, '$.worker') AS worker,
  CASE first.event WHEN 'enqueued' THEN 'given' ELSE json_extract(first.body, '$.source') END AS source,
  coalesce(start.attempt, 0) AS attempt,
  json_extract(invalid.body, '$.reason') AS invalid
FROM marks
  JOIN studies ON studies.id = marks.study_id
  JOIN events AS first ON first.study_id = marks.study_id AND first.seq = marks.first
  JOIN events AS last ON last.study_id = marks.study_id AND last.seq = marks.last
  LEFT JOIN worked ON worked.study_id = marks.study_id AND worked.trial = marks.trial
  LEFT JOIN events AS start ON start.study_id = marks.study_id AND start.seq = marks.start
  LEFT JOIN events AS final ON final.study_id = marks.study_id AND final.seq = marks.final
  LEFT JOIN events AS invalid ON invalid.study_id = marks.study_id AND invalid.seq = marks.invalid
ORDER BY marks.study_id, marks.trial"""

_REPORTS = """
CREATE VIEW reports AS
WITH {effective}, kept AS (
  SELECT *, max(CASE WHEN event = 'released' THEN seq END) OVER (PARTITION BY study_id, trial) AS released
  FROM effective
), defined AS (
  SELECT study_id, max(seq) AS seq FROM events WHERE event IN ('created', 'amended') GROUP BY study_id
), resumable AS (
  SELECT study_id FROM defined JOIN events USING (study_id, seq)
  WHERE json_extract(body, '$.definition.evidence.resumable')
)
SELECT
  studies.name AS study,
  kept.trial AS trial,
  json_extract(events.body, '$.step') AS step,
  json_extract(events.body, '$.value') AS value,
  coalesce(json_extract(events.body, '$.metrics'), '{{}}') AS metrics,
  strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(events.body, '$.time'), 'unixepoch') AS time
FROM kept
  JOIN studies ON studies.id = kept.study_id
  JOIN events ON events.study_id = kept.study_id AND events.seq = kept.seq
WHERE kept.event = 'reported'
  AND (kept.seq > coalesce(kept.released, 0) OR kept.study_id IN resumable)
ORDER BY kept.study_id, kept.trial, kept.seq"""

_VIEWS = tuple(view.format(effective=_EFFECTIVE) for view in (_TRIALS, _REPORTS))

_HEADER = (  # one statement, for a consistent view
    "SELECT application_id, user_version, type, name, sql "
    "FROM pragma_application_id, pragma_user_version LEFT JOIN sqlite_master"
)


def create(connection: sqlite3.Connection) -> None:
    """Create the tables and views in a new file, within the transaction of the first write."""
    for sql in (*_TABLES.values(), *_VIEWS):
        connection.execute(sql)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {_FORMAT}")


def exists(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file has the tables of hpt; False if it is empty.

    Raises:
        StoreError: If it is any other file.
    """
    rows = connection.execute(_HEADER).fetchall()
    application, version = rows[0][:2]
    found = {name: sql for *_, name, sql in rows if name}
    if not found and not application:
        return False
    if application != _APPLICATION_ID:
        raise foreign(path, found)
    if version > _FORMAT:
        raise newer(path, version, _FORMAT)
    if any(found.get(name) != sql for name, sql in _TABLES.items()):
        raise damaged(path, "its tables differ from those of hpt")
    if any(kind == "trigger" for _, _, kind, *_ in rows):
        raise damaged(path, "it has triggers, which could change what is written")
    return True


def place(connection: sqlite3.Connection, study: str) -> tuple[int, int]:
    """The id of a study, which is created if necessary, and the position of its last record."""
    sql = "SELECT id, (SELECT max(seq) FROM events WHERE study_id = id) FROM studies WHERE name = ?"
    found = connection.execute(sql, (study,)).fetchone()
    if found is None:
        return connection.execute("INSERT INTO studies (name) VALUES (?)", (study,)).lastrowid or 0, 0
    return found[0], found[1] or 0
