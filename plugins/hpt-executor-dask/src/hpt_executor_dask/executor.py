"""The executor: it connects to a Dask cluster and runs a pool of workers there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs
from distributed import Client, LocalCluster
from distributed.comm import get_address_host_port, normalize_address
from distributed.utils import get_ip

from hpt_core import Failure, Mistake, UsageError, option
from hpt_executor_dask.pool import WorkerPool

if TYPE_CHECKING:
    from hpt_core import WorkerCall

__all__ = ["DaskExecutor"]

_LOOPBACK = "127.0.0.1"


@attrs.define(kw_only=True)
class DaskExecutor:
    """Runs workers as tasks of a Dask cluster and replaces those that die.

    The process that runs the study keeps its store and serves it to the workers, so they need no shared disk
    (except for trials that keep files in their ``workdir``).
    """

    address: str | None = option(
        None,
        help="The scheduler, as in 'tcp://host:8786'. None: a cluster on this machine during the run.",
    )
    host: str | None = option(
        None,
        help="Name or address by which workers reach this machine. None: the one that reaches the scheduler.",
    )

    @property
    def elsewhere(self) -> bool:
        """Whether a single worker runs through this executor, too: its trials are meant for another machine."""
        return self.address is not None

    def run(self, worker: WorkerCall, count: int, lost: Callable[[str, Failure], bool]) -> None:
        """Run ``count`` workers until all have ended; see `hpt_core.Executor`.

        Raises:
            UsageError: If there is no scheduler at ``address``.
        """
        with ExitStack() as stack:
            client, host = self._client(count, stack)
            pool = stack.enter_context(WorkerPool(client, host, worker, lost))
            for _ in range(count):
                pool.start_worker()
            pool.serve()

    def _client(self, count: int, stack: ExitStack) -> tuple[Client, str]:
        """A client of the cluster, and this machine's address as its workers reach it."""
        if self.address is None:
            cluster = LocalCluster(
                n_workers=1,
                threads_per_worker=count,
                processes=False,
                dashboard_address=f"{_LOOPBACK}:0",
            )
            stack.enter_context(cluster)
            return stack.enter_context(Client(cluster, set_as_default=False)), self.host or _LOOPBACK
        try:
            get_address_host_port(normalize_address(self.address), strict=True)  # a client hangs at a malformed address
            client = stack.enter_context(Client(self.address, set_as_default=False))
        except (OSError, ValueError) as err:
            message = f"There is no Dask scheduler at {self.address!r}: {err}"
            raise UsageError(Mistake("executor.address", message)) from err
        return client, self.host or _own_host(client)


def _own_host(client: Client) -> str:
    scheduler = str(client.scheduler.addr).rpartition("://")[2].rpartition(":")[0]
    return str(get_ip(scheduler.strip("[]")))
