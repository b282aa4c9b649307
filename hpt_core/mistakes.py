"""Collects the mistakes in an input, so that they are raised together, each with its key path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from hpt_core.errors import Mistake, UsageError

__all__ = ["Mistakes", "key_path", "within", "without_key"]


def key_path(*keys: str) -> str:
    """A dotted key path; empty keys are left out."""
    return ".".join(filter(None, keys))


def within(path: str, mistakes: Iterable[Mistake]) -> list[Mistake]:
    """The mistakes of a part of the input as mistakes of the whole, in which the part is at ``path``."""
    return [attrs.evolve(mistake, path=key_path(path, mistake.path)) for mistake in mistakes]


def without_key(path: str, key: str, mistakes: Iterable[Mistake]) -> list[Mistake]:
    """The same mistakes, those at ``path.key`` moved to ``path``, for a key that the user did not write."""
    own = re.compile(rf"^{re.escape(path)}\.{re.escape(key)}(?![^.\[])")  # and not a longer key
    return [attrs.evolve(mistake, path=own.sub(lambda _: path, mistake.path, count=1)) for mistake in mistakes]


class Mistakes:
    """The mistakes found so far. It is true if there are any.

    Args:
        error: The class of the error with all of them.
    """

    def __init__(self, error: type[UsageError] = UsageError) -> None:
        self._error = error
        self._errors: list[UsageError] = []

    def __bool__(self) -> bool:
        return bool(self._errors)

    def __iter__(self) -> Iterator[Mistake]:
        return (mistake for err in self._errors for mistake in err.mistakes)

    def add(self, path: str, message: str) -> None:
        """Keep one mistake."""
        self._errors.append(self._error(Mistake(path, message)))

    def extend(self, mistakes: Iterable[Mistake]) -> None:
        """Keep several mistakes."""
        self._errors += [self._error(mistake) for mistake in mistakes]

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
            raise self._error(*dict.fromkeys(self))
