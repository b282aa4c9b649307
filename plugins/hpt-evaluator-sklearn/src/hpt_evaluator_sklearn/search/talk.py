"""What a search prints while it runs, in the form of scikit-learn's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs
from joblib.logger import short_format_time

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.search.jobs import Result

__all__ = ["Teller"]


@attrs.frozen
class Teller:
    """Prints a line for each fold that is done.

    Attributes:
        verbose: From 2; 3 adds the scores.
        folds: How many folds there are.
    """

    verbose: int
    folds: int

    @classmethod
    def of(cls, verbose: int, folds: int, candidates: int | None) -> Self | None:
        """Say what is to come.

        Args:
            verbose: 0 prints nothing, 1 this alone.
            folds: How many there are.
            candidates: How many at most; None if nobody knows.

        Returns:
            Who tells of each fold; None where that is not wanted.
        """
        if verbose > 0:
            count = "any number of" if candidates is None else f"{candidates}"
            total = "" if candidates is None else f", totalling {candidates * folds} fits"
            print(f"Fitting {folds} folds for each of {count} candidates{total}")  # noqa: T201 - it was asked for
        return cls(int(verbose), folds) if verbose > 1 else None

    def __call__(self, params: Mapping[str, Any], fold: int, result: Result) -> None:
        """Print the line of a fold.

        Args:
            params: The estimator's parameters.
            fold: From 0.
            result: What came of it.
        """
        place = f" {fold + 1}/{self.folds}" if self.verbose > 2 else ""
        shown = ", ".join(f"{name}={params[name]}" for name in sorted(params))
        head = f"[CV{place}] END {shown}{';' if shown else ''}"
        tail = f"{self._scores(result)} total time={short_format_time(result['fit_time'] + result['score_time'])}"
        dots = "." * max(0, 79 - len(head) - len(tail))
        print(f"{head}{dots}{tail}")  # noqa: T201 - it was asked for

    def _scores(self, result: Result) -> str:
        if self.verbose <= 2 or result["fit_error"] is not None:
            return ""
        test, train = result["test_scores"], result.get("train_scores")
        if not isinstance(test, Mapping):
            return f" score={_pair(test, train)}"
        return "".join(f" {name}: {_pair(test[name], train and train[name])}" for name in sorted(test))


def _pair(test: float, train: float | None) -> str:
    return f"{test:.3f}" if train is None else f"(train={train:.3f}, test={test:.3f})"
