"""The executor ``dask`` for hpt: a study's workers on a Dask cluster."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_executors() -> dict[str, str]:
    """Offer the executor."""
    return {"dask": "hpt_executor_dask.executor:DaskExecutor"}
