"""The group of all commands: it loads one when it is called, and turns errors into messages and exit codes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from hpt_core import __version__
from hpt_core.cli.session import Session

__all__ = ["COMMANDS", "INTERRUPTED", "HptGroup", "hpt"]

INTERRUPTED = 130

_NAMED = {"study": "the study", "store": "the store where it is"}

COMMANDS = {
    "init": "Write a study file that runs as it is.",
    "check": "Say what a study file means, or all that is wrong in it.",
    "run": "Run a study, or go on with it.",
    "studies": "List the studies in a store.",
    "show": "Show how a study is defined and how it stands.",
    "best": "Show the best configuration.",
    "trials": "List the trials.",
    "export": "Write the trials as CSV, JSON, JSON Lines or Parquet.",
    "verify": "Take every decision of a study again and compare.",
    "plugins": "List the plugins, or show what one offers.",
    "new": "Write a plugin that passes its kit as it is.",
    "completion": "Print the script that completes hpt's commands in a shell.",
}
"""Name -> help line of the commands in this package, in the order in which one meets them."""


class HptGroup(click.Group):
    """``hpt``: the commands of this package, and those of plugins."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make the context with a `Session` for the commands to share."""
        session = extra.pop("obj", None) or Session()
        try:
            context = super().make_context(info_name, args, parent, obj=session, **extra)
        except KeyboardInterrupt as err:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from err
        except Exception as err:
            code = _exit_code(err, session)
            session.close()
            raise click.exceptions.Exit(code) from err
        context.call_on_close(session.close)
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, those of plugins last."""
        try:
            return [*COMMANDS, *_session(ctx).commands]
        except Exception:
            if not ctx.resilient_parsing:
                raise
            return list(COMMANDS)  # a shell that completes a word is no place for messages

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; plugins are asked only for one that is not here."""
        if cmd_name not in COMMANDS:
            return _session(ctx).commands.get(cmd_name)
        command: click.Command = import_module(f"hpt_core.cli.{cmd_name}").command
        present = {parameter.name for parameter in command.params}
        command.params += [option for option in _everywhere(hidden=True) if option.name not in present]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            from hpt_core.spelling import nearest_or_known

            ctx.fail(f"There is no command {name!r}. {nearest_or_known(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading those of this package."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        offered = _session(ctx).commands
        rows = [(name, command.get_short_help_str()) for name, command in offered.items() if not command.hidden]
        if rows:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error ends in a message and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as err:
            raise click.exceptions.Exit(_exit_code(err, _session(ctx))) from err


def _exit_code(err: Exception, session: Session) -> int:
    """Tell of an error and give its exit code; what click itself tells and ends with is passed on."""
    broken_pipe = isinstance(err, OSError) and err.errno == errno.EPIPE
    if isinstance(err, click.UsageError) and err.ctx and err.message.startswith("Got unexpected extra argument"):
        options = {parameter.name for parameter in err.ctx.command.params}
        said = " and ".join(f"--{name} names {what}" for name, what in _NAMED.items() if name in options)
        err = click.UsageError(f"{err.message}. {said}." if said else err.message, err.ctx)
    if broken_pipe or isinstance(err, (click.ClickException, click.exceptions.Exit, click.Abort)):
        raise err
    from hpt_core.cli.problems import tell

    return tell(err, session)


def _session(ctx: click.Context) -> Session:
    session = ctx.find_object(Session)
    assert session is not None
    return session


def _set_debug(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        _session(ctx).debug = True


def _disable(ctx: click.Context, _: click.Parameter, names: tuple[str, ...]) -> None:
    if names:
        _session(ctx).disable(names)


def _complete_plugin(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from importlib.metadata import entry_points

    return sorted(point.name for point in entry_points(group="hpt") if point.name.startswith(incomplete))


def _everywhere(*, hidden: bool) -> Iterator[click.Option]:
    """The options of ``hpt`` itself; they may stand behind the command, too."""
    yield click.Option(
        ["--no-plugin"],
        multiple=True,
        metavar="NAME",
        callback=_disable,
        expose_value=False,
        is_eager=True,
        hidden=hidden,
        shell_complete=_complete_plugin,
        help="Leave a plugin out (repeatable; as HPT_DISABLE_PLUGINS=NAME,NAME).",
    )
    yield click.Option(
        ["--debug"],
        is_flag=True,
        callback=_set_debug,
        expose_value=False,
        is_eager=True,
        hidden=hidden,
        help="Show the tracebacks of errors.",
    )


hpt = HptGroup(
    "hpt",
    help="""Tune hyperparameters.

    \b
    Begin with:
      hpt init          writes study.toml
      hpt run study.toml
      hpt best

    Results go to stdout, talk goes to stderr. Exit codes: 0 ok, 1 no trial succeeded, 2 usage or study file, 3 plugin,
    4 store, 130 interrupted.""",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[*_everywhere(hidden=False)],
)
click.version_option(__version__, prog_name="hpt")(hpt)
