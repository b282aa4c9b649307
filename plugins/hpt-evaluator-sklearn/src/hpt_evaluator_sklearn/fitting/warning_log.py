"""The warnings of many fits: each shown once, all of them counted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["WarningLog"]


class WarningLog:
    """Shows each warning once per process and counts all of them.

    A search fits hundreds of models. Without this, a single ConvergenceWarning becomes hundreds of lines. The user's
    own filters stay in force: ignored warnings are not counted, and warnings turned into errors are raised.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[type[Warning], str, int]] = set()

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> tuple[Any, int]:
        """Call a function.

        Returns:
            Its return value, and the number of warnings that it issued.
        """
        with warnings.catch_warnings(record=True) as caught:
            result = function(*args, **kwargs)
        for warning in caught:
            key = (warning.category, warning.filename, warning.lineno)
            if key not in self._seen:
                self._seen.add(key)
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return result, len(caught)
