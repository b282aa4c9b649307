"""With what a study was run: plugins, versions, environment; recorded, and compared when it goes on."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any

import attrs

from hpt_core.options import option_fields

__all__ = ["differences", "provenance"]

_ALWAYS = ("hpt-core", "numpy")


def provenance(components: Iterable[object]) -> dict[str, Any]:
    """Describe what a study is run with, as JSON-shaped data.

    Args:
        components: The study's components; the distributions that their classes come from are looked up.
    """
    packages = set(_ALWAYS)
    for component in components:
        for cls in _classes(component):
            packages.update(_distributions(cls.__module__.partition(".")[0]))
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in sorted(packages)},
    }


def _classes(component: object) -> Iterator[type]:
    """The class of a component and those of the components that are its options."""
    yield type(component)
    for field in option_fields(type(component)):
        value = getattr(component, field.name)
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if attrs.has(type(part)):
                yield from _classes(part)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what changed between two provenances, one sentence each; empty where nothing did."""
    found = [
        f"{key} was {before.get(key)}, is now {now.get(key)}"
        for key in ("python", "platform")
        if before.get(key) != now.get(key)
    ]
    old, new = before.get("packages", {}), now.get("packages", {})
    found += [
        f"{name} was {old.get(name, 'absent')}, is now {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    return found


@cache
def _distributions(package: str) -> tuple[str, ...]:
    # The whole table takes long to make: a plugin's distribution is nearly always named like its package.
    guess = package.replace("_", "-")
    if _version(guess):
        return (guess,)
    if package in ("__main__", "builtins"):
        return ()
    return tuple(packages_distributions().get(package, ()))


@cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
