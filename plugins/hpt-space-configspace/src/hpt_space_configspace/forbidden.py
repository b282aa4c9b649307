"""Conversion between ConfigSpace's forbidden clauses and hpt's requirements.

Both are reduced to *terms*: a configuration is forbidden if, for one of the terms, all clauses of that term hold. A
clause does not hold while its hyperparameter is inactive, and a requirement does not apply while a parameter that it
names is inactive. So terms share a requirement only if their parameters are active under the same conditions.
"""

from __future__ import annotations

import ast
import itertools
import keyword
import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any

import ConfigSpace
from ConfigSpace import forbidden as cs

from hpt_core import Space, UsageError
from hpt_space_configspace.hyperparameters import native

__all__ = ["clauses_of", "requirements_of"]

_STRING = r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
_PARTS = re.compile(_STRING + r"|`([^`]+)`|(\w*[^\W\x00-\x7f]\w*)")  # or a name in backquotes, or one that is not ASCII
_MOST = 1000  # no longer range is written as a list of values, nor an expression as more terms

Term = tuple[Any, ...]
Conditions = frozenset[Any]
When = Mapping[str, Mapping[str, Iterable[Any]]]
Slot = tuple[list[str], Conditions]  # the parts of a requirement, and when they apply

_ALLOWED = {  # what a configuration must satisfy, by what is forbidden
    cs.ForbiddenEqualsClause: "!=",
    cs.ForbiddenInClause: "not in",
    cs.ForbiddenLessThanClause: ">=",
    cs.ForbiddenLessThanEqualsClause: ">",
    cs.ForbiddenGreaterThanClause: "<=",
    cs.ForbiddenGreaterThanEqualsClause: "<",
    cs.ForbiddenEqualsRelation: "!=",
    cs.ForbiddenLessThanRelation: ">=",
    cs.ForbiddenLessThanEqualsRelation: ">",
    cs.ForbiddenGreaterThanRelation: "<=",
    cs.ForbiddenGreaterThanEqualsRelation: "<",
}


# --- from ConfigSpace -----------------------------------------------------------------------------


def requirements_of(configspace: ConfigSpace.ConfigurationSpace, order: list[str], when: When) -> dict[str, str]:
    """The requirements that forbid what a space forbids.

    Args:
        configspace: The space.
        order: The names in the order of the hpt space. A requirement belongs to the last of those that it names.
        when: Name -> the conditions of the parameter, empty if it has none.

    Raises:
        UsageError: If hpt has no equivalent.
    """
    found: dict[str, Slot] = {}
    fewest_first = sorted(configspace.forbidden_clauses, key=lambda each: len(_names(getattr(each, "dlcs", [each]))))
    for clause in fewest_first:  # as they fit into the fewest requirements
        try:
            for term in _terms(clause):
                _add(term, found, order, when)
        except ValueError as err:
            raise UsageError(f"hpt cannot hold the forbidden clause {str(clause)!r}: {err}") from err
    return {name: _joined(texts) for name, (texts, _) in found.items()}


def _add(term: Term, found: dict[str, Slot], order: list[str], when: When) -> None:
    """Add a term to the requirement of the last parameter in it whose requirement applies under the same conditions."""
    named = _names(term)
    conditions = _conditions(named, when)
    free = [name for name in order if name in named and found.get(name, ([], conditions))[1] == conditions]
    if not free:
        raise ValueError("its parameters have requirements that apply under other conditions.")
    texts, _ = found.setdefault(free[-1], ([], conditions))
    texts.append(" or ".join(map(_text, term)))


def _joined(texts: list[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return " and ".join(f"({text})" if " or " in text else text for text in texts)


def _terms(clause: Any) -> list[Term]:
    """The combinations of simple clauses that are forbidden."""
    if not isinstance(clause, cs.ForbiddenConjunction):
        return [(clause,)]
    parts = [_terms(part) for part in clause.components]
    return _all_of(parts) if isinstance(clause, cs.ForbiddenAndConjunction) else list(itertools.chain(*parts))


def _all_of(parts: list[list[Term]]) -> list[Term]:
    if math.prod(map(len, parts)) > _MOST:
        raise ValueError(f"it forbids more than {_MOST} combinations.")
    return [tuple(itertools.chain(*chosen)) for chosen in itertools.product(*parts)]


def _text(clause: Any) -> str:
    """What a configuration must satisfy instead of a simple clause."""
    if type(clause) not in _ALLOWED:
        raise ValueError(f"there is no equivalent of a {type(clause).__name__}.")
    sign = _ALLOWED[type(clause)]
    if isinstance(clause, cs.ForbiddenRelation):
        return f"{_quoted(clause.left.name)} {sign} {_quoted(clause.right.name)}"
    name, order = clause.hyperparameter.name, getattr(clause.hyperparameter, "sequence", None)
    if isinstance(clause, cs.ForbiddenInClause):
        return f"{_quoted(name)} not in {tuple(map(native, clause.values))!r}"
    if order is not None and not isinstance(clause, cs.ForbiddenEqualsClause):  # by place, not by value
        places = range(len(order))
        listed = [native(order[i]) for i in places if clause.is_forbidden_value({name: order[i]})]
        return f"{_quoted(name)} not in {tuple(listed)!r}"
    return f"{_quoted(name)} {sign} {native(clause.value)!r}"


def _quoted(name: str) -> str:
    """A name as requirements have it."""
    if all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(".")):
        return name
    if "`" in name:
        raise ValueError(f"requirements have no name with a backquote, such as {name!r}. Rename it.")
    return f"`{name}`"


def _names(term: Iterable[Any]) -> set[str]:
    """The names of the hyperparameters of simple clauses."""
    found = set()
    for clause in term:
        both = (clause.left, clause.right) if isinstance(clause, cs.ForbiddenRelation) else (clause.hyperparameter,)
        found |= {each.name for each in both}
    return found


def _conditions(names: Iterable[str], when: When) -> Conditions:
    """The conditions under which all these parameters are active: (parent, values)."""
    found = set()
    for name in names:
        found |= {(parent, *map(repr, values)) for parent, values in when[name].items()}
        found |= _conditions(when[name], when)
    return frozenset(found)


# --- to ConfigSpace -------------------------------------------------------------------------------

Op = type[ast.cmpop]

_RELATIONS: dict[Op, Any] = {
    ast.Eq: cs.ForbiddenEqualsRelation,
    ast.Lt: cs.ForbiddenLessThanRelation,
    ast.LtE: cs.ForbiddenLessThanEqualsRelation,
    ast.Gt: cs.ForbiddenGreaterThanRelation,
    ast.GtE: cs.ForbiddenGreaterThanEqualsRelation,
}
_CLAUSES: dict[Op, Any] = {
    ast.Eq: cs.ForbiddenEqualsClause,
    ast.In: cs.ForbiddenInClause,
    ast.Lt: cs.ForbiddenLessThanClause,
    ast.LtE: cs.ForbiddenLessThanEqualsClause,
    ast.Gt: cs.ForbiddenGreaterThanClause,
    ast.GtE: cs.ForbiddenGreaterThanEqualsClause,
}
_TESTS: dict[Op, Any] = {
    ast.NotEq: operator.ne,
    ast.NotIn: lambda value, listed: value not in listed,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_OPPOSITE: dict[Op, Op] = {
    ast.Eq: ast.NotEq, ast.In: ast.NotIn, ast.Lt: ast.GtE, ast.LtE: ast.Gt,
    ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.GtE: ast.Lt, ast.Gt: ast.LtE,
}  # fmt: skip
_MIRRORED: dict[Op, Op] = {
    ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq,
}  # fmt: skip


def clauses_of(space: Space, made: Mapping[str, Any]) -> list[Any]:
    """The forbidden clauses for the requirements of a space.

    Args:
        space: The space.
        made: Name -> hyperparameter.

    Raises:
        UsageError: If ConfigSpace has no equivalent.
    """
    found: list[Any] = []
    for name, parameter in space.parameters.items():
        if parameter.requires:
            try:
                found += _forbidden(parameter.requires, space, made)
            except (TypeError, ValueError) as err:
                msg = f"ConfigSpace cannot hold the requirement of {name!r}, {parameter.requires!r}: {err}"
                raise UsageError(msg) from err
    return found


def _forbidden(requirement: str, space: Space, made: Mapping[str, Any]) -> list[Any]:
    terms = _broken(_parsed(requirement), space, made)
    when = {name: parameter.when for name, parameter in space.parameters.items()}
    if len({_conditions(_names(term), when) for term in terms}) > 1:
        raise ValueError("its parts are about parameters that are active under different conditions.")
    return [term[0] if len(term) == 1 else cs.ForbiddenAndConjunction(*term) for term in terms]


def _parsed(requirement: str) -> ast.expr:
    """The syntax tree of a requirement, also with names in backquotes, and with others as written.

    Python has no backquotes, and reads the micro sign as the Greek letter.
    """
    names: dict[str, str] = {}
    prefix = "q"
    while prefix in requirement:
        prefix += "q"

    def plain(found: re.Match[str]) -> str:
        string, quoted, word = found.groups()
        name = quoted or word
        return string or f" {names.setdefault(name, f'{prefix}{len(names)}')} "  # apart from words beside it

    body = ast.parse(_PARTS.sub(plain, requirement).lstrip(), mode="eval").body
    written = {identifier: name for name, identifier in names.items()}
    for node in ast.walk(body):
        if isinstance(node, ast.Name):
            node.id = written.get(node.id, node.id)
    return body


def _broken(node: ast.expr, space: Space, made: Mapping[str, Any], *, broken: bool = True) -> list[Term]:
    """The terms of which one holds if an expression does not, or if it does (``broken=False``)."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _broken(node.operand, space, made, broken=not broken)
    if not isinstance(node, (ast.BoolOp, ast.Compare)):
        raise ValueError(f"no forbidden clause is the same as {ast.unparse(node)!r}.")  # noqa: TRY004 - as all mistakes
    if isinstance(node, ast.BoolOp):
        parts = [_broken(part, space, made, broken=broken) for part in node.values]
    else:
        sides = [node.left, *node.comparators]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        ops = [(_OPPOSITE[type(op)] if broken else type(op), left, right) for op, left, right in pairs]
        parts = [[(clause,) for clause in _either(_clause(*each, space, made))] for each in ops]
    either = isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)
    return _all_of(parts) if broken is either else list(itertools.chain(*parts))


def _either(clause: Any) -> list[Any]:
    """The clauses of which one holds if this one does.

    ConfigSpace 1.2 draws what a `ForbiddenLessThanEqualsClause` forbids, and nothing else.
    """
    if type(clause) is not cs.ForbiddenLessThanEqualsClause:
        return [clause]
    hyperparameter, value = clause.hyperparameter, clause.value
    return [cs.ForbiddenLessThanClause(hyperparameter, value), cs.ForbiddenEqualsClause(hyperparameter, value)]


def _clause(op: Op, left: ast.expr, right: ast.expr, space: Space, made: Mapping[str, Any]) -> Any:
    """The clause that holds if a comparison does."""
    name, other = ast.unparse(left), ast.unparse(right)
    if name in made and other in made and op in _RELATIONS:
        return _RELATIONS[op](made[name], made[other])
    if name not in made and other in made and op in _MIRRORED:
        return _clause(_MIRRORED[op], right, left, space, made)
    unknown = f"no forbidden clause is the same as {ast.unparse(ast.Compare(left, [op()], [right]))!r}."
    try:
        parameter, value = space[name], ast.literal_eval(right)
    except (KeyError, ValueError):
        raise ValueError(unknown) from None
    bounded = not hasattr(made[name], "sequence") and made[name].ORDERABLE  # ordinals compare places, not values
    if op in (ast.Eq, ast.In) or (bounded and op in _CLAUSES):
        return _CLAUSES[op](made[name], value)
    if parameter.size is None or parameter.size > _MOST:
        raise ValueError(unknown)
    values = [each for each in map(parameter.value_at, range(parameter.size)) if _TESTS[op](each, value)]
    kind = cs.ForbiddenInClause if len(values) != 1 else cs.ForbiddenEqualsClause
    return kind(made[name], values if len(values) != 1 else values[0])
