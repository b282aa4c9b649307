"""Checks that components meet their contracts and fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpt_core.components import KINDS
from hpt_core.errors import HptError, Mistake, PluginError, UsageError
from hpt_core.history.definition import evidence_of
from hpt_core.mistakes import Mistakes, within
from hpt_core.options import option_fields
from hpt_core.plugins.distributions import provider

if TYPE_CHECKING:
    from hpt_core.space.space import Space

__all__ = [
    "check_component",
    "check_evidence",
    "evidence_problem",
    "missing_methods",
    "parts_of",
    "rules_by_path",
    "run_checks",
    "with_article",
]


def with_article(kind: str) -> str:
    """A kind with its article: ``an evaluator``."""
    return f"an {kind}" if kind.startswith("e") else f"a {kind}"


def check_component(kind: str, component: object, path: str) -> object:
    """The component itself, if it has the methods of its kind.

    Args:
        kind: One of `hpt_core.components.KINDS`.
        component: The component.
        path: Key path, for messages.

    Raises:
        UsageError: If it is a class, or lacks a method.
    """
    missing = missing_methods(kind, component)
    if missing:
        library = str(getattr(component, "__module__", "")).partition(".")[0]
        own = provider(kind, library)
        hint = f" For {library}, use the {kind} {library!r} (of {own})." if own else ""
        message = (
            f"Must be {with_article(kind)}: {'a path, a URL, ' * (kind == 'store')}a name, a mapping with 'use', "
            f"or an object with {missing}(). Got {type(component).__name__} {component!r:.80}.{hint}"
        )
        raise UsageError(Mistake(path, message))
    if isinstance(component, type):
        message = f"Must be {with_article(kind)}, not a class: write {component.__name__}(...)."
        raise UsageError(Mistake(path, message))
    return component


def missing_methods(kind: str, component: object) -> str:
    """The methods that a component, or its class, needs to be of a kind; empty if it has them."""
    alternatives = KINDS[kind].methods
    if any(all(callable(getattr(component, m, None)) for m in methods) for methods in alternatives):
        return ""
    return " or ".join("/".join(methods) for methods in alternatives)


def rules_by_path(stop: Any) -> dict[str, Any]:
    """The rules in what a user gave as ``stop``, with their key paths: of one rule ``stop``, of a list ``stop[i]``."""
    if isinstance(stop, (list, tuple)):
        return {f"stop[{i}]": rule for i, rule in enumerate(stop)}
    return {} if stop is None else {"stop": stop}


def run_checks(
    evaluator: object, sampler: object, rules: Mapping[str, object], space: Space, objectives: Mapping[str, str]
) -> None:
    """Call the ``check`` of each component that has one, before the first trial.

    Rules, see `rules_by_path`, and the rules in their options are checked alike.

    Raises:
        UsageError: With the mistakes of all components. Those of a rule are told at its place in ``stop``.
        PluginError: If a ``check`` raises anything else.
    """
    mistakes = Mistakes()
    for path, component in (("", evaluator), ("", sampler), *_rules_within(rules)):
        mistakes.collect(_check, path, component, space, dict(objectives))
    mistakes.raise_all()


def _check(path: str, component: Any, space: Space, objectives: dict[str, str]) -> None:
    check = getattr(component, "check", None)
    if check is not None:
        with _errors_of(component, "check", path):
            check(space, objectives)


@contextmanager
def _errors_of(component: object, method: str, path: str) -> Iterator[None]:
    """Tell the mistakes that a method of a component finds at its place, and blame it for any other error."""
    try:
        yield
    except UsageError as err:
        raise UsageError(*within(path, err.mistakes)) from err
    except HptError:
        raise
    except Exception as err:
        message = f"{type(component).__name__} failed in {method}: {type(err).__name__}: {err}"
        raise PluginError(str(Mistake(path, message))) from err


def check_evidence(evaluator: object, rules: Mapping[str, object]) -> list[str]:
    """Check that the evaluator's declaration of its reports is valid, and that each rule can judge these reports.

    Rules, see `rules_by_path`, and the rules in their options are checked alike.

    Returns:
        What to warn of: the rules that will never act on such reports, one sentence each.

    Raises:
        PluginError: If the declaration is invalid, or if the ``check_evidence`` of a rule fails.
        UsageError: With the mistakes of all rules that cannot judge the reports.
    """
    problem = evidence_problem(evaluator)
    if problem:
        raise PluginError(f"The evaluator {type(evaluator).__name__} declares its reports wrongly: {problem}")
    mistakes = Mistakes()
    warnings = [(path, mistakes.collect(_check_reports, path, rule, evaluator)) for path, rule in _rules_within(rules)]
    mistakes.raise_all()
    return [f"{path}: {warning}" for path, warning in warnings if warning]


def _rules_within(rules: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """The rules of a study and those in their options, with their key paths."""
    for place, rule in rules.items():
        for path, part in parts_of(rule, place):
            if not missing_methods("stopping rule", part):
                yield path, part


def parts_of(component: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A component and everything in its options, with their key paths."""
    yield path, component
    if isinstance(component, (list, tuple)):
        inner = [(f"{path}[{i}]", part) for i, part in enumerate(component)]
    elif isinstance(component, Mapping):
        inner = [(f"{path}.{key}", part) for key, part in component.items()]
    else:
        names = [field.name for field in option_fields(type(component))]
        inner = [(f"{path}.{name}", getattr(component, name)) for name in names]
    for where, part in inner:
        yield from parts_of(part, where)


def _check_reports(path: str, rule: Any, evaluator: object) -> str | None:
    """Check that a rule can judge the reports of an evaluator. Returns a warning if it will never act on them."""
    declared = evidence_of(evaluator)
    given = declared.pop("kind")
    wanted = getattr(rule, "evidence", given)
    if wanted != given:
        judged, reported = ({"curve": "curves"}.get(kind, kind) for kind in (wanted, given))
        message = (
            f"This rule judges {judged}, but the evaluator's reports are {reported}: use another rule, or an "
            f"evaluator whose `evidence` is {wanted!r}."
        )
        raise UsageError(Mistake(path, message))
    check = getattr(rule, "check_evidence", None)
    if check is None:
        return None
    with _errors_of(rule, "check_evidence", path):
        warning: str | None = check(given, **declared)
    if warning is not None and not isinstance(warning, str):
        msg = f"{path}: {type(rule).__name__} must return text or None from check_evidence. Got {warning!r:.80}."
        raise PluginError(msg)
    return warning


def evidence_problem(evaluator: object) -> str:
    """What is wrong with ``evidence``, ``steps`` or ``resumable`` of an evaluator; empty if nothing is."""
    evidence, steps = getattr(evaluator, "evidence", "curve"), getattr(evaluator, "steps", None)
    resumable = getattr(evaluator, "resumable", False)
    if evidence not in ("curve", "folds"):
        return f"`evidence` must be 'curve' or 'folds'. Got {evidence!r:.80}."
    if steps is not None and not (type(steps) is int and steps > 0):
        return f"`steps` must be an int above 0, or None. Got {type(steps).__name__} {steps!r:.80}."
    return "" if type(resumable) is bool else f"`resumable` must be a bool. Got {resumable!r:.80}."
