"""What is to be run, compiled once: arguments, environment and working directory with their placeholders."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from hpt_core import Constant, Mistake, Space, UsageError
from hpt_evaluator_command.template import REMEDY, Script, Template, fill_arguments, parse, parse_script, split

__all__ = ["OWN", "Plan", "compile_plan"]

OWN = ("number", "params_file", "params_json", "result", "resume_step", "seed", "workdir")
"""Placeholders that are no parameter."""

_WHOLE = {"params_file", "params_json"}


@attrs.frozen
class Plan:
    """A command with its placeholders found.

    Attributes:
        command: The arguments, or the script for a shell.
        env: Variables of the environment.
        cwd: The working directory; None: the one hpt runs in.
    """

    command: tuple[Template, ...] | Script
    env: Mapping[str, Template]
    cwd: Template | None

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """Program and arguments."""
        if isinstance(self.command, Script):
            return ["/bin/sh", "-c", self.command.text]
        return fill_arguments(self.command, values)

    def environment(self, values: Mapping[str, str]) -> dict[str, str]:
        """This process's environment and what is added to it; of inactive parameters nothing."""
        found = {"PYTHONUNBUFFERED": "1", **os.environ}  # else a Python program's reports come at its end
        if isinstance(self.command, Script):
            found |= self.command.variables(values)
        for name, template in self.env.items():
            text = template.fill(values)
            if text is not None:
                found[name] = text
        return found

    def folder(self, values: Mapping[str, str]) -> str | None:
        """The working directory."""
        return None if self.cwd is None else self.cwd.fill(values)

    def missing_program(self) -> str | None:
        """The program, if it is known not to be there: that of a shell, or in another folder or path, is not."""
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
        """See that the placeholders fit a space.

        Raises:
            UsageError: If one is neither a parameter nor one of `OWN`, or is both, or if a parameter that varies
                reaches the command nowhere, neither itself nor as a constant that is there under some of its values.
        """
        used = {name for _, name in self.placeholders()}
        known = [*space.names, *OWN]
        mistakes = [
            Mistake(f"evaluator.{option}", f"{{{name}}} is no parameter of the space.{_hint(name, known)}")
            for option, name in self.placeholders()
            if name not in known
        ]
        mistakes += [
            Mistake("evaluator.command", f"{{{name}}} is ambiguous: it is also the name of a parameter. Rename that.")
            for name in OWN
            if name in used and name in space.names
        ]
        constants = [name for name in space.names if isinstance(space[name], Constant)]
        flagged = {parent for name in constants if name in used for parent in space[name].when}
        lost = [name for name in space.names if name not in used | flagged and name not in constants]
        if lost and not all_on_stdin and not used & _WHOLE:
            message = (
                f"The command never learns the value of {', '.join(map(repr, lost))}: put {{{lost[0]}}}, "
                "{params_json} or {params_file} into it, or set stdin = true."
            )
            mistakes.append(Mistake("evaluator.command", message))
        if mistakes:
            raise UsageError(*mistakes)


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {{{close[0]}}}?" if close else f" There are: {', '.join(known)}; {REMEDY}."


def compile_plan(command: str | Sequence[str], env: Mapping[str, str], cwd: str | None, *, shell: bool) -> Plan:
    """Find the placeholders.

    Raises:
        UsageError: If a text cannot be understood or an option makes no sense.
    """
    mistakes = [
        Mistake(f"env.{name}", "Is no name of an environment variable.")
        for name in env
        if not name or "=" in name or "\0" in name
    ]
    if shell and not isinstance(command, str):
        mistakes.append(Mistake("command", "Must be one string where shell = true. Got a list."))
    if mistakes:
        raise UsageError(*mistakes)
    compiled: tuple[Template, ...] | Script
    if shell and isinstance(command, str):
        compiled = parse_script(command, "command")
    else:
        compiled = tuple(split(command, "command"))
    folder = None if cwd is None else parse(cwd, "cwd")
    if folder is not None and not set(folder.names) <= set(OWN) - _WHOLE:
        raise UsageError(Mistake("cwd", "May hold {workdir}, {number} and {seed} only, no parameter."))
    return Plan(compiled, {name: parse(text, f"env.{name}") for name, text in env.items()}, folder)
