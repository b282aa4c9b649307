"""Collects the mistakes in several inputs, so that they are raised together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpt_core.errors import Mistake, UsageError

__all__ = ["Mistakes"]


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
