"""Docstrings, signatures and tables as Markdown, for `generate.py`."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

__all__ = ["annotation", "cell", "code", "docstring", "documented", "options", "signature", "table", "toml"]

_WIDTH = 100
_SECTION = re.compile(r"^(Args|Attributes|Example|Raises|Returns):{1,2}$")

# --- docstrings ---------------------------------------------------------------------------------------


def docstring(thing: object) -> str:
    """A Google-style docstring as Markdown."""
    text = inspect.getdoc(thing) or ""
    head, sections = _sections(text)
    parts = [head, *(_section(name, body) for name, body in sections)]
    return "\n\n".join(part for part in parts if part)


def _sections(text: str) -> tuple[str, list[tuple[str, list[str]]]]:
    """The text before the sections, and (title, dedented lines) of each section."""
    head: list[str] = []
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        title = _SECTION.match(line)
        if title:
            found.append((title[1], []))
        elif found and (not line or line.startswith("    ")):
            found[-1][1].append(line[4:])
        else:
            head.append(line)
    return _prose(head), found


def _prose(lines: Iterable[str]) -> str:
    return "\n".join(lines).strip().replace("``", "`")


def _section(title: str, body: list[str]) -> str:
    if title == "Example":
        return "```python\n" + "\n".join(body).strip() + "\n```"
    if title == "Returns":
        return f"**Returns:** {_prose(line.strip() for line in body)}"
    return f"**{title}**\n\n" + "\n".join(f"- `{name}`: {text}" for name, text in _entries(body).items())


def _entries(body: list[str]) -> dict[str, str]:
    """``name: text`` entries, whose text may continue on indented lines."""
    found: dict[str, str] = {}
    name = ""
    for line in body:
        if line and not line.startswith(" "):
            name, _, text = line.partition(": ")
            found[name] = text
        elif line:
            found[name] += f" {line.strip()}"
    return {name: _prose([text]) for name, text in found.items()}


def documented(thing: object) -> dict[str, str]:
    """The arguments and attributes that a docstring describes."""
    _, sections = _sections(inspect.getdoc(thing) or "")
    return {name: text for _, body in sections if _ in ("Args", "Attributes") for name, text in _entries(body).items()}


# --- signatures and tables ----------------------------------------------------------------------------


def signature(name: str, thing: Callable[..., Any], *, skip_first: bool = False) -> str:
    """A code block with the exact signature, with one parameter per line if it is long."""
    found = inspect.signature(thing)
    given = list(found.parameters.values())[1 if skip_first else 0 :]
    parts: list[str] = []
    for i, parameter in enumerate(given):
        first_keyword = parameter.kind is parameter.KEYWORD_ONLY and (i == 0 or given[i - 1].kind < parameter.kind)
        if first_keyword and not any(p.kind is p.VAR_POSITIONAL for p in given):
            parts.append("*")
        parts.append(_parameter(parameter))
    result = annotation(found.return_annotation)
    tail = f" -> {result}" if result and not inspect.isclass(thing) else ""
    line = f"{name}({', '.join(parts)}){tail}"
    if len(line) > _WIDTH:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}"
    return f"```python\n{line}\n```"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    kind = annotation(parameter.annotation)
    text = f"{stars}{parameter.name}" + (f": {kind}" if kind else "")
    default = parameter.default
    if default is parameter.empty:
        return text
    shown = (
        "..."
        if default is attrs.NOTHING
        else f"{type(default).__name__}.{default.name}"
        if isinstance(default, enum.Enum)
        else repr(default)
    )
    return text + (f" = {shown}" if kind else f"={shown}")


def annotation(given: object) -> str:
    """An annotation as written in the source; empty if there is none."""
    if given is inspect.Parameter.empty:
        return ""
    return given if isinstance(given, str) else inspect.formatannotation(given)


def cell(text: object) -> str:
    """Text, escaped for a cell of a table. Markdown shows entities in code spans as they are written."""
    pieces = str(text).replace("|", "or").split("`")
    return "`".join(piece if i % 2 else piece.replace("<", "&lt;") for i, piece in enumerate(pieces))


def code(text: object) -> str:
    """A code span, escaped for a cell of a table."""
    return f"`{str(text).replace(' | ', ' or ')}`"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def options(described: Iterable[Mapping[str, Any]]) -> str:
    """The table of a component's options, as `hpt_core.cli.options.described` has them."""
    rows = [
        [code(o["name"]), code(o["type"]), "required" if o["required"] else toml(o["default"]), cell(o["help"])]
        for o in described
    ]
    return table(["option", "type", "default", "meaning"], rows) if rows else "It has no options."


def toml(value: object) -> str:
    """A default as a study file would have it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, str):
        return code(f'"{value}"')
    if isinstance(value, list):
        return code(f"[{', '.join(toml(item).strip('`') for item in value)}]")
    return code(value)
