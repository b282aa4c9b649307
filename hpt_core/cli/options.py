"""Components and their options, for ``hpt plugins show``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.cli.text import table
from hpt_core.components import KINDS
from hpt_core.errors import Mistake, PluginError, UsageError
from hpt_core.importing import import_from, import_object, is_import_path
from hpt_core.options import annotations_of, option_fields
from hpt_core.plugins.checks import missing_methods
from hpt_core.plugins.description import default_of, jsonable
from hpt_core.spelling import did_you_mean
from hpt_core.structure import BOUNDS

if TYPE_CHECKING:
    from hpt_core.plugins.plugins import PluginInfo, Plugins

__all__ = ["described", "matching", "page"]


def matching(plugins: Plugins, name: str) -> list[tuple[str, str]]:
    """Everything that ``name`` may mean, as (kind, component): a component, else all components of a plugin.

    Modules are also searched in the working folder, for a component given by import path and for its options.

    Raises:
        UsageError: If there is no such component, plugin or distribution.
        PluginError: If it is a plugin that is not in use.
    """
    import_from(Path.cwd())
    if is_import_path(name):
        return _of_class(name)
    offered = [(kind, component) for kind in KINDS for component in plugins.names(kind)]
    exact = [item for item in offered if item[1] == name]
    if exact:
        return exact
    for info in plugins.plugins:
        may_provide_it = bool(info.problem) and info.name.endswith(f"-{name}")  # its components are not known
        if name in (info.name, info.distribution) or may_provide_it:
            return _of_plugin(info)
    raise _unknown(plugins, name, [component for _, component in offered])


def _of_class(path: str) -> list[tuple[str, str]]:
    found = import_object(path)
    kinds = [kind for kind in KINDS if not missing_methods(kind, found)] if isinstance(found, type) else []
    if not kinds:
        methods = "; ".join(f"{kind}: {missing_methods(kind, None)}" for kind in KINDS)
        msg = f"{path!r} is not the class of a component. The methods of each kind are: {methods}."
        raise UsageError(msg)
    return [(kind, path) for kind in kinds]


def _of_plugin(info: PluginInfo) -> list[tuple[str, str]]:
    if info.problem:
        msg = f"The plugin {info} {info.not_in_use}"
        raise PluginError(msg)
    found = [(kind, component) for kind, names in info.components.items() for component in names]
    if not found:
        msg = f"The plugin {info} provides no components; its hooks: {', '.join(info.hooks) or 'none'}."
        raise UsageError(msg)
    return found


def _unknown(plugins: Plugins, name: str, components: list[str]) -> Exception:
    hint = did_you_mean(name, sorted({*components, *(info.name for info in plugins.plugins)}))
    message = f"There is no component or plugin {name!r}.{hint} `hpt plugins` lists them."
    return UsageError(Mistake("", message, plugin=True))


def described(plugins: Plugins, kind: str, name: str) -> dict[str, Any]:
    """A component and its options as JSON-shaped data.

    Raises:
        PluginError: If its class cannot be loaded, or an option has no usable type.
    """
    cls = plugins.component(kind, name)
    annotations_of(cls)
    return {
        "kind": kind,
        "name": name,
        "plugin": str(plugins.owner(kind, name) or ""),
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "help": inspect.getdoc(cls) or "",
        "options": [_option(field) for field in option_fields(cls)],
    }


def _option(field: attrs.Attribute[Any]) -> dict[str, Any]:
    default = default_of(field)
    bounds = field.metadata.get("bounds", {})
    kind = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
    return {
        "name": field.alias or field.name,
        "type": " ".join([kind, *(f"{BOUNDS[key][0]} {bound}" for key, bound in bounds.items())]),
        "default": None if default is attrs.NOTHING else jsonable(default),
        "required": field.default is attrs.NOTHING,
        "help": field.metadata.get("help", ""),
    }


def page(component: dict[str, Any]) -> str:
    """A component and its options as a page of text."""
    first = component["help"].partition("\n\n")[0]
    origin = f", from the plugin {component['plugin']}" if component["plugin"] else ""
    head = f"{component['kind']} {component['name']}{origin}\n{first}"
    rows = [
        [o["name"], o["type"], "(required)" if o["required"] else repr(o["default"]), o["help"]]
        for o in component["options"]
    ]
    if not rows:
        return f"{head}\n  No options."
    return f"{head}\n{table(['option', 'type', 'default', 'meaning'], rows, '  ', wrap=True)}"
