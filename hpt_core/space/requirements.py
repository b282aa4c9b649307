"""Requirements: expressions that every configuration of a space must satisfy, such as ``leaf <= split / 2``.

An expression has Python's syntax, but it is not run by Python: it is turned into functions node by node, and any other
node is refused. So a study file or a log cannot run code, or take long: there are no calls, no powers, no arithmetic on
strings and no products of ints beyond the range of floats.
"""

from __future__ import annotations

import ast
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs

from hpt_core.errors import Mistake, SpaceError
from hpt_core.values import shown

__all__ = ["Requirement", "parse_requirement", "requirement_of"]

Term = Callable[[Mapping[str, Any]], Any]
"""Computes a part of an expression from a configuration."""

_MAX_LENGTH = 10_000
_MAX_NESTED = 250  # a function per level calls that of the next one, and Python ends at 1,000 calls


def _product(a: Any, b: Any) -> Any:
    product = a * b
    if isinstance(product, int) and product.bit_length() > 1024:
        raise OverflowError
    return product


_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _product,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_BY_SIZE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    **_BY_SIZE,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, group: value in group,
    ast.NotIn: lambda value, group: value not in group,
}
_WORDS = ("and", "or", "not", "in", "is", "if", "else", "True", "False", "None")  # which nobody takes for a parameter
_KNOWN = "names of parameters, numbers, strings, + - * / // %, comparisons, and, or, not, in"
_EXAMPLE = "'leaf <= split / 2'"


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
        raise _refused(f"must be an expression such as {_EXAMPLE}. Got {shown(text)}.")
    if len(text) > _MAX_LENGTH:
        raise _refused(f"must have at most {_MAX_LENGTH:,} characters. Got {len(text):,}.")
    text = text.strip()
    try:
        body = _Names(text).visit(_parsed(text)).body
        term = _logical(body)
    except _RefusedError as err:
        raise _refused(f"{err} Got {shown(text)}.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        reason = f"{err.msg if isinstance(err, SyntaxError) else 'too complex'}.{_keyword_in(text)}"
        raise _refused(f"must be an expression such as {_EXAMPLE}. Got {shown(text)}: {reason}") from None
    names = frozenset(node.id for node in ast.walk(body) if isinstance(node, ast.Name))
    numbers = frozenset(node.id for node in _operands(body) if isinstance(node, ast.Name))
    return Requirement(text, names, numbers, tuple(_constants(body)), term)


def _refused(problem: str) -> SpaceError:
    return SpaceError(Mistake("requires", problem))


class _RefusedError(Exception):
    """A part of the expression is not allowed."""


def _parsed(text: str) -> ast.Expression:
    parsed = ast.parse(text, mode="eval")
    level: list[ast.AST] = [parsed]
    for _ in range(_MAX_NESTED):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        msg = f"must not be nested deeper than {_MAX_NESTED} levels; each term of a sum is one."
        raise _RefusedError(msg)
    return parsed


def _keyword_in(text: str) -> str:
    """A hint if an expression that Python cannot parse has a keyword where a name can be, such as ``lambda``."""
    words = [word for word in re.findall(r"\w+", text) if keyword.iskeyword(word) and word not in _WORDS]
    return f" {words[0]!r} is a keyword of Python; a parameter that is named here needs another name." if words else ""


class _Names(ast.NodeTransformer):
    """Turns ``svc.C`` into one name, as parameters may have dots in theirs, and keeps the characters of names.

    Python normalises names (NFKC): it reads the micro sign as the Greek letter.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(self._written(node, node.id), ast.Load()), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        inner = self.visit(node.value)
        if not isinstance(inner, ast.Name):
            return node
        return ast.copy_location(ast.Name(f"{inner.id}.{self._written(node, node.attr)}", ast.Load()), node)

    def _written(self, node: ast.expr, normalised: str) -> str:
        source = None if self._text.isascii() else ast.get_source_segment(self._text, node)
        return source.rpartition(".")[2].strip() if source else normalised


# --- from nodes to functions ------------------------------------------------------------------------


def _logical(node: ast.expr) -> Term:
    """A term that is true or false: a comparison, or ``and``, ``or``, ``not`` of such terms or of names."""
    match node:
        case ast.BoolOp(ast.And(), values):
            parts = [_truth(value) for value in values]
            return lambda params: all(part(params) for part in parts)
        case ast.BoolOp(ast.Or(), values):
            parts = [_truth(value) for value in values]
            return lambda params: any(part(params) for part in parts)
        case ast.UnaryOp(ast.Not(), operand):
            inner = _truth(operand)
            return lambda params: not inner(params)
        case ast.Compare(left, ops, comparators):
            return _comparison([left, *comparators], ops)
    if type(node) in (ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp):
        msg = f"must compare something, as in {_EXAMPLE}."
        raise _RefusedError(msg)
    raise _refusal(node)


def _truth(node: ast.expr) -> Term:
    return _value(node) if isinstance(node, ast.Name) else _logical(node)


def _comparison(sides: list[ast.expr], ops: list[ast.cmpop]) -> Term:
    tests = []
    for op, left, right in zip(ops, sides, sides[1:], strict=False):
        if type(op) not in _COMPARISONS:
            raise _refusal(op)
        side = _number if type(op) in _BY_SIZE else _value
        if type(op) in (ast.In, ast.NotIn) and isinstance(right, ast.Constant):  # ('ab') is no list, but a string
            msg = f"must have a list after 'in', as in [{ast.unparse(right)}], not {ast.unparse(right)}."
            raise _RefusedError(msg)
        tests.append((_COMPARISONS[type(op)], side(left), side(right)))
    if len(tests) == 1:
        ((test, left_of, right_of),) = tests
        return lambda params: test(left_of(params), right_of(params))
    return lambda params: all(test(left(params), right(params)) for test, left, right in tests)


def _value(node: ast.expr) -> Term:
    """A term of any type: a string, None, a tuple or list, a name or a number."""
    match node:
        case ast.Name(name):
            return operator.itemgetter(name)
        case ast.Constant(str() | int() | float() | None as value):
            return lambda _: value
        case ast.Tuple(items) | ast.List(items):
            parts, kind = [_value(item) for item in items], tuple if isinstance(node, ast.Tuple) else list
            return lambda params: kind(part(params) for part in parts)
    return _number(node)


def _number(node: ast.expr) -> Term:
    """A term that is a number."""
    match node:
        case ast.Name() | ast.Constant(int() | float()):
            return _value(node)
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            compute, a, b = _ARITHMETIC[type(op)], _number(left), _number(right)
            return lambda params: compute(a(params), b(params))
        case ast.UnaryOp(op, operand) if type(op) in _ARITHMETIC:
            sign, inner = _ARITHMETIC[type(op)], _number(operand)
            return lambda params: sign(inner(params))
        case ast.BinOp(op=op):
            raise _refusal(op)
        case ast.Constant(str()) | ast.Tuple() | ast.List() | ast.BoolOp() | ast.Compare():
            msg = f"must compute with, and compare the size of, numbers only, not {ast.unparse(node)!r}."
            raise _RefusedError(msg)
    raise _refusal(node)


def _refusal(node: ast.AST) -> _RefusedError:
    part = repr(ast.unparse(node)) if isinstance(node, ast.expr) else type(node).__name__
    return _RefusedError(f"may only have {_KNOWN}, not {part}.")


def _operands(body: ast.expr) -> Iterator[ast.expr]:
    """The operands of arithmetic, and of comparisons by size."""
    for node in ast.walk(body):
        match node:
            case ast.BinOp(left, _, right):
                yield from (left, right)
            case ast.UnaryOp(op, operand) if type(op) in _ARITHMETIC:
                yield operand
            case ast.Compare(first, ops, others):
                for test, *sides in zip(ops, [first, *others], others, strict=False):
                    yield from sides if type(test) in _BY_SIZE else ()


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
