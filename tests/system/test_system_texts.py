"""What people and exceptions may write comes back from every store as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Never

import pytest

from hpt_core import Params, Study, TrialContext
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.loading import load_history

STORES = [name for name in ("sqlite", "csv") if name in default_plugins().names("store")]
TEXTS = [
    *("'; DROP TABLE trials; --", '"quoted", with commas', "two\nlines\r\nor three\r", "tab\there", "nul\0inside"),
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\ufeffbom", "\u2028separator", "é漢字🙂", "\udcff lone surrogate"),
    *("NaN", "None", "", "{}", "[1]", "\\", "\\n", "${HOME}", "<script>alert(1)</script>", "x" * 5000),
]
NAMES = [
    *("'; DROP TABLE x", "a/b", "../up", "/etc/passwd", "..", ".", "CON", "%2e%2e", "..\\up", "a b", "=1+1", "é漢字🙂"),
    *('"', "a,b", "-", "--help", "#", "*", "x" * 200),
]


def location(folder: Path, store: str) -> str:
    return str(folder / f"study.{'db' if store == 'sqlite' else store}")


@pytest.mark.parametrize("store", STORES)
def test_messages_of_all_kinds_survive(tmp_path: Path, store: str) -> None:
    texts = iter(TEXTS)

    def fail(params: Any) -> Never:
        raise ValueError(next(texts))

    study = Study({"x": {"low": 0.0, "high": 1.0}}, sampler="random", store=location(tmp_path, store), seed=0)
    study.settings.max_failures = 99
    study.run(fail, trials=len(TEXTS))
    study.close()
    reader = default_plugins().make_store(location(tmp_path, store))
    history = load_history(reader)
    found = [t.failure.message for t in history.trials if t.failure]
    assert found == [f"ValueError: {text}"[:2000] if text else "ValueError" for text in TEXTS]
    reader.close()


@pytest.mark.parametrize("store", STORES)
def test_names_of_all_kinds_are_text_and_no_paths(tmp_path: Path, store: str) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    where = {"use": store, "path": str(inside / ("study.db" if store == "sqlite" else "studies"))}
    folders: list[Path] = []

    def evaluate(params: Params, trial: TrialContext) -> float:
        if trial.workdir is not None:
            folders.append(trial.workdir.resolve())
        return float(params[trial.objectives[0]])

    for name in NAMES:
        space = {"c": ["=1+1", "é", '"x"', "a\nb", None, True, 2, 1.5], name: [1, 2]}
        study = Study(space, objective={name: "maximize"}, sampler="random", name=name, store=where, seed=0)
        study.run(evaluate, trials=2)
        study.close()
    reader = default_plugins().make_store(where)
    assert set(reader.studies()) == set(NAMES)
    for name in NAMES:
        history = load_history(reader, name)
        assert [t.value for t in history.trials] == [t.params[name] for t in history.trials]
    reader.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert all(folder.is_relative_to(inside.resolve()) for folder in folders)
    assert len(set(folders)) == len(folders) == 2 * len(NAMES)
