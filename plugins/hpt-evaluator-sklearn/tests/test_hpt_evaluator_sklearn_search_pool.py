"""The fits that `SearchCV` starts in its processes if a rule may stop candidates between folds."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.tree import DecisionTreeClassifier

from hpt_core import Pause, State, Stop
from hpt_evaluator_sklearn import SearchCV
from hpt_evaluator_sklearn.search import pool as pool_module
from hpt_evaluator_sklearn.search.pool import FitPool

X, Y = load_iris(return_X_y=True)


class Meeting(DecisionTreeClassifier):
    """Its first fit waits for a second one to start; with depth 66, it kills its process."""

    def __init__(self, folder: str = "", max_depth: int | None = None) -> None:
        super().__init__(max_depth=max_depth)
        self.folder = folder

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Meeting:
        if self.max_depth == 66:
            os._exit(3)
        Path(self.folder, uuid.uuid4().hex).touch()
        until = time.monotonic() + 60
        while len(list(Path(self.folder).iterdir())) < 2:
            if time.monotonic() > until:
                raise TimeoutError("no second fit started")
            time.sleep(0.01)
        super().fit(X, y, sample_weight=sample_weight)
        return self


class TwoArgumentsError(Exception):
    """An exception that is pickled, but cannot be unpickled."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


class Failing(DecisionTreeClassifier):
    """Its fit raises an exception that cannot be unpickled."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Failing:
        raise TwoArgumentsError("a hole", "the bucket")


@attrs.define
class After:
    """Stops each candidate after a number of folds."""

    folds: int

    def judge_trial(self, history: Any, trial: Any) -> Stop | None:
        return Stop("enough") if len(trial.reports) == self.folds else None


@pytest.mark.parametrize("folds", [1, 2, 4])
def test_an_idle_process_starts_a_later_fold_which_does_not_count_for_a_stopped_candidate(
    tmp_path: Path, folds: int
) -> None:
    search = SearchCV(Meeting(str(tmp_path)), param_grid={"max_depth": [2]}, stop=After(folds), cv=3, n_jobs=2)
    search.set_params(error_score="raise", refit=False).fit(X, Y)
    assert search.cv_results_.get("n_folds", [3]) == [min(folds, 3)]
    assert [len(trial.reports) for trial in search.history_.trials] == [min(folds, 3)]
    assert 2 <= len(list(tmp_path.iterdir())) <= 3


@attrs.define
class PauseOnce:
    """Pauses the candidate after its first fold, then promotes it."""

    def judge_trial(self, history: Any, trial: Any) -> Pause | None:
        return Pause("wait") if len(trial.reports) == 1 else None

    def promote(self, history: Any) -> int | None:
        return next((trial.number for trial in history.open.values() if trial.state is State.PAUSED), None)


def test_a_fold_submitted_before_a_pause_is_not_fitted_again(tmp_path: Path) -> None:
    search = SearchCV(Meeting(str(tmp_path)), param_grid={"max_depth": [2]}, stop=PauseOnce(), cv=3, n_jobs=2)
    search.set_params(error_score="raise", refit=False).fit(X, Y)
    assert search.history_.trials[0].attempt == 2
    assert [len(trial.reports) for trial in search.history_.trials] == [3]
    assert len(list(tmp_path.iterdir())) == 3


class Scripted:
    """An executor: the third fit ends the first two, the fourth ends itself, and all others wait."""

    def __init__(self) -> None:
        self.fits: list[tuple[int, Future[dict[str, int]]]] = []

    def submit(self, _function: Any, _folder: str, _params: Any, fold: int) -> Future[dict[str, int]]:
        self.fits.append((fold, Future()))
        for number, future in {3: self.fits[:2], 4: self.fits[3:]}.get(len(self.fits), []):
            future.set_result({"fold": number})
        return self.fits[-1][1]


def test_a_trial_may_resume_while_its_last_run_is_still_cancelling_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that paused it may be slower than the one that resumes it."""
    executor, pool = Scripted(), FitPool(None, 3)  # type: ignore[arg-type]  # nothing is fitted
    pool._folder = SimpleNamespace(name="")  # type: ignore[assignment]  # nothing is read
    monkeypatch.setattr(pool_module, "_get_pool", lambda _count: executor)
    paused = pool.run(0, {}, [0, 1, 2], by_fold=True)
    resumed = pool.run(0, {}, [1, 2], by_fold=True)
    assert [next(paused), next(resumed)] == [{"fold": 0}, {"fold": 1}]
    paused.close()
    assert list(resumed) == [{"fold": 2}]
    assert [(fold, future.cancelled()) for fold, future in executor.fits] == [
        (0, False),
        (1, False),
        (2, True),
        (2, False),
    ]


def test_processes_are_idle_if_neither_fits_nor_trials_need_them() -> None:
    """A trial may be between two folds, and a fit may outlive its trial."""
    pool, fits = FitPool(None, 3), [Future[Any]() for _ in range(3)]  # type: ignore[arg-type]  # nothing is fitted
    for trials in range(4):
        for running in range(4):
            pool._active_trials, now = trials, time.monotonic()
            pool._futures = set(fits[:running])  # type: ignore[assignment]  # a set that keeps them
            pool._last_change = now - 60
            assert pool._idle_processes() == 3 - max(trials, running)
            pool._last_change = now + 60  # a worker that has just ended a trial is about to start the next one
            assert pool._idle_processes() == 0


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_with_rules_a_fit_that_kills_its_process_fails_only_its_own_candidate(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    grid = {"max_depth": [1, 66, 2]}
    search = SearchCV(Meeting(str(tmp_path)), param_grid=grid, stop=After(9), cv=3, n_jobs=2)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 9"):
        search.fit(X, Y)
    states = {trial.params["max_depth"]: trial.state for trial in search.history_.trials}
    assert states == {1: State.COMPLETE, 66: State.FAILED, 2: State.COMPLETE}


def test_an_exception_that_cannot_be_unpickled_arrives_with_its_text() -> None:
    search = SearchCV(Failing(), param_grid={"max_depth": [1, 2]}, n_jobs=2, error_score="raise")
    with pytest.raises(RuntimeError, match=r"^TwoArgumentsError: a hole in the bucket$") as caught:
        search.fit(X, Y)
    assert "raise TwoArgumentsError" in str(caught.value.__cause__)


def test_the_workers_of_a_search_have_other_names_than_a_run_without_workers(tmp_path: Path) -> None:
    grid = {"max_depth": [1, 2, 3, 4]}
    for n_iter, n_jobs in ((1, None), (4, 2)):
        search = SearchCV(
            DecisionTreeClassifier(), grid, n_iter=n_iter, cv=2, n_jobs=n_jobs, store=tmp_path / "s.db", random_state=0
        ).fit(X, Y)
    first, *others = (trial.worker for trial in search.history_.trials)
    assert len(others) == 3
    assert first not in others
