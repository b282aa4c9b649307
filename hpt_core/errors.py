"""All errors that hpt raises on purpose, each with its exit code on the command line.

A user's mistake becomes one of these errors, with a message that says what is wrong, where, and what would be right.
Any other exception from hpt's own code is a bug.
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
    "RequirementError",
    "SpaceError",
    "SpaceExhausted",
    "StoreError",
    "UnknownComponentError",
    "UsageError",
]


class HptError(Exception):
    """Base class of all errors that hpt raises on purpose."""

    exit_code: int = 1


class NothingSucceededError(HptError):
    """No trial of the study succeeded."""


@attrs.frozen
class Mistake:
    """One mistake in the user's input.

    Attributes:
        path: Where it is, as a dotted key path (``space.C.low``); empty if it concerns the whole input.
        message: What is wrong and what would be right, in one sentence.
        plugin: Whether the cause is the installed plugins (one is missing, not in use, or collides with another) rather
            than what the user wrote.
    """

    path: str
    message: str
    plugin: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class UsageError(HptError):
    """The user's input is invalid: an option, a study file, a call.

    Attributes:
        mistakes: All mistakes found, in the order of the input.
    """

    exit_code: int = 2

    def __init__(self, *mistakes: Mistake | str) -> None:
        self.mistakes: Sequence[Mistake] = tuple(m if isinstance(m, Mistake) else Mistake("", m) for m in mistakes)
        if self.mistakes and all(m.plugin for m in self.mistakes):
            self.exit_code = PluginError.exit_code
        super().__init__("\n".join(str(m) for m in self.mistakes))

    def __reduce__(self) -> tuple[type[UsageError], tuple[Mistake, ...]]:
        return type(self), tuple(self.mistakes)


class UnknownComponentError(UsageError):
    """No installed plugin offers a component of the given name."""


class SpaceError(UsageError):
    """The declaration of a search space is invalid."""


class InvalidParamsError(UsageError):
    """A configuration does not lie in the space."""


class RequirementError(InvalidParamsError):
    """The values of a configuration do not satisfy the requirements of the space, but each of them is valid."""


class DefinitionChangedError(UsageError):
    """The study in the store has another definition than the given one.

    Its ``mistakes`` are the differences.
    """


class PluginError(HptError):
    """A plugin is missing or broken, or violated its contract."""

    exit_code: int = 3


class StoreError(HptError):
    """A store cannot be read or written. The message names the file and a remedy."""

    exit_code: int = 4


class SpaceExhausted(HptError):  # noqa: N818 - it ends a study as planned
    """Raised by a sampler that has nothing left to suggest. The study ends, and this is the reason."""


class EvaluationError(Exception):
    """Raised by an evaluator to give its failure a kind.

    Any other exception is a failure of kind ``error``, except `MemoryError`, which is ``out-of-memory``.

    Args:
        message: One sentence for people.
        kind: ``error``, ``invalid-value``, ``timeout``, ``out-of-memory``, ``killed``, ``worker-lost`` or
            ``interrupted``; any other value counts as ``error``.
        detail: Details that help to find the cause, such as a traceback or the end of stderr.
    """

    def __init__(self, message: str, *, kind: str = "error", detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.detail: str = str(detail)
