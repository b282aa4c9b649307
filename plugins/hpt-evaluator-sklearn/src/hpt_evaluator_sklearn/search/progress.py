"""The progress that a search prints with ``verbose``, in scikit-learn's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs
from joblib.logger import short_format_time

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.search.jobs import Result

__all__ = ["ProgressPrinter"]


@attrs.frozen
class ProgressPrinter:
    """Prints a line for each completed fold.

    Attributes:
        verbose: At least 2; 3 adds the fold number and the scores.
        folds: Number of folds.
    """

    verbose: int
    folds: int

    @classmethod
    def start(cls, verbose: int, folds: int, candidates: int | None) -> Self | None:
        """Print the number of fits, and make a printer for the folds.

        Args:
            verbose: 0 prints nothing, 1 only the number of fits.
            folds: Number of folds.
            candidates: Maximum number of candidates; None if it is unlimited.

        Returns:
            The printer; None if ``verbose`` is below 2.
        """
        if verbose > 0:
            count = "any number of" if candidates is None else f"{candidates}"
            total = "" if candidates is None else f", totalling {candidates * folds} fits"
            print(f"Fitting {folds} folds for each of {count} candidates{total}")  # noqa: T201 - asked for by verbose
        return cls(int(verbose), folds) if verbose > 1 else None

    def __call__(self, params: Mapping[str, Any], fold: int, result: Result) -> None:
        """Print the line of a fold.

        Args:
            params: Parameters of the candidate.
            fold: Index of the fold, from 0.
            result: Its result.
        """
        place = f" {fold + 1}/{self.folds}" if self.verbose > 2 else ""
        shown = ", ".join(f"{name}={params[name]}" for name in sorted(params))
        head = f"[CV{place}] END "
        seconds = result["fit_time"] + result["score_time"]
        tail = f"{shown}{';' if shown else ''}{self._scores(result)} total time={short_format_time(seconds)}"
        print(f"{head}{'.' * (80 - len(head) - len(tail))}{tail}")  # noqa: T201 - asked for by verbose

    def _scores(self, result: Result) -> str:
        if self.verbose <= 2 or result["fit_error"] is not None:
            return ""
        test, train = result["test_scores"], result.get("train_scores")
        if isinstance(test, Mapping):
            return "".join(f" {name}: ({_pair(test[name], train and train[name])})" for name in sorted(test))
        return f", score={test:.3f}" if train is None else f", score=({_pair(test, train)})"


def _pair(test: float, train: float | None) -> str:
    return f"test={test:.3f}" if train is None else f"train={train:.3f}, test={test:.3f}"
