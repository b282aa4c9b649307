"""File names of studies: reversible, and without characters that a file system treats specially."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from hpt_core import StoreError

__all__ = ["file_name", "study_name"]

_ENDING = ".csv"
_EMPTY = "%"
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)
_MAX_LENGTH = 200
"""File systems allow 255 bytes; the names of lock files and temporary files are longer."""


def file_name(study: str) -> str:
    """The name of a study's file: letters, digits and ``_-~.`` are kept, the rest is percent-encoded.

    Raises:
        StoreError: If the name is too long for a file.
    """
    name = quote(study, safe="", errors="surrogatepass")
    if name.startswith(".") or _RESERVED.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _MAX_LENGTH:
        msg = f"The name of a study is too long for a file name. Got {len(study)} characters: {study!r:.60}."
        raise StoreError(msg)
    return (name or _EMPTY) + _ENDING


def study_name(file: str) -> str | None:
    """The study with this file name; None if `file_name` never returns it."""
    stem = file.removesuffix(_ENDING)
    try:
        study = "" if stem == _EMPTY else unquote(stem, errors="surrogatepass")
        return study if file_name(study) == file else None
    except (StoreError, UnicodeError):
        return None
