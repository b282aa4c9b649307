"""Hypothesis strategies for search spaces, their configurations, and histories of studies on them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import assume
from hypothesis import strategies as st

from hpt_core.components import Pause, Stop
from hpt_core.errors import SpaceError
from hpt_core.history import events
from hpt_core.history.trial import FAILURE_KINDS, Failure, Report
from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Parameter, Space
from hpt_core.testing.histories import make_history

if TYPE_CHECKING:
    from hpt_core.history.history import History

__all__ = ["continuous", "histories", "names", "parameters", "params_of", "spaces", "units"]

_MAX_INT = 2**53
_MAX_CONDITION_VALUES = 20

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
_choices = _scalars | st.lists(_scalars, max_size=3)


def units() -> st.SearchStrategy[float]:
    """Unit coordinates, including the ends and the numbers next to them."""
    return st.floats(0.0, 1.0)


def names() -> st.SearchStrategy[str]:
    """Names that a parameter may have."""
    return st.text(min_size=1, max_size=8).filter(str.isprintable)


@st.composite
def continuous(draw: st.DrawFn) -> Float:
    """`Float` parameters without a step, linear and log, of any width that a double can represent."""
    log = draw(st.booleans())
    bound = st.floats(sys.float_info.min if log else None, allow_nan=False, allow_infinity=False)
    low, high = sorted((draw(bound), draw(bound)))
    assume(low < high and math.isfinite(high - low))
    return Float(low, high, log=log)


@st.composite
def _stepped(draw: st.DrawFn) -> Float:
    places = 10.0 ** draw(st.integers(0, 6))
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -1000, 1000)) / places
    step = draw(st.integers(1, 1000)) / places
    high = low + step * draw(st.floats(0, 1000))
    return Float(low, high, log=log, step=step)


@st.composite
def _ints(draw: st.DrawFn) -> Int:
    log = draw(st.booleans())
    least = 1 if log else -_MAX_INT
    low = draw(st.integers(max(least, -100), 100) | st.integers(least, _MAX_INT))
    high = draw(st.integers(low, min(low + 100, _MAX_INT)) | st.integers(low, _MAX_INT))
    step = draw(st.integers(1, 5))
    assume((high - low) // step < _MAX_INT)
    return Int(low, high, log=log, step=step)


def _listed(kind: type[Categorical | Ordinal]) -> st.SearchStrategy[Parameter]:
    def distinct_by(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    chosen = st.lists(_choices, min_size=1, max_size=6, unique_by=distinct_by)
    fitting = chosen.filter(lambda values: len(values) > 1 or not isinstance(values[0], list))
    return fitting.map(lambda values: kind(*values))


@cache
def parameters(*, finite: bool = False, max_size: int | None = None) -> st.SearchStrategy[Parameter]:
    """Parameters of every kind, without conditions.

    Args:
        finite: Leave out continuous parameters.
        max_size: Maximum number of values of a finite parameter; None for no limit.
    """
    kinds: list[st.SearchStrategy[Parameter]] = [
        _ints(),
        _stepped(),
        _listed(Categorical),
        _listed(Ordinal),
        _choices.map(Constant),
    ]
    if not finite:
        kinds.append(continuous())
    made = st.one_of(kinds)
    return made if max_size is None else made.filter(lambda p: p.size is None or p.size <= max_size)


def _with_default(draw: st.DrawFn, parameter: Parameter) -> Parameter:
    if isinstance(parameter, Constant) or draw(st.booleans()):
        return parameter
    return _remade(parameter, default=parameter.from_unit(draw(units())))


def _remade(parameter: Parameter, **changed: Any) -> Parameter:
    table = parameter.to_json() | changed
    del table["type"]
    choices = table.pop("choices", ())
    made: Parameter = type(parameter)(*choices, **table)
    return made


@st.composite
def spaces(
    draw: st.DrawFn,
    *,
    max_parameters: int = 6,
    conditional: bool = True,
    finite: bool = False,
    max_size: int | None = None,
) -> Space:
    """Search spaces with defaults and conditions: on one or several parents, nested, children declared first.

    Args:
        draw: Provided by Hypothesis.
        max_parameters: Maximum number of parameters.
        conditional: Whether to allow conditions.
        finite: Leave out continuous parameters.
        max_size: Maximum number of values of a finite parameter; None for no limit.
    """
    kinds = parameters(finite=finite, max_size=max_size)
    wanted = draw(st.lists(names(), min_size=1, max_size=max_parameters, unique=True))
    declared: dict[str, Parameter] = {}
    for name in wanted:
        declared[name] = _with_default(draw, draw(kinds))
        if conditional and declared:
            _add_condition(draw, declared, name)
    return Space({name: declared[name] for name in draw(st.permutations(wanted))})


def _add_condition(draw: st.DrawFn, declared: dict[str, Parameter], name: str) -> None:
    """Make ``name`` depend on up to two other parameters, unless that condition could never hold."""
    able = [other for other, p in declared.items() if other != name and p.size is not None]
    if not able:
        return
    when = {}
    for parent in draw(st.lists(st.sampled_from(able), max_size=2, unique=True)):
        size = declared[parent].size or 1
        places = st.integers(0, min(size, _MAX_CONDITION_VALUES) - 1)
        when[parent] = [declared[parent].value_at(i) for i in draw(st.sets(places, min_size=1, max_size=3))]
    candidate = _remade(declared[name], when=when)
    try:
        Space({**declared, name: candidate})
    except SpaceError:
        return
    declared[name] = candidate


@st.composite
def params_of(draw: st.DrawFn, space: Space) -> dict[str, Any]:
    """Configurations of ``space``, including floats off the lattice of `Space.from_unit`."""
    d = len(space.columns)
    params: dict[str, Any] = space.from_unit(draw(st.lists(units(), min_size=d, max_size=d)))
    for name in params:
        parameter = space[name]
        if isinstance(parameter, Float) and parameter.size is None and draw(st.booleans()):
            params[name] = draw(st.floats(parameter.low, parameter.high))
    return params


@st.composite
def histories(
    draw: st.DrawFn,
    space: Space | None = None,
    *,
    max_trials: int = 10,
    directions: Sequence[str] = ("minimize",),
    evidence: str = "curve",
    constraints: Mapping[str, str] | None = None,
) -> History:
    """Histories of studies in any state, including empty ones.

    Trials may be complete, stopped with or without a value, paused, failed in every way, or running, with or without
    reports. There are ties, equal configurations and invalidated trials. Each result and report has the metrics of the
    constraints; some trials satisfy them, some do not.

    Args:
        draw: Provided by Hypothesis.
        space: The space; None for any space.
        max_trials: Maximum number of trials.
        directions: One per objective.
        evidence: ``curve`` or ``folds``.
        constraints: See `hpt_core.Study`; None for none.
    """
    space = draw(spaces(max_parameters=3)) if space is None else space
    steps = draw(st.none() | st.integers(1, 5))
    names = ["value"] if len(directions) == 1 else [f"value{i}" for i in range(len(directions))]
    metrics = st.fixed_dictionaries({name: _values() for name in constraints or () if name not in names})
    numbers = st.lists(st.tuples(_values(), metrics), max_size=steps or 5)
    trials, reports = [], {}
    for number in range(draw(st.integers(0, max_trials))):
        reports[number] = [Report(step, *item) for step, item in enumerate(draw(numbers), start=1)]
        outcome = draw(_outcomes(names, metrics, reported=bool(reports[number])))
        trials.append((draw(params_of(space)), outcome))
    settings: dict[str, Any] = {"directions": directions, "constraints": constraints, "evidence": evidence}
    history = make_history(space, trials, reports=reports, steps=steps, resumable=True, **settings)
    for number in sorted(draw(st.sets(st.integers(0, 3 * max_trials), max_size=2))):
        if number < len(trials) and trials[number][1] is not None:
            history.apply(events.invalidated(1e6, number, "it was wrong"))
    return history


def _values() -> st.SearchStrategy[float]:
    """Losses, including ties."""
    return st.integers(-2, 2).map(float) | st.floats(-1e6, 1e6)


def _outcomes(
    names: Sequence[str], metrics: st.SearchStrategy[dict[str, float]], *, reported: bool
) -> st.SearchStrategy[Any]:
    failures = st.sampled_from(FAILURE_KINDS).map(lambda kind: Failure(kind, "it failed"))
    values = st.fixed_dictionaries(dict.fromkeys(names, _values()))
    results = st.builds(lambda given, others: {**given, **others}, values, metrics)
    made: list[st.SearchStrategy[Any]] = [results, st.none(), failures]
    if reported and len(names) == 1:
        made += [_values().map(lambda value: Stop("bad", value=value)), st.just(Stop("bad")), st.just(Pause("wait"))]
    return st.one_of(made)
