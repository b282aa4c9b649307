"""What holds for all examples, and the one that needs no torch beside digits.toml: boosting."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from hpt_core.study.config import make_study, read_study_file

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("**/*.toml"))


def test_readme_and_file_say_how_to_run_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(FILES) == 8
    for path in FILES:
        command = f"hpt run examples/{path.relative_to(EXAMPLES).as_posix()}"
        assert command in readme
        assert command in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_is_named_after_its_file_and_has_its_own_store(path: Path) -> None:
    data = read_study_file(path)
    assert data["name"] == path.stem
    assert data["store"] == {"use": "sqlite", "path": f"{path.stem}.db"}
    assert data["seed"] == 0


def test_a_download_that_fails_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(SystemExit, match="pip could not download the data"):
        runpy.run_path(str(EXAMPLES / "recommender" / "download_movielens.py"), run_name="__main__")


def by_hand(params: dict[str, Any]) -> Any:
    """The pipeline of a configuration, without hpt."""
    if params["model"] == "boosting":
        model = HistGradientBoostingClassifier(
            max_iter=60, early_stopping=False, random_state=0, learning_rate=params["rate"],
            max_leaf_nodes=params["leaves"], l2_regularization=params["l2"],
        )  # fmt: skip
    else:
        forest = RandomForestClassifier if params["model"] == "forest" else ExtraTreesClassifier
        model = forest(
            n_estimators=100, random_state=0, max_depth=params["depth"], max_features=params["features"],
            min_samples_leaf=params["leaf"],
        )  # fmt: skip
    return make_pipeline(SelectKBest(k=params["select"]), model)


def test_boosting_scores_what_scikit_learn_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = read_study_file(EXAMPLES / "boosting" / "boosting.toml", ["evaluator.holdout=0", "evaluator.compare=false"])
    study, run = make_study({**data, "store": "memory", "sampler": "random"}, folder=EXAMPLES / "boosting")
    assert run.trials == 40
    X, y = load_breast_cancer(return_X_y=True)
    study.run(trials=6)
    seen = set()
    for trial in study.trials:
        model = trial.params["model"]
        assert ("rate" in trial.params) == (model == "boosting") == ("depth" not in trial.params)
        if model not in seen:
            scores = cross_val_score(by_hand(trial.params), X, y, cv=5, scoring="neg_log_loss")
            assert [report.value for report in trial.reports] == scores.tolist()
        seen.add(model)
    assert seen == {"boosting", "forest", "extra"}
