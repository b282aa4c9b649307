"""The URL of a database: what people may see of it, and what only the server may."""

from __future__ import annotations

import re
from typing import Self

import psycopg
from psycopg.pq import Conninfo

from hpt_core import Mistake, UsageError

__all__ = ["Address"]

_URL = re.compile(r"(postgres(?:ql)?://)(?:([^:@/]*)(?::[^@/]*)?(@))?([^/?@]*)((?:/[^?@]*)?)(?:\?(.*))?", re.DOTALL)
"""Scheme, user, @, hosts, database, parameters; what follows the user's colon is the password."""


class Address(str):
    """A URL without its secrets. It is what is shown, recorded and compared.

    Attributes:
        parameters: All parameters of the connection that the URL has, secrets included.
    """

    __slots__ = ("parameters",)

    parameters: dict[str, str]

    @classmethod
    def parse(cls, given: object) -> Self:
        """Separate the secrets of a URL from the rest.

        Raises:
            UsageError: If libpq would not understand it, or would take a part of the password for something else. The
                message does not repeat the URL.
        """
        if isinstance(given, cls):
            return given
        match = _URL.fullmatch(given) if isinstance(given, str) else None
        if not isinstance(given, str) or match is None:
            raise _malformed()
        scheme, user, at, hosts, database, query = (part or "" for part in match.groups())
        secrets = _secrets()
        shown = "&".join(item for item in query.split("&") if item.partition("=")[0] not in secrets)
        address = cls(f"{scheme}{user}{at}{hosts}{database}{'?' * bool(shown)}{shown}")
        address.parameters = _parsed(given)
        public = {key: value for key, value in address.parameters.items() if key not in secrets}
        if _parsed(address) != public or not re.fullmatch(r"[\d,]*", public.get("port", "")):
            raise _malformed()
        return address


def _parsed(url: str) -> dict[str, str]:
    try:
        return {o.keyword.decode(): o.val.decode() for o in Conninfo.parse(url.encode()) if o.val is not None}
    except (psycopg.Error, UnicodeError):
        raise _malformed() from None  # libpq's message quotes the URL


def _secrets() -> set[str]:
    """The parameters that libpq marks as secret or as meant for debugging, such as keys."""
    return {option.keyword.decode() for option in Conninfo.get_defaults() if option.dispchar}


def _malformed() -> UsageError:
    message = (
        "Must be a URL like postgresql://USER@HOST:5432/DATABASE, with nothing but parameters of libpq after a '?'. "
        "In a password write %40 for @, %2F for / and %25 for %."
    )
    return UsageError(Mistake("url", message))
