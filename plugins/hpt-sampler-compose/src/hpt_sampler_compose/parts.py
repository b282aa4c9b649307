"""Samplers made of samplers: their parts, and which part each trial came from."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Sampler, Space, Suggestion, UsageError, option

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["Composed", "Nesting", "Part", "Placed", "called", "inside", "owners"]

_RESERVED = ("fill", "given", "sampler")  # what the core itself writes as a source


@attrs.define(kw_only=True)
class Part:
    """One sampler of several. In a study file its options and those of the sampler stand in one table.

    ``{use = "random", method = "sobol", trials = 8}`` is the part with ``trials = 8`` whose sampler is ``random`` with
    ``method = "sobol"``.
    """

    sampler: Sampler = option(inline=True, help="The sampler: use = ... and its options.")
    trials: int | None = option(None, ge=1, help="How many trials it suggests at most; none: as many as it can.")
    name: str | None = option(None, help="What its trials are marked with; none: what the sampler is called.")


@attrs.frozen
class Placed:
    """A part in its place.

    Attributes:
        sampler: The sampler.
        limit: How many trials it may suggest; None: no limit.
        path: What its trials are marked with, the names of the samplers around it included: ``outer/inner``.
    """

    sampler: Any
    limit: int | None
    path: str

    def suggest(self, history: History, rng: Generator, info: Mapping[str, Any]) -> Suggestion:
        """What the sampler suggests, marked as coming from here.

        Args:
            history: As the sampler may see it.
            rng: The only randomness.
            info: Further notes; those of the sampler itself go before.

        Raises:
            SpaceExhausted: When the sampler has nothing left.
        """
        if isinstance(self.sampler, Nesting):
            inner = self.sampler.suggest_within(f"{self.path}/", history, rng)
            return attrs.evolve(inner, info={**info, **inner.info})
        proposed = self.sampler.suggest(history, rng)
        if not isinstance(proposed, Suggestion):
            return Suggestion(proposed, info, self.path)
        source = self.path if proposed.source == "sampler" else f"{self.path}/{proposed.source}"
        return attrs.evolve(proposed, info={**info, **proposed.info}, source=source)


class Nesting(ABC):
    """A sampler that has others inside it."""

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """What one of the samplers inside suggests, marked as coming from it; a pure function of the arguments.

        Args:
            history: The history, which all of them see.
            rng: The only randomness.

        Raises:
            SpaceExhausted: When no sampler that may suggest has anything left.
        """
        return self.suggest_within("", history, rng)

    @abstractmethod
    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """The same inside another sampler, whose mark ``path`` is, with a slash at its end; empty for none."""


@attrs.define(kw_only=True)
class Composed(Nesting):
    """What samplers made of any number of samplers share."""

    samplers: list[Part] = option(help="The samplers: tables { use = ..., trials = ..., name = ..., option = ... }.")
    _labels: tuple[str, ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if not self.samplers:
            raise UsageError(Mistake("samplers", "Must hold at least one sampler. Got none."))
        self.samplers = [part if isinstance(part, Part) else Part(sampler=part) for part in self.samplers]
        self._labels = tuple(_labels(self.samplers))

    def placed(self, path: str) -> list[Placed]:
        """The parts, marked for a place inside another sampler."""
        each = zip(self.samplers, self._labels, strict=True)
        return [Placed(part.sampler, part.trials, f"{path}{label}") for part, label in each]

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Let each part object to what can never work.

        Args:
            space: The study's space.
            objectives: Their directions by name.

        Raises:
            UsageError: With every mistake that a part found.
        """
        mistakes: list[Mistake] = []
        for i, part in enumerate(self.samplers):
            check = getattr(part.sampler, "check", None)
            if check is not None:
                try:
                    check(space, objectives)
                except UsageError as err:
                    mistakes += (inside(mistake, f"sampler[{i}]") for mistake in err.mistakes)
        if mistakes:
            raise UsageError(*mistakes)


def owners(history: History, parts: Sequence[Placed]) -> list[int | None]:
    """Which part each trial came from.

    A trial in which the core replaced a repeated point (source ``fill``) belongs to who was at work: the part of the
    trial before it.

    Args:
        history: The history.
        parts: The parts of one sampler.

    Returns:
        Per trial the index of its part; None for a given one, one of another sampler and an invalid one.
    """
    known: dict[str, int | None] = {part.path: i for i, part in enumerate(parts)}
    found: list[int | None] = []
    at_work: int | None = 0
    for trial in history.trials:
        owner = None
        if trial.source != "given":
            if trial.source != "fill":
                at_work = _lookup(trial.source, known)
            owner = at_work
        found.append(owner if trial.invalid is None else None)
    return found


def _lookup(source: str, known: dict[str, int | None]) -> int | None:
    if source not in known:
        outer = next((path for path in known if source.startswith(f"{path}/")), None)
        known[source] = None if outer is None else known[outer]
    return known[source]


def _labels(parts: Sequence[Part]) -> Iterator[str]:
    """The mark of each part, each another one.

    Raises:
        UsageError: If a given name is no name, or given twice.
    """
    taken = set()
    for i, part in enumerate(parts):
        if part.name is None:
            continue
        where = f"samplers[{i}].name"
        if not part.name.strip() or "/" in part.name or part.name in _RESERVED:
            message = f"Must be a word without '/', none of {', '.join(_RESERVED)}. Got {part.name!r}."
            raise UsageError(Mistake(where, message))
        if part.name in taken:
            raise UsageError(Mistake(where, f"Must be a name that no other part has. Got {part.name!r}."))
        taken.add(part.name)
    for part in parts:
        label = part.name
        if label is None:
            base = called(part.sampler)
            numbered = (base if i == 1 else f"{base}-{i}" for i in range(1, len(parts) + 2))
            label = next(name for name in numbered if name not in taken)
            taken.add(label)
        yield label


def called(sampler: object) -> str:
    """RandomSampler -> random."""
    name = type(sampler).__name__.strip("_")
    short = name.removesuffix("Sampler") or name
    label = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", short).lower()
    return f"{label}-sampler" if label in _RESERVED else label


def inside(mistake: Mistake, path: str) -> Mistake:
    """A mistake that a part found in itself, at the key path of that part."""
    rest = mistake.path.removeprefix("sampler")
    separator = "." if rest and rest[0] not in ".[" else ""
    return Mistake(f"{path}{separator}{rest}", mistake.message)
