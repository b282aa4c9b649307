"""``hpt plugins doctor``: examine every installed plugin and load all of its components."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.reading import json_option
from hpt_core.cli.text import data, emit_json, say, stdout_to_stderr
from hpt_core.components import KINDS
from hpt_core.errors import HptError, PluginError
from hpt_core.plugins.checks import missing_methods

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.plugins.plugins import PluginInfo, Plugins

__all__ = ["doctor"]

_SLOW = 0.3
_SLOW_REMEDY = "name components as 'module:Class', and move imports into the functions that need them"


@click.command("doctor", short_help="Check that every installed plugin can be loaded.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check every installed plugin: where it comes from, what it provides, and whether all of that can be loaded.

    Exit code 3 if something is broken. Disabled plugins are skipped. Deprecation warnings are shown with file and line.
    A plugin module that is slow to import is reported, because every start of hpt waits for it.

    JSON: {plugins: [{name, distribution, version, origin, status, problem, import_seconds, hooks: [name], components:
    [{kind, name, class, problem, options: [name], capabilities: [name]}]}]}; "status" is "ok", "disabled" or "broken",
    "capabilities" are the optional methods and attributes that a component has.
    """
    session: Session = ctx.obj
    with warnings.catch_warnings(record=True) as caught, stdout_to_stderr(as_json):
        warnings.simplefilter("always", DeprecationWarning)  # hidden by default, meant for plugin authors
        points = {(p.name, p.dist.name if p.dist else ""): p for p in entry_points(group="hpt")}
        infos = session.plugins.plugins
        found = [_examined(session.plugins, info, points.get((info.name, info.distribution))) for info in infos]
    if as_json:
        emit_json("plugins-doctor", {"plugins": found})
    else:
        for plugin in found:
            _show(plugin)
    for warning in caught:
        say(f"{warning.filename}:{warning.lineno}: {' '.join(str(warning.message).split())}")
    broken = [plugin["name"] for plugin in found if plugin["status"] == "broken"]
    verdict = f"broken: {', '.join(broken)}" if broken else "none is broken"
    say(f"{len(found)} plugins checked; {verdict}.")
    ctx.exit(PluginError.exit_code if broken else 0)


def _examined(plugins: Plugins, info: PluginInfo, point: EntryPoint | None) -> dict[str, Any]:
    """What was found out about a plugin, as JSON-shaped data."""
    offered = [(kind, name) for kind, names in info.components.items() for name in names]
    components = [_component(plugins, kind, name) for kind, name in offered if not info.problem]
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "origin": _origin(point),
        "status": "broken" if any(component["problem"] for component in components) else info.status,
        "problem": info.problem,
        "import_seconds": info.seconds,
        "hooks": list(info.hooks),
        "components": components,
    }


def _origin(point: EntryPoint | None) -> str:
    """The file of a plugin's module if it is loaded, else the location of its distribution."""
    if point is None:
        return "registered by the program"
    module = sys.modules.get(point.module)
    place = getattr(module, "__file__", None) or (point.dist.locate_file("") if point.dist else "")
    return str(place)


def _component(plugins: Plugins, kind: str, name: str) -> dict[str, Any]:
    from hpt_core.cli.options import described

    about: dict[str, Any] = {"kind": kind, "name": name, "class": "", "problem": "", "options": [], "capabilities": []}
    rivals = [str(info) for info in plugins.plugins if name in info.components.get(kind, ())]
    if len(rivals) > 1:
        clash = f"provided by {' and by '.join(rivals)}; no study can use the name until all but one are disabled"
        return {**about, "problem": clash}
    try:
        known = described(plugins, kind, name)
        cls = plugins.component(kind, name)
        lacks = missing_methods(kind, cls)
    except HptError as err:
        return {**about, "problem": str(err)}
    if lacks:
        return {**about, "problem": f"{cls.__name__} has no {lacks}()"}
    able = [attribute for attribute in KINDS[kind].optional if hasattr(cls, attribute)]
    return {**about, "class": known["class"], "options": [o["name"] for o in known["options"]], "capabilities": able}


def _show(plugin: dict[str, Any]) -> None:
    origin = " ".join(filter(None, (plugin["distribution"], plugin["version"])))
    data(f"{plugin['name']}: {plugin['status']}{f' ({origin})' if origin else ''}")
    data(f"  from   {plugin['origin']}")
    if plugin["problem"]:
        data(f"  why    {plugin['problem']}")
    if plugin["import_seconds"] > _SLOW:
        data(f"  slow   its module took {plugin['import_seconds']:.1f} s to import; {_SLOW_REMEDY}")
    if plugin["hooks"]:
        data(f"  hooks  {', '.join(plugin['hooks'])}")
    for item in plugin["components"]:
        options = f"options: {', '.join(item['options']) or 'none'}"
        state = item["problem"] and f"BROKEN: {item['problem']}"
        able = f"; has {', '.join(item['capabilities'])}" if item["capabilities"] else ""
        data(f"  {item['kind']} {item['name']}: {state or options + able}")
