"""Warm starts from an earlier study, and the shell on studies with constraints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import Categorical, Float, Int, Study, UsageError
from hpt_core.builtin.memory import MemoryStore
from hpt_core.cli.group import hpt
from hpt_core.history.history import History
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify

SPACE = {"x": Float(0, 1), "k": Int(1, 3, default=2)}


def study(space: Any = None, **settings: Any) -> Study:
    return Study(space or SPACE, sampler="random", seed=0, **settings)


def earlier(space: Any, *results: tuple[dict[str, Any], Any], **settings: Any) -> Study:
    found = study(space, name="earlier", **settings)
    for params, result in results:
        found.add_trial(params, result)
    return found


LINE = [({"x": i / 10, "k": 1}, abs(i - 4)) for i in range(8)]


def test_the_best_are_tried_first_in_order_and_recorded_as_warm_start() -> None:
    made = study()
    found = made.enqueue_from(earlier(SPACE, *LINE), top=3)
    assert [trial.params["x"] for trial in found.trials] == [0.4, 0.3, 0.5]
    assert [trial.source for trial in found.trials] == ["warm-start"] * 3
    assert [trial.info for trial in found.trials] == [{"study": "earlier", "trial": n} for n in (4, 3, 5)]
    assert [made.ask().params["x"] for _ in range(4)][:3] == [0.4, 0.3, 0.5]
    assert (found.dropped, found.filled, found.passed_over) == ([], [], [])
    assert str(found) == "3 configurations of the earlier study are tried first."
    nothing = study().enqueue_from(earlier(SPACE))
    assert str(nothing) == "it has no complete trial."
    other = study().enqueue_from(earlier({"x": Float(7, 9)}, ({"x": 8.0}, 0.5)))
    assert str(other).startswith("none of its configurations fits; trial 0 does not fit: ")


def test_a_list_as_the_value_of_a_parameter_that_others_depend_on_is_passed_over() -> None:
    old = earlier({"layers": [[64], 1]}, ({"layers": [64]}, 0.0), ({"layers": 1}, 1.0))
    found = study({"layers": [1, 2], "drop": Float(0, 1, when={"layers": 1})}).enqueue_from(old)
    assert [trial.params for trial in found.trials] == [{"layers": 1, "drop": 0.5}]
    assert found.passed_over == ["trial 0 does not fit: layers: must be one of 1, 2. Got [64]"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), max_size=12), st.integers(1, 6))
def test_they_are_the_best_distinct_ones(results: list[tuple[int, int]], top: int) -> None:
    found = study().enqueue_from(earlier({"x": Int(0, 5)}, *[({"x": x}, loss) for x, loss in results]), top=top)
    ranked = dict.fromkeys(x for _, _, x in sorted((loss, i, x) for i, (x, loss) in enumerate(results)))
    inside = [x for x in ranked if x <= 1]  # a float between 0 and 1 here
    assert [trial.params["x"] for trial in found.trials] == inside[:top]


def test_the_direction_of_the_objective_counts() -> None:
    old = earlier(SPACE, *LINE, objective="maximize")
    assert [t.params["x"] for t in study().enqueue_from(old, top=2).trials] == [0.0, 0.1]


def test_configurations_are_fitted_to_the_space() -> None:
    old = earlier(
        {"x": Float(0, 5), "gone": Float(0, 1), "kind": Categorical("a", "b")},
        ({"x": 3.0, "gone": 0.5, "kind": "a"}, 0.0),
        ({"x": 0.5, "gone": 0.5, "kind": "a"}, 1.0),
        ({"x": 0.5, "gone": 0.9, "kind": "a"}, 2.0),
        ({"x": 0.7, "gone": 0.9, "kind": "b"}, 3.0),
    )
    new = {
        "x": Float(0, 1),
        "kind": Categorical("a", "b"),
        "depth": Int(1, 9, default=7, when={"kind": "b"}),
        "lr": Float(0, 1),
    }
    found = study(new).enqueue_from(old)
    assert [trial.params for trial in found.trials] == [
        {"x": 0.5, "kind": "a", "lr": 0.5},
        {"x": 0.7, "kind": "b", "depth": 7, "lr": 0.5},
    ]
    assert (found.dropped, found.filled) == (["gone"], ["lr", "depth"])
    assert [text.partition(":")[0] for text in found.passed_over] == ["trial 0 does not fit"]
    assert "dropped: gone; set to their defaults: lr, depth; trial 0 does not fit: x: " in str(found)


def test_the_summary_lists_three_of_many_configurations_that_do_not_fit() -> None:
    found = study({"x": Float(5, 6)}).enqueue_from(earlier(SPACE, *LINE))
    assert len(found.passed_over) == len(LINE) > 4
    assert str(found).count("does not fit") == 3
    assert str(found).endswith(f"; {len(LINE) - 3} more do not fit.")


def test_the_earlier_study_is_only_read() -> None:
    store = MemoryStore()
    for params, loss in LINE:
        study(name="earlier", store=store).add_trial(params, loss)
    before = list(store.read("earlier"))
    found = study().enqueue_from(study(name="earlier", store=store), top=2)
    assert [trial.info for trial in found.trials] == [{"study": "earlier", "trial": n} for n in (4, 3)]
    assert str(study().enqueue_from(study(name="never", store=store))) == "it has no complete trial."
    assert (list(store.studies()), list(store.read("earlier"))) == (["earlier"], before)


def test_a_second_warm_start_adds_nothing() -> None:
    old, made = earlier(SPACE, *LINE), study()
    first = [trial.number for trial in made.enqueue_from(old, top=3).trials]
    assert [trial.number for trial in made.enqueue_from(old, top=3).trials] == first == [0, 1, 2]
    assert len(made.trials) == 3


def test_failed_stopped_and_invalid_trials_are_left_out() -> None:
    old = earlier(SPACE, *LINE)
    old.invalidate(4, "wrong")
    old.tell(old.ask(), ValueError("no"))
    assert [t.params["x"] for t in study().enqueue_from(old, top=2).trials] == [0.3, 0.5]
    assert study().enqueue_from(earlier(SPACE)).trials == []


def test_with_several_objectives_the_front_is_taken_evenly() -> None:
    objective = {"a": "minimize", "b": "minimize"}
    results = [({"x": i / 10}, (i, 10 - i)) for i in (3, 0, 1, 2, 4)]
    old = earlier(SPACE, *results, ({"x": 0.9}, (9, 9)), objective=objective)
    assert [t.params["x"] for t in study().enqueue_from(old, top=3).trials] == [0.0, 0.2, 0.4]
    assert [t.params["x"] for t in study().enqueue_from(old, top=9).trials] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_the_history_of_a_stored_study_is_accepted() -> None:
    old = earlier(SPACE, *LINE)
    history = History()
    history.extend(old.store.read("earlier"))
    assert [t.params["x"] for t in study().enqueue_from(history, top=1).trials] == [0.4]


@pytest.mark.parametrize("earlier", ["digits", "sqlite:///hpt.db", None, {"x": 1}])
def test_anything_but_a_study_is_refused(earlier: Any) -> None:
    with pytest.raises(UsageError, match="The earlier study must be a Study, or a history from load_history"):
        Study({"x": [1, 2]}, sampler="random").enqueue_from(earlier)


def test_a_warm_started_study_needs_only_its_own_log(tmp_path: Path) -> None:
    made = study(store=str(tmp_path / "h.db"), objective={"loss": "minimize"})
    made.enqueue_from(earlier(SPACE, *LINE), top=3)
    made.run(lambda params: params["x"], trials=6)
    assert [trial.source for trial in made.trials] == ["warm-start"] * 3 + ["sampler"] * 3
    result = verify(made.store, made.name, default_plugins())
    assert (result.checked, result.differences) == (3, [])


@pytest.mark.parametrize("top", [0, -1, 1.5, True])
def test_top_is_a_count(top: Any) -> None:
    with pytest.raises(UsageError, match="top"):
        study().enqueue_from(earlier(SPACE, *LINE), top=top)


# --- from the shell ---------------------------------------------------------------------------------


FILE = """
objective = {{ loss = "minimize" }}
constraints = {{ ms = "<= 50" }}
seed = 0
trials = 8
sampler = {{ use = "random" }}

[space]
x = {{ low = 0.0, high = 1.0 }}
{more}

[evaluator]
use = "function"
call = "warm_start_train:train"
"""
TRAIN = "def train(params):\n    return {'loss': 1 - params['x'], 'ms': 100 * params['x']}\n"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("HPT_STORE", raising=False)
    (tmp_path / "warm_start_train.py").write_text(TRAIN)
    (tmp_path / "old.toml").write_text(FILE.format(more="z = { low = 1, high = 3 }"))
    (tmp_path / "new.toml").write_text(FILE.format(more=""))
    return lambda *args: CliRunner().invoke(hpt, list(args), prog_name="hpt")


@pytest.mark.parametrize("place", ["", "@old.db"])
def test_the_shell_warm_starts_and_says_what_was_dropped(cli: Any, place: str) -> None:
    stores = ("store=old.db", "store=new.db") if place else ("store=hpt.db", "store=hpt.db")
    assert cli("run", "old.toml", stores[0]).exit_code == 0
    run = cli("run", "new.toml", stores[1], "--warm-start", f"old{place}")
    assert run.exit_code == 0, run.output
    assert "Warm start from 'old': 5 configurations of the earlier study are tried first; dropped: z." in run.stderr
    rows = json.loads(cli("trials", "--json", "--store", stores[1][6:], "--study", "new").stdout)["trials"]
    assert [row["source"] for row in rows] == ["warm-start"] * 5 + ["sampler"] * 3
    old = json.loads(cli("trials", "--json", "--store", stores[0][6:], "--study", "old").stdout)["trials"]
    allowed = sorted((row for row in old if row["feasible"]), key=lambda row: -row["params.x"])
    assert rows[0]["params.x"] == allowed[0]["params.x"]


def test_a_missing_earlier_study_is_reported_before_anything_is_created(cli: Any, tmp_path: Path) -> None:
    assert cli("run", "old.toml", "store=hpt.db").exit_code == 0
    unset = cli("run", "new.toml", "store=hpt.db", "--warm-start", "")  # a variable that is not set
    assert (unset.exit_code, "There is no study ''" in unset.stderr) == (4, True)
    run = cli("run", "new.toml", "store=hpt.db", "--warm-start", "odl")
    assert run.exit_code == 4
    assert "There is no study 'odl'" in run.stderr
    assert "Did you mean 'old'?" in run.stderr
    assert [found["study"] for found in json.loads(cli("studies", "--json").stdout)["studies"]] == ["old"]
    assert cli("run", "new.toml", "store=new.db", "--warm-start", "old@nowhere.db").exit_code == 4
    assert not (tmp_path / "new.db").exists()


def test_the_shell_names_the_least_violated_trial_if_none_is_feasible(cli: Any) -> None:
    run = cli("run", "new.toml", 'constraints.ms="<= -1"')
    assert run.exit_code == 1
    assert "None of the 8 complete trials satisfies the constraints; trial " in run.stderr
    assert "No trial of the study 'new' satisfies the constraints." in run.stderr
    assert not any(line.startswith("best") for line in run.stdout.splitlines())
    best = cli("best")
    assert (best.exit_code, best.stdout) == (1, "")
    assert "None of the 8 complete trials satisfies the constraints" in best.stderr
    shown = " ".join(cli("show").stdout.split())
    assert "constraints ms <= -1" in shown
    assert "best None of the 8 complete trials satisfies the constraints" in shown
    assert json.loads(cli("show", "--json").stdout)["best"] is None


def test_the_shell_shows_the_constraints_of_the_best(cli: Any) -> None:
    assert "constraints   ms <= 50" in cli("check", "new.toml").stdout
    run = cli("run", "new.toml")
    assert "best loss=" in run.stdout
    assert "(<= 50)" in run.stdout
    assert "(not <= 50)" in run.stderr
    rows = json.loads(cli("trials", "--json").stdout)["trials"]
    (best,) = json.loads(cli("best", "--json").stdout)["trials"]
    assert best["loss"] == min(row["loss"] for row in rows if row["metrics.ms"] <= 50)
    assert best["loss"] > min(row["loss"] for row in rows)
