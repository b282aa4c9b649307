"""What holds while estimators are fitted and scored, and not outside: threads and metadata routing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from hpt_evaluator_sklearn.routing import routing_context

__all__ = ["Workplace"]


class Workplace:
    """Limits threads and switches routing on, for a while.

    Libraries loaded by now are limited: make it when the estimators have been imported. Fits of one thread each
    are the same to the bit on any machine; and where processes share cores, threads that wait for each other
    cost far more than they save.

    Args:
        threads: Threads of linear algebra and OpenMP; 0 leaves them alone.
        routing: Whether to switch metadata routing on.
    """

    def __init__(self, threads: int, *, routing: bool) -> None:
        self._threads = threads
        self._routing = routing
        self._libraries = ThreadpoolController().lib_controllers if threads else []

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be at work until the context ends."""
        changed = []
        with routing_context(self._routing):
            try:
                for library in self._libraries:  # as ThreadpoolController.limit does, which takes stock of all first
                    before = library.get_num_threads()
                    if before is not None and before != self._threads:
                        library.set_num_threads(self._threads)
                        changed.append((library, before))
                yield
            finally:
                for library, before in changed:
                    library.set_num_threads(before)
