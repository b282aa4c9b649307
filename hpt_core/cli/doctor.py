"""``hpt plugins doctor``: look at every installed plugin closely, and load all that it offers."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import click

from hpt_core.cli.reading import json_option
from hpt_core.cli.text import data, emit_json, say

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.plugins import PluginInfo, Plugins

__all__ = ["doctor"]

_BROKEN = 3
_SLOW = 0.3
_SLOWER = "name components as 'module:Class', and import in functions what only they need"
_OPTIONAL = {
    "sampler": ("check",),
    "evaluator": ("check", "conclude", "discard", "evidence", "resumable", "steps"),
    "stopping rule": ("check", "evidence", "judge_study", "judge_trial", "promote", "retire", "summary"),
    "store": ("append_lazily", "folder", "location"),
    "executor": ("check",),
}


@click.command("doctor")
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Look at every installed plugin: where it comes from, what it offers, whether all of that can be loaded.

    Exit code 3 if something is broken. Disabled plugins are not looked at. What is deprecated comes with file and line;
    a module that takes long to import is told of, as each start of hpt waits for it.

    JSON: {plugins: [{name, distribution, version, origin, status, problem, import_seconds, hooks: [name], components:
    [{kind, name, class, problem, options: [name], capabilities: [name]}]}]}; "status" is "ok", "disabled" or "broken",
    "capabilities" are the optional methods and attributes that a component has.
    """
    session: Session = ctx.obj
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecationWarning)  # Python keeps them from users; their reader is here
        found = examined(session.plugins)
    if as_json:
        emit_json("plugins-doctor", {"plugins": found})
    else:
        for plugin in found:
            _show(plugin)
    for warning in told:
        say(f"{warning.filename}:{warning.lineno}: {' '.join(str(warning.message).split())}")
    broken = [plugin["name"] for plugin in found if plugin["status"] == "broken"]
    say(f"{len(found)} plugins, broken: {', '.join(broken)}." if broken else f"{len(found)} plugins, none is broken.")
    ctx.exit(_BROKEN if broken else 0)


def examined(plugins: Plugins) -> list[dict[str, Any]]:
    """All plugins as JSON-shaped data."""
    from hpt_core.cli.plugins import listed

    infos = listed(plugins)
    points = {(p.name, p.dist.name if p.dist else ""): p for p in entry_points(group="hpt")}
    return [_examined(plugins, infos, info, points.get((info.name, info.distribution))) for info in infos]


def _examined(plugins: Plugins, infos: list[PluginInfo], info: PluginInfo, point: EntryPoint | None) -> dict[str, Any]:
    offered = [(kind, name) for kind, names in info.components.items() for name in names]
    components = [_component(plugins, infos, kind, name) for kind, name in offered if not info.problem]
    broken = bool(info.problem) or any(component["problem"] for component in components)
    disabled = info.problem.startswith("disabled")
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "origin": _origin(point),
        "status": "disabled" if disabled else "broken" if broken else "ok",
        "problem": info.problem,
        "import_seconds": info.seconds,
        "hooks": list(info.hooks),
        "components": components,
    }


def _origin(point: EntryPoint | None) -> str:
    """The file of a plugin's module where it is loaded, else the place of its distribution."""
    if point is None:
        return "registered by the program"
    module = sys.modules.get(point.module)
    place = getattr(module, "__file__", None) or (point.dist.locate_file("") if point.dist else "")
    return str(place)


def _component(plugins: Plugins, infos: list[PluginInfo], kind: str, name: str) -> dict[str, Any]:
    from hpt_core.cli.options import described
    from hpt_core.components import lacking
    from hpt_core.errors import HptError

    about: dict[str, Any] = {"kind": kind, "name": name, "class": "", "problem": "", "options": [], "capabilities": []}
    rivals = [str(info) for info in infos if name in info.components.get(kind, ())]
    if len(rivals) > 1:
        return {**about, "problem": f"offered by {' and by '.join(rivals)}: no study can name it while all are in use"}
    try:
        known = described(plugins, kind, name)
        cls = plugins.component(kind, name)
        lacks = lacking(kind, cls)
    except HptError as err:
        return {**about, "problem": str(err)}
    if lacks:
        return {**about, "problem": f"{cls.__name__} has no {lacks}()"}
    able = [attribute for attribute in _OPTIONAL[kind] if hasattr(cls, attribute)]
    return {**about, "class": known["class"], "options": [o["name"] for o in known["options"]], "capabilities": able}


def _show(plugin: dict[str, Any]) -> None:
    origin = " ".join(filter(None, (plugin["distribution"], plugin["version"])))
    data(f"{plugin['name']}: {plugin['status']}{f' ({origin})' if origin else ''}")
    data(f"  from   {plugin['origin']}")
    if plugin["problem"]:
        data(f"  why    {plugin['problem']}")
    if plugin["import_seconds"] > _SLOW:
        data(f"  slow   its module took {plugin['import_seconds']:.1f} s to import: {_SLOWER}")
    if plugin["hooks"]:
        data(f"  hooks  {', '.join(plugin['hooks'])}")
    for item in plugin["components"]:
        options = f"options: {', '.join(item['options']) or 'none'}"
        state = item["problem"] and f"BROKEN: {item['problem']}"
        able = f"; has {', '.join(item['capabilities'])}" if item["capabilities"] else ""
        data(f"  {item['kind']} {item['name']}: {state or options + able}")
