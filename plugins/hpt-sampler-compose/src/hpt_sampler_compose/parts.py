"""Samplers composed of samplers: their parts, and the part that each trial came from."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from hpt_core import Mistake, Sampler, Space, Suggestion, UsageError, option

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_core import History

__all__ = ["Composed", "Nesting", "Part", "Placed", "check_parts", "label_of", "owners"]

_RESERVED = ("fill", "given", "sampler")  # sources that the core itself records


@attrs.define(kw_only=True)
class Part:
    """One of several samplers. In a study file, its options and those of the sampler are in one table.

    ``{use = "random", method = "sobol", trials = 8}`` is the part with ``trials = 8`` whose sampler is ``random`` with
    ``method = "sobol"``.
    """

    sampler: Sampler = option(inline=True, help="The sampler: use = ... and its options.")
    trials: int | None = option(None, ge=1, help="Largest number of trials that it suggests; none: no limit.")
    name: str | None = option(None, help="The source recorded with its trials; none: the sampler's name.")


@attrs.frozen
class Placed:
    """A part with its place in the enclosing samplers.

    Attributes:
        sampler: The sampler.
        limit: Largest number of trials that it may suggest; None: no limit.
        path: The source of its trials, including the labels of the enclosing samplers: ``outer/inner``.
    """

    sampler: Any
    limit: int | None
    path: str

    def suggest(self, history: History, rng: Generator, info: Mapping[str, Any]) -> Suggestion:
        """The suggestion of the sampler, with this part as its source.

        Args:
            history: The history.
            rng: The source of randomness.
            info: Further info; that of the sampler itself takes precedence.

        Raises:
            SpaceExhausted: If the sampler is exhausted.
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
    """A sampler that contains other samplers."""

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """The suggestion of one of the inner samplers, recorded as its source; a pure function of the arguments.

        Args:
            history: The history, which all inner samplers see.
            rng: The source of randomness.

        Raises:
            SpaceExhausted: If every inner sampler that may suggest is exhausted.
        """
        return self.suggest_within("", history, rng)

    @abstractmethod
    def suggest_within(self, path: str, history: History, rng: Generator) -> Suggestion:
        """As `suggest`, inside the sampler with source ``path``, which ends with a slash; empty at the top level."""


@attrs.define(kw_only=True)
class Composed(Nesting):
    """Base of samplers composed of any number of samplers."""

    samplers: list[Part] = option(help="The samplers: tables { use = ..., trials = ..., name = ..., option = ... }.")
    _labels: tuple[str, ...] = attrs.field(init=False, repr=False, eq=False)
    _key: ClassVar[str] = "sampler.samplers"  # where a study file has the parts

    def __attrs_post_init__(self) -> None:
        if not self.samplers:
            raise UsageError(Mistake("samplers", "Must hold at least one sampler. Got none."))
        self.samplers = [part if isinstance(part, Part) else Part(sampler=part) for part in self.samplers]
        self._labels = tuple(_labels(self.samplers))

    def placed(self, path: str) -> list[Placed]:
        """The parts, with their paths inside the sampler ``path``."""
        each = zip(self.samplers, self._labels, strict=True)
        return [Placed(part.sampler, part.trials, f"{path}{label}") for part, label in each]

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Check each part against a space and objectives.

        Args:
            space: The study's space.
            objectives: The directions of its objectives by name.

        Raises:
            UsageError: Listing every mistake that the parts report.
        """
        check_parts([(f"{self._key}[{i}]", part.sampler) for i, part in enumerate(self.samplers)], space, objectives)


def check_parts(parts: Iterable[tuple[str, Any]], space: Space, objectives: Mapping[str, str]) -> None:
    """Call `check` of every part that has one.

    Args:
        parts: Key path and sampler of each part.
        space: The study's space.
        objectives: The directions of its objectives by name.

    Raises:
        UsageError: Listing every mistake that the parts report, each with the key path of its part.
    """
    mistakes: list[Mistake] = []
    for path, sampler in parts:
        if hasattr(sampler, "check"):
            try:
                sampler.check(space, objectives)
            except UsageError as err:
                mistakes += (_nested(mistake, path) for mistake in err.mistakes)
    if mistakes:
        raise UsageError(*mistakes)


def owners(history: History, parts: Sequence[Placed]) -> list[int | None]:
    """The part that each trial came from.

    If the core replaced a repeated point (source ``fill``), the trial belongs to the part of the trial before it.

    Args:
        history: The history.
        parts: The parts of one sampler.

    Returns:
        The index of its part for each trial; None for given and invalid trials, and for those of another sampler.
    """
    known: dict[str, int | None] = {part.path: i for i, part in enumerate(parts)}
    found: list[int | None] = []
    current: int | None = 0
    for trial in history.trials:
        owner = None
        if trial.source != "given":
            if trial.source != "fill":
                current = _lookup(trial.source, known)
            owner = current
        found.append(owner if trial.invalid is None else None)
    return found


def _lookup(source: str, known: dict[str, int | None]) -> int | None:
    if source not in known:
        outer = next((path for path in known if source.startswith(f"{path}/")), None)
        known[source] = None if outer is None else known[outer]
    return known[source]


def _labels(parts: Sequence[Part]) -> Iterator[str]:
    """The label of each part, all distinct.

    Raises:
        UsageError: If a given name is invalid or used twice.
    """
    taken = set()
    for i, part in enumerate(parts):
        if part.name is None:
            continue
        where = f"samplers[{i}].name"
        if not part.name.strip() or "/" in part.name or part.name in _RESERVED:
            message = f"Must be a name without '/', other than {', '.join(_RESERVED)}. Got {part.name!r}."
            raise UsageError(Mistake(where, message))
        if part.name in taken:
            raise UsageError(Mistake(where, f"Must differ from the names of the other parts. Got {part.name!r}."))
        taken.add(part.name)
    for part in parts:
        label = part.name
        if label is None:
            base = label_of(part.sampler)
            numbered = (base if i == 1 else f"{base}-{i}" for i in range(1, len(parts) + 2))
            label = next(name for name in numbered if name not in taken)
            taken.add(label)
        yield label


def label_of(sampler: object) -> str:
    """The label of a sampler by its class: RandomSampler -> random."""
    name = type(sampler).__name__.strip("_")
    short = name.removesuffix("Sampler") or name
    label = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", short).lower()
    return f"{label}-sampler" if label in _RESERVED else label


def _nested(mistake: Mistake, path: str) -> Mistake:
    """A mistake that a part reported of itself, moved to the key path of that part."""
    rest = mistake.path.removeprefix("sampler")
    separator = "." if rest and rest[0] not in ".[" else ""
    return Mistake(f"{path}{separator}{rest}", mistake.message)
