"""``hpt plugins``: list the installed plugins, and show, check or test what they provide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.doctor import doctor
from hpt_core.cli.kit import test
from hpt_core.cli.reading import json_option
from hpt_core.cli.session import Session
from hpt_core.cli.text import data, emit_json, say, stdout_to_stderr, table

if TYPE_CHECKING:
    from hpt_core.plugins.info import PluginInfo

__all__ = ["command"]


@click.group("plugins", short_help="List, show, check or test the installed plugins.", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the installed plugins. A plugin that is not in use is listed with the reason.

    JSON: {plugins: [{name, distribution, version, status, problem, components: {kind: [name]}, hooks: [name]}]};
    "status" is "ok", "collides", "disabled" or "broken"; "problem" says why.
    """
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    found = [_about(info) for info in session.plugins.plugins]
    if as_json:
        emit_json("plugins", {"plugins": found})
        return
    rows = [[p["name"], p["distribution"], p["version"], p["status"], _listing(p["components"])] for p in found]
    data(table(["plugin", "distribution", "version", "status", "components"], rows, wrap=True))
    for info in session.plugins.plugins:
        if info.status == "broken":
            say(f"The plugin {info.name!r} {info.not_in_use}")
        elif info.status == "collides":
            say(f"The plugin {info.name!r} collides: {'; '.join(info.collisions)}. Disable one with --no-plugin.")
    say("Run `hpt plugins show NAME` for the options of a component.")


def _about(info: PluginInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "status": info.status,
        "problem": info.problem or "; ".join(info.collisions),
        "components": dict(info.components),
        "hooks": list(info.hooks),
    }


def _listing(components: dict[str, list[str]]) -> str:
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in components.items() if names)


def _complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    try:
        infos = (ctx.find_object(Session) or Session()).plugins.plugins
        names = {info.name for info in infos}
        names |= {name for info in infos for offered in info.components.values() for name in offered}
        return sorted(name for name in names if name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - shell completion must not print errors
        return []


@command.command("show", short_help="Show the options of a component or plugin.")
@click.argument("name", shell_complete=_complete)
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show the options of a component, or of all components of a plugin or distribution.

    NAME is the name of one of these, or the import path of a component, module:Class.

    JSON: {components: [{kind, name, plugin, class, help, options: [{name, type, default, required, help}]}]}.
    """
    from hpt_core.cli.options import described, matching, page

    with stdout_to_stderr(as_json):  # modules of plugins may print when they are imported
        found = [described(session.plugins, kind, component) for kind, component in matching(session.plugins, name)]
    if as_json:
        emit_json("plugins-show", {"components": found})
    else:
        data("\n\n".join(page(component) for component in found))


command.add_command(doctor)
command.add_command(test)
