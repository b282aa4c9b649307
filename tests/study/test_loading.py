"""A stored study can be read without its space and its code, and reading does not change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpt_core import Float, Params, StoreError, Study, UsageError, hookimpl, load_history
from hpt_core.builtin.memory import MemoryStore
from hpt_core.components import location_of
from hpt_core.plugins.plugins import Plugins, default_plugins
from hpt_core.testing.histories import make_records

STORES = [name for name in ("sqlite", "csv") if name in default_plugins().names("store")]


def parabola(params: Params) -> float:
    return (float(params["x"]) - 0.25) ** 2


def run(store: Any, name: str = "study", **more: Any) -> Study:
    study = Study({"x": Float(0, 1)}, name=name, store=store, sampler="random", seed=1, **more)
    study.run(parabola, trials=5)
    return study


@pytest.mark.parametrize("kind", STORES)
def test_loading_gives_the_history_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    study = run(f"{kind}:///{tmp_path / 'kept'}")
    before = [(trial.params, trial.values, trial.state) for trial in study.trials]
    records = study.history.position
    study.close()
    history = load_history(f"{kind}:///{tmp_path / 'kept'}", "study")
    assert [(trial.params, trial.values, trial.state) for trial in history.trials] == before
    assert history.best is not None
    assert history.best.value == min(parabola(params) for params, _, _ in before)
    assert history.space.names == ("x",)
    assert history.position == load_history(f"{kind}:///{tmp_path / 'kept'}").position == records


@pytest.mark.parametrize("kind", STORES)
def test_the_path_of_a_store_may_begin_with_the_home_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run(f"{kind}:///~/kept").close()
    assert (tmp_path / "kept").exists()
    assert len(load_history({"use": kind, "path": "~/kept"}).trials) == 5


def test_a_definition_that_names_missing_code_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text("def f(params):\n    return params['x']\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        study = Study({"x": Float(0, 1)}, store=f"sqlite:///{tmp_path / 'a.db'}", sampler="random", seed=0)
        study.run({"use": "function", "call": "gone:f"}, trials=2)
        study.close()
    (tmp_path / "gone.py").write_text("raise AssertionError('this must not be imported')\n", encoding="utf-8")
    assert len(load_history(tmp_path / "a.db").trials) == 2


def test_a_store_passed_open_stays_open(tmp_path: Path) -> None:
    store = default_plugins().make_store(f"sqlite:///{tmp_path / 'a.db'}")
    run(store)
    assert len(load_history(store).trials) == len(load_history(store, "study").trials) == 5
    run(store, "another")
    how = r"name one with --study in the shell or name=\.\.\. in Python"
    with pytest.raises(UsageError, match=f"There are 2 studies in .*; {how}: study, another"):
        load_history(store)


def test_a_store_opened_to_read_is_closed_even_if_the_study_is_missing() -> None:
    closed = []

    class Kept(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.append("s", make_records({"x": Float(0, 1)}, [({"x": 0.5}, 1.0)]))

        def close(self) -> None:
            closed.append(self)

    class Plugin:
        @hookimpl
        def hpt_stores(self) -> dict[str, type]:
            return {"kept": Kept}

    plugins = Plugins(discover=False)
    plugins.register(Plugin())
    assert len(load_history("kept", plugins=plugins).trials) == 1
    assert len(closed) == 1
    with pytest.raises(StoreError, match="There is no study 'other'"):
        load_history("kept", "other", plugins=plugins)
    assert len(closed) == 2


def test_a_missing_store_or_study_is_reported_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"There is no .*none\.db: no study was stored there yet\. Select"):
        load_history(tmp_path / "none.db", "study")
    assert not (tmp_path / "none.db").exists()
    run(f"sqlite:///{tmp_path / 'a.db'}").close()
    with pytest.raises(StoreError, match=r"There is no study 'stdy' in .* Did you mean 'study'"):
        load_history(tmp_path / "a.db", "stdy")


def test_a_store_without_a_location_is_named_by_its_path() -> None:
    class Placed:
        path = "runs.placed"

    class Bare:
        pass

    stores: list[Any] = [MemoryStore(), Placed(), Bare()]
    assert [location_of(store) for store in stores] == ["memory", "runs.placed", "Bare"]
