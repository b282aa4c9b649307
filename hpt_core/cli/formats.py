"""A configuration as text to paste: JSON, TOML, Python or command-line arguments."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FORMATS"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _as_json(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), indent=2)


def _as_python(params: Mapping[str, Any]) -> str:
    lines = [f"    {name!r}: {value!r}," for name, value in params.items()]
    return "\n".join(["{", *lines, "}"])


def _as_args(params: Mapping[str, Any]) -> str:
    """One ``--name=value`` per parameter; without the ``=`` a negative number would look like an option."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
    return " ".join(shlex.quote(f"--{name}={text}") for name, text in texts.items())


def _as_toml(params: Mapping[str, Any]) -> str:
    """TOML has no null: a parameter that is null, or a list with null, becomes a comment."""
    lines = []
    for name, value in params.items():
        key = name if _BARE_KEY.fullmatch(name) else _toml_string(name)
        has_null = None in (value if isinstance(value, list) else [value])
        lines.append(f"# {key} is {json.dumps(value)}" if has_null else f"{key} = {_toml(value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _toml_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _toml_escape(c) for c in escaped) + '"'


def _toml_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "json": _as_json,
    "toml": _as_toml,
    "python": _as_python,
    "args": _as_args,
}
"""Name of the format -> the function that writes a configuration in that format."""
