"""The data that estimators are fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from sklearn.utils import _safe_indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Data", "row_count", "rows_of", "writable"]


@attrs.frozen(eq=False)
class Data:
    """The data that estimators are fitted on.

    Attributes:
        X: n rows of features: array, sparse matrix, data frame or list.
        y: n targets, or None.
        groups: n group labels for the splitter, or None.
        fit_params: Further arguments of ``fit``; those with n entries have one entry per row.
    """

    X: Any
    y: Any = None
    groups: Any = None
    fit_params: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return row_count(self.X)

    @property
    def metadata(self) -> dict[str, Any]:
        """The fit arguments and the groups by name: all arguments that may go to fit, score and split."""
        return {**self.fit_params, **({} if self.groups is None else {"groups": self.groups})}

    def take(self, rows: NDArray[np.intp], columns: NDArray[np.intp] | None = None) -> Data:
        """The data of these rows alone; of a kernel matrix, the columns of the rows that will be fitted on."""
        X, y, groups = (None if part is None else _safe_indexing(part, rows) for part in (self.X, self.y, self.groups))
        X = X if columns is None else _safe_indexing(X, columns, axis=1)
        return Data(X, y, groups, rows_of(self.fit_params, rows, self.rows))


def row_count(X: Any) -> int:
    """The number of rows of anything that scikit-learn accepts as X or y."""
    shape = getattr(X, "shape", None)
    return int(shape[0]) if shape else len(X)


def writable(part: Any) -> Any:
    """A copy of X or y for a fit or a score that may write to it (``copy=False``), if that is possible at all."""
    if type(part) is np.ndarray:
        return part.copy("K")
    return part.copy() if hasattr(part, "copy") else part


def rows_of(params: Mapping[str, Any], rows: NDArray[np.intp], n: int) -> dict[str, Any]:
    """Fit arguments for some of the rows: those with one entry per row are indexed, the others stay."""
    return {name: _safe_indexing(value, rows) if _per_row(value, n) else value for name, value in params.items()}


def _per_row(value: Any, n: int) -> bool:
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__"):
        return False
    return getattr(value, "shape", None) != () and row_count(value) == n
