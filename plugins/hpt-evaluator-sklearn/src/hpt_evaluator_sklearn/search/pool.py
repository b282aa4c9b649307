"""Fits in loky processes, as joblib uses them. They are started once per program, not once per search.

The loop of the study stays in this process, in one thread per worker. Each process receives the estimator and the data
once, through files: the data is memory-mapped, and the estimator is pickled as joblib does, so classes that a notebook
defines work.
"""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
import joblib
import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend.reduction import dumps, loads
from sklearn import config_context, get_config

from hpt_core import EvaluationError
from hpt_evaluator_sklearn.data.data import Data
from hpt_evaluator_sklearn.data.folds import Folds
from hpt_evaluator_sklearn.data.routing import Routes
from hpt_evaluator_sklearn.search.evaluator import Run, run_here
from hpt_evaluator_sklearn.search.jobs import AbortedError, FoldJob, Result

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FitPool"]

_MIN_POLL, _MAX_POLL, _POLL_GROWTH = 0.01, 0.5, 1.1
"""Seconds between polls for idle processes and for the end of the search; each interval is a tenth longer than the
last."""

_IDLE_SECONDS = 300
"""Seconds without work after which a pool process ends."""

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")

_NO_FOLDS = Folds(Data(np.empty((0, 0))), [])
"""Placeholder for the folds of a pickled job."""


class FitPool:
    """Fits configurations in other processes.

    Args:
        job: The job, with the data and the estimator.
        workers: Number of processes.
    """

    def __init__(self, job: FoldJob, workers: int) -> None:
        self._job, self._workers = job, workers
        self.halted = threading.Event()
        """Once set, no further fit starts."""
        self._retry_lock = threading.Lock()
        self._lock = threading.RLock()  # reentrant: an abandoned generator may be collected while this is held
        self._futures: weakref.WeakSet[Any] = weakref.WeakSet()
        self._submitted: dict[int, dict[int, tuple[Any, Any]]] = {}  # trial number -> fold -> pool and future
        self._active_trials, self._last_change = 0, time.monotonic()  # and when a trial last started or ended

    def __enter__(self) -> Self:
        job = self._job
        without_data = attrs.evolve(job, folds=_NO_FOLDS, routes=Routes())
        task = dumps(_Task(without_data, get_config(), warnings.filters))
        self._folder = tempfile.TemporaryDirectory(prefix="hpt-")
        Path(self._folder.name, "task").write_bytes(task)
        joblib.dump((job.folds.data, job.folds.splits, job.routes), Path(self._folder.name, "data"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.halted.set()
        if error is None or isinstance(error, Exception):
            for future in list(self._futures):
                future.cancel()
        else:  # interrupted by the user, and fits may last hours
            with _pools_lock:
                pool = _pools.pop(self._workers, None)
            if pool is not None:
                _drop_queue(pool)
                pool.shutdown(wait=False, kill_workers=True)  # would fail if futures had been cancelled
        self._folder.cleanup()

    def run(
        self, number: int, params: Mapping[str, Any], folds: Sequence[int], *, by_fold: bool = False
    ) -> Generator[Result, None, None]:
        """Fit a trial on folds, in any free process.

        Args:
            number: Number of the trial. A trial that resumes after a pause uses the folds submitted before it.
            params: Parameters of the estimator.
            folds: Indices of the folds, in the order of the results.
            by_fold: Whether to submit the folds one by one, because a rule may stop the trial before the last one;
                further folds are then submitted only to idle processes. If False, all are submitted at once.

        Yields:
            The result of each fold, in order.

        Raises:
            AbortedError: If the search has ended.
            EvaluationError: If a fit kills its process.
        """
        submitted = self._submitted.setdefault(number, {})
        left = list(folds)

        def submit(count: int) -> None:
            for i in [i for i in left if i not in submitted][:count]:
                pool = _get_pool(self._workers)
                submitted[i] = pool, self._submit(pool, params, i)

        def take(i: int) -> tuple[Any, Any]:
            with self._lock:  # the trial's last run may still be ending in another thread, and cancel folds
                if i not in submitted:
                    submit(1 if by_fold else len(left))
                left.remove(i)
                return submitted.pop(i)

        def poll() -> None:
            with self._lock:
                submit(self._idle_processes())

        self._change_active_trials(1)
        try:
            for i in folds:
                pool, future = take(i)
                try:
                    yield self._wait(future, poll)
                except BrokenProcessPool:
                    yield self._retry(pool, params, i)
        finally:
            self._change_active_trials(-1)
            if not self.halted.is_set():
                with self._lock:
                    for i in [i for i, (_, future) in submitted.items() if future.cancel()]:
                        del submitted[i]

    def _change_active_trials(self, difference: int) -> None:
        with self._lock:
            self._active_trials, self._last_change = self._active_trials + difference, time.monotonic()

    def _idle_processes(self) -> int:
        """Number of idle processes; 0 just after a change, because a worker may be about to start its next trial."""
        with self._lock:
            if time.monotonic() - self._last_change < _MIN_POLL:
                return 0
            busy = sum(not future.done() for future in self._futures)
            return max(0, self._workers - max(busy, self._active_trials))

    def _retry(self, broken: Any, params: Mapping[str, Any], fold: int) -> Result:
        """Repeat a fit whose pool broke. Any of its fits may have broken it, so they are repeated one at a time."""
        with self._retry_lock:
            pool = _get_pool(self._workers, broken)
            try:
                return self._wait(self._submit(pool, params, fold))
            except BrokenProcessPool as err:
                _get_pool(self._workers, pool)
                raise EvaluationError(f"its process died: {err}", kind="killed") from err

    def _submit(self, pool: Any, params: Mapping[str, Any], fold: int) -> Any:
        try:
            future = pool.submit(_fit_in_process, self._folder.name, dict(params), fold)
        except BrokenProcessPool as err:  # another fit has just broken it
            future = Future()
            future.set_exception(err)
        with self._lock:
            self._futures.add(future)
        return future

    def _wait(self, future: Any, poll: Callable[[], None] = lambda: None) -> Result:
        """Wait for a result, calling ``poll`` at intervals."""
        wait = _MIN_POLL
        while not self.halted.is_set():
            poll()
            try:
                result: Result = future.result(wait)
            except NotYetError:
                wait = min(_POLL_GROWTH * wait, _MAX_POLL)
                continue
            return result
        raise AbortedError(KeyboardInterrupt("another worker ended the search"))


def _drop_queue(pool: Any) -> None:
    """Empty the queue of a pool: if it is killed with queued work, loky's management thread fails and never ends."""
    with contextlib.suppress(queue.Empty):
        while True:
            pool._work_ids.get_nowait()  # noqa: SLF001 - loky has no public way


_pools: dict[int, Any] = {}
"""Number of processes -> the pool that all searches of this program share. joblib's own pool is separate."""
_pools_lock = threading.Lock()


def _get_pool(count: int, broken: Any = None) -> Any:
    """The pool of ``count`` processes; a new one if there is none, or if it is the broken one."""
    with _pools_lock:
        pool = _pools.get(count)
        if pool is None or pool is broken:
            # as in GridSearchCV's pool: the threads of all processes add up to the number of cores
            threads = str(max(1, joblib.cpu_count() // count))
            env = {name: os.environ.get(name, threads) for name in _THREAD_LIMITS}
            pool = _pools[count] = ProcessPoolExecutor(count, timeout=_IDLE_SECONDS, env=env)
        return pool


@attrs.frozen
class _Task:
    """What a process needs to know about a search.

    Attributes:
        job: The job without its data.
        config: scikit-learn's configuration in the calling thread.
        filters: The warning filters there.
    """

    job: FoldJob
    config: dict[str, Any]
    filters: Sequence[Any]


_latest: dict[str, tuple[_Task, Run]] = {}
"""In a process of the pool: folder with the task and the data of the current search -> the loaded task."""


def _fit_in_process(folder: str, params: Mapping[str, Any], fold: int) -> Result:
    if folder not in _latest:
        _latest.clear()
        _latest[folder] = _load(Path(folder))
    task, run = _latest[folder]
    # nested parallelism in a fit uses threads, as in joblib's processes
    with config_context(**task.config), warnings.catch_warnings(), joblib.parallel_config(backend="threading"):
        warnings.filters = task.filters
        try:
            return next(run(0, params, [fold]))
        except Exception as err:
            if _is_portable(err):
                raise
            raise RuntimeError(f"{type(err).__name__}: {err}") from err


def _is_portable(error: Exception) -> bool:
    """Whether another process can unpickle an exception; otherwise it would take the pool for broken."""
    try:
        loads(dumps(error))
    except Exception:  # noqa: BLE001 - its constructor may fail in any way
        return False
    return True


def _load(folder: Path) -> tuple[_Task, Run]:
    task: _Task = loads((folder / "task").read_bytes())
    data, splits, routes = joblib.load(folder / "data", mmap_mode="r")
    plain = {name: _as_plain_array(part) for name in ("X", "y") if (part := getattr(data, name)) is not None}
    folds = Folds(attrs.evolve(data, **plain), splits)
    return task, run_here(attrs.evolve(task.job, folds=folds, routes=routes))


def _as_plain_array(part: Any) -> Any:
    """A memory-mapped array as a plain array, because estimators check the type."""
    return np.asarray(part) if isinstance(part, np.memmap) else part
