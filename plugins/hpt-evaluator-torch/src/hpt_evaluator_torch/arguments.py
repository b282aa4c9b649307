"""Function signatures, and binding the available arguments to them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from hpt_core import Mistake, UsageError, import_object

__all__ = ["Signature", "near", "resolve_callable", "signature_of"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@attrs.frozen
class Signature:
    """The arguments that a function accepts by name.

    Attributes:
        names: Its parameters, in order.
        required: Those without a default.
        takes_any: Whether it has ``**kwargs``.
    """

    names: tuple[str, ...]
    required: frozenset[str]
    takes_any: bool = False

    def accepts(self, name: str) -> bool:
        """Whether the function accepts an argument of this name."""
        return self.takes_any or name in self.names


def signature_of(function: Callable[..., Any], skip: int = 0) -> Signature:
    """Read the signature of a function or class.

    Args:
        function: Any callable.
        skip: How many of its first parameters are filled by position.
    """
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin may have no signature
        return Signature((), frozenset(), takes_any=True)
    found = [p for i, p in enumerate(found) if i >= skip or p.kind not in _POSITIONAL]  # `*args` may take fewer
    named = [p for p in found if p.kind in _NAMED]
    return Signature(
        tuple(p.name for p in named),
        frozenset(p.name for p in named if p.default is p.empty),
        takes_any=any(p.kind is p.VAR_KEYWORD for p in found),
    )


def resolve_callable(spec: Any, path: str, known: Mapping[str, str] | None = None) -> tuple[Any, dict[str, Any]]:
    """Find the function or class that an option names, and the arguments given with it.

    Args:
        spec: A callable, ``"module:name"``, a name in ``known``, or a table ``{"use": any of these, **arguments}``.
        path: Key path of the option, for messages.
        known: Short name -> import path.

    Raises:
        UsageError: If it names nothing that can be called.
    """
    arguments: dict[str, Any] = {}
    if isinstance(spec, Mapping):
        arguments = {key: value for key, value in spec.items() if key != "use"}
        if "use" not in spec:
            raise UsageError(Mistake(path, f'The table needs `use = "module:name"`. Got {dict(spec)!r:.80}.'))
        spec = spec["use"]
    known = known or {}
    if isinstance(spec, str) and ":" not in spec and known:
        if spec not in known:
            names = ", ".join(sorted(known))
            msg = f"There is no {spec!r}.{near(spec, known)} Known: {names}; or give an import path 'module:name'."
            raise UsageError(Mistake(path, msg))
        spec = known[spec]
    function = import_object(spec, path) if isinstance(spec, str) else spec
    if not callable(function):
        raise UsageError(Mistake(path, f"Must be a function, a class or its import path. Got {function!r:.80}."))
    return function, arguments


def near(name: str, known: Iterable[str]) -> str:
    """A hint like " Did you mean 'hidden'?", empty if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
