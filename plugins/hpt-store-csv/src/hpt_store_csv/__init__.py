"""hpt plugin: the store `csv`, which keeps a study in a file that opens in a spreadsheet."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stores() -> dict[str, str]:
    """Name the store of this plugin."""
    return {"csv": "hpt_store_csv.store:CsvStore"}


@hookimpl
def hpt_store_for(location: str) -> str | None:
    """Claim locations that end with ``.csv``, and folders written with a slash (``results/``)."""
    return "csv" if location.lower().endswith((".csv", "/")) else None
