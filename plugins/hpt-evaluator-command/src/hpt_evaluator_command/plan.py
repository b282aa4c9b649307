"""The compiled command: arguments, environment and working directory with their placeholders."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from hpt_core import Constant, Mistake, Space, UsageError
from hpt_evaluator_command.template import REMEDY, Script, Template, fill_arguments, parse, parse_script, split

__all__ = ["BUILTIN", "Plan", "compile_plan"]

BUILTIN = ("number", "params_file", "params_json", "result", "resume_step", "seed", "workdir")
"""Placeholders that are not parameters."""

_ALL_PARAMS = {"params_file", "params_json"}


@attrs.frozen
class Plan:
    """A command with parsed placeholders.

    Attributes:
        command: The arguments, or the script for a shell.
        env: Additional environment variables.
        cwd: The working directory. If None, that of hpt.
    """

    command: tuple[Template, ...] | Script
    env: Mapping[str, Template]
    cwd: Template | None

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """Program and arguments with the values filled in."""
        if isinstance(self.command, Script):
            return ["/bin/sh", "-c", self.command.text]
        return fill_arguments(self.command, values)

    def environment(self, values: Mapping[str, str]) -> dict[str, str]:
        """The environment of this process with the additional variables, and without those of inactive parameters."""
        found = {"PYTHONUNBUFFERED": "1", **os.environ}  # so that reports of Python programs arrive immediately
        if isinstance(self.command, Script):
            found |= self.command.variables(values)
        for name, template in self.env.items():
            text = template.fill(values)
            if text is None:
                found.pop(name, None)  # that of this process is no value of the trial
            else:
                found[name] = text
        return found

    def folder(self, values: Mapping[str, str]) -> str | None:
        """The working directory, or None for that of hpt."""
        return None if self.cwd is None else self.cwd.fill(values)

    def missing_program(self) -> str | None:
        """The name of the program if it certainly cannot be executed; otherwise None.

        This is unknown for programs in a shell script, behind another ``PATH``, or relative to another folder.
        """
        program = None if isinstance(self.command, Script) else self.command[0].fill({})
        elsewhere = "PATH" in self.env or (self.cwd is not None and "/" in (program or ""))
        return program if program is not None and not elsewhere and shutil.which(program) is None else None

    def placeholders(self) -> Iterator[tuple[str, str]]:
        """(option, name) of each placeholder."""
        parts = [self.command] if isinstance(self.command, Script) else self.command
        yield from (("command", name) for part in parts for name in part.names)
        yield from ((f"env.{key}", name) for key, template in self.env.items() for name in template.names)
        yield from (("cwd", name) for name in (self.cwd.names if self.cwd else ()))

    def check(self, space: Space, *, all_on_stdin: bool) -> None:
        """Check that the placeholders fit a space.

        Args:
            space: The space.
            all_on_stdin: Whether the command receives all parameters on its standard input.

        Raises:
            UsageError: If a placeholder is neither a parameter nor one of `BUILTIN`, or is both, or if a varying
                parameter is not passed to the command, not even as a constant that is active for some of its values.
        """
        used = {name for _, name in self.placeholders()}
        known = [*space.names, *BUILTIN]
        mistakes = [
            Mistake(f"evaluator.{option}", f"{{{name}}} is not a parameter of the space.{_hint(name, known)}")
            for option, name in self.placeholders()
            if name not in known
        ]
        mistakes += [
            Mistake("evaluator.command", f"{{{name}}} is ambiguous: a parameter has the same name. Rename it.")
            for name in BUILTIN
            if name in used and name in space.names
        ]
        constants = [name for name in space.names if isinstance(space[name], Constant)]
        flagged = {parent for name in constants if name in used for parent in space[name].when}
        unused = [name for name in space.names if name not in used | flagged and name not in constants]
        if unused and not all_on_stdin and not used & _ALL_PARAMS:
            message = (
                f"The command does not receive the value of {', '.join(map(repr, unused))}: add {{{unused[0]}}}, "
                "{params_json} or {params_file} to it, or set stdin = true."
            )
            mistakes.append(Mistake("evaluator.command", message))
        if mistakes:
            raise UsageError(*mistakes)


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {{{close[0]}}}?" if close else f" There are: {', '.join(known)}; {REMEDY}."


def compile_plan(command: str | Sequence[str], env: Mapping[str, str], cwd: str | None, *, shell: bool) -> Plan:
    """Parse the placeholders of a command and its options.

    Raises:
        UsageError: If one of them is invalid.
    """
    mistakes = [
        Mistake(f"env.{name}", "Is not a valid name of an environment variable.")
        for name in env
        if not name or "=" in name or "\0" in name
    ]
    if shell and not isinstance(command, str):
        mistakes.append(Mistake("command", "Must be one string if shell = true. Got a list."))
    if mistakes:
        raise UsageError(*mistakes)
    compiled: tuple[Template, ...] | Script
    if shell and isinstance(command, str):
        compiled = parse_script(command, "command")
    else:
        compiled = tuple(split(command, "command"))
    folder = None if cwd is None else parse(cwd, "cwd")
    allowed = set(BUILTIN) - _ALL_PARAMS
    if folder is not None and not set(folder.names) <= allowed:
        names = ", ".join(f"{{{name}}}" for name in sorted(allowed))
        raise UsageError(Mistake("cwd", f"May contain only the placeholders {names}, and no parameter."))
    return Plan(compiled, {name: parse(text, f"env.{name}") for name, text in env.items()}, folder)
