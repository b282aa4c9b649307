"""Hints for an unknown name: the nearest known ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["did_you_mean", "listed", "nearest_or_known"]

_LISTED = 20
_SHORTEST = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint like " Did you mean 'grid'?"; empty if no known name is close.

    A name with the same letters in another order is preferred to other close names, and these to a longer or shorter
    form of a name (``min``, ``GridSearch``).
    """
    import difflib  # needed for mistakes only

    names = {other.lower(): other for other in known}
    word = name[:200].lower()
    near = difflib.get_close_matches(word, list(names))
    swapped = [other for other in near if sorted(other) == sorted(word)]
    forms = [o for o in names if min(len(o), len(word)) >= _SHORTEST and (o.startswith(word) or word.startswith(o))]
    best = next(iter([*swapped, *near, *forms]), None)
    return "" if best is None else f" Did you mean {names[best]!r}?"


def nearest_or_known(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known name, or with the known names if none is close."""
    names = list(known)
    return did_you_mean(name, names).strip() or f"Known: {listed(names) or 'none'}."


def listed(names: Sequence[str]) -> str:
    """The first names, and dots if there are more."""
    return ", ".join([*names[:_LISTED], *["..."] * (len(names) > _LISTED)])
