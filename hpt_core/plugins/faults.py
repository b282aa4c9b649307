"""Checks of plugins, and descriptions of their faults for their authors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpt_core import hookspecs
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    import pluggy

__all__ = ["checked_answer", "checked_components", "hook_fault", "unmarked_hooks"]

_HOOKS = tuple(name for name in dir(hookspecs) if name.startswith("hpt_"))
_STRINGS = {"hpt_default": 1, "hpt_store_for": 1, "hpt_compose": 2}
"""Hook -> number of strings in its answer, for the hooks that return strings or None."""


def unmarked_hooks(plugin: object) -> str:
    """The fault of a plugin that defines hooks without ``@hookimpl``; empty if it has none."""
    names = [name for name in _HOOKS if _is_unmarked(getattr(plugin, name, None))]
    return f"defines {' and '.join(names)} without @hookimpl, so hpt would never call it" if names else ""


def _is_unmarked(function: Any) -> bool:
    return callable(function) and not hasattr(function, "hpt_impl") and not hasattr(function, "hpt_spec")


def hook_fault(plugin: object, caller: pluggy.HookCaller) -> str:
    """The fault in how a plugin implements a hook; empty if there is none."""
    if not caller.has_spec():
        return f"implements {caller.name!r}, which is not a hook of hpt.{did_you_mean(caller.name, _HOOKS)}"
    own = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
    if isinstance(plugin, type) and any(isinstance(vars(plugin).get(caller.name), type(hook_fault)) for _ in own):
        return f"is a class, but {caller.name} is a method of its instances: register {plugin.__name__}()"
    wraps = caller.name != "hpt_evaluate" and any(impl.wrapper or impl.hookwrapper for impl in own)
    return f"wraps {caller.name!r}, but only 'hpt_evaluate' can be wrapped" if wraps else ""


def checked_components(answer: Any) -> dict[str, str | type]:
    """The components that a declaring hook returned.

    Raises:
        TypeError: If it did not return a mapping of name -> class or import path.
    """
    wanted = "it must return a mapping of name -> class or 'module:Class'."
    if not isinstance(answer, Mapping):
        raise TypeError(f"{wanted} Got {answer!r:.80}.")
    for name, target in answer.items():
        if not (isinstance(name, str) and name and isinstance(target, (str, type))):
            raise TypeError(f"{wanted} Got {name!r:.80} -> {target!r:.80}.")
    return dict(answer)


def checked_answer(hook: str, answer: Any) -> Any:
    """What an implementation of a hook returned.

    Raises:
        TypeError: If the hook's specification does not allow it.
    """
    count = _STRINGS.get(hook)
    if count is None or answer is None:
        return answer
    parts = answer if count > 1 and isinstance(answer, (tuple, list)) else (answer,)
    if len(parts) != count or not all(isinstance(part, str) for part in parts):
        wanted = "a string" if count == 1 else f"{count} strings"
        raise TypeError(f"It must return {wanted} or None. Got {answer!r:.80}.")
    return answer
