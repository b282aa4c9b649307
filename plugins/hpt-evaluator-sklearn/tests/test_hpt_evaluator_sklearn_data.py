"""Loading data from files, functions and objects, and the messages if that fails."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import Bunch

from hpt_core import TrialContext, UsageError
from hpt_evaluator_sklearn.data.data import Data
from hpt_evaluator_sklearn.data.loading import load_data
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

X, y = load_iris(return_X_y=True)
NAMES = np.array(["red", "green", "blue"], dtype=object)
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"]).assign(colour=NAMES[y], site=np.arange(150) % 5)
FRAME["weight"] = np.linspace(0.5, 1.5, 150)


class Marked:
    """Creates a folder when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def pair() -> Any:
    return X, y


def triple(n: int = 150) -> Any:
    return X[:n], y[:n], np.arange(n) % 3


def bunch() -> Any:
    return Bunch(data=X, target=y)


def frame() -> pd.DataFrame:
    return FRAME


def numbered() -> pd.DataFrame:
    return pd.DataFrame(np.column_stack([X, y, np.arange(150) % 5]))


def polars_frame(known: int = 150) -> Any:
    import polars as pl

    frame = pl.DataFrame({name: FRAME[name].to_list() for name in FRAME.columns})
    return frame.with_columns(colour=pl.Series([*FRAME["colour"][:known], *[None] * (150 - known)]))


def failing() -> None:
    raise KeyError("no such table")


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("source", "rows", "grouped"),
    [
        ("sklearn.datasets:load_iris", 150, False),
        ({"use": "sklearn.datasets:load_digits", "n_class": 2}, 360, False),
        (f"{__name__}:pair", 150, False),
        (pair, 150, False),
        (triple, 150, True),
        ({"use": f"{__name__}:triple", "n": 30}, 30, True),
        (bunch, 150, False),
        (bunch(), 150, False),
        ((X, y), 150, False),
        ({"use": f"{__name__}:frame", "target": "colour"}, 150, False),
    ],
)
def test_data_is_loaded_from_functions_and_objects(source: Any, rows: int, grouped: bool) -> None:
    data = load_data(source)
    assert data.rows == len(data.y) == rows
    assert (data.groups is not None) is grouped


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet"])
def test_a_table_file_is_read_with_named_columns(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        FRAME.to_parquet(path)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
    source = {"file": str(path), "target": "colour"}
    data = load_data(source, groups="site", fit_params={"sample_weight": "weight", "other": "text"})
    assert list(data.X.columns) == ["a", "b", "c", "d"]
    assert (data.X.to_numpy() == X).all()
    assert list(data.y) == list(FRAME["colour"])
    assert (data.groups == FRAME["site"]).all()
    assert np.allclose(data.fit_params["sample_weight"], FRAME["weight"], rtol=0, atol=1e-12)
    assert data.fit_params["other"] == "text"


def test_the_path_of_a_file_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    assert len(load_data({"file": "~/t.csv", "target": "colour"}).X) == 150


@pytest.mark.parametrize("groups", [5, True, 1.5])
def test_groups_that_are_not_a_column_are_refused(groups: Any) -> None:
    with pytest.raises(UsageError, match=r"evaluator\.groups: Must be a column or have a value for each row"):
        load_data(pair, groups=groups)


def test_targets_in_addition_to_a_source_are_refused() -> None:
    with pytest.raises(UsageError, match="Give either `data` or the arrays `X` and `y`"):
        load_data(pair, y=y)


def test_several_target_columns_make_a_multioutput_target(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    data = load_data({"file": str(tmp_path / "t.csv"), "target": ["c", "d"]})
    assert [*data.X.columns] == [name for name in FRAME.columns if name not in ("c", "d")]
    assert np.allclose(data.y, X[:, 2:], rtol=0, atol=1e-12)
    with pytest.raises(UsageError, match=r"evaluator\.data\.target: There is no column 'e' in t\.csv"):
        load_data({"file": str(tmp_path / "t.csv"), "target": ["c", "e"]})
    with pytest.raises(UsageError, match=r"evaluator\.data\.target: Name the target column"):
        load_data({"file": str(tmp_path / "t.csv"), "target": []})


def test_columns_for_groups_and_weights_give_the_scores_of_cross_val_score(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "t.parquet")
    tree = DecisionTreeClassifier(random_state=0)
    expected = cross_val_score(
        tree,
        FRAME[["a", "b", "c", "d"]],
        FRAME["colour"],
        groups=FRAME["site"],
        cv=GroupKFold(3),
        params={"sample_weight": FRAME["weight"]},
    )
    evaluator = SklearnEvaluator(
        estimator=tree,
        data={"file": str(tmp_path / "t.parquet"), "target": "colour"},
        groups="site",
        fit_params={"sample_weight": "weight"},
        cv=GroupKFold(3),
    )
    assert [r.value for r in evaluator.evaluate(TrialContext(params={}))] == expected.tolist()


@pytest.mark.parametrize(
    ("arrays", "target"),
    [({"X": X, "label": y}, "label"), ({"features": X, "y": y}, None), ({"X": X, "y": y}, None)],
)
def test_arrays_of_an_npz_file_are_found_by_name(tmp_path: Path, arrays: dict[str, Any], target: str | None) -> None:
    np.savez(tmp_path / "t.npz", **arrays, site=np.arange(150))
    source = {"file": str(tmp_path / "t.npz")} | ({"target": target} if target else {})
    data = load_data(source, groups="site")
    assert (data.X == X).all()
    assert (data.y == y).all()
    assert (data.groups == np.arange(150)).all()


def test_an_npz_file_with_a_pickle_is_refused_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("t.npz", X=X, y=np.array([Marked()] * 150, dtype=object))
    with pytest.raises(UsageError) as caught:
        load_data({"file": "t.npz"})
    assert "cannot be read as NPZ without pickle" in str(caught.value)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "evaluator.data: Give either `data` or the arrays `X` and `y`"),
        ("iris.csv", "Must be an import path 'module:function'. Got 'iris.csv'. Did you mean { file ="),
        ("sklearn.datasets:load_irs", "has no 'load_irs'. Did you mean 'load_iris'?"),
        ({"target": "y"}, 'The table needs one of `file = "x.csv"` and `use ='),
        ({"use": "sklearn.datasets:load_digits", "n_clas": 2}, "evaluator.data.n_clas: load_digits has no"),
        ({"use": 3}, "evaluator.data.use: Must be an import path 'module:name'. Got 3."),
        ({"file": 3}, "evaluator.data.file: Must be the path of a file. Got 3."),
        (nothing, "nothing must give (X, y), (X, y, groups), a Bunch"),
        (frame, "evaluator.data.target: Name the target column, such as target = "),
        ({"use": f"{__name__}:frame", "target": "color"}, "no column 'color' in tests"),
        (failing, "evaluator.data: failing failed: KeyError: 'no such table'."),
        (partial(failing), "failed: KeyError: 'no such table'."),
        ((X, y[:10]), "X has 150 rows but y has 10."),
        ((X[:0], y[:0]), "The data has no rows."),
        ({"file": "no.csv", "target": "y"}, "evaluator.data.file: There is no file 'no.csv'"),
        (
            {"file": "no.csv", "taget": "y"},
            "A data file has only `file` and `target`. Did you mean 'target'?",
        ),
    ],
)
def test_data_that_cannot_be_loaded_is_refused_with_path_and_remedy(source: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_data(source)
    assert message.replace("tests", __name__) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("a,b\n1,2\n", "t.csv", "There is no column 'y' in t.csv. Columns: a, b."),
        ("a,Y\n1,2\n", "t.csv", "There is no column 'y' in t.csv."),
        ("a,y\n1,\n2,3\n", "t.csv", "The target column 'y' of t.csv has 1 missing values."),
        ("", "t.csv", "cannot be read as CSV"),
        ("a", "t.parquet", "cannot be read as PARQUET"),
        ("a", "t.npz", "cannot be read as NPZ"),
        ("a", "t.xlsx", "Must end in .csv, .tsv, .csv.gz, .parquet or .npz. Got 't.xlsx'."),
    ],
)
def test_an_unsuitable_file_is_refused(tmp_path: Path, content: str, name: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as caught:
        load_data({"file": str(tmp_path / name), "target": "y"})
    assert message in str(caught.value)


def test_a_polars_frame_works_like_a_pandas_frame() -> None:
    source = {"use": f"{__name__}:polars_frame", "target": "colour"}
    data = load_data(source, groups="site", fit_params={"sample_weight": "weight"})
    assert data.X.columns == ["a", "b", "c", "d"]
    assert np.array_equal(data.X, X)
    assert list(data.y) == list(FRAME["colour"])
    assert np.array_equal(data.groups, FRAME["site"])
    assert np.array_equal(data.fit_params["sample_weight"], FRAME["weight"])
    with pytest.raises(UsageError, match=r"'colour' of .*polars_frame has 149 missing"):
        load_data({**source, "known": 1})


@pytest.mark.parametrize("target", [4, "4"])
def test_column_names_may_be_numbers(target: Any) -> None:
    data = load_data({"use": f"{__name__}:numbered", "target": target}, groups="5")
    assert np.array_equal(data.X, X)
    assert np.array_equal(data.y, y)
    assert np.array_equal(data.groups, np.arange(150) % 5)
    with pytest.raises(UsageError, match="no column '7'"):
        load_data({"use": f"{__name__}:numbered", "target": 7})


def test_a_missing_groups_column_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        load_data({"use": f"{__name__}:frame", "target": "colour"}, groups="sites")
    assert str(caught.value) == "evaluator.groups: There is no column 'sites' in the data. Did you mean 'site'?"


def test_take_selects_rows_of_everything_that_has_rows() -> None:
    data = Data(X, y, np.arange(150), {"w": np.arange(150.0), "flag": True, "text": "a" * 150})
    part = data.take(np.array([3, 5]))
    assert (X[[3, 5]] == part.X).all()
    assert part.groups.tolist() == [3, 5]
    assert part.fit_params["w"].tolist() == [3.0, 5.0]
    assert (part.fit_params["flag"], part.fit_params["text"]) == (True, "a" * 150)


def test_data_is_loaded_once_for_all_trials() -> None:
    calls = []

    def load() -> Any:
        calls.append(1)
        return load_diabetes(return_X_y=True)

    evaluator = SklearnEvaluator(estimator="sklearn.linear_model:Ridge", data=load)
    for alpha in (0.1, 1.0):
        list(evaluator.evaluate(TrialContext(params={"alpha": alpha})))
    assert len(calls) == 1
