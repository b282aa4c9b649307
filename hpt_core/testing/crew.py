"""The workers of the executor kit: each does one simple task and leaves traces in a directory."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

import attrs

from hpt_core.components import Store
from hpt_core.plugins.plugins import default_plugins

__all__ = ["Crew"]

_PATIENCE = 40.0
_LONG = 4.0
_BEAT = 0.02


def _memory() -> Store:
    store: Store = default_plugins().make_store("memory")
    return store


@attrs.define
class Crew:
    """The worker that an executor runs, see `hpt_core.components.WorkerCall`.

    Attributes:
        folder: The directory for the workers' traces.
        task: The task of each worker: the name of a method.
        count: The intended number of workers.
        trial_timeout: The time limit that the executor must enforce.
        store: The store that the executor must make available; it is not pickled.
        home: The id of the process that made the crew.
    """

    folder: Path
    task: str
    count: int = 1
    trial_timeout: float | None = None
    store: Store = attrs.field(factory=_memory)
    home: int = attrs.field(factory=os.getpid)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the store, like the workers of a study."""
        return {name: getattr(self, name) for name in ("folder", "task", "count", "trial_timeout", "home")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle."""
        self.__init__(**state)  # type: ignore[misc]

    def __call__(self, name: str, store: Store | None = None) -> str:
        """Do the task as worker ``name``."""
        me = uuid.uuid4().hex
        self._leave("started", me, name)
        getattr(self, self.task)(me, name, store)
        self._leave("ended", me, name)
        return "done"

    def traces(self, kind: str) -> list[str]:
        """The texts of all traces of a kind."""
        return [path.read_text(encoding="utf-8") for path in sorted(self.folder.glob(f"{kind}-*"))]

    # --- tasks ------------------------------------------------------------------------------------------

    def leave(self, me: str, name: str, store: Store | None) -> None:
        """Return immediately."""

    def meet(self, me: str, name: str, store: Store | None) -> None:  # noqa: ARG002 - the arguments of all tasks
        """Wait until all workers have started."""
        self._meet(me, name, self.count)

    def _meet(self, me: str, name: str, started: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while len(self.traces("started")) < started and time.monotonic() < deadline:
            time.sleep(_BEAT)
        if len(self.traces("started")) >= started:
            self._leave("met", me, name)

    def last_one_late(self, me: str, name: str, store: Store | None) -> None:
        """Wait until all workers have started; one returns immediately, the others some time later."""
        self.meet(me, name, store)
        if not self._first("quick"):
            time.sleep(8 * _BEAT)

    def die(self, me: str, name: str, store: Store | None) -> None:  # noqa: ARG002 - all acts are called alike
        """The first worker dies; the others return."""
        if self._first("death"):
            self._die(me, name)

    def die_twice(self, me: str, name: str, store: Store | None) -> None:  # noqa: ARG002 - all acts are called alike
        """The first and the third worker die; the others wait until two more have started."""
        if self._first("death"):
            self._die(me, name)
        if not self._first("survivor") and self._first("second death"):
            self._die(me, name)
        self._meet(me, name, self.count + 2)

    def _die(self, me: str, name: str) -> None:
        self._leave("died", me, name)
        if os.getpid() == self.home:
            msg = "the worker runs in the process that called run(), so its death would end that process"
            raise RuntimeError(msg)
        os._exit(7)

    def fail(self, me: str, name: str, store: Store | None) -> None:
        """Wait until all workers have started; the first one raises, the others keep working."""
        self.meet(me, name, store)
        if self._first("failure"):
            msg = "raised by a worker of the kit"
            raise LookupError(msg)
        for _ in range(int(_PATIENCE / _BEAT)):
            self._leave("beat", me, str(time.time()))
            time.sleep(_BEAT)

    def record(self, me: str, name: str, store: Store | None) -> None:
        """Append a record and read the log."""
        if store is None:
            self._leave("own", me, name)
            return
        store.append("kit", [{"event": "note", "time": 0.0, "subject": name, "content": {}}])
        self._leave("read", me, str(len(store.read("kit"))))

    def linger(self, me: str, name: str, store: Store | None) -> None:  # noqa: ARG002 - all acts are called alike
        """The first worker starts a trial that takes long; the others return."""
        if self._first("long"):
            if store is not None:
                store.append("kit", [{"event": "started", "time": 0.0, "trial": 0, "worker": name}])
            time.sleep(_LONG)

    def _leave(self, kind: str, me: str, text: str) -> None:
        (self.folder / f"{kind}-{me}").write_text(text, encoding="utf-8")

    def _first(self, what: str) -> bool:
        try:
            (self.folder / what).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
