"""Requirements: expressions that every configuration of a space must satisfy, such as ``leaf <= split / 2``.

`hpt_core.space.expressions` says what an expression may have, and computes it.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs

from hpt_core.errors import Mistake, SpaceError
from hpt_core.space.expressions import BY_SIZE, EXAMPLE, RefusedError, Term, distance, logical
from hpt_core.values import shown

__all__ = ["Requirement", "parse_requirement", "requirement_of"]

_MAX_LENGTH = 10_000
_MAX_NESTED = 250  # a function per level calls that of the next one, and Python ends at 1,000 calls
_WORDS = ("and", "or", "not", "in", "is", "if", "else", "True", "False", "None")  # which nobody takes for a parameter
_LEAST = 1e-300  # distance of a configuration from those that satisfy a requirement that it breaks
_QUOTED = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`([^`]+)`""")  # a string, or a name in backquotes


@attrs.frozen
class Requirement:
    """An expression over the parameters of a space.

    Attributes:
        text: The expression.
        names: The parameters that it names.
        numbers: Those of them that it adds, multiplies, ... or compares by size, so their values must be numbers.
        constants: What it compares parameters with by ``==``, ``!=`` or ``in``: (name, value).
    """

    text: str
    names: frozenset[str]
    numbers: frozenset[str]
    constants: tuple[tuple[str, Any], ...]
    _term: Term = attrs.field(repr=False, eq=False)
    _body: ast.expr = attrs.field(repr=False, eq=False)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether a configuration satisfies it. It does not apply while a parameter that it names is inactive.

        An expression that cannot be computed, such as a division by zero, is not satisfied.
        """
        if not self.names <= params.keys():
            return True
        try:
            return bool(self._term(params))
        except (ArithmeticError, TypeError):
            return False

    def distance(self) -> Callable[[Mapping[str, Any]], float]:
        """A function that tells how far a configuration is from satisfying it: 0 if it does.

        The unit is that of what the expression compares; it is infinite if that cannot be computed.
        """
        term = distance(self._body)

        def of(params: Mapping[str, Any]) -> float:
            if self.holds(params):
                return 0.0
            try:
                far = float(term(params))
            except (ArithmeticError, TypeError):
                return math.inf
            return math.inf if math.isnan(far) else max(far, _LEAST)  # both sides of a broken a < b may be equal

        return of

    def broken_by(self, params: Mapping[str, Any]) -> str:
        """A message that it does not hold, with the values of the parameters that it names."""
        values = ", ".join(f"{name} = {shown(params[name])}" for name in params if name in self.names)
        return f"requires {self.text}. Got {values}."


def requirement_of(requires: str) -> Requirement | None:
    """The requirement of a parameter from its checked expression; None if that is empty.

    Raises:
        SpaceError: If it cannot be parsed here, as where a program calls too deep.
    """
    return parse_requirement(requires) if requires else None


def parse_requirement(text: Any) -> Requirement:
    """Parse an expression.

    Raises:
        SpaceError: If it is not a valid expression.
    """
    if not isinstance(text, str) or not text.strip():
        raise _refused(f"must be an expression such as {EXAMPLE}. Got {shown(text)}.")
    if len(text) > _MAX_LENGTH:
        raise _refused(f"must have at most {_MAX_LENGTH:,} characters. Got {len(text):,}.")
    text = text.strip()
    try:
        plain, quoted = _without_quotes(text)
        body = _Names(plain, quoted).visit(_parsed(plain)).body
        term = logical(body)
    except RefusedError as err:
        raise _refused(f"{err} Got {shown(text)}.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        reason = f"{err.msg if isinstance(err, SyntaxError) else 'too complex'}.{_keyword_in(text)}"
        raise _refused(f"must be an expression such as {EXAMPLE}. Got {shown(text)}: {reason}") from None
    names = frozenset(node.id for node in ast.walk(body) if isinstance(node, ast.Name))
    numbers = frozenset(node.id for node in _operands(body) if isinstance(node, ast.Name))
    return Requirement(text, names, numbers, tuple(_constants(body)), term, body)


def _refused(problem: str) -> SpaceError:
    return SpaceError(Mistake("requires", problem))


def _without_quotes(text: str) -> tuple[str, dict[str, str]]:
    """The expression with an identifier in place of each name in backquotes, and the names by these identifiers."""
    prefix = "q"
    while prefix in text:
        prefix += "q"
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        string, name = match.groups()
        if string:
            return string
        quoted[identifier := f"{prefix}{len(quoted)}"] = name
        return f" {identifier} "  # apart from words beside it

    return _QUOTED.sub(plain, text).lstrip(), quoted


def _parsed(text: str) -> ast.Expression:
    parsed = ast.parse(text, mode="eval")
    level: list[ast.AST] = [parsed]
    for _ in range(_MAX_NESTED):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        msg = f"must not be nested deeper than {_MAX_NESTED} levels; each term of a sum is one."
        raise RefusedError(msg)
    return parsed


def _keyword_in(text: str) -> str:
    """A hint if an expression that Python cannot parse has a keyword where a name can be, such as ``lambda``."""
    words = [word for word in re.findall(r"\w+", _QUOTED.sub(" ", text)) if keyword.iskeyword(word)]
    words = [word for word in words if word not in _WORDS]
    if not words:
        return ""
    needs = "a parameter that is named here needs another name. Or write it in backquotes"
    return f" {words[0]!r} is a keyword of Python; {needs}, `{words[0]}`."


class _Names(ast.NodeTransformer):
    """Turns ``svc.C`` into one name, as parameters may have dots in theirs, and keeps the characters of names.

    Python normalises names (NFKC): it reads the micro sign as the Greek letter. What stands for a name in backquotes
    becomes that name.
    """

    def __init__(self, text: str, quoted: Mapping[str, str]) -> None:
        self._text = text
        self._quoted = quoted

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(self._written(node, node.id), ast.Load()), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        inner = self.visit(node.value)
        if not isinstance(inner, ast.Name):
            return node
        return ast.copy_location(ast.Name(f"{inner.id}.{self._written(node, node.attr)}", ast.Load()), node)

    def _written(self, node: ast.expr, normalised: str) -> str:
        source = None if self._text.isascii() else ast.get_source_segment(self._text, node)
        name = source.rpartition(".")[2].strip() if source else normalised
        return self._quoted.get(name, name)


def _operands(body: ast.expr) -> Iterator[ast.expr]:
    """The operands of arithmetic, and of comparisons by size."""
    for node in ast.walk(body):
        match node:
            case ast.BinOp(left, _, right):
                yield from (left, right)
            case ast.UnaryOp(op, operand) if type(op) in (ast.UAdd, ast.USub):
                yield operand
            case ast.Compare(first, ops, others):
                for test, *sides in zip(ops, [first, *others], others, strict=False):
                    yield from sides if type(test) in BY_SIZE else ()


def _constants(body: ast.expr) -> Iterator[tuple[str, Any]]:
    """The constants that a name is compared with by ``==``, ``!=`` or ``in``: (name, value)."""
    for name, other in _compared(body):
        if isinstance(name, ast.Name):
            with suppress(ValueError):  # it is not a constant
                yield name.id, ast.literal_eval(other)


def _compared(body: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The pairs of which an expression asks whether they are equal."""
    for node in ast.walk(body):
        if isinstance(node, ast.Compare):
            for test, left, right in zip(node.ops, [node.left, *node.comparators], node.comparators, strict=False):
                if isinstance(test, (ast.Eq, ast.NotEq)):
                    yield from ((left, right), (right, left))
                elif isinstance(test, (ast.In, ast.NotIn)) and isinstance(right, (ast.Tuple, ast.List)):
                    yield from ((left, item) for item in right.elts)
