"""hpt plugin: the store `postgres`, which keeps many studies in a PostgreSQL database."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stores() -> dict[str, str]:
    """Name the store of this plugin, also by the scheme that PostgreSQL's URLs have."""
    return dict.fromkeys(("postgres", "postgresql"), "hpt_store_postgres.store:PostgresStore")
