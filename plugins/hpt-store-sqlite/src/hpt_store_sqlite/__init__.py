"""hpt plugin: the store `sqlite`, which keeps many studies in one SQLite file."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1

_ENDINGS = (".db", ".sqlite", ".sqlite3")


@hookimpl
def hpt_stores() -> dict[str, str]:
    """Name the store of this plugin."""
    return {"sqlite": "hpt_store_sqlite.store:SqliteStore"}


@hookimpl
def hpt_store_for(location: str) -> str | None:
    """Claim files with the usual endings of an SQLite database."""
    return "sqlite" if location.lower().endswith(_ENDINGS) else None
