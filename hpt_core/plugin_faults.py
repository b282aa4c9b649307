"""What is wrong with a plugin, in words for its author."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpt_core import hookspecs
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from types import TracebackType

    import pluggy

__all__ = ["answered", "misuse", "offered", "own_frames", "raised", "unmarked"]

_HOOKS = tuple(name for name in dir(hookspecs) if name.startswith("hpt_"))
_CORE = str(Path(hookspecs.__file__).parent)
_TEXTS = {"hpt_default": 1, "hpt_store_for": 1, "hpt_compose": 2}
"""Hook -> how many texts its answer is made of, for those that may answer None."""


def raised(err: BaseException) -> str:
    """What was raised, in one line, and where in the plugin."""
    said = " ".join(f"{type(err).__name__}: {err}".split()).removesuffix(":")
    frames = traceback.extract_tb(err.__traceback__)
    own = [frame for frame in frames if not _is_import_machinery(frame.filename)]
    return f"{said} ({own[-1].filename}, line {own[-1].lineno})" if own and not isinstance(err, SyntaxError) else said


def _is_import_machinery(filename: str) -> bool:
    return filename.startswith(("<frozen", _CORE)) or Path(filename).parent.name in ("importlib", "metadata")


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame that is not the core's."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_CORE):
        trace = trace.tb_next
    return trace


def unmarked(plugin: object) -> str:
    """The hooks that a plugin defines without the mark by which they are found; empty where there are none."""
    names = [name for name in _HOOKS if _is_bare(getattr(plugin, name, None))]
    return f"defines {' and '.join(names)} without @hookimpl, so that nobody would call it" if names else ""


def _is_bare(function: Any) -> bool:
    return callable(function) and not hasattr(function, "hpt_impl") and not hasattr(function, "hpt_spec")


def misuse(plugin: object, caller: pluggy.HookCaller) -> str:
    """What is wrong with the hook that a plugin implements; empty where nothing is."""
    if not caller.has_spec():
        return f"implements {caller.name!r}, which is no hook of hpt.{did_you_mean(caller.name, _HOOKS)}"
    own = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
    if isinstance(plugin, type) and any(isinstance(vars(plugin).get(caller.name), type(misuse)) for _ in own):
        return f"is a class, whose {caller.name} lacks its object: hand over {plugin.__name__}()"
    wraps = caller.name != "hpt_evaluate" and any(impl.wrapper or impl.hookwrapper for impl in own)
    return f"wraps {caller.name!r}, and only 'hpt_evaluate' can be wrapped" if wraps else ""


def offered(answer: Any) -> dict[str, str | type]:
    """The components that a hook named.

    Raises:
        TypeError: If it named none, or one in another way than by name -> class or import path.
    """
    wanted = "it must return a mapping of name -> class or 'module:Class'."
    if not isinstance(answer, Mapping):
        raise TypeError(f"{wanted} Got {answer!r:.80}.")
    for name, target in answer.items():
        if not (isinstance(name, str) and name and isinstance(target, (str, type))):
            raise TypeError(f"{wanted} Got {name!r:.80} -> {target!r:.80}.")
    return dict(answer)


def answered(hook: str, answer: Any) -> Any:
    """What an implementation of a hook answered.

    Raises:
        TypeError: If the hook gives something else.
    """
    count = _TEXTS.get(hook)
    if count is None or answer is None:
        return answer
    parts = answer if count > 1 and isinstance(answer, (tuple, list)) else (answer,)
    if len(parts) != count or not all(isinstance(part, str) for part in parts):
        raise TypeError(f"It must return {'a text' if count == 1 else f'{count} texts'} or None. Got {answer!r:.80}.")
    return answer
