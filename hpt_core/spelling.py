"""Hints for a name that is not known: the nearest one that is."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest_or_known"]

_LISTED = 20
_SHORTEST = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint like " Did you mean 'grid'?", empty where nothing known is close.

    Letters that were swapped go first, a longer or shorter form of a name (``min``, ``GridSearch``) last.
    """
    import difflib  # only where something is wrong

    names = {other.lower(): other for other in known}
    word = name[:200].lower()
    near = difflib.get_close_matches(word, list(names))
    swapped = [other for other in near if sorted(other) == sorted(word)]
    forms = [o for o in names if min(len(o), len(word)) >= _SHORTEST and (o.startswith(word) or word.startswith(o))]
    return f" Did you mean {names[(swapped or near or forms)[0]]!r}?" if near or forms else ""


def nearest_or_known(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the nearest spelling, or what there is."""
    names = list(known)
    more = ", ..." if len(names) > _LISTED else ""
    return did_you_mean(name, names).strip() or f"Known: {', '.join(names[:_LISTED]) or 'none'}{more}."
