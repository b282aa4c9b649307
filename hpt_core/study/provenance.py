"""The provenance of a study: what it was run with, recorded and compared when the study is resumed."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from typing import Any

import attrs

from hpt_core.options import option_fields
from hpt_core.study.sources import digests

__all__ = ["differences", "provenance"]

_ALWAYS = ("hpt-core", "numpy")
_NAME = re.compile(r"[\w.-]+", re.ASCII)
_DEVELOPMENT = re.compile(r"""extra\s*==\s*["'](dev|docs?|lint|tests?|testing|typing)["']""")


def provenance(components: Iterable[object]) -> dict[str, Any]:
    """Describe the software and the files that a study is run with, as JSON-shaped data.

    Args:
        components: The study's components. Their distributions and the installed requirements of those are recorded,
            and digests of the files that their ``sources`` name.
    """
    components = list(components)
    packages = set(_ALWAYS)
    for component in components:
        for cls in _classes(component):
            for distribution in _distributions(cls.__module__.partition(".")[0]):
                packages.update((distribution, *_requirements(distribution)))
    versions = {name: _version(name) for name in sorted(packages)}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: number for name, number in versions.items() if number},
        "files": digests([component for component in components if hasattr(component, "sources")]),
    }


def _classes(component: object) -> Iterator[type]:
    """The class of a component and those of the components in its options."""
    yield type(component)
    for field in option_fields(type(component)):
        value = getattr(component, field.name)
        several = value.values() if isinstance(value, Mapping) else value
        for part in several if isinstance(value, (list, tuple, Mapping)) else [value]:
            if attrs.has(type(part)):
                yield from _classes(part)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List what changed between two provenances, in words. Empty if nothing did."""
    found = [
        f"{key} was {before.get(key)}, is now {now.get(key)}"
        for key in ("python", "platform")
        if before.get(key) != now.get(key)
    ]
    old, new = before.get("packages", {}), now.get("packages", {})
    found += [
        f"{name} was {old.get(name, 'not recorded')}, is now {new.get(name, 'not used')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    was, files = before.get("files", {}), now.get("files", {})
    return found + [f"{name} has changed" for name in sorted(was.keys() & files.keys()) if was[name] != files[name]]


@cache
def _distributions(package: str) -> tuple[str, ...]:
    # packages_distributions() is slow, and a plugin's distribution is nearly always named like its package.
    guess = package.replace("_", "-")
    if _version(guess):
        return (guess,)
    if package in ("__main__", "builtins"):
        return ()
    return tuple(packages_distributions().get(package, ()))


@cache
def _requirements(distribution: str) -> tuple[str, ...]:
    """The names of what a plugin's distribution requires, such as the library that it wraps."""
    if distribution == "hpt-core":  # the same for every study
        return ()
    wanted = (text for text in requires(distribution) or () if not _DEVELOPMENT.search(text))
    return tuple(_NAME.findall(text)[0] for text in wanted)


@cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
