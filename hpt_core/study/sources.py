"""Digests of the user's files that the results of a study come from: code and data."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import linecache
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["digests"]

_CELLS = "the notebook's cell"
"""The key of the one digest of all cells: their names differ in each session."""

_LARGEST = 2**30
"""Bytes. A larger file would take seconds to read whenever the study is opened."""


def digests(sources: object) -> dict[str, str]:
    """The digest of each of the user's files that ``sources`` name.

    Args:
        sources: Functions, classes, import paths ``module:name``, paths of files, command lines, and other components
            with `sources`, in any lists and mappings. What names no file, or one of an installed package, is ignored.

    Returns:
        Path -> digest. The path is relative to the working directory if the file is below it. The text of a notebook's
        cell counts as a file.
    """
    found: dict[str, str] = {}
    for file in _files(sources):
        # no file, no name of one, one that the evaluator cannot read either, or the working directory was removed
        with suppress(OSError, ValueError):
            path = file.resolve()
            if _is_own(path):
                here = Path.cwd()
                name = path.relative_to(here) if path.is_relative_to(here) else path
                with path.open("rb") as content:
                    found[name.as_posix()] = hashlib.file_digest(content, "sha256").hexdigest()[:16]
            elif str(file) in linecache.cache and not path.exists():  # a notebook keeps the text of its cells there
                text = found.get(_CELLS, "") + "".join(linecache.getlines(str(file)))
                found[_CELLS] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return dict(sorted(found.items()))


def _is_own(path: Path) -> bool:
    return _installed().isdisjoint(path.parents) and path.is_file() and path.stat().st_size <= _LARGEST


@cache
def _installed() -> frozenset[Path]:
    """The folders of Python and of installed packages."""
    paths = sysconfig.get_paths()
    return frozenset(Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib"))


def _files(source: Any) -> Iterator[Path]:
    if isinstance(source, (str, Path)):
        for word in {str(source), *str(source).split()}:
            yield _module_file(word) or Path(word)
    elif isinstance(source, Mapping):
        yield from _files(list(source.values()))
    elif isinstance(source, (list, tuple)):
        for item in source:
            yield from _files(item)
    elif hasattr(source, "sources") and not isinstance(source, type):
        yield from _files(source.sources)
    elif callable(source):
        yield from _code_file(source)


def _module_file(word: str) -> Path | None:
    module, colon, name = word.partition(":")
    if colon and name and all(part.isidentifier() for part in module.split(".")):
        with suppress(ImportError, ValueError):  # there is no such module
            spec = importlib.util.find_spec(module)
            return Path(spec.origin) if spec is not None and spec.origin else None
    return None


def _code_file(function: Any) -> Iterator[Path]:
    function = inspect.unwrap(getattr(function, "func", function))  # `func` is what a partial calls
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function)
    with suppress(TypeError, OSError):  # it is built in, or made in a prompt
        yield Path(inspect.getsourcefile(function) or "")
