"""A stranger's distribution, out of the tree and with public names only, does all that ours can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

PLUGIN = """
    from hpt_core import hookimpl

    hpt_api_version = 1

    @hookimpl
    def hpt_samplers():
        return {"stranger": "stranger_parts:Halving"}

    @hookimpl
    def hpt_evaluators():
        return {"stranger": "stranger_parts:Parabola"}

    @hookimpl
    def hpt_stopping_rules():
        return {"stranger": "stranger_parts:Enough"}

    @hookimpl
    def hpt_stores():
        return {"stranger": "stranger_parts:JsonLines"}

    @hookimpl
    def hpt_store_for(location):
        return "stranger" if location.endswith(".jsonl") else None

    @hookimpl
    def hpt_study_finished(study, reason):
        print("observed:", reason)
"""

PARTS = """
    import json, os
    from contextlib import contextmanager
    from pathlib import Path

    import attrs
    import fcntl
    from hpt_core import Report, SpaceExhausted, Stop, Suggestion, option

    @attrs.define(kw_only=True)
    class Halving:
        "Halves the distance to the best point."
        start: float = option(0.1, gt=0, help="First step.")

        def suggest(self, history, rng):
            if not len(history.complete):
                return history.space.default()
            best = history.best.params["x"]
            step = self.start * (rng.random() - 0.5)
            return Suggestion({"x": min(1.0, max(0.0, best + step))}, {"step": step}, source="halving")

    @attrs.define(kw_only=True)
    class Parabola:
        "Needs no model."
        evidence, steps, resumable = "curve", 2, False
        optimum: float = option(0.3, help="Where it is lowest.")

        def check(self, space, objectives):
            assert "x" in space.names

        def evaluate(self, trial):
            yield Report(1, 1.0)
            return (trial.params["x"] - self.optimum) ** 2

    @attrs.define(kw_only=True)
    class Enough:
        "Stops the study below a value."
        below: float = option(help="That value.")

        def judge_study(self, history):
            best = history.best
            return Stop(f"{best.value:g} will do") if best and best.value < self.below else None

    @attrs.define(kw_only=True)
    class JsonLines:
        "One line of JSON per record."
        path: Path = option(help="The file.")

        def _lines(self):
            text = self.path.read_text() if self.path.exists() else ""
            return [json.loads(line) for line in text.splitlines()]

        def append(self, study, records):
            with self.path.open("a") as file:
                file.write("".join(json.dumps([study, record]) + chr(10) for record in records))
                file.flush()
                os.fsync(file.fileno())
            return len(self.read(study))

        def read(self, study, after=0):
            return [record for name, record in self._lines() if name == study][after:]

        def studies(self):
            return list(dict.fromkeys(name for name, _ in self._lines()))

        @contextmanager
        def lock(self, study):
            with open(f"{self.path}.lock", "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield

        def close(self):
            pass
"""

STUDY = """
    name = "stranger"
    seed = 5
    trials = 200
    sampler = { use = "stranger", start = 0.2 }
    evaluator = { use = "stranger", optimum = 0.6 }
    store = "stranger.jsonl"
    stop = [{ use = "stranger", below = 1e-4 }]

    [space]
    x = { low = 0.0, high = 1.0, default = 0.1 }
"""

RUN = """
    import json, sys
    from pathlib import Path
    from hpt_core.config import make_study, read_study_file
    from hpt_core.plugins import default_plugins
    from hpt_core.verify import verify

    def main():
        study, run = make_study(read_study_file(Path("study.toml"), sys.argv[1:]), folder=Path("."))
        reason = study.run(trials=run.trials, workers=run.workers)
        found = verify(study.store, study.name, default_plugins())
        print(json.dumps({
            "reason": reason,
            "params": [t.params for t in study.trials],
            "sources": sorted({t.source for t in study.trials}),
            "best": study.best.value,
            "checked": found.checked,
            "differences": found.differences,
            "packages": study.history.provenance["packages"],
            "info": dict(study.trials[-1].info),
        }))

    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    info = site / "hpt_stranger-3.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hpt-stranger\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[hpt]\nstranger = hpt_stranger\n")
    (info / "top_level.txt").write_text("hpt_stranger\nstranger_parts\n")
    for name, source in {"site/hpt_stranger.py": PLUGIN, "site/stranger_parts.py": PARTS, "run.py": RUN}.items():
        (tmp_path / name).write_text(textwrap.dedent(source))
    (tmp_path / "study.toml").write_text(textwrap.dedent(STUDY))
    return tmp_path


def run(folder: Path, *overrides: str, **environment: str) -> tuple[list[str], Any, str]:
    ended = subprocess.run(
        [sys.executable, "run.py", *overrides],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "site"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    lines = ended.stdout.splitlines()
    return lines[:-1], json.loads(lines[-1]) if ended.returncode == 0 else None, ended.stderr


def test_a_stranger_can_do_all_that_we_can(folder: Path) -> None:
    told, found, err = run(folder)
    assert found is not None, err
    assert found["reason"].endswith("will do")
    assert told == [f"observed: {found['reason']}"]
    assert found["best"] < 1e-4
    assert found["params"][0] == {"x": 0.1}
    assert "halving" in found["sources"]
    assert "step" in found["info"]
    assert found["differences"] == []
    assert found["checked"] > len(found["params"])
    assert found["packages"]["hpt-stranger"] == "3.1"


def test_a_strangers_study_resumes_and_runs_in_workers(folder: Path) -> None:
    _, whole, err = run(folder, "store=whole.jsonl")
    assert whole is not None, err
    run(folder, "trials=4")
    _, resumed, err = run(folder)
    assert resumed is not None, err
    assert resumed["params"] == whole["params"]
    _, parallel, err = run(folder, "store=parallel.jsonl", "workers=2", "reproducible=true", "trials=8")
    assert parallel is not None, err
    assert (len(parallel["params"]), parallel["differences"]) == (8, [])


def test_without_the_plugin_it_says_what_is_missing(folder: Path) -> None:
    _, found, err = run(folder, HPT_DISABLE_PLUGINS="hpt-stranger")
    assert found is None
    for mistake in (
        "evaluator.use: There is no evaluator 'stranger'.",
        "sampler.use: There is no sampler 'stranger'.",
        "stop[0].use: There is no stopping rule 'stranger'.",
        "store: No store keeps 'stranger.jsonl'.",
        "The plugin stranger (hpt-stranger 3.1) is not in use: disabled by the user.",
    ):
        assert mistake in err
