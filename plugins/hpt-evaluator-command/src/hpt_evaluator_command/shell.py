"""References to variables in a shell script, quoted as the place of each one requires.

This is no parser of the shell: it knows quotes, comments and arithmetic. Where these do not tell how a reference must
be quoted, a placeholder is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hpt_core import Mistake, UsageError

__all__ = ["with_references"]

_MARK = "\0"  # where a reference belongs; no script can contain it
_TOKENS = {
    place: re.compile(f"{tokens}|{_MARK}", re.DOTALL)
    for place, tokens in {
        "": r"\\.|\$\(\(|<<|[`'\"\n]|(?<![^\s;&|()])#",
        "'": "'",
        '"': r"\\.|\$\((?!\()|[`\"]",
        "$((": r"\)\)",
        "#": r"\n",
    }.items()
}
"""By place in a script: what leads to another place, or hides a character that does."""

_ENDS = {"'": "'", '"': '"', "$((": "))", "#": "\n"}


def with_references(literals: Sequence[str], names: Sequence[str], references: Mapping[str, str], where: str) -> str:
    """A script whose texts are joined by references to variables.

    Args:
        literals: The texts, one more than there are ``names``.
        names: The name of the placeholder between each text and the next.
        references: The unquoted reference, ``${VARIABLE}``, by name.
        where: Name of the option, for messages.

    Raises:
        UsageError: If it is not clear how a reference must be quoted, or if a text contains a NUL character.
    """
    if any(_MARK in literal for literal in literals):
        raise UsageError(Mistake(where, "Contains a NUL character, which no script may contain."))
    text, script, start, place, unclear = _MARK.join(literals), "", 0, "", ""
    rest = iter(names)
    while token := _TOKENS[place].search(text, start):
        found = token[0]
        script += text[start : token.start()]
        start = token.end()
        if _MARK in found:
            name = next(rest)
            if unclear or found != _MARK:
                raise UsageError(Mistake(where, _refusal(name, unclear or "\\")))
            script += _quoted(references[name], place)
            continue
        script += found
        if found == "\n" and unclear == "$(":
            unclear = ""
        if found == _ENDS.get(place):
            place = ""
        elif found in _ENDS:
            place = found
        elif found in ("<<", "`", "$(") and unclear in ("", "$("):
            unclear = found
    return script + text[start:]


def _quoted(reference: str, place: str) -> str:
    """The reference as one word, whatever its value contains."""
    if place in ('"', "$(("):
        return reference
    return f"'\"{reference}\"'" if place == "'" else f'"{reference}"'


_UNCLEAR = {
    "<<": "after a here-document (<<)",
    "`": "after a backtick",
    "$(": 'on a line after "$(',
    "\\": "after a backslash",
}


def _refusal(name: str, unclear: str) -> str:
    return (
        f"It is not clear how a shell reads the placeholder {{{name}}} {_UNCLEAR[unclear]}. Use a variable there: with "
        f'env = {{ VALUE = "{{{name}}}" }}, write $VALUE in the script, quoted as needed.'
    )
