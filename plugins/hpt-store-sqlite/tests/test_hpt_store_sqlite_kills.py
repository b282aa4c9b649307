"""Kills writers at random moments and counts what is missing then; the test of processes runs it on its own.

The writers are forked, so that each starts at once. Each tells a position through a pipe when `append` has returned.
Between them a store writes that outlives them all, and knows what was there before.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path

from hpt_store_sqlite.store import SqliteStore


def write_until_killed(path: Path, life: int, pipe: int, *, early: bool) -> None:
    store = SqliteStore(path=path)
    for n in range(1_000_000):
        record = {"id": f"{life}.{n}", "text": "x" * 150}
        if early:
            os.write(pipe, f"{life}.{n} {len(store.read('s')) + 1}\n".encode())
        position = (store.append if n % 3 == 0 else store.append_lazily)("s", [record])
        if not early:
            os.write(pipe, f"{life}.{n} {position}\n".encode())


def live_once(path: Path, life: int, dice: random.Random, *, early: bool) -> list[tuple[str, int]]:
    """Let one writer live on a little from its first word or (one in four) from its start; returns what it told."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        write_until_killed(path, life, write_end, early=early)
    os.close(write_end)
    told = os.read(read_end, 1) if dice.random() < 0.75 else b""
    time.sleep(dice.uniform(0, 0.004))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as rest:
        told += rest.read()
    lines = [line.split() for line in told.decode().splitlines()]
    return [(name, int(position)) for name, position in lines]


def integrity(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def main(path: Path, kills: int, *, early: bool) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    told: list[tuple[str, int]] = []
    cut = changed = 0
    survivor = SqliteStore(path=path)
    for life in range(kills):
        told += live_once(path, life, dice, early=early)
        cut += path.with_name(f"{path.name}-journal").exists()
        before = {p: p.read_bytes() for p in path.parent.glob("hpt.db*")}
        reader = SqliteStore(path=path)
        reader.read("s", max(0, (told or [("", 0)])[-1][1] - 1))  # each file must open at once
        reader.close()
        changed += before != {p: p.read_bytes() for p in path.parent.glob("hpt.db*")}
        for name in (f"{life}.survivor", f"{life}.survivor again"):
            told.append((name, survivor.append_lazily("s", [{"id": name}])))
    survivor.close()
    store = SqliteStore(path=path)
    store.append("s", [{"id": "last"}])
    records = store.read("s")
    store.close()
    counts = Counter(record["id"] for record in records)
    lost = [name for name, position in told if not 0 < position < len(records) or records[position - 1]["id"] != name]
    found = {
        "seed": seed,
        "acknowledged": len(told),
        "lost": len(lost),
        "twice": sum(count > 1 for count in counts.values()),
        "cut off in a commit": cut,
        "changed by reading": changed,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    if not early and integrity(path) != "ok":
        sys.exit("the file is damaged")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), early="early" in sys.argv)
