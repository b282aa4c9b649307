"""Command templates: placeholders in braces are replaced by values, which are never parsed."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from hpt_core import Mistake, UsageError
from hpt_evaluator_command.shell import with_references

__all__ = ["REMEDY", "Script", "Template", "fill_arguments", "parse", "parse_script", "split", "text_of"]

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
REMEDY = "write {{ and }} for literal braces"

_OPERATORS = frozenset(["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"])
"""Words that a shell reads as operators. A program takes them for arguments, and may ignore them silently."""


@attrs.frozen
class Template:
    """A text with placeholders.

    Attributes:
        literals: The texts around the placeholders; one more than there are placeholders.
        names: The names of the placeholders, in order.
    """

    literals: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def bare(self) -> bool:
        """Whether it consists of a single placeholder."""
        return self.literals == ("", "")

    def fill(self, values: Mapping[str, str]) -> str | None:
        """The text with the values filled in; None if a value is missing (an inactive parameter)."""
        if any(name not in values for name in self.names):
            return None
        filled = (values[name] for name in self.names)
        return self.literals[0] + "".join(value + text for value, text in zip(filled, self.literals[1:], strict=True))


@attrs.frozen
class Script:
    """A shell script whose placeholders are environment variables.

    Attributes:
        text: The script, in which the i-th name is the variable ``HPT_VALUE_i``.
        names: The names of the placeholders, without duplicates.
    """

    text: str
    names: tuple[str, ...]

    def variables(self, values: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of the script; those of inactive parameters are empty."""
        return {_variable(i): values.get(name, "") for i, name in enumerate(self.names)}


def text_of(value: Any) -> str:
    """The text of a parameter's value: a string as it is, any other value as JSON (0.1, 7, true, null, [1, 2])."""
    return value if isinstance(value, str) else json.dumps(value)


def parse(text: str, where: str, *, dollars: bool = False) -> Template:
    """Parse the placeholders of a text.

    Args:
        text: The text, in which ``{name}`` is a placeholder, and ``{{`` and ``}}`` are literal braces.
        where: Name of the option, for messages.
        dollars: Whether ``${name}`` stays as it is, for a shell.

    Raises:
        UsageError: On a single brace.
    """
    literals, names, start = [""], [], 0
    for match in _PIECE.finditer(text):
        literals[-1] += text[start : match.start()]
        start = match.end()
        if dollars and match[1] and literals[-1].endswith("$"):
            literals[-1] += match[0]
        elif match[0] in ("{{", "}}"):
            literals[-1] += match[0][0]
        elif match[1] is None or not match[1].strip():
            message = f"There is a single {match[0][0]!r} in {text!r:.200}: {REMEDY}."
            raise UsageError(Mistake(where, message))
        else:
            names.append(match[1].strip())
            literals.append("")
    literals[-1] += text[start:]
    return Template(tuple(literals), tuple(names))


def split(command: str | Sequence[str], where: str) -> list[Template]:
    """Split a command into arguments as a shell would, *before* any value is filled in.

    Raises:
        UsageError: If a quotation is not closed, the command is empty, or a word of it is an operator of shells.
    """
    try:
        words, operators = _words(command) if isinstance(command, str) else (list(command), [])
    except ValueError as err:
        raise UsageError(Mistake(where, f"Cannot be split into arguments: {err}. Got {command!r:.200}.")) from err
    if not words:
        raise UsageError(Mistake(where, "Must name a program. Got nothing."))
    if operators:
        message = f"Only a shell understands {operators[0]!r}: set shell = true, or quote it if it is an argument."
        raise UsageError(Mistake(where, message))
    return [parse(word, where) for word in words]


def _words(command: str) -> tuple[list[str], list[str]]:
    """All words of a command, as `shlex.split` returns them, and those that are operators of shells."""
    source = io.StringIO(command)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    operators: list[str] = []
    start = 0
    for word in lexer:
        written = command[start : source.tell()].strip()  # a quoted word differs from what is written
        start = source.tell()
        words.append(word)
        if word == written and word in _OPERATORS:
            operators.append(word)
    return words, operators


def fill_arguments(arguments: Iterable[Template], values: Mapping[str, str]) -> list[str]:
    """Fill in the values, without the arguments of inactive parameters.

    An argument with the placeholder of an inactive parameter is omitted. If the placeholder is the whole argument and
    the argument before it is an option (``--depth {depth}``), that option is omitted as well.
    """
    filled: list[str] = []
    option_before = False
    for argument in arguments:
        text = argument.fill(values)
        if text is not None:
            filled.append(text)
        elif argument.bare and option_before:
            filled.pop()
        option_before = text is not None and not argument.names and _is_option(text)
    return filled


def _is_option(text: str) -> bool:
    return text.startswith("-") and text.strip("-") != "" and "=" not in text


def parse_script(text: str, where: str) -> Script:
    """Turn the placeholders of a shell script into variables, quoted as their context requires.

    The shell never parses a value as part of the script, so no value can become code, whatever it contains.

    Raises:
        UsageError: On a single brace, or where it is not clear how to quote a variable.
    """
    template = parse(text, where, dollars=True)
    names = tuple(dict.fromkeys(template.names))
    references = {name: f"${{{_variable(index)}}}" for index, name in enumerate(names)}
    return Script(with_references(template.literals, template.names, references, where), names)


def _variable(index: int) -> str:
    return f"HPT_VALUE_{index}"
