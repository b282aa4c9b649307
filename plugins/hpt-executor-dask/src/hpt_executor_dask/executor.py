"""The executor: a cluster, and a crew of workers on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs
import dask
from distributed import Client, LocalCluster
from distributed.utils import get_ip

from hpt_core import Failure, Mistake, UsageError, option
from hpt_executor_dask.crew import Crew

if TYPE_CHECKING:
    from hpt_core import WorkerCall

__all__ = ["DaskExecutor"]

_LOOPBACK = "127.0.0.1"
_SETTINGS = {
    "distributed.worker.daemon": False,  # a trial may start processes of its own
    "distributed.scheduler.allowed-failures": 0,  # who goes on in a dead worker's place is our decision
}


@attrs.define(kw_only=True)
class DaskExecutor:
    """Runs workers as tasks of a Dask cluster and replaces those that die.

    The process that runs the study keeps its store and serves it to the workers, so that they need no disk in common
    with it (trials that keep files in their ``workdir`` do). Time limits need workers with a nanny, as
    ``dask worker`` starts them unless told otherwise.
    """

    address: str | None = option(
        None, help="The scheduler, as in 'tcp://host:8786'; none: a cluster on this machine for the time of the run."
    )
    host: str | None = option(
        None,
        help="This machine's name or address as workers reach it; none: the one by which it reaches the scheduler.",
    )

    def run(self, worker: WorkerCall, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended; see `hpt_core.Executor`.

        Raises:
            UsageError: If there is no scheduler at ``address``.
        """
        with ExitStack() as stack:
            client = self._client(count, stack)
            crew = stack.enter_context(Crew(client, self._own_host(client), worker, lost))
            for _ in range(count):
                crew.hire()
            crew.serve()

    def _client(self, count: int, stack: ExitStack) -> Client:
        if self.address is None:
            stack.enter_context(dask.config.set(_SETTINGS))
            cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, host=_LOOPBACK, dashboard_address=f"{_LOOPBACK}:0"
            )
            stack.enter_context(cluster)
            return stack.enter_context(Client(cluster, set_as_default=False))
        try:
            return stack.enter_context(Client(self.address, set_as_default=False))
        except (OSError, ValueError) as err:
            message = f"There is no Dask scheduler at {self.address!r}: {err}"
            raise UsageError(Mistake("executor.address", message)) from err

    def _own_host(self, client: Client) -> str:
        if self.host is not None:
            return self.host
        scheduler = str(client.scheduler.addr).rpartition("://")[2].rpartition(":")[0]
        return str(get_ip(scheduler.strip("[]")))
