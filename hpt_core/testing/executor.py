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
from hpt_core.history.trial import FAILURE_KINDS, Failure
from hpt_core.testing.checks import check
from hpt_core.testing.component import ComponentKit
from hpt_core.testing.crew import Crew

__all__ = ["ExecutorKit"]

Make = Callable[[], Executor]

_PATIENCE = 2.0


class Losses:
    """Records the calls of ``lost`` that an executor makes.

    Args:
        replace: How many times to ask for a replacement.
    """

    def __init__(self, replace: int = 0) -> None:
        self.calls: list[tuple[str, Failure]] = []
        self._replace = replace

    def __call__(self, name: str, failure: Failure) -> bool:
        """Record the loss of a worker; return whether to replace it."""
        self.calls.append((name, failure))
        return len(self.calls) <= self._replace


class ExecutorKit(ComponentKit):
    """The checks that every executor must pass. Override `make_executor`.

    Attributes:
        ends_late_trials: Whether the executor enforces the worker's ``trial_timeout``.
    """

    ends_late_trials: ClassVar[bool] = True

    @pytest.fixture
    def make_executor(self) -> Make:
        """Override this to return a callable that makes a new executor, for example ``return MyExecutor``."""
        msg = "Override the fixture `make_executor` to return a callable that makes your executor."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_executor: Make) -> Make:
        """Used by the checks that all kits share."""
        return make_executor

    @check
    def test_runs_all_workers_at_once(self, make_executor: Make, tmp_path: Path) -> None:
        """``run`` starts ``count`` workers that run at the same time.

        Why: the user configured that number. Workers that run one after the other do the work of one.
        """
        crew = Crew(tmp_path, "meet", count=3)
        make_executor().run(crew, 3, Losses())
        _wait_for(lambda: len(crew.traces("met")) >= 3)
        assert len(crew.traces("started")) == 3, f"{len(crew.traces('started'))} workers were started, expected 3"
        assert len(crew.traces("met")) == 3, "the workers did not run at the same time"

    @check
    def test_runs_again(self, make_executor: Make, tmp_path: Path) -> None:
        """An executor can be used for another run.

        Why: a program may run its study again with more trials, or several studies with one executor.
        """
        executor = make_executor()
        for count in (2, 4):
            crew = Crew(tmp_path, "leave", count=2)
            executor.run(crew, 2, Losses())
            _wait_for(lambda: len(crew.traces("ended")) >= count)  # noqa: B023 - called here
            started = len(crew.traces("started"))
            assert started == count, f"after {count // 2} runs of 2 workers, {started} workers were started"

    @check
    def test_names_each_worker(self, make_executor: Make, tmp_path: Path) -> None:
        """Each worker gets a unique, non-empty name.

        Why: the log uses the name to tell which trial a worker had when it died.
        """
        crew = Crew(tmp_path, "leave", count=3)
        make_executor().run(crew, 3, Losses())
        names = crew.traces("started")
        assert all(names), "a worker has an empty name"
        assert len(set(names)) == len(names), f"the names are not unique: {', '.join(sorted(names))}"

    @check
    def test_waits_until_all_have_ended(self, make_executor: Make, tmp_path: Path) -> None:
        """``run`` returns only after the last worker has ended.

        Why: then the run is concluded and the store is closed. A worker that still trains would lose its trial.
        """
        crew = Crew(tmp_path, "last_one_late", count=2)
        make_executor().run(crew, 2, Losses())
        assert len(crew.traces("ended")) == 2, f"{len(crew.traces('ended'))} of 2 workers had ended when run() returned"

    @check
    def test_tells_of_a_death(self, make_executor: Make, tmp_path: Path) -> None:
        """If a worker process dies, ``lost`` is called once with the worker's name and the failure.

        Why: otherwise its trial stays 'running' forever. Users see the kind and the message of the failure.
        """
        losses = self._after_a_death(make_executor, Crew(tmp_path, "die", count=2), replace=1)
        assert len(losses.calls) == 1, f"lost() was called {len(losses.calls)} times, expected 1"
        name, failure = losses.calls[0]
        assert [name] == [path.read_text() for path in tmp_path.glob("died-*")], f"lost() was called for {name!r}"
        assert isinstance(failure, Failure), f"lost() was called with {failure!r}, expected a Failure"
        assert failure.kind in FAILURE_KINDS, f"the failure has the unknown kind {failure.kind!r}"
        assert failure.message, "the failure has no message"

    @check
    def test_replaces_a_dead_worker(self, make_executor: Make, tmp_path: Path) -> None:
        """If ``lost`` returns True, another worker is started immediately in place of the dead one.

        Why: otherwise a study loses one worker with every crash, and in the end has none.
        """
        crew = Crew(tmp_path, "die_twice", count=2)
        self._after_a_death(make_executor, crew, replace=2)
        started = len(crew.traces("started"))
        assert started == 4, f"a worker and its replacement died, and {started} workers were started, expected 4"
        assert len(crew.traces("met")) == 2, "a dead worker was replaced only after another one had ended"

    @check
    def test_replaces_nobody_unasked(self, make_executor: Make, tmp_path: Path) -> None:
        """If ``lost`` returns False, no other worker is started.

        Why: a worker that dies before it has a trial would die again and again. The run must end.
        """
        crew = Crew(tmp_path, "die", count=2)
        self._after_a_death(make_executor, crew, replace=0)
        assert len(crew.traces("started")) == 2, f"{len(crew.traces('started'))} workers started, expected 2"

    @check
    def test_passes_errors_on(self, make_executor: Make, tmp_path: Path) -> None:
        """An exception in a worker is raised by ``run``.

        Why: it is an error of the user's code or of a plugin. The run must not look successful.
        """
        with pytest.raises(LookupError, match="raised by a worker of the kit"):
            make_executor().run(Crew(tmp_path, "fail", count=1), 1, Losses())

    @check
    def test_ends_the_others_after_an_error(self, make_executor: Make, tmp_path: Path) -> None:
        """If a worker raises, the other workers are ended before ``run`` raises.

        Why: otherwise they keep training in the background, and write to a store that is closed.
        """
        crew = Crew(tmp_path, "fail", count=2)
        with contextlib.suppress(Exception):
            make_executor().run(crew, 2, Losses())
        before = crew.traces("beat")
        time.sleep(0.1)  # several beats
        assert crew.traces("beat") == before, "another worker is still running after run() has raised"
        assert not crew.traces("ended"), "run() waited until another worker had ended by itself"

    @check
    def test_gives_workers_the_store(self, make_executor: Make, tmp_path: Path) -> None:
        """A worker gets access to the caller's store, or None to open the store itself.

        Why: records that a worker writes anywhere else are lost, trials included.
        """
        crew = Crew(tmp_path, "record", count=2)
        make_executor().run(crew, 2, Losses())
        written, own = len(crew.store.read("kit")), len(crew.traces("own"))
        assert written + own == 2, f"2 workers wrote one record each, but {written} reached the caller's store"
        assert own or max(map(int, crew.traces("read"))) == 2, "a worker does not see the records of the others"

    @check
    def test_ends_late_trials(self, make_executor: Make, tmp_path: Path) -> None:
        """A worker whose trial exceeds ``trial_timeout`` is killed, and ``lost`` gets a failure of kind ``timeout``.

        Why: otherwise a hanging trial blocks its worker forever.
        """
        if not self.ends_late_trials:
            pytest.skip("this executor declares ends_late_trials = False")
        losses = Losses(replace=1)
        with contextlib.suppress(HptError):
            make_executor().run(Crew(tmp_path, "linger", trial_timeout=0.2), 1, losses)
        kinds = [failure.kind for _, failure in losses.calls]
        assert kinds == ["timeout"], f"lost() was called with the kinds {kinds}, expected one timeout"

    def _after_a_death(self, make_executor: Make, crew: Crew, replace: int) -> Losses:
        losses = Losses(replace)
        with contextlib.suppress(HptError):  # it may raise if no worker is left
            make_executor().run(crew, crew.count, losses)
        _wait_for(lambda: len(crew.traces("ended")) >= crew.count - len(losses.calls) + replace)
        return losses


def _wait_for(reached: Callable[[], bool]) -> None:
    """Give the workers time; another check tests whether `Executor.run` waits for them."""
    deadline = time.monotonic() + _PATIENCE
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.01)
