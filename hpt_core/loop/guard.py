"""Guards the suggestions of samplers: what the core guarantees whatever a sampler does.

No point outside the space, no exact repeat unless the study allows it, and an end when a finite space is used up.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from numpy.random import Generator, default_rng

from hpt_core.components import Sampler, Suggestion
from hpt_core.errors import InvalidParamsError, PluginError, RequirementError, SpaceExhausted
from hpt_core.loop.notes import plain
from hpt_core.values import shown

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.history.trial import Params
    from hpt_core.space.space import Space

__all__ = ["Repeat", "guarded_suggestion"]

_LOG = logging.getLogger("hpt")

_MAX_DRAWS = 1_000
_MAX_ENUMERABLE = 2**53
_TRIES = 4
"""How often a sampler is asked for one trial before the core chooses a point itself."""


@attrs.frozen
class Repeat:
    """A suggestion at a point that was evaluated before, in a study with ``duplicates="reuse"``.

    Attributes:
        suggestion: The suggestion.
        original: The number of the complete trial at that point.
    """

    suggestion: Suggestion
    original: int


def guarded_suggestion(sampler: Sampler, history: History, number: int, duplicates: str) -> Suggestion | Repeat:
    """Ask a sampler for a new trial's configuration until it gives one that may be used.

    A pure function of its arguments: the generator of try ``i`` is seeded with (study seed, trial number, i).

    Args:
        sampler: The sampler.
        history: The history that the sampler may see.
        number: The new trial's number.
        duplicates: ``avoid``, ``reuse`` or ``allow``.

    Raises:
        SpaceExhausted: If every point of a finite space was tried, or the sampler has nothing left.
        PluginError: If the sampler fails, or suggests only points outside the space.
    """
    space, known = history.space, history.keys
    if duplicates != "allow" and space.size is not None and len(known) >= space.size:
        raise SpaceExhausted
    outside: list[str] = []
    name = type(sampler).__name__
    for attempt in range(_TRIES):
        rng = default_rng([history.seed, number, attempt] if attempt else [history.seed, number])
        suggestion, problem = _checked(_ask(sampler, history, rng), space, name)
        if problem:
            outside.append(problem)
            if not attempt:
                _LOG.warning("%s suggested a point outside the space: %s", name, problem)
        if suggestion is None:
            continue
        if duplicates == "allow":
            return suggestion
        original = known.get(space.key(suggestion.params))
        if original is None:
            return suggestion
        if duplicates == "reuse" and history.trials[original].state == "complete" and history.trials[original].values:
            return Repeat(suggestion, original)
    if len(outside) == _TRIES:
        raise PluginError(f"The sampler {name} suggests points outside the space: {outside[-1]}")
    return Suggestion(space.sample(rng) if duplicates == "allow" else _new_point(history, rng), source="fill")


def _ask(sampler: Sampler, history: History, rng: Generator) -> Params | Suggestion:
    try:
        return sampler.suggest(history, rng)
    except (SpaceExhausted, PluginError):
        raise
    except Exception as err:
        msg = f"The sampler {type(sampler).__name__} failed: {type(err).__name__}: {err}"
        raise PluginError(msg) from err


def _checked(proposed: object, space: Space, sampler: str) -> tuple[Suggestion | None, str]:
    suggestion = proposed if isinstance(proposed, Suggestion) else None
    params: Any = suggestion.params if suggestion else proposed
    if not isinstance(params, Mapping):
        return None, f"suggest() returned {shown(proposed)}, expected a mapping of names to values or a Suggestion"
    if not space.contains(params):
        try:
            params = space.validate(params)
        except RequirementError:  # a sampler need not know of requirements: it is asked again
            return None, ""
        except InvalidParamsError as err:
            return None, str(err)
    if suggestion is None:
        return Suggestion(params), ""
    return attrs.evolve(suggestion, params=params, info=plain(suggestion.info, f"{sampler}: info")), ""


def _new_point(history: History, rng: Generator) -> Params:
    """A new point: uniform in a continuous space, the next free one after a random start in a finite space."""
    space, known = history.space, history.keys
    if space.size is None or space.size > _MAX_ENUMERABLE:
        draws = (space.sample(rng) for _ in range(_MAX_DRAWS))
        for params in draws:
            if space.key(params) not in known:
                return params
        raise SpaceExhausted  # a continuous space can be so narrow that it has few floats
    grid = space.grid()
    start = int(rng.random() * space.size)
    for offset in range(len(known) + 1):
        params = grid[(start + offset) % space.size]
        if space.key(params) not in known:
            return params
    raise SpaceExhausted
