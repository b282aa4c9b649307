"""Everything hpt raises on purpose, each with the exit code the CLI gives it.

A user's mistake becomes one of these with a message that says what, where and what would be right;
a traceback of ours is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

__all__ = [
    "DefinitionChangedError",
    "EvaluationError",
    "HptError",
    "InvalidParamsError",
    "Mistake",
    "NothingSucceededError",
    "PluginError",
    "SpaceError",
    "SpaceExhausted",
    "StoreError",
    "UsageError",
]


class HptError(Exception):
    """Root of all errors that hpt raises on purpose."""

    exit_code = 1


class NothingSucceededError(HptError):
    """The study has no successful trial to speak of."""


@attrs.frozen
class Mistake:
    """One thing that is wrong in what the user gave.

    Attributes:
        path: Where, as a dotted key path (``space.C.low``); empty where the whole is meant.
        message: What is wrong and what would be right, one sentence.
        plugin: Whether what is wrong is what is installed (a plugin is missing, not in use, in another's way), not what
            the user wrote.
    """

    path: str
    message: str
    plugin: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class UsageError(HptError):
    """What the user gave cannot be used: an option, a study file, a call.

    Attributes:
        mistakes: All that was found wrong, in the order of the input.
    """

    exit_code = 2

    def __init__(self, *mistakes: Mistake | str) -> None:
        self.mistakes: Sequence[Mistake] = tuple(m if isinstance(m, Mistake) else Mistake("", m) for m in mistakes)
        if self.mistakes and all(m.plugin for m in self.mistakes):
            self.exit_code = PluginError.exit_code
        super().__init__("\n".join(str(m) for m in self.mistakes))

    def __reduce__(self) -> tuple[type[UsageError], tuple[Mistake, ...]]:
        return type(self), tuple(self.mistakes)


class SpaceError(UsageError):
    """A search space that was declared makes no sense."""


class InvalidParamsError(UsageError):
    """A configuration does not lie in the space."""


class DefinitionChangedError(UsageError):
    """The study in the store was defined otherwise than the one at hand.

    The differences are its ``mistakes``.
    """


class PluginError(HptError):
    """A plugin is missing, broken, or gave something that its contract does not allow."""

    exit_code = 3


class StoreError(HptError):
    """A store cannot be read or written. Says which file and what to do about it."""

    exit_code = 4


class SpaceExhausted(HptError):  # noqa: N818 - for a study that runs it is a reason to end, no error
    """Raised by a sampler that has nothing left to suggest; the study ends with that reason."""


class EvaluationError(Exception):
    """Raised by an evaluator to say of which kind a failure is.

    Any other exception is a failure of kind ``error`` (``MemoryError``: ``out-of-memory``).

    Args:
        message: One sentence for people.
        kind: ``error``, ``invalid-value``, ``timeout``, ``out-of-memory``, ``killed``, ``worker-lost`` or
            ``interrupted``; any other is taken for ``error``.
        detail: What helps to find the cause: a traceback, the tail of stderr.
    """

    def __init__(self, message: str, *, kind: str = "error", detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = str(detail)
