"""Read the ``cv_results_`` of a scikit-learn search from CSV or JSON, without unpickling or running code."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpt_core import Categorical, Constant, Failure, Float, Int, Params, Space, Stop, UsageError
from hpt_sampler_optuna.imported import ImportedSearch, ImportedTrial, conditions, dropped_values

__all__ = ["read_cv_results"]

_WORDS = {"True": True, "False": False, "None": None}
_MANY_DECADES = 100.0
Row = Mapping[str, Any]


def read_cv_results(path: Path, metric: str | None = None, space: Space | None = None) -> ImportedSearch:
    """Read a table with a row for each configuration.

    Args:
        path: ``pandas.DataFrame(search.cv_results_).to_csv(path)``, or JSON: as of ``to_json``, or a list of rows.
        metric: The score that is the objective, as in ``mean_test_METRIC``; None: the only score.
        space: The space; None: inferred from the values.

    Raises:
        UsageError: If the file is not such a table.
    """
    rows = _rows(path)
    metric = metric or _only_metric(rows)
    column = f"mean_test_{metric}"
    if column not in rows[0]:
        raise UsageError(f"{path} has no column {column!r}. Metrics: {', '.join(_metrics(rows))}.")
    points = [_point(row) for row in rows]
    if space is None:
        space = _space_of(points)
    kept: list[tuple[Row, Params]] = []
    left_out, dropped = [], Counter[str]()
    for number, (row, point) in enumerate(zip(rows, points, strict=True)):
        params = {name: _fitting(space[name], value) for name, value in point.items() if name in space.names}
        if space.contains(params):
            kept.append((row, params))
            dropped.update(point.keys() - params.keys())
        else:
            left_out.append(f"The point of row {number} is outside the space: {point}.")
    left_out += dropped_values(dropped)
    if "iter" in rows[0] and "n_resources" in rows[0]:
        told = list(_halved(kept, space, metric, max(_number(row.get("iter")) or 0.0 for row in rows)))
    else:
        told = [ImportedTrial(params, _result(row, metric)) for row, params in kept]
    return ImportedSearch(path.stem, space, {metric: "maximize"}, told, (), left_out)


def _rows(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        data: Any = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(io.StringIO(text)))
    except (OSError, RecursionError, ValueError, csv.Error) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        raise UsageError(f"Cannot read {path}: {reason}.") from err
    if isinstance(data, Mapping):
        data = {name: [*v.values()] if isinstance(v, Mapping) else v for name, v in data.items()}  # as of to_json()
        columns = {name: values for name, values in data.items() if isinstance(values, list)}
        count = min((len(values) for values in columns.values()), default=0)
        data = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    rows = [row for row in data if isinstance(row, Mapping)] if isinstance(data, list) else []
    if any(None in row for row in rows):  # the key of csv.DictReader for further cells
        raise UsageError(f"{path} is not a table of cv_results_: a row has more cells than the header.")
    if not rows or not _metrics(rows):
        raise UsageError(f"{path} is not a table of cv_results_: it has no rows with a column 'mean_test_...'.")
    return rows


def _metrics(rows: Sequence[Row]) -> list[str]:
    return [name.removeprefix("mean_test_") for name in rows[0] if name.startswith("mean_test_")]


def _only_metric(rows: Sequence[Row]) -> str:
    metrics = _metrics(rows)
    if len(metrics) > 1:
        raise UsageError(f"There are several metrics; choose one with --metric: {', '.join(metrics)}.")
    return metrics[0]


def _point(row: Row) -> Params:
    """The configuration: the column ``params`` if it can be parsed, else the columns ``param_...``."""
    params, cells = row.get("params"), {k.removeprefix("param_"): v for k, v in row.items() if k.startswith("param_")}
    if isinstance(params, str):
        params = _parsed(params, cells)
    if isinstance(params, Mapping):
        return {str(name): _plain(value) for name, value in params.items()}
    return {name: _read(value) for name, value in cells.items() if value not in ("", None)}


def _parsed(text: str, cells: Row) -> Params | None:
    """The configuration that Python wrote as a dict; None if it cannot be parsed.

    The cells do not have the type of every value: an integer of which some rows have none is a float there, and None is
    an empty cell. They have those values that are no literals, such as estimators.
    """
    try:
        body = ast.parse(text, mode="eval").body
        if not isinstance(body, ast.Dict):
            return None
        names = [ast.literal_eval(key) for key in body.keys if key]
        return {name: _literal(node, cells.get(name)) for name, node in zip(names, body.values, strict=True)}
    except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _literal(node: ast.expr, cell: Any) -> Any:
    if isinstance(node, ast.Call) and len(node.args) == 1 and ast.unparse(node.func).startswith("np."):
        (node,) = node.args  # as numpy 2 writes its numbers: np.int64(3)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node) if cell in ("", None) else _read(cell)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _read(value: Any) -> Any:
    """Parse a cell of a CSV file."""
    if not isinstance(value, str):
        return _plain(value)
    if value in _WORDS:
        return _WORDS[value]
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _space_of(points: Sequence[Params]) -> Space:
    """The smallest space: a range for numbers, from the lowest to the highest value, and choices for all else."""
    values: dict[str, list[Any]] = {}
    for point in points:
        for name, value in point.items():
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    if not values:
        raise UsageError("The table has no parameters: neither 'params' nor 'param_...'.")
    parents = [name for name, known in values.items() if not _is_range(known)]
    when = conditions(points, parents)
    return Space({name: _parameter(known, when.get(name)) for name, known in values.items()})


def _is_range(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _parameter(values: Sequence[Any], when: Mapping[str, Any] | None) -> Any:
    if len(values) == 1:
        return Constant(values[0], when=when)
    if not _is_range(values):
        return Categorical(*values, when=when)
    low, high = min(values), max(values)
    log = low > 0 and high / low >= _MANY_DECADES
    if all(isinstance(value, int) for value in values):
        return Int(low, high, log=log, when=when)
    return Float(low, high, log=log, when=when)


def _fitting(parameter: Any, value: Any) -> Any:
    """The value, converted from int to float if the parameter is a float."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_int and isinstance(parameter, Float) else value


def _result(row: Row, metric: str) -> Mapping[str, float] | Failure:
    value = _number(row.get(f"mean_test_{metric}"))
    if value is None:
        return Failure("error", "the fit failed in scikit-learn")
    others = {name: _number(cell) for name, cell in row.items() if name.startswith(("mean_", "std_"))}
    others.pop(f"mean_test_{metric}")
    return {metric: value, **{name: number for name, number in others.items() if number is not None}}


def _halved(kept: Sequence[tuple[Row, Params]], space: Space, metric: str, last: float) -> Iterator[ImportedTrial]:
    """The trials of a successive halving: it has a row for each iteration that a configuration reached.

    As for scikit-learn, only those that reached the ``last`` iteration are complete.
    """
    by_key: dict[Any, list[tuple[Row, Params]]] = {}
    for row, params in sorted(kept, key=lambda one: _number(one[0].get("iter")) or 0.0):
        by_key.setdefault(space.key(params), []).append((row, params))
    for same in by_key.values():
        row, params = same[-1]
        result: Mapping[str, float] | Failure | Stop = _result(row, metric)
        if not isinstance(result, Failure) and _number(row.get("iter")) not in (None, last):
            result = Stop("left out of the next iteration of the halving")
        scores = {_number(row.get("n_resources")): _number(row.get(f"mean_test_{metric}")) for row, _ in same}
        reports = [(int(step), score) for step, score in scores.items() if step is not None and score is not None]
        yield ImportedTrial(params, result, reports)


def _number(cell: Any) -> float | None:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
