"""Kills writers at random moments and counts what is missing then; the test of processes runs it on its own.

The writers are forked, so that each starts at once. Each tells a position through a pipe when `append` has returned.
Half of them are killed from outside, at any time; the others die at a step of their own: before a write, a sync, a
truncation or a replacement, or in the middle of a write. Some of what they write adds columns, which replaces the file.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_store_csv.store import CsvStore

if TYPE_CHECKING:
    from hpt_core import Record

LIVES_PER_FILE = 10


def record_of(life: int, n: int) -> Record:
    record: Record = {"id": f"{life}.{n}", "text": "x" * 100}
    if n % 4 == 1:
        record |= {"event": "amended", "definition": {"space": {f"p{life}.{n}": {}}}}
    return record


def die_at(step: int, dice: random.Random, spared: int) -> None:
    """Have this process killed at a step of its work with files; writes to the spared descriptor are none."""
    steps = iter(range(step, -1, -1))

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *rest: Any) -> Any:
            if first != spared and not next(steps):
                if real is write and dice.random() < 0.7:
                    real(first, rest[0][: dice.randrange(len(rest[0]) + 1)])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(first, *rest)

        return call

    write = os.write
    for name in ("fsync", "ftruncate", "replace", "write"):
        setattr(os, name, dying(getattr(os, name)))


def write_until_killed(path: Path, life: int, pipe: int, *, early: bool) -> None:
    store = CsvStore(path=path)
    for n in range(1_000_000):
        record = record_of(life, n)
        if early:
            os.write(pipe, f"{life}.{n} {len(store.read('s')) + 1}\n".encode())
        position = (store.append_lazily if n % 3 else store.append)("s", [record])
        if not early:
            os.write(pipe, f"{life}.{n} {position}\n".encode())


def live_once(path: Path, life: int, dice: random.Random, *, early: bool) -> list[tuple[str, int]]:
    """Let one writer live on a little from its first word or (one in four) from its start; returns what it told."""
    read_end, write_end = os.pipe()
    by_itself, seed = dice.random() < 0.5, dice.random()
    child = os.fork()
    if not child:
        if by_itself:
            own_dice = random.Random(seed)
            die_at(own_dice.randrange(12), own_dice, write_end)
        write_until_killed(path, life, write_end, early=early)
    os.close(write_end)
    told = os.read(read_end, 1) if dice.random() < 0.75 else b""
    if not by_itself:
        time.sleep(dice.uniform(0, 0.004))
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as rest:
        told += rest.read()
    lines = [line.split() for line in told.decode().splitlines()]
    return [(name, int(position)) for name, position in lines]


def use_one_file(path: Path, lives: range, dice: random.Random, *, early: bool) -> Counter[str]:
    """Kill some writers of one file, reading it after each."""
    found: Counter[str] = Counter()
    told: list[tuple[str, int]] = []
    for life in lives:
        told += live_once(path, life, dice, early=early)
        before = path.read_bytes() if path.exists() else b""
        CsvStore(path=path).read("s")  # each file must open at once
        found["changed by reading"] += before != (path.read_bytes() if path.exists() else b"")
    store = CsvStore(path=path)
    store.append("s", [{"id": "last"}])
    records = store.read("s")
    counts = Counter(record["id"] for record in records)
    found["acknowledged"] += len(told)
    found["twice"] += sum(count > 1 for count in counts.values())
    found["lost"] += sum(
        not 0 < position < len(records) or records[position - 1]["id"] != name for name, position in told
    )
    found["cut off in a write"] += path.with_name(f"{path.name}.torn").exists()
    return found


def main(folder: Path, kills: int, *, early: bool) -> None:
    logging.disable()
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    found: Counter[str] = Counter({"seed": seed})
    for first in range(0, kills, LIVES_PER_FILE):
        lives = range(first, min(first + LIVES_PER_FILE, kills))
        found.update(use_one_file(folder / f"runs{first}.csv", lives, dice, early=early))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), early="early" in sys.argv)
