"""Load the data of a study from arrays, a function, or a file with a target column."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from sklearn.utils import indexable

from hpt_core import Mistake, UsageError, import_object
from hpt_evaluator_sklearn.data.data import Data, row_count
from hpt_evaluator_sklearn.estimators.specifications import (
    call_or_clone,
    did_you_mean,
    import_with_hint,
    parameters_of,
)

__all__ = ["load_data"]

_PATH = "evaluator.data"


def load_data(
    source: Any = None,
    *,
    X: Any = None,
    y: Any = None,
    groups: Any = None,
    fit_params: Mapping[str, Any] | None = None,
) -> Data:
    """Load the data that an evaluator's options describe.

    Args:
        source: None if ``X`` is given. Otherwise a function (object or ``"module:function"``) that returns
            ``(X, y)``, ``(X, y, groups)``, a `sklearn.utils.Bunch`, or a data frame; or a table: either
            ``{"use": "module:function", ...}`` with arguments of the function, or ``{"file": path, "target": column}``
            for a CSV, TSV, Parquet or NPZ file. ``target`` may be a list of columns for several outputs, except for
            NPZ. A function with a parameter ``return_X_y`` is called with True for it.
        X: Features, instead of a source.
        y: Targets of ``X``.
        groups: Labels by row, or the name of a column.
        fit_params: Arguments of ``fit``; a string that names a column is replaced by that column.

    Raises:
        UsageError: If the options do not describe usable data.
    """
    if (source is None) == (X is None) or (source is not None and y is not None):
        raise UsageError(Mistake(_PATH, "Give either `data` or the arrays `X` and `y`."))
    data = Data(X, y) if source is None else _from_source(source)
    wanted = dict(fit_params or {})
    if groups is not None:
        wanted["groups"] = groups
    data = _with_columns(data, wanted)
    _check_lengths(data)
    X_rows, y_rows = indexable(data.X, data.y)  # converts sparse formats that cannot be indexed by row
    return attrs.evolve(data, X=X_rows, y=y_rows)


def _from_source(source: Any) -> Data:
    if isinstance(source, Mapping) and "data" not in source:
        options = dict(source)
        if ("file" in options) == ("use" in options):
            raise UsageError(Mistake(_PATH, 'The table needs one of `file = "x.csv"` and `use = "module:function"`.'))
        target = options.pop("target", None)
        if "file" in options:
            return _from_file(options, target)
        function, name = import_with_hint(options.pop("use"), f"{_PATH}.use"), source["use"]
        return _from_result(_call(function, options), target, name)
    if isinstance(source, str):
        if ":" not in source:
            hint = f' Did you mean {{ file = "{source}", target = "..." }}?' if Path(source).suffix else ""
            raise UsageError(Mistake(_PATH, f"Must be an import path 'module:function'. Got {source!r}.{hint}"))
        return _from_result(_call(import_object(source, _PATH), {}), None, source)
    if callable(source):
        return _from_result(_call(source, {}), None, getattr(source, "__name__", repr(source)))
    return _from_result(source, None, "`data`")


def _call(function: Any, options: dict[str, Any]) -> Any:
    if "return_X_y" in (parameters_of(function) or ()):
        options = {"return_X_y": True, **options}
    return call_or_clone(function, options, _PATH, failed="failed")


def _from_result(result: Any, target: Any, name: str) -> Data:
    """Make data from the return value of a function."""
    if isinstance(result, tuple) and len(result) in (2, 3):
        return Data(*result)
    if isinstance(result, Mapping) and "data" in result and "target" in result:
        return Data(result["data"], result["target"], result.get("groups"))
    if hasattr(result, "columns") and hasattr(result, "to_numpy"):
        return _from_frame(result, target, name)
    msg = f"{name} must give (X, y), (X, y, groups), a Bunch with data and target, or a data frame."
    raise UsageError(Mistake(_PATH, f"{msg} Got {type(result).__name__}."))


def _from_frame(frame: Any, target: Any, name: str) -> Data:
    columns = _columns(frame)
    if target in (None, []):
        msg = f"Name the target column, such as target = {[*columns][-1]!r}. Columns: {_listing([*columns])}."
        raise UsageError(Mistake(f"{_PATH}.target", msg.replace("'", '"')))
    targets = [columns[known] for known in _known_columns(target, columns, name)]
    for column in targets:
        y = frame[column]
        missing = int((y.is_null() if hasattr(y, "is_null") else y.isna()).sum())
        if missing:
            msg = f"The target column {str(column)!r} of {name} has {missing} missing values."
            raise UsageError(Mistake(f"{_PATH}.target", msg))
    y = frame[targets if isinstance(target, (list, tuple)) else targets[0]]
    return Data(_without(frame, targets), y.to_numpy())


def _known_columns(target: Any, columns: Mapping[str, Any], name: str) -> list[str]:
    """The names of the target columns as text, after checking that they exist."""
    names = [str(one) for one in (target if isinstance(target, (list, tuple)) else [target])]
    for one in names:
        if one not in columns:
            msg = f"There is no column {one!r} in {name}.{did_you_mean(one, columns)} Columns: {_listing([*columns])}."
            raise UsageError(Mistake(f"{_PATH}.target", msg))
    return names


def _without(frame: Any, names: list[Any]) -> Any:
    """A pandas or polars data frame without some of its columns."""
    return frame.drop(columns=names) if hasattr(frame, "iloc") else frame.drop(names)


def _columns(frame: Any) -> dict[str, Any]:
    """Name of each column as text, as options spell it -> its real name; empty if this is not a data frame."""
    return {str(column): column for column in getattr(frame, "columns", ())}


def _listing(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")


def _from_file(options: dict[str, Any], target: Any) -> Data:
    file = options.pop("file")
    if not isinstance(file, (str, Path)):
        raise UsageError(Mistake(f"{_PATH}.file", f"Must be the path of a file. Got {file!r:.80}."))
    path = Path(os.path.expanduser(file))  # noqa: PTH111 - Path raises for an unknown user
    if options:
        key = next(iter(options))
        hint = did_you_mean(key, ["file", "target"])
        raise UsageError(Mistake(f"{_PATH}.{key}", f"A data file has only `file` and `target`.{hint}"))
    if not os.path.isfile(path):  # noqa: PTH113 - Path raises for a long name
        raise UsageError(Mistake(f"{_PATH}.file", f"There is no file '{path}' (in '{Path.cwd()}')."))
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if kind == "npz":
        return _from_npz(path, target)
    if kind not in ("csv", "tsv", "parquet"):
        msg = f"Must end in .csv, .tsv, .csv.gz, .parquet or .npz. Got '{path.name}'."
        raise UsageError(Mistake(f"{_PATH}.file", msg))
    return _from_frame(_read_frame(path, kind), target, path.name)


def _read_frame(path: Path, kind: str) -> Any:
    try:
        import pandas as pd

        if kind == "parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep="\t" if kind == "tsv" else ",")
    except ImportError as err:
        msg = f"Reading '{path.name}' needs pandas{' and pyarrow' if kind == 'parquet' else ''}: {err}."
        hint = " Run pip install 'hpt-evaluator-sklearn[files]' to get them."
        raise UsageError(Mistake(f"{_PATH}.file", msg + hint)) from err
    except (OSError, ValueError) as err:  # pandas and pyarrow derive their own errors from these
        msg = f"'{path}' cannot be read as {kind.upper()}: {err}."
        raise UsageError(Mistake(f"{_PATH}.file", msg.replace("..", "."))) from err


def _from_npz(path: Path, target: Any) -> Data:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as err:
        msg = f"'{path}' cannot be read as NPZ without pickle: {err}"
        raise UsageError(Mistake(f"{_PATH}.file", msg)) from err
    target = "y" if target is None else str(target)
    names = list(arrays)
    if target not in arrays:
        msg = f"There is no array {target!r} in {path.name}.{did_you_mean(target, names)} Arrays: {_listing(names)}."
        raise UsageError(Mistake(f"{_PATH}.target", msg))
    y = arrays.pop(target)
    if "X" in arrays:
        return _NamedData(arrays.pop("X"), y, columns=arrays)
    tables = [name for name, array in arrays.items() if array.ndim >= 2]
    if len(tables) != 1:
        msg = f"{path.name} needs an array 'X', or one array of two dimensions. Arrays: {_listing(names)}."
        raise UsageError(Mistake(f"{_PATH}.file", msg))
    return _NamedData(arrays.pop(tables[0]), y, columns=arrays)


@attrs.frozen(eq=False)
class _NamedData(Data):
    """Data with further arrays, to which groups and fit arguments may refer by name."""

    columns: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)


def _with_columns(data: Data, wanted: dict[str, Any]) -> Data:
    """Set groups and fit arguments; columns named by them are removed from X."""
    X = data.X
    beside = data.columns if isinstance(data, _NamedData) else {}
    in_frame = _columns(X)
    used = []
    for name, value in wanted.items():
        if not isinstance(value, str):
            continue
        if value in beside:
            wanted[name] = beside[value]
        elif value in in_frame:
            wanted[name] = X[in_frame[value]].to_numpy()
            used.append(in_frame[value])
        elif name == "groups":
            msg = f"There is no column {value!r} in the data.{did_you_mean(value, [*beside, *in_frame])}"
            raise UsageError(Mistake("evaluator.groups", msg))
    groups = wanted.pop("groups", data.groups)
    return Data(_without(X, used) if used else X, data.y, groups, wanted)


def _check_lengths(data: Data) -> None:
    try:
        n = data.rows
    except TypeError as err:
        raise UsageError(Mistake(_PATH, f"X must have rows. Got {type(data.X).__name__}.")) from err
    if n == 0:
        raise UsageError(Mistake(_PATH, "The data has no rows."))
    for name, part in (("y", data.y), ("groups", data.groups)):
        if part is not None and not (hasattr(part, "__len__") or hasattr(part, "shape")):
            raise UsageError(
                Mistake(f"evaluator.{name}", f"Must be a column or have a value for each row. Got {part!r:.80}.")
            )
        if part is not None and row_count(part) != n:
            raise UsageError(Mistake(_PATH, f"X has {n} rows but {name} has {row_count(part)}."))
