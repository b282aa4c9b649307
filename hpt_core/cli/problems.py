"""Error messages for users: what, where and how to fix it; a traceback only where it helps the user."""

from __future__ import annotations

import contextlib
import importlib
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpt_core.cli.text import say
from hpt_core.errors import DefinitionChangedError, HptError, PluginError, UsageError
from hpt_core.tracebacks import CORE_FOLDER

if TYPE_CHECKING:
    from hpt_core.cli.session import Session

__all__ = ["INTERNAL_ERROR", "report", "usage_text"]

INTERNAL_ERROR = 70
"""``EX_SOFTWARE`` of ``sysexits.h``: a bug, so none of the documented exit codes."""

_CLICK = f"{Path(click.__file__).parent}{os.sep}"
_LEADING = (CORE_FOLDER, _CLICK, str(importlib.__file__), str(contextlib.__file__), "<frozen")
"""Files whose frames precede those of a plugin in a traceback."""


def report(err: Exception, session: Session) -> int:
    """Report an error to the user on stderr.

    Returns:
        The exit code for the error.
    """
    if session.debug:
        say("".join(traceback.format_exception(err)).rstrip())
    if not isinstance(err, HptError):
        say(f"Error: {type(err).__name__}: {err}{_plugin_frame(err)}")
        hint = "" if session.debug else " Run `hpt --debug ...` for the traceback."
        say(f"This is a bug in hpt or in a plugin.{hint}")
        return INTERNAL_ERROR
    say("Error: " + (usage_text(err, session.subject) if isinstance(err, UsageError) else str(err)))
    if isinstance(err, PluginError) and not session.debug:
        _print_cause(err)
    return err.exit_code


def usage_text(err: UsageError, subject: str = "") -> str:
    """The mistakes of an error, with the file that they are in, if any."""
    if isinstance(err, DefinitionChangedError):
        head, *rest = err.mistakes
        return "\n".join([str(head), *(f"  {mistake}" for mistake in rest)])
    if len(err.mistakes) > 1:
        place = f"{len(err.mistakes)} errors{f' in {subject}' if subject else ''}:"
        return "\n".join([place, *(f"  {mistake}" for mistake in err.mistakes)])
    # a message without a key is about the file itself
    in_file = subject and any(mistake.path for mistake in err.mistakes)
    return f"{subject}: {err}" if in_file else str(err)


def _print_cause(err: PluginError) -> None:
    """Print the traceback of the exception inside the plugin, from where the core called the plugin."""
    if err.__cause__ is not None:
        trace = traceback.TracebackException.from_exception(err.__cause__)
        while trace.stack and trace.stack[0].filename.startswith(_LEADING):
            trace.stack.pop(0)
        if trace.stack or trace.__cause__:
            say("".join(trace.format()).rstrip())
    for note in getattr(err, "__notes__", ()):
        say(note.rstrip())


def _plugin_frame(err: Exception) -> str:
    """The first frame of a plugin in the traceback, if there is one, as a line to append."""
    theirs = [frame for frame in traceback.extract_tb(err.__traceback__) if not frame.filename.startswith(_LEADING)]
    return f"\nRaised through {theirs[0].filename}, line {theirs[0].lineno}, in {theirs[0].name}." if theirs else ""
