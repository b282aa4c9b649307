"""The state that the commands of one ``hpt`` process share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.text import say

if TYPE_CHECKING:
    import logging

    from hpt_core.plugins.plugins import Plugins
    from hpt_core.study.settings import RunSettings
    from hpt_core.study.study import Study

__all__ = ["Session"]


class Session:
    """The state of one invocation of ``hpt``; `click.Context.obj` of every command.

    Args:
        plugins: The plugins to use; None for the installed ones, which are found on first use.

    Attributes:
        debug: Whether to print tracebacks of errors.
        subject: The file that error messages refer to; empty if there is none.
    """

    def __init__(self, plugins: Plugins | None = None) -> None:
        self.debug = False
        self.subject: str = ""
        self._given = plugins
        self._disabled: list[str] = []
        self._handler: logging.Handler | None = None

    def disable(self, names: Sequence[str]) -> None:
        """Disable plugins, here and in the worker processes that this process starts."""
        self._disabled += names
        before = os.environ.get("HPT_DISABLE_PLUGINS", "")
        os.environ["HPT_DISABLE_PLUGINS"] = ",".join(filter(None, [before, *names]))

    @cached_property
    def plugins(self) -> Plugins:
        """The plugins, with a warning for each disabled name that is not a plugin."""
        from hpt_core.plugins.plugins import default_plugins
        from hpt_core.spelling import did_you_mean

        self._show_log()
        with redirect_stdout(sys.stderr):  # modules of plugins may print when they are imported
            plugins = self._given or default_plugins()
            known = {name for info in plugins.plugins for name in (info.name, info.distribution) if name}
        for name in self._disabled:
            if name not in known:
                say(f"Warning: --no-plugin: there is no plugin {name!r}.{did_you_mean(name, sorted(known))}")
        return plugins

    @cached_property
    def commands(self) -> dict[str, click.Command]:
        """The commands of plugins, by name."""
        collected = _PluginCommands("hpt")
        self.plugins.commands(collected)
        return dict(sorted(collected.commands.items()))

    def make_study(
        self, file: Path, overrides: Sequence[str] = (), given: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[Study, RunSettings]:
        """Make the study in a file. Error messages refer to the file from then on.

        Args:
            file: The study file.
            overrides: Keys of the file to override, as ``"key.path=value"``.
            given: Values that override top-level keys of the file.
            options: See `hpt_core.study.config.make_study`.
        """
        from hpt_core.study.config import make_study, read_study_file

        data = read_study_file(file, overrides) | dict(given or {})
        self.subject = str(file)
        return make_study(data, folder=file.parent, plugins=self.plugins, **options)

    def close(self) -> None:
        """Restore the logging configuration of the process."""
        if self._handler is not None:
            import logging

            logger = logging.getLogger("hpt")
            logger.removeHandler(self._handler)
            logger.propagate = True
            self._handler = None

    def _show_log(self) -> None:
        """Print what the core and plugins log, in the style of all other messages."""
        import logging

        session = self

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                try:
                    say(_line_of(record, debug=session.debug))
                except Exception:  # noqa: BLE001 - a failed log message must not end the study
                    self.handleError(record)

        self._handler = Handler(logging.WARNING)
        self._handler.addFilter(lambda record: record.name != "hpt.trials")  # `hpt run` shows trials in its own way
        logger = logging.getLogger("hpt")
        logger.addHandler(self._handler)
        logger.propagate = False  # a plugin that configures logging would print everything twice


class _PluginCommands(click.Group):
    """Collects the commands of plugins; refuses a name that is taken."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        from hpt_core.cli.group import COMMANDS

        name = name or cmd.name or ""
        if name in COMMANDS or name in self.commands:
            msg = f"there is already a command {name!r}"
            raise ValueError(msg)
        super().add_command(cmd, name)


def _line_of(record: logging.LogRecord, *, debug: bool) -> str:
    line = f"Warning: {record.getMessage()}"  # at any level: real errors are raised
    if record.exc_info and record.exc_info[1] is not None:
        import traceback

        error = record.exc_info[1]
        if debug:
            return line + "\n" + "".join(traceback.format_exception(error)).rstrip()
        line += f" {type(error).__name__}: {error}"
    return line
