"""Collects the mistakes in several inputs, so that they are raised together, each with its key path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from hpt_core.errors import Mistake, UsageError

__all__ = ["Mistakes", "key_path", "within"]


def key_path(*keys: str) -> str:
    """A dotted key path; empty keys are left out."""
    return ".".join(filter(None, keys))


def within(path: str, mistakes: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes of a part of the input as mistakes of the whole, in which the part is at ``path``."""
    return [attrs.evolve(mistake, path=key_path(path, mistake.path)) for mistake in mistakes]


class Mistakes:
    """The usage errors of several calls."""

    def __init__(self) -> None:
        self._errors: list[UsageError] = []

    def add(self, where: str, message: str) -> None:
        """Keep one mistake."""
        self._errors.append(UsageError(Mistake(where, message)))

    def collect(self, make: Callable[..., Any], *args: Any) -> Any:
        """Call ``make(*args)``. Returns its result, or None if it raised a `UsageError`, which is kept."""
        try:
            return make(*args)
        except UsageError as err:
            self._errors.append(err)
            return None

    def raise_all(self) -> None:
        """Raise what was collected, if anything.

        Raises:
            UsageError: The error itself if there is one only, else one with the mistakes of all, each once.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise UsageError(*dict.fromkeys(mistake for err in self._errors for mistake in err.mistakes))
