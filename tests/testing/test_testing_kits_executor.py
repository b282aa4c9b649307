"""The executor kit: a correct executor passes, and each check is the only one that rejects some wrong executor."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from numpy.random import default_rng

from hpt_core import Failure, option
from hpt_core.builtin.memory import MemoryStore
from hpt_core.testing import ExecutorKit, crew
from hpt_core.testing.checks import broken_rules

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

KIT = ExecutorKit
FORK: Any = multiprocessing.get_context("fork") if hasattr(multiprocessing, "get_context") else None
Lost = Callable[[str, Failure], bool]


@attrs.define(eq=False)
class Child:
    name: str
    process: BaseProcess
    pipe: Connection
    since: float | None = None
    ended: bool = False
    silent: bool = False


class Served:
    """The worker's end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def append(self, study: str, records: Any) -> Any:
        return self.ask("append", study, records)

    def read(self, study: str, after: int = 0) -> Any:
        return self.ask("read", study, after)

    def ask(self, *message: Any) -> Any:
        self.pipe.send(message)
        return self.pipe.recv()


@attrs.define(kw_only=True)
class Honest:
    """Forks one process per worker."""

    pause: float = option(0.002, gt=0, help="Seconds between two looks.")

    def run(self, worker: Any, count: int, lost: Lost) -> None:
        children = [self.start(worker, number) for number in range(self.wanted(count))]
        started = len(children)
        try:
            while children:
                for child in list(children):
                    self.hear(child, worker)
                    if self.is_late(child, worker):
                        child.process.kill()
                        child.process.join()
                    if child.process.exitcode is None or not (child.ended or child.silent):
                        continue
                    children.remove(child)
                    if not child.ended and self.died(child, worker, lost):
                        children.append(self.start(worker, started))
                        started += 1
                    if self.is_enough(children):
                        return
                time.sleep(self.pause)
        except Exception:
            self.end(children)
            raise

    def wanted(self, count: int) -> int:
        return count

    def start(self, worker: Any, number: int) -> Child:
        ours, theirs = FORK.Pipe()
        name = self.name(number)
        process = FORK.Process(target=self.work, args=(worker, name, theirs))
        process.start()
        theirs.close()
        return Child(name, process, ours)

    def name(self, number: int) -> str:
        return f"worker {number}"

    def work(self, worker: Any, name: str, pipe: Connection) -> None:
        try:
            worker(name, self.store_of(pipe))
            pipe.send(("ended",))
        except Exception as err:  # noqa: BLE001 - passed on to the caller
            pipe.send(("raised", err))

    def store_of(self, pipe: Connection) -> Any:
        return Served(pipe)

    def hear(self, child: Child, worker: Any) -> None:
        while not (child.ended or child.silent) and child.pipe.poll():
            try:
                verb, *arguments = child.pipe.recv()
            except EOFError:
                child.process.join()
                child.silent = True
                return
            if verb == "ended":
                child.ended = True
            elif verb == "raised":
                child.ended = True
                self.raised(arguments[0])
            else:
                if verb == "append" and arguments[1][0]["event"] == "started":
                    child.since = time.monotonic()
                child.pipe.send(getattr(worker.store, verb)(*arguments))

    def raised(self, error: Exception) -> None:
        raise error

    def is_late(self, child: Child, worker: Any) -> bool:
        limit = worker.trial_timeout
        return limit is not None and child.since is not None and time.monotonic() - child.since > limit

    def died(self, child: Child, worker: Any, lost: Lost) -> bool:
        kind = "timeout" if self.is_late(child, worker) else "killed"
        return self.tell(lost, child.name, Failure(kind, f"it ended with {child.process.exitcode}"))

    def tell(self, lost: Lost, name: str, failure: Failure) -> bool:
        return lost(name, failure)

    def is_enough(self, children: list[Child]) -> bool:
        return False

    def end(self, children: list[Child]) -> None:
        for child in children:
            child.process.kill()
            child.process.join()


class OneAfterTheOther(Honest):
    """Runs a single worker."""

    def wanted(self, count: int) -> int:
        return 2 if count == 3 else count


class SpendsItself(Honest):
    """Counts its workers in itself, and so starts fewer in a second run."""

    def wanted(self, count: int) -> int:
        used: int = self.__dict__.get("used", 0)
        self.__dict__["used"] = 1
        return count - used


class SameName(Honest):
    """Gives the second and third worker the same name."""

    def name(self, number: int) -> str:
        return f"worker {min(number, 1)}" if number < 3 else f"worker {number}"

    def run(self, worker: Any, count: int, lost: Lost) -> None:
        (super().run if count == 3 else Honest().run)(worker, count, lost)


class ReturnsEarly(Honest):
    """Returns when the first worker has ended, although the other is still running, for however long."""

    def run(self, worker: Any, count: int, lost: Lost) -> None:
        self.early = worker.task == "last_one_late"
        super().run(worker, count, lost)

    def work(self, worker: Any, name: str, pipe: Connection) -> None:
        if self.early:  # in the worker's process
            vars(crew)["time"] = SimpleNamespace(monotonic=time.monotonic, sleep=self.sleep)
        super().work(worker, name, pipe)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds if seconds <= crew._BEAT else 60)

    def is_enough(self, children: list[Child]) -> bool:
        if not self.early or len(children) > 1:
            return False
        LEFT.extend(child.process for child in children)
        return True


class SwallowsDeaths(Honest):
    """Replaces a dead worker once without calling `lost`."""

    def tell(self, lost: Lost, name: str, failure: Failure) -> bool:
        return lost("somebody", failure)


class ReplacesNobody(Honest):
    """Reports a dead worker and does not replace it."""

    def tell(self, lost: Lost, name: str, failure: Failure) -> bool:
        lost(name, failure)
        return False


class ReplacesAlways(Honest):
    """Replaces a dead worker whatever `lost` returns."""

    def tell(self, lost: Lost, name: str, failure: Failure) -> bool:
        lost(name, failure)
        return True


class SwallowsErrors(Honest):
    """Treats a worker that raised as ended, and ends the others."""

    def run(self, worker: Any, count: int, lost: Lost) -> None:
        with contextlib.suppress(LookupError):
            super().run(worker, count, lost)


class LeavesTheOthers(Honest):
    """Raises the exception of a worker but lets the other workers run."""

    def end(self, children: list[Child]) -> None:
        LEFT.extend(child.process for child in children)


LEFT: list[BaseProcess] = []


class StoreOfItsOwn(Honest):
    """Gives each worker a separate store in memory."""

    def store_of(self, pipe: Connection) -> Any:
        served, own = Served(pipe), MemoryStore()
        served.append = lambda study, records: (  # type: ignore[method-assign]
            own.append(study, records) if records[0]["event"] == "note" else served.ask("append", study, records)
        )
        served.read = lambda study, after=0: [None, None]  # type: ignore[method-assign]
        return served


class TakesItsTime(Honest):
    """Ignores the time limit."""

    def is_late(self, child: Child, worker: Any) -> bool:
        return False


@attrs.define(kw_only=True)
class WithoutHelp(Honest):
    """Has an option without a help text."""

    depth: int = attrs.field(default=1)


@attrs.define(kw_only=True)
class NotesItsBirth(Honest):
    """Has an option with a different default each time."""

    born: float = option(factory=lambda: default_rng().random(), help="When it was made.")


class HoldsALambda(Honest):
    """Keeps a function that cannot be pickled."""

    def __reduce__(self) -> Any:
        return (lambda: self), ()


WRONG: dict[str, type[Honest]] = {
    "test_runs_all_workers_at_once": OneAfterTheOther,
    "test_runs_again": SpendsItself,
    "test_names_each_worker": SameName,
    "test_waits_until_all_have_ended": ReturnsEarly,
    "test_tells_of_a_death": SwallowsDeaths,
    "test_replaces_a_dead_worker": ReplacesNobody,
    "test_replaces_nobody_unasked": ReplacesAlways,
    "test_passes_errors_on": SwallowsErrors,
    "test_ends_the_others_after_an_error": LeavesTheOthers,
    "test_gives_workers_the_store": StoreOfItsOwn,
    "test_ends_late_trials": TakesItsTime,
    "test_options_have_help": WithoutHelp,
    "test_description_is_stable": NotesItsBirth,
    "test_travels_to_workers": HoldsALambda,
}


def broken(executor: type[Honest]) -> dict[str, str]:
    return broken_rules(KIT, {"make_executor": executor, "make_component": executor})


class TestHonest(ExecutorKit):
    @pytest.fixture
    def make_executor(self) -> type[Honest]:
        return Honest


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_executor_is_rejected_by_its_check_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 6.0)  # for the wrong executors that wait in vain
    monkeypatch.setattr("hpt_core.testing.executor._PATIENCE", 0.3)
    try:
        assert list(broken(WRONG[name])) == [name]
    finally:
        while LEFT:
            LEFT.pop().kill()


def test_workers_in_the_calling_process_do_not_pass(tmp_path: Path) -> None:
    class Here(Honest):
        """Runs the workers in the calling process."""

        def run(self, worker: Any, count: int, lost: Lost) -> None:
            for number in range(count):
                worker(f"worker {number}", worker.store)

    with pytest.raises(AssertionError, match="so its death would end that process"):
        KIT().test_tells_of_a_death(Here, tmp_path)


class NoticesDeathsAtTheEnd(Honest):
    """Replaces dead workers after the others have ended."""

    def died(self, child: Child, worker: Any, lost: Lost) -> bool:
        late = time.monotonic() + 5
        while worker.task == "die_twice" and not worker.traces("ended") and time.monotonic() < late:
            time.sleep(self.pause)
        return super().died(child, worker, lost)


class WaitsForTheOthers(Honest):
    """Raises the exception of a worker after the others have ended by themselves."""

    def end(self, children: list[Child]) -> None:
        for child in children:
            child.process.join()


class ReplacesOnce(Honest):
    """Replaces a dead worker only once."""

    def tell(self, lost: Lost, name: str, failure: Failure) -> bool:
        again: bool = self.__dict__.get("replaced", False)
        self.__dict__["replaced"] = True
        return lost(name, failure) and not again


@pytest.mark.parametrize(
    ("executor", "check", "message"),
    [
        (NoticesDeathsAtTheEnd, "test_replaces_a_dead_worker", "replaced only after another one had ended"),
        (ReplacesOnce, "test_replaces_a_dead_worker", "3 workers were started, expected 4"),
        (WaitsForTheOthers, "test_ends_the_others_after_an_error", "waited until another worker had ended by itself"),
    ],
)
def test_slow_reactions_are_rejected(
    executor: type[Honest], check: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 1.0)
    monkeypatch.setattr("hpt_core.testing.executor._PATIENCE", 0.3)
    with pytest.raises(AssertionError, match=message):
        getattr(KIT(), check)(executor, tmp_path)
