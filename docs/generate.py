"""Write docs/reference/ from the code: run it after a change of hooks, options, commands or public names.

    python docs/generate.py

It covers the plugins of this tree only, whatever else is installed. `tests/test_docs.py` fails if a page
differs from what this script writes.
"""

from __future__ import annotations

import enum
import inspect
import sys
import tomllib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from as_markdown import annotation, cell, code, docstring, documented, options, signature, table, toml

import hpt_core
from hpt_core import components, hookspecs
from hpt_core.cli.group import COMMANDS, hpt
from hpt_core.cli.options import described
from hpt_core.cli.session import Session
from hpt_core.history import events
from hpt_core.options import option_fields
from hpt_core.plugins.plugins import Plugins
from hpt_core.space import parsing
from hpt_core.space.parameters import Parameter
from hpt_core.study import config
from hpt_core.study.settings import RunSettings, Settings

__all__ = ["main", "pages"]

ROOT = Path(__file__).resolve().parents[1]
_NOTE = "<!-- Written by docs/generate.py from the code; do not edit. -->"
_WIDTH = 100
_HEADINGS = {
    "study.study": "The study",
    "space.space": "The space",
    "history.trial": "Trials",
    "history.history": "The history",
    "study.loading": "Loading a stored study",
    "components": "The contracts",
    "options": "Options",
    "importing": "Import paths",
    "hookspecs": "Hooks",
    "history.events": "Records",
    "history.record_json": "Records as JSON",
    "plugins.plugins": "Plugins",
    "loop.serving": "Serving workers",
    "pickling": "Pickling",
    "files": "Files",
    "locks": "Locks",
    "errors": "Errors",
}
"""Module -> heading, in the order of the page of public names."""
_PLAIN = {
    "Params": "`dict[str, Any]`: a configuration, the value of each active parameter by name.",
    "Record": "`dict[str, Any]`: one record of a study's log, see [the records](events.md).",
    "StoppingRule": "`TrialRule | StudyRule | PromotionRule`: stops trials or studies. It needs at least one of the "
    "three methods; all are pure functions of the history.",
    "hookimpl": "`pluggy.HookimplMarker('hpt')`: marks a function as the implementation of a [hook](hooks.md).",
}
"""The public names that are neither classes nor functions."""
_PAGE_OF = {kind: f"{kind.replace(' ', '-')}s" for kind in components.KINDS}


def pages() -> dict[str, str]:
    """All pages: file name in docs/reference -> text."""
    plugins = _in_tree()
    found = {
        "index.md": _index(plugins),
        "hooks.md": _hooks(),
        "cli.md": _commands(plugins),
        "study-file.md": _study_file(),
        "events.md": _events(),
        "python.md": _public(),
    }
    found |= {f"{_PAGE_OF[kind]}.md": _components(plugins, kind) for kind in components.KINDS}
    return {name: f"{_NOTE}\n\n{text.strip()}\n" for name, text in found.items()}


def _in_tree() -> Plugins:
    own = {"hpt-core", *(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))}
    installed = {point.dist.name for point in entry_points(group="hpt") if point.dist}
    missing = sorted(own - installed)
    if missing:
        msg = f"The reference covers all plugins of this tree. Not installed here: {', '.join(missing)}."
        raise SystemExit(msg)
    found = Plugins(installed - own)
    found.names("sampler")  # makes the plugins declare their components
    broken = [f"{info}: {info.problem}" for info in found.plugins if info.distribution in own and info.problem]
    if broken:
        raise SystemExit("\n".join(broken))
    return found


# --- the pages ----------------------------------------------------------------------------------------


def _index(plugins: Plugins) -> str:
    rows = []
    for path in [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]:
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        offered = [info.components for info in plugins.plugins if info.distribution == project["name"]]
        links = [f"[{n}]({_PAGE_OF[kind]}.md#{n})" for each in offered for kind in sorted(each) for n in each[kind]]
        rows.append([code(project["name"]), ", ".join(links), cell(project["description"])])
    return f"""# Reference

All pages of the reference are generated from the code by `docs/generate.py`.

- [The study file](study-file.md): every key
- [The command line](cli.md): every command and option
- Components and their options: [samplers](samplers.md), [evaluators](evaluators.md),
  [stopping rules](stopping-rules.md), [stores](stores.md), [executors](executors.md)
- [From Python](python.md): every public name of `hpt_core`
- [Hooks](hooks.md): what a plugin may implement
- [Records](events.md): what the log of a study contains

## Distributions

{table(["distribution", "components", "description"], rows)}
"""


def _hooks() -> str:
    hooks = [thing for name, thing in vars(hookspecs).items() if name.startswith("hpt_")]
    text = f"# Hooks\n\n{docstring(hookspecs)}\n\nThe version of this interface is `{hookspecs.API_VERSION}`."
    for hook in hooks:
        first = getattr(hook, "hpt_spec")["firstresult"]  # noqa: B009 - pluggy puts it there
        note = "\n\nThe first non-None result wins." if first and "non-None" not in docstring(hook) else ""
        text += f"\n\n## {hook.__name__}\n\n{signature(hook.__name__, hook)}\n\n{docstring(hook)}{note}"
    return text


def _components(plugins: Plugins, kind: str) -> str:
    title = f"{kind}s".capitalize()
    text = f"# {title}\n\n`hpt plugins show NAME` prints the same information."
    for name in plugins.names(kind):
        found = described(plugins, kind, name)
        owner = plugins.owner(kind, name)
        cls = plugins.component(kind, name)
        origin = f"Distribution `{owner.distribution if owner else ''}`, class `{found['class']}`."
        text += f"\n\n## {name}\n\n{origin}\n\n{docstring(cls)}\n\n{options(found['options'])}"
    return text


def _commands(plugins: Plugins) -> str:
    session = Session(plugins)
    everywhere = {"terminal_width": _WIDTH, "max_content_width": _WIDTH, **hpt.context_settings}
    with click.Context(hpt, info_name="hpt", obj=session, **everywhere) as ctx:
        own = [(name, hpt.get_command(ctx, name)) for name in COMMANDS]
        others = sorted(session.commands.items())
        text = "# The command line\n\n" + _help(hpt, ctx)
        for name, command in [*own, *others]:
            assert command is not None
            text += "".join(_helps(f"hpt {name}", command, ctx))
    session.close()
    return text


def _helps(path: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    with click.Context(command, info_name=path.rpartition(" ")[2], parent=parent) as ctx:
        yield f"\n\n## {path}\n\n{_help(command, ctx)}"
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                assert inner is not None
                yield from _helps(f"{path} {name}", inner, ctx)


def _help(command: click.Command, ctx: click.Context) -> str:
    return f"```text\n{command.get_help(ctx).rstrip()}\n```"


def _study_file() -> str:
    described_keys = documented(hpt_core.Study)
    plain = {field.name: field for cls in (Settings, RunSettings) for field in option_fields(cls)}
    rows = []
    for key in config._KEYS:  # noqa: SLF001 - the one place that knows them
        field = plain.get(key)
        kind, default = ("table", "") if field is None else (field.type, toml(field.default))
        meaning = described_keys[key] if field is None else field.metadata.get("help") or described_keys[key]
        rows.append([code(key), code(kind), "the file's name" if key == "name" else default, cell(meaning)])
    keys = parsing._KEYS  # noqa: SLF001 - the one place that knows them
    forms = [
        [code(kind), ", ".join(map(code, parsing._REQUIRED[kind])), ", ".join(map(code, names))]  # noqa: SLF001
        for kind, names in keys.items()
    ]
    declared = documented(hpt_core.Space)["declared"]
    return f"""# The study file

A study file is TOML and defines one study. It is data: no expression in it is evaluated. `hpt init` writes one to start
from, `hpt check` lists the mistakes in one.

## Keys

{table(["key", "type", "default", "meaning"], rows)}

`[space]` and `[evaluator]` are required. In the table of a component, `use` names the component (or `"module:Class"`),
and the other keys are its options. `stop` is a list of tables (`[[stop]]`); a list for `sampler` makes a sequence where
`hpt-sampler-compose` is installed. `objective` may also be a string, `store` a path or URL.

## Parameters

{declared}

| type | required | all keys |
| --- | --- | --- |
{"".join(f"| {' | '.join(row)} |{chr(10)}" for row in forms)}
"""


_SAMPLES: dict[str, tuple[Any, Any]] = {
    "float": (0.0, 0.0),
    "int": (0, 0),
    "str": ("text", "text"),
    "Params": ({"x": 1}, {"x": 1}),
    "Sequence[str]": (["text"], ["text"]),
    "Sequence[float]": ([0.0], [0.0]),
    "Sequence[float] | None": ([0.0], None),
    "Report": (hpt_core.Report(1, 0.0, {"m": 1.0}), hpt_core.Report(1, 0.0)),
    "Failure": (hpt_core.Failure("error", "text"), hpt_core.Failure("error", "text")),
}
"""Annotation -> the fullest and the smallest value for an argument of a record builder; a mapping is `_MAPPING`."""
_MAPPING: tuple[Any, Any] = ({"key": 1}, {})
_JSON_NAMES = {bool: "bool", dict: "table", float: "number", int: "int", list: "list", str: "string"}


def _built(builder: Callable[..., dict[str, Any]], which: int) -> dict[str, Any]:
    given = {}
    for name, parameter in inspect.signature(builder).parameters.items():
        if which and parameter.default is not parameter.empty:
            continue
        given[name] = _SAMPLES.get(str(parameter.annotation), _MAPPING)[which]
    return builder(**given)


def _events() -> str:
    builders = [
        thing
        for name, thing in vars(events).items()
        if inspect.isfunction(thing) and thing.__module__ == events.__name__ and not name.startswith("_")
    ]
    text = f"# Records\n\n{docstring(events)}\n\nThe version of this vocabulary is `{events.FORMAT}`."
    for builder in builders:
        full, least = _built(builder, 0), _built(builder, 1)
        rows = [
            [code(key), _fixed(key, value) or _JSON_NAMES[type(value)], "" if key in least else "may be left out"]
            for key, value in full.items()
        ]
        title = f"{full['event']}: {full['state']}" if "state" in full else full["event"]
        if full.get("state") == "complete" and "rule" in full:
            title += " by a rule"
        text += f"\n\n## {title}\n\n{docstring(builder)}\n\n{table(['key', 'value', ''], rows)}"
    return text


def _fixed(key: str, value: object) -> str:
    return code(f'"{value}"') if key in ("event", "state") else ""


def _public() -> str:
    assert set(_HEADINGS) == set(hpt_core._HOME)  # noqa: SLF001 - the one place that knows them
    text = f"# From Python\n\n{docstring(hpt_core)}\n\n```python\nimport hpt_core as hpt\n```"
    for module, title in _HEADINGS.items():
        text += f"\n\n## {title}"
        for name in hpt_core._HOME[module]:  # noqa: SLF001
            text += f"\n\n### {name}\n\n{_name(name, getattr(import_module(f'hpt_core.{module}'), name))}"
        if module == "space.space":
            text += f"\n\n### Every parameter\n\n{_class('', Parameter)}"
    return text


def _name(name: str, thing: Any) -> str:
    if name in _PLAIN:
        return _PLAIN[name]
    if inspect.isclass(thing):
        return _class(name, thing)
    return f"{signature(name, thing)}\n\n{docstring(thing)}"


def _without_section(cls: type) -> list[Any]:
    """The class, and its bases in the core that have no section of their own on the page."""
    ours = [base for base in cls.__mro__[1:] if base.__module__.startswith("hpt_core.")]
    return [cls, *(base for base in ours if base.__name__ not in hpt_core.__all__ and not issubclass(base, Parameter))]


def _class(name: str, cls: type) -> str:
    parts = []
    if issubclass(cls, enum.Enum):
        parts.append(", ".join(code(f"{name}.{item.name} = {item.value!r}") for item in cls))
    elif name and not getattr(cls, "_is_protocol", False) and cls.__init__ is not Exception.__init__:
        parts.append(signature(name, cls))
    parts.append(docstring(cls))
    members: Mapping[str, Any] = ChainMap(*(dict(vars(each)) for each in _without_section(cls)))
    for member, thing in members.items():
        if member.startswith("_"):
            continue
        if isinstance(thing, property):
            parts.append(f"#### {member}\n\n{_property(member, thing)}")
        elif isinstance(thing, classmethod):
            head = signature(f"{name}.{member}", getattr(cls, member))
            parts.append(f"#### {member}\n\n{head}\n\n{docstring(thing)}")
        elif inspect.isfunction(thing) and thing.__doc__:
            parts.append(f"#### {member}\n\n{signature(member, thing, skip_first=True)}\n\n{docstring(thing)}")
    return "\n\n".join(part for part in parts if part)


def _property(name: str, thing: property) -> str:
    kind = annotation(inspect.signature(thing.fget).return_annotation) if thing.fget else ""
    return f"```python\n{name}: {kind}\n```\n\n{docstring(thing)}"


def main() -> None:
    """Write the pages into docs/reference, or into the folder that is given."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    wanted = pages()
    for stale in {path.name for path in folder.glob("*.md")} - wanted.keys():
        (folder / stale).unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
