"""References to variables in a shell script, quoted as the place of each one requires."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hpt_core import Mistake, UsageError

__all__ = ["with_references"]

_MARK = "\0"  # where a reference belongs; no script can contain it
_ESCAPED = rf"\\[^{_MARK}]"
_DOCUMENT = r"(?<!<)<<(?P<tabs>-?)[ \t]*(?P<word>'[^'\n]+'|\"[^\"\n]+\"|\\?[\w.-]+)"
_COMMANDS = rf"{_ESCAPED}|{_DOCUMENT}|\$\(\(|\$?\(|(?<![^\s;&|()])#|['\"`)\n{_MARK}]"
_TEXT = rf"{_ESCAPED}|\$\(\(|\$\(|[`{_MARK}]"
_TOKENS = {
    place: re.compile(tokens, re.DOTALL)
    for place, tokens in {
        "": _COMMANDS,
        "(": _COMMANDS,  # $(commands) or a subshell
        "`": _COMMANDS,
        "$((": rf"\$\(\(|\$?\(|\)\)|{_MARK}",  # arithmetic
        "((": rf"\$\(\(|\$?\(|[){_MARK}]",  # parentheses in it
        "'": rf"['{_MARK}]",
        '"': rf'{_TEXT}|"',
        "#": rf"[\n{_MARK}]",
        "<<": _TEXT,  # a here-document
    }.items()
}
"""By place in a script: what leads to another place, or hides a character that does."""

_ENDS = {"(": ")", "`": "`", "$((": "))", "((": ")", "'": "'", '"': '"', "#": "\n"}
_UNQUOTED = frozenset({"$((", "((", '"', "<<"})  # here a value is not split, and quotes would be part of the text


def with_references(literals: Sequence[str], variables: Sequence[str], where: str) -> str:
    """A script whose texts are joined by references to variables.

    The shell never parses the value of a variable as a part of the script; in arithmetic, it takes it as a number.

    Args:
        literals: The texts, one more than there are variables.
        variables: The names of the variables, in order.
        where: Name of the option, for messages.

    Raises:
        UsageError: If a reference would be in a here-document that the shell does not expand, or on a NUL character.
    """
    if any(_MARK in literal for literal in literals):
        raise UsageError(Mistake(where, "Contains a NUL character, which no script may contain."))
    return _filled(_MARK.join(literals), "", iter(variables), where)


def _filled(text: str, place: str, variables: Iterator[str], where: str) -> str:
    """A part of a script that begins at a place, with references instead of marks."""
    filled, start = "", 0
    places, documents = [place], list[re.Match[str]]()
    while token := _TOKENS[places[-1]].search(text, start):
        found = token[0]
        filled += text[start : token.start()]
        filled += _reference(places[-1], next(variables)) if found == _MARK else found
        start = token.end()
        _move(places, found)
        if token.groupdict().get("word"):
            documents.append(token)
        while found == "\n" and documents:
            document = documents.pop(0)
            end = _end_of(document, text, start)
            filled += _filled_document(text[start:end], document, variables, where)
            start = end
    return filled + text[start:]


def _move(places: list[str], found: str) -> None:
    """Enter or leave a place; ``places`` has the enclosing ones, the innermost last."""
    if found == _ENDS.get(places[-1]):
        places.pop()
    elif found == "(" and places[-1] in ("$((", "(("):
        places.append("((")
    elif found == "$(":
        places.append("(")
    elif found in _ENDS:
        places.append(found)


def _reference(place: str, variable: str) -> str:
    reference = f"${{{variable}}}"
    if place in _UNQUOTED:
        return reference
    return f"'\"{reference}\"'" if place == "'" else f'"{reference}"'


def _end_of(document: re.Match[str], text: str, start: int) -> int:
    """Where the body of a here-document ends: at a line that consists of its word."""
    indent, word = "\t*" if document["tabs"] else "", re.escape(document["word"].strip("'\"\\"))
    end = re.compile(f"^{indent}{word}$", re.MULTILINE).search(text, start)
    return end.start() if end else len(text)


def _filled_document(body: str, document: re.Match[str], variables: Iterator[str], where: str) -> str:
    word = document["word"]
    if word[0] not in "'\"\\":
        return _filled(body, "<<", variables, where)
    if _MARK in body:
        message = (
            f"A placeholder is in a here-document with the quoted word {word}, where the shell replaces nothing. Write "
            "the word without quotes, or pass the value as an argument."
        )
        raise UsageError(Mistake(where, message))
    return body
