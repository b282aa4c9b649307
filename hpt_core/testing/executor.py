"""The conformance kit for executors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from hpt_core.components import Executor
from hpt_core.errors import HptError
from hpt_core.testing.checks import check
from hpt_core.testing.component import ComponentKit
from hpt_core.testing.crew import Crew
from hpt_core.trial import FAILURE_KINDS, Failure

__all__ = ["ExecutorKit"]

Make = Callable[[], Executor]

_PATIENCE = 2.0


class Losses:
    """Takes an executor's word that a worker died.

    Args:
        replace: How many times to ask for another worker.
    """

    def __init__(self, replace: int = 0) -> None:
        self.told: list[tuple[str, Failure]] = []
        self._replace = replace

    def __call__(self, name: str, failure: Failure) -> bool:
        """What the executor calls."""
        self.told.append((name, failure))
        return len(self.told) <= self._replace


class ExecutorKit(ComponentKit):
    """What every executor must pass. Override `make_executor`.

    Attributes:
        ends_late_trials: Whether it minds the worker's ``trial_timeout``.
    """

    ends_late_trials: ClassVar[bool] = True

    @pytest.fixture
    def make_executor(self) -> Make:
        """Override this: a callable that makes a new executor, as ``return MyExecutor`` does."""
        msg = "Override the fixture `make_executor` to return a callable that makes your executor."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_executor: Make) -> Make:
        """For the checks of all kits."""
        return make_executor

    @check
    def test_runs_all_workers_at_once(self, make_executor: Make, tmp_path: Path) -> None:
        """It starts ``count`` workers that run side by side.

        Why: the user asked for so many; workers that wait for each other are one worker.
        """
        crew = Crew(tmp_path, "meet", count=3)
        make_executor().run(crew, 3, Losses())
        _wait_for(lambda: len(crew.traces("met")) >= 3)
        assert len(crew.traces("started")) == 3, f"{len(crew.traces('started'))} workers were started"
        assert len(crew.traces("met")) == 3, "they did not run at the same time"

    @check
    def test_names_each_worker(self, make_executor: Make, tmp_path: Path) -> None:
        """Each worker is given a name of its own, a text that is not empty.

        Why: by it the log tells who had which trial when one of them dies.
        """
        crew = Crew(tmp_path, "leave", count=3)
        make_executor().run(crew, 3, Losses())
        names = crew.traces("started")
        assert all(names), "a name is empty"
        assert len(set(names)) == len(names), f"the names are {', '.join(sorted(names))}"

    @check
    def test_waits_until_all_have_ended(self, make_executor: Make, tmp_path: Path) -> None:
        """``run`` returns when the last worker has ended.

        Why: the run is concluded and the store closed after it; a worker that still trains would lose its trial.
        """
        crew = Crew(tmp_path, "last_one_late", count=2)
        make_executor().run(crew, 2, Losses())
        assert len(crew.traces("ended")) == 2, f"{len(crew.traces('ended'))} of 2 workers had ended"

    @check
    def test_tells_of_a_death(self, make_executor: Make, tmp_path: Path) -> None:
        """When a worker's process dies it calls ``lost`` once, with its name and why.

        Why: the trial that it had would stay 'running' for ever; the kind and message are what the user sees.
        """
        losses = self._after_a_death(make_executor, Crew(tmp_path, "die", count=2), replace=1)
        assert len(losses.told) == 1, f"lost() was called {len(losses.told)} times"
        name, failure = losses.told[0]
        assert [name] == [path.read_text() for path in tmp_path.glob("died-*")], f"it named the worker {name!r}"
        assert isinstance(failure, Failure), f"it gave {failure!r}"
        assert failure.kind in FAILURE_KINDS, f"it gave the kind {failure.kind!r}"
        assert failure.message, "the failure has no message"

    @check
    def test_replaces_a_dead_worker(self, make_executor: Make, tmp_path: Path) -> None:
        """Where ``lost`` returns True, it starts another worker in place of the dead one.

        Why: otherwise a study loses a worker with every crash, and ends with none.
        """
        crew = Crew(tmp_path, "die", count=2)
        self._after_a_death(make_executor, crew, replace=1)
        assert len(crew.traces("started")) == 3, f"{len(crew.traces('started'))} workers were started in all, not 3"

    @check
    def test_replaces_nobody_unasked(self, make_executor: Make, tmp_path: Path) -> None:
        """Where ``lost`` returns False, it starts no other worker.

        Why: a worker that dies before it has a trial dies again and again; the run must come to an end.
        """
        crew = Crew(tmp_path, "die", count=2)
        self._after_a_death(make_executor, crew, replace=0)
        assert len(crew.traces("started")) == 2, f"{len(crew.traces('started'))} workers were started in all, not 2"

    @check
    def test_passes_errors_on(self, make_executor: Make, tmp_path: Path) -> None:
        """What a worker raises comes out of ``run``.

        Why: it is a mistake of the user's or of a plugin's; the run must not look like a success.
        """
        with pytest.raises(LookupError, match="raised by a worker of the kit"):
            make_executor().run(Crew(tmp_path, "fail", count=1), 1, Losses())

    @check
    def test_ends_the_others_after_an_error(self, make_executor: Make, tmp_path: Path) -> None:
        """When a worker raised, the others are ended before ``run`` raises.

        Why: they would go on training, and writing to a store that is closed, behind the user's back.
        """
        crew = Crew(tmp_path, "fail", count=2)
        with contextlib.suppress(Exception):
            make_executor().run(crew, 2, Losses())
        before = crew.traces("beat")
        time.sleep(0.1)  # some beats
        assert crew.traces("beat") == before, "another worker still runs"

    @check
    def test_gives_workers_the_store(self, make_executor: Make, tmp_path: Path) -> None:
        """A worker gets the caller's store to read and write, or None to open its own.

        Why: what a worker writes elsewhere is lost, with the trials in it.
        """
        crew = Crew(tmp_path, "record", count=2)
        make_executor().run(crew, 2, Losses())
        written, own = len(crew.store.read("kit")), len(crew.traces("own"))
        assert written + own == 2, f"2 workers wrote a record each; {written} reached the caller's store"
        assert own or max(map(int, crew.traces("read"))) == 2, "a worker does not read what the others wrote"

    @check
    def test_ends_late_trials(self, make_executor: Make, tmp_path: Path) -> None:
        """A worker whose trial takes longer than ``trial_timeout`` is killed, and ``lost`` told of kind ``timeout``.

        Why: a hanging trial would hold its worker for ever.
        """
        if not self.ends_late_trials:
            pytest.skip("this executor says that it does not mind trial_timeout")
        losses = Losses(replace=1)
        with contextlib.suppress(HptError):
            make_executor().run(Crew(tmp_path, "linger", trial_timeout=0.2), 1, losses)
        assert [failure.kind for _, failure in losses.told] == ["timeout"]

    def _after_a_death(self, make_executor: Make, crew: Crew, replace: int) -> Losses:
        losses = Losses(replace)
        with contextlib.suppress(HptError):  # it may say so where nobody is left
            make_executor().run(crew, crew.count, losses)
        _wait_for(lambda: len(crew.traces("ended")) >= crew.count - 1 + replace)
        return losses


def _wait_for(reached: Callable[[], bool]) -> None:
    """Give workers time: whether `Executor.run` waits for them is another check's business."""
    deadline = time.monotonic() + _PATIENCE
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.01)
