"""Fits in other processes, of the kind that joblib uses, which are started once per program, not once per search.

The study's own loop stays in this process, in one thread per worker. The estimator and the data travel once per process
through files: data is mapped into memory, estimators are pickled as joblib does it, so that classes of a notebook are
fine.
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
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
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

from hpt_core import EvaluationError, Failure
from hpt_evaluator_sklearn.data import Data
from hpt_evaluator_sklearn.search.evaluator import Run, run_here
from hpt_evaluator_sklearn.search.jobs import AbortedError, FoldJob, Result
from hpt_evaluator_sklearn.splits import Folds
from hpt_evaluator_sklearn.transformers import TransformerCache

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FitPool", "ThreadExecutor"]

_SHORTEST_LOOK, _LOOK_SECONDS, _LONGER = 0.01, 0.5, 1.1
"""Seconds between looks for idle processes and for a search that was ended; each is longer than the last by a tenth."""

_IDLE_SECONDS = 300
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


_NO_FOLDS = Folds(Data(np.empty((0, 0))), [])
"""Stands for the folds of a job that travels."""


class FitPool:
    """Tries configurations in other processes.

    Args:
        job: What to do.
        workers: How many processes.
        cache_bytes: For fitted transformers, in each process.
    """

    def __init__(self, job: FoldJob, workers: int, cache_bytes: int) -> None:
        self._job, self._workers, self._cache_bytes = job, workers, cache_bytes
        self.halted = threading.Event()
        """Set, it lets no further fit begin."""
        self._alone = threading.Lock()
        self._counting = threading.RLock()  # a trial that was abandoned ends wherever its generator is collected
        self._futures: weakref.WeakSet[Any] = weakref.WeakSet()
        self._begun: dict[int, dict[int, tuple[Any, Any]]] = {}  # number of a trial -> fold -> pool and future
        self._runs, self._since = 0, time.monotonic()  # trials that have not ended; when one last began or ended

    def __enter__(self) -> Self:
        job = self._job
        rest = attrs.evolve(job, folds=_NO_FOLDS, routes=None, cache=None)
        task = dumps(_Task(rest, self._cache_bytes, get_config(), warnings.filters))
        self._folder = tempfile.TemporaryDirectory(prefix="hpt-")
        Path(self._folder.name, "task").write_bytes(task)
        joblib.dump((job.folds.data, job.folds.splits, job.routes), Path(self._folder.name, "data"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.halted.set()
        if error is None or isinstance(error, Exception):
            _cancel(list(self._futures))
        else:  # the user interrupts: fits may last hours
            with _starting:
                pool = _started.pop(self._workers, None)
            if pool is not None:
                _forget_waiting(pool)
                pool.shutdown(wait=False, kill_workers=True)  # it fails to where futures were cancelled
        self._folder.cleanup()

    def run(
        self, number: int, params: Mapping[str, Any], folds: Sequence[int], *, by_fold: bool = False
    ) -> Generator[Result, None, None]:
        """Try the estimator's parameters on folds, each wherever there is room.

        Args:
            number: Of the trial; when it goes on after a pause, it has the folds that had been begun for it.
            params: The parameters.
            folds: In the order of the results.
            by_fold: Begin one after the other, because the later ones may not be wanted, and several at once only
                where processes have nothing else to do; else begin all.

        Raises:
            AbortedError: If the search must not go on.
            EvaluationError: If a process died of it.
        """
        begun = self._begun.setdefault(number, {})
        left = [i for i in folds if i not in begun]

        def begin(count: int) -> None:
            for i in left[:count]:
                pool = _processes(self._workers)
                begun[i] = pool, self._submit(pool, params, i)
            del left[:count]

        def look() -> None:
            if left:
                begin(self._room())

        self._count(1)
        try:
            for i in folds:
                if i not in begun:
                    begin(1 if by_fold else len(left))
                pool, future = begun.pop(i)
                try:
                    yield self._wait(future, look)
                except BrokenProcessPool:
                    yield self._again(pool, params, i)
        finally:
            self._count(-1)
            if not self.halted.is_set():
                for i in [i for i, (_, future) in begun.items() if future.cancel()]:
                    del begun[i]

    def _count(self, more: int) -> None:
        with self._counting:
            self._runs, self._since = self._runs + more, time.monotonic()

    def _room(self) -> int:
        """How many processes have nothing to do, for more than the moment in which a worker takes its next trial."""
        with self._counting:
            if time.monotonic() - self._since < _SHORTEST_LOOK:
                return 0
            busy = sum(not future.done() for future in self._futures)
            return max(0, self._workers - max(busy, self._runs))

    def _again(self, broken: Any, params: Mapping[str, Any], fold: int) -> Result:
        """All fits of a pool end when one of them kills its process; see, one by one, who does it again."""
        with self._alone:
            pool = _processes(self._workers, broken)
            try:
                return self._wait(self._submit(pool, params, fold))
            except BrokenProcessPool as err:
                _processes(self._workers, pool)
                raise EvaluationError(f"its process died: {err}", kind="killed") from err

    def _submit(self, pool: Any, params: Mapping[str, Any], fold: int) -> Any:
        try:
            future = pool.submit(_try_there, self._folder.name, dict(params), fold)
        except BrokenProcessPool as err:  # just now, by another one's fit
            future = Future()
            future.set_exception(err)
        with self._counting:
            self._futures.add(future)
        return future

    def _wait(self, future: Any, look: Callable[[], None] = lambda: None) -> Result:
        """The result once it is there; ``look`` is called now and then until it is."""
        patience = _SHORTEST_LOOK
        while not self.halted.is_set():
            look()
            try:
                result: Result = future.result(patience)
            except NotYetError:
                patience = min(_LONGER * patience, _LOOK_SECONDS)
                continue
            return result
        raise AbortedError(KeyboardInterrupt("another worker ended the search"))


def _cancel(futures: Iterable[Any]) -> None:
    for future in futures:
        future.cancel()


def _forget_waiting(pool: Any) -> None:
    """Take back what no process has begun: killed with something waiting, loky's own thread fails and stays."""
    with contextlib.suppress(queue.Empty):
        while True:
            pool._work_ids.get_nowait()  # noqa: SLF001 - loky has no other way


_started: dict[int, Any] = {}
"""How many processes -> a pool of so many, for this program's searches. joblib's own one is joblib's alone."""
_starting = threading.Lock()


def _processes(count: int, broken: Any = None) -> Any:
    """The pool of ``count`` processes; one in place of that which is broken."""
    with _starting:
        pool = _started.get(count)
        if pool is None or pool is broken:
            # GridSearchCV's pool does the same: as many threads in all as there are cores.
            threads = str(max(1, joblib.cpu_count() // count))
            env = {name: os.environ.get(name, threads) for name in _THREAD_LIMITS}
            pool = _started[count] = ProcessPoolExecutor(count, timeout=_IDLE_SECONDS, env=env)
        return pool


@attrs.frozen
class _Task:
    """What a process needs to know of a search.

    Attributes:
        rest: The job without its data.
        cache_bytes: For fitted transformers.
        config: scikit-learn's configuration where the search was called; elsewhere it is another.
        filters: The filters of warnings there.
    """

    rest: FoldJob
    cache_bytes: int
    config: dict[str, Any]
    filters: Sequence[Any]


_latest: dict[str, tuple[_Task, Run]] = {}
"""In a process of the pool: the search that it works for, by the folder where its task and data lie."""


def _try_there(folder: str, params: Mapping[str, Any], fold: int) -> Result:
    if folder not in _latest:
        _latest.clear()
        _latest[folder] = _load(Path(folder))
    task, run = _latest[folder]
    # what is parallel in a fit starts no processes of its own, as in joblib's processes
    with config_context(**task.config), warnings.catch_warnings(), joblib.parallel_config(backend="threading"):
        warnings.filters = task.filters
        return next(run(0, params, [fold]))


def _load(folder: Path) -> tuple[_Task, Run]:
    task: _Task = loads((folder / "task").read_bytes())
    data, splits, routes = joblib.load(folder / "data", mmap_mode="r")
    plain = {name: _plain(part) for name in ("X", "y") if (part := getattr(data, name)) is not None}
    cache = TransformerCache(task.cache_bytes) if task.cache_bytes else None
    folds = Folds(attrs.evolve(data, **plain), splits)
    return task, run_here(attrs.evolve(task.rest, folds=folds, routes=routes, cache=cache))


def _plain(part: Any) -> Any:
    """A mapped array as what it was: estimators look at the type."""
    return np.asarray(part) if isinstance(part, np.memmap) else part


@attrs.define(kw_only=True)
class ThreadExecutor:
    """Runs a study's workers as threads of this process, which wait for fits elsewhere.

    Attributes:
        name_of: Gives worker ``i`` its name.
        halted: Told when the others have to end.
    """

    name_of: Callable[[int], str]
    halted: threading.Event

    def run(self, worker: Any, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended; see `hpt_core.Executor`."""
        errors: list[BaseException] = []
        config = get_config()  # each thread has its own

        def work(name: str) -> None:
            try:
                with config_context(**config):
                    worker(name)
            except BaseException as err:  # noqa: BLE001 - the caller raises it
                errors.append(err)
                self.halted.set()

        names = [self.name_of(i) for i in range(count)]
        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():  # a signal that another thread is given does not wake this one
                    thread.join(_LOOK_SECONDS)
        except KeyboardInterrupt:
            self.halted.set()
            for thread in threads:
                thread.join(2 * _LOOK_SECONDS)
            for name in names:
                lost(name, Failure("interrupted", "interrupted by the user"))
            raise
        if errors:
            raise errors[0]
