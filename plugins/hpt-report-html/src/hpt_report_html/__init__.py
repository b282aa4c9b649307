"""The commands ``hpt report`` (a study as one HTML page), ``hpt dashboard`` (live) and ``hpt importance`` for hpt."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpt_core import hookimpl

if TYPE_CHECKING:
    import click

    from hpt_report_html.importance import Importance, importances
    from hpt_report_html.page import report
    from hpt_report_html.pictures import figures

__all__ = ["Importance", "figures", "importances", "report"]

hpt_api_version = 1

_HOME = {"Importance": "importance", "figures": "pictures", "importances": "importance", "report": "page"}


@hookimpl
def hpt_commands(cli: click.Group) -> None:
    """Add ``hpt report``, ``hpt dashboard`` and ``hpt importance``."""
    from hpt_report_html.commands import dashboard, importance, report

    cli.add_command(report)
    cli.add_command(dashboard)
    cli.add_command(importance)


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            return getattr(import_module(f"hpt_report_html.{_HOME[name]}"), name)
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
