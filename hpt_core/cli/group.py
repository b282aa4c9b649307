"""The ``hpt`` command group: loads each command when it is called, turns errors into messages and exit codes."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import click

from hpt_core import __version__
from hpt_core.cli.session import Session

__all__ = ["COMMANDS", "INTERRUPTED", "HptGroup", "hpt"]

INTERRUPTED = 130

COMMANDS = {
    "init": "Create a study file that is ready to run.",
    "check": "Check a study file and list every error in it.",
    "run": "Run a study, or resume it.",
    "studies": "List the studies in a store.",
    "show": "Show the definition and the state of a study.",
    "best": "Show the best configuration.",
    "trials": "List the trials of a study.",
    "export": "Export the trials as CSV, JSON, JSON Lines or Parquet.",
    "verify": "Recompute every decision of a study and compare.",
    "plugins": "List, show, check or test the installed plugins.",
    "new": "Create a plugin that passes its conformance kit.",
    "completion": "Print the completion script for a shell.",
}
"""Name -> short help of the commands in this package, in the order in which a user needs them."""


class HptGroup(click.Group):
    """``hpt``: the commands of this package and those of plugins."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make the context with the `Session` that the commands share."""
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
        """The names of all commands, those of plugins last."""
        try:
            return [*COMMANDS, *_session(ctx).commands]
        except Exception:
            if not ctx.resilient_parsing:
                raise
            return list(COMMANDS)  # shell completion must not print errors

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; plugins are loaded only for a command that is not in this package."""
        if cmd_name not in COMMANDS:
            return _session(ctx).commands.get(cmd_name)
        command: click.Command = import_module(f"hpt_core.cli.{cmd_name}").command
        for each in (command, *getattr(command, "commands", {}).values()):  # `hpt plugins` has commands of its own
            present = {parameter.name for parameter in each.params}
            each.params += [option for option in _global_options(hidden=True) if option.name not in present]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the nearest name."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            from hpt_core.plugins.distributions import COMMANDS as OFFERED
            from hpt_core.spelling import nearest_or_known

            if name in OFFERED:
                hint = f"It comes with the plugin {OFFERED[name]};"
            else:
                hint = f"{nearest_or_known(name, self.list_commands(ctx))} Some commands come with plugins;"
            ctx.fail(f"No such command {name!r}. {hint} 'hpt plugins' lists those installed.")
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
        """Run the command; turn an error into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as err:
            raise click.exceptions.Exit(_exit_code(err, _session(ctx))) from err


def _exit_code(err: Exception, session: Session) -> int:
    """Report an error and return its exit code; raise again what click itself handles."""
    broken_pipe = isinstance(err, OSError) and err.errno == errno.EPIPE
    if isinstance(err, click.UsageError) and err.ctx and err.message.startswith("Got unexpected extra argument"):
        present = {parameter.name for parameter in err.ctx.command.params}
        options = " or ".join(f"--{name}" for name in ("study", "store", "output") if name in present)
        err = click.UsageError(f"{err.message}. Did you mean {options}?" if options else err.message, err.ctx)
    if isinstance(err, click.NoSuchOption) and err.possibilities:
        err.possibilities[:] = _alike(err.option_name, err.possibilities)
    if broken_pipe or isinstance(err, (click.ClickException, click.exceptions.Exit, click.Abort)):
        raise err
    from hpt_core.cli.problems import report

    return report(err, session)


def _alike(option: str, others: Iterable[str]) -> list[str]:
    """The options with a name like this one; click also counts the two dashes, which all of them have."""
    from difflib import get_close_matches  # needed for mistakes only

    return [other for other in others if get_close_matches(option.lstrip("-"), [other.lstrip("-")])]


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


def _global_options(*, hidden: bool) -> Iterator[click.Option]:
    """The options of ``hpt`` itself, which are also accepted after the command."""
    yield click.Option(
        ["--no-plugin"],
        multiple=True,
        metavar="NAME",
        callback=_disable,
        expose_value=False,
        is_eager=True,
        hidden=hidden,
        shell_complete=_complete_plugin,
        help="Disable a plugin (repeatable; same as HPT_DISABLE_PLUGINS=NAME,NAME).",
    )
    yield click.Option(
        ["--debug"],
        is_flag=True,
        callback=_set_debug,
        expose_value=False,
        is_eager=True,
        hidden=hidden,
        help="Show full tracebacks of errors.",
    )


hpt: HptGroup = HptGroup(
    "hpt",
    help="""Tune hyperparameters.

    \b
    Quick start:
      hpt init            create study.toml
      hpt run study.toml  run it
      hpt best            show the best configuration

    Results go to stdout, messages to stderr. Exit codes: 0 success, 1 no trial succeeded, 2 error in the usage or the
    study file, 3 plugin error, 4 store error, 130 interrupted.""",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[*_global_options(hidden=False)],
)
click.version_option(__version__, prog_name="hpt")(hpt)
