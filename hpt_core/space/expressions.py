"""The expressions of requirements: parts of Python's syntax tree, turned into functions node by node.

An expression is not run by Python, and any other node is refused. So a study file or a log cannot run code, or take
long: there are no calls, no arithmetic on strings and no products or powers of ints beyond the range of floats.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from hpt_core.values import native

__all__ = ["BY_SIZE", "EXAMPLE", "RefusedError", "Term", "distance", "logical"]

Term = Callable[[Mapping[str, Any]], Any]
"""Computes a part of an expression from a configuration."""


class RefusedError(Exception):
    """A part of the expression is not allowed."""


_MOST_BITS = 1024  # of an int, as of the largest float


def _product(a: Any, b: Any) -> Any:
    return _in_range(a * b)


def _power(a: Any, b: Any) -> Any:
    a, b = native(a), native(b)  # numpy's ints have no negative powers
    if isinstance(a, int) and isinstance(b, int) and (a.bit_length() - 1) * b > _MOST_BITS:
        raise OverflowError  # at once, as computing it may take forever
    return _in_range(a**b)


def _in_range(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > _MOST_BITS:
        raise OverflowError
    return number


_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _product,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
BY_SIZE: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    **BY_SIZE,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, group: value in group,
    ast.NotIn: lambda value, group: value not in group,
}
_KNOWN = "names of parameters, numbers, strings, + - * / // % **, comparisons, and, or, not, in"
EXAMPLE = "'leaf <= split / 2'"


def logical(node: ast.expr) -> Term:
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
        msg = f"must compare something, as in {EXAMPLE}."
        raise RefusedError(msg)
    raise _refusal(node)


def _truth(node: ast.expr) -> Term:
    return _value(node) if isinstance(node, ast.Name) else logical(node)


def _comparison(sides: list[ast.expr], ops: list[ast.cmpop]) -> Term:
    tests = []
    for op, left, right in zip(ops, sides, sides[1:], strict=False):
        if type(op) not in _COMPARISONS:
            raise _refusal(op)
        side = _number if type(op) in BY_SIZE else _value
        if type(op) in (ast.In, ast.NotIn) and isinstance(right, ast.Constant):  # ('ab') is no list, but a string
            msg = f"must have a list after 'in', as in [{ast.unparse(right)}], not {ast.unparse(right)}."
            raise RefusedError(msg)
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
            raise RefusedError(msg)
    raise _refusal(node)


def distance(node: ast.expr, *, wanted: bool = True) -> Term:
    """A term for how far a configuration is from making a logical term true, or false: 0 where it is.

    It is the difference of the two sides of a comparison of numbers and 1 for any other, the sum of those that must
    hold together, and the least of alternatives.
    """
    match node:
        case ast.UnaryOp(ast.Not(), operand):
            return distance(operand, wanted=not wanted)
        case ast.BoolOp(op, values):
            return _combined([distance(value, wanted=wanted) for value in values], isinstance(op, ast.And) is wanted)
        case ast.Compare(left, ops, comparators):
            pairs = zip(ops, [left, *comparators], comparators, strict=False)
            return _combined([_gap(*pair, wanted=wanted) for pair in pairs], wanted)
    term = _truth(node)
    return lambda params: float(bool(term(params)) is not wanted)


def _combined(parts: list[Term], together: bool) -> Term:
    if together:
        return lambda params: sum(part(params) for part in parts)
    return lambda params: min(part(params) for part in parts)


def _gap(op: ast.cmpop, left: ast.expr, right: ast.expr, *, wanted: bool) -> Term:
    test, left_of, right_of = _COMPARISONS[type(op)], _value(left), _value(right)

    def gap(params: Mapping[str, Any]) -> float:
        a, b = left_of(params), right_of(params)
        if bool(test(a, b)) is wanted:
            return 0.0
        return abs(a - b) if isinstance(a, (int, float)) and isinstance(b, (int, float)) else 1.0

    return gap


def _refusal(node: ast.AST) -> RefusedError:
    part = repr(ast.unparse(node)) if isinstance(node, ast.expr) else type(node).__name__
    return RefusedError(f"may only have {_KNOWN}, not {part}.")
