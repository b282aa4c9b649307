"""Errors for people: what, where, what would be right; a traceback only where it helps its reader."""

from __future__ import annotations

import contextlib
import importlib
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.text import say
from hpt_core.errors import DefinitionChangedError, HptError, PluginError, UsageError

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["INTERNAL_ERROR", "tell"]

INTERNAL_ERROR = 70
"""What ``sysexits.h`` calls an internal software error: a bug of ours, so none of the documented codes."""

_CORE = str(Path(__file__).parents[1])
_LEADING = (_CORE, str(Path(click.__file__).parent), str(importlib.__file__), str(contextlib.__file__), "<frozen")
"""Whose frames stand before those of a plugin."""


def tell(err: Exception, session: Session) -> int:
    """Tell the user of an error on stderr.

    Returns:
        The exit code that goes with it.
    """
    if session.debug:
        say("".join(traceback.format_exception(err)).rstrip())
    if not isinstance(err, HptError):
        say(f"Error: {type(err).__name__}: {err}{_way(err)}")
        say(f"This is a bug, of hpt or of a plugin.{_how_to_see(session)}")
        return INTERNAL_ERROR
    say("Error: " + (_mistakes(err, session.subject) if isinstance(err, UsageError) else str(err)))
    if isinstance(err, PluginError) and not session.debug:
        _tell_cause(err)
    return err.exit_code


def _how_to_see(session: Session) -> str:
    return "" if session.debug else " `hpt --debug ...` shows where it comes from."


def _mistakes(err: UsageError, subject: str) -> str:
    if isinstance(err, DefinitionChangedError):
        head, *rest = err.mistakes
        return "\n".join([str(head), *(f"  {mistake}" for mistake in rest)])
    if len(err.mistakes) > 1:
        place = f"{len(err.mistakes)} mistakes{f' in {subject}' if subject else ''}:"
        return "\n".join([place, *(f"  {mistake}" for mistake in err.mistakes)])
    # a message without a key speaks of the file itself
    in_file = subject and any(mistake.path for mistake in err.mistakes)
    return f"{subject}: {err}" if in_file else str(err)


def _tell_cause(err: PluginError) -> None:
    """Show the traceback of what was raised inside the plugin, from where the core called it."""
    if err.__cause__ is not None:
        report = traceback.TracebackException.from_exception(err.__cause__)
        while report.stack and report.stack[0].filename.startswith(_LEADING):
            report.stack.pop(0)
        if report.stack or report.__cause__:
            say("".join(report.format()).rstrip())
    for note in getattr(err, "__notes__", ()):
        say(note.rstrip())


def _way(err: Exception) -> str:
    """Which code of a plugin was at work, if any was."""
    theirs = [frame for frame in traceback.extract_tb(err.__traceback__) if not frame.filename.startswith(_LEADING)]
    return f"\nIt came by way of {theirs[0].filename}, line {theirs[0].lineno}, in {theirs[0].name}." if theirs else ""
