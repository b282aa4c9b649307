"""The evaluator ``command``: a configuration goes into a program's arguments, the result comes out of its output."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import tempfile
from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from hpt_core import EvaluationError, Mistake, Report, Space, TrialContext, UsageError, option
from hpt_evaluator_command.output import report_of, result_of
from hpt_evaluator_command.plan import Plan, compile_plan
from hpt_evaluator_command.process import Process, TimeUp
from hpt_evaluator_command.template import text_of

__all__ = ["CommandEvaluator"]

_IN_FOLDER = {"params_file", "result", "workdir"}
_SHOWN = 2000  # characters of stderr
_MAX_RESULT = 1 << 20  # bytes of a result file


@attrs.define(kw_only=True)
class CommandEvaluator:
    """Runs a program for each trial and reads the value from what it prints.

    Parameters go into ``{name}`` placeholders; a string is put in as it is, everything else as JSON. Without
    ``shell`` the command is split into arguments first and then filled, with it the values are variables of the
    environment: either way no value is ever parsed, whatever quotes or semicolons it contains.

    An argument with the placeholder of an inactive parameter is left out (``--depth={depth}``); where the placeholder
    is the whole argument, an option right before it goes too (``--depth {depth}``).

    The value is the last line of the standard output, or the content of the ``result`` file: a bare number, or a
    JSON object with the objectives by name (for a single one ``value`` will do) and further numbers as metrics.
    A line ``{"step": 3, "value": 0.42}`` is a report; a command whose output ends with anything but a result has its
    reports as its result.

    The command and all its descendants end with the trial: when it is stopped, when its time is up, on Ctrl-C, and
    also when hpt itself is killed. Whatever it leaves running at its own end is ended, too.
    """

    command: str | list[str] = option(
        help="Program and arguments, with placeholders: {name} of each parameter, {params_json}, {params_file}, "
        "{number}, {seed}, {workdir}, {result}, {resume_step}."
    )
    shell: bool = option(False, help="Run the command (one string) by /bin/sh.")
    stdin: bool = option(False, help="Give all parameters as one JSON object on the standard input.")
    result: str | None = option(
        None, help="Name of a JSON file in the trial's {workdir} to read the result from; {result} is its path."
    )
    timeout: float | None = option(None, gt=0, help="Seconds that one trial may run.")
    grace: float = option(1.0, ge=0, help="Seconds between SIGTERM and SIGKILL when the command must end.")
    env: dict[str, str] = option(factory=dict, help="Further environment variables; placeholders are filled.")
    cwd: str | None = option(None, help="Working directory; may hold {workdir}, {number} and {seed}.")
    evidence: Literal["curve", "folds"] = option(
        "curve", help="What reports are: a curve (later is truer) or folds (step i is the same split for all)."
    )
    steps: int | None = option(None, ge=1, help="How many reports a whole trial gives, if that is known.")
    resumable: bool = option(
        False, help="The command goes on behind {resume_step} from a checkpoint that it kept in {workdir}."
    )
    _plan: Plan = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._plan = compile_plan(self.command, self.env, self.cwd, shell=self.shell)
        if self.result is not None:
            self._check_result_path(self.result)

    def _check_result_path(self, result: str) -> None:
        parts = Path(result).parts
        if not parts or Path(result).is_absolute() or ".." in parts:
            message = f"Must be the name of a file below the trial's folder. Got {result!r}."
            raise UsageError(Mistake("result", message))
        if not self._placeholders() & _IN_FOLDER - {"params_file"}:
            message = "The command never learns where to write it: put {result} or {workdir} into it."
            raise UsageError(Mistake("result", message))

    def _placeholders(self) -> set[str]:
        return {name for _, name in self._plan.placeholders()}

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - what the core gives
        """See that command and space fit each other.

        Args:
            space: The study's space.
            objectives: The names of its objectives.

        Raises:
            UsageError: If a placeholder is no parameter, a parameter reaches the command nowhere, or there is no such
                program.
        """
        self._plan.check(space, all_on_stdin=self.stdin)
        missing = self._plan.missing_program()
        if missing is not None:
            message = f"There is no program {missing!r} that could be run. Install it, or give its path."
            raise UsageError(Mistake("evaluator.command", message))

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, float | Mapping[str, Any] | None]:
        """Run the command; yields its reports as they come and returns its result.

        Args:
            trial: What to evaluate.

        Raises:
            EvaluationError: Kind ``error``: it cannot be started or exited with another code than 0; ``killed``;
                ``timeout``; ``invalid-value``: it gave no result.
        """
        with contextlib.ExitStack() as stack:
            values = self._values(trial, stack)
            process = self._start(trial, values, stack)
            last, reports, ends_with_report = b"", 0, False
            try:
                for line in process.lines(self.timeout):
                    if line and not line.isspace():
                        report = report_of(line, trial.objectives)
                        last, ends_with_report = line, report is not None
                        if report and not (self.resumable and report.step <= trial.resume_step):
                            reports += 1
                            yield report
            except TimeUp:
                message = f"The command ran longer than its `timeout` of {self.timeout:g} s."
                raise _failure(message, "timeout", process) from None
            self._check_end(process, values)
            if self.result is not None:
                return self._read_result(Path(values["result"]), trial, process)
            if ends_with_report:
                return None
            return self._understand(last, trial, process, reports)

    # --- before -----------------------------------------------------------------------------------------

    def _values(self, trial: TrialContext, stack: contextlib.ExitStack) -> dict[str, str]:
        """What goes into the placeholders; makes the trial's folder if one is needed."""
        whole = json.dumps(trial.params)
        values = {name: text_of(value) for name, value in trial.params.items()}
        own = {"number": trial.number, "seed": trial.seed, "resume_step": trial.resume_step}
        values |= {name: str(value) for name, value in own.items() if name not in values}
        values.setdefault("params_json", whole)
        if self._placeholders() & _IN_FOLDER:
            folder = trial.workdir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpt-")))
            folder.mkdir(parents=True, exist_ok=True)
            values.setdefault("workdir", str(folder.absolute()))
            params_file = folder.absolute() / "params.json"
            params_file.write_text(whole + "\n", encoding="utf-8")
            values.setdefault("params_file", str(params_file))
            if self.result is not None:
                result = folder.absolute() / self.result
                result.parent.mkdir(parents=True, exist_ok=True)
                result.unlink(missing_ok=True)  # an earlier attempt's result is not this one's
                values["result"] = str(result)
        return values

    def _start(self, trial: TrialContext, values: Mapping[str, str], stack: contextlib.ExitStack) -> Process:
        arguments, folder = self._plan.arguments(values), self._plan.folder(values)
        stdin = None
        if self.stdin:
            stdin = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
            stdin.write(json.dumps(trial.params).encode() + b"\n")
            stdin.seek(0)
        try:
            process = Process(arguments, stdin=stdin, cwd=folder, env=self._plan.environment(values), grace=self.grace)
        except (OSError, ValueError) as err:
            missing = folder is not None and not Path(folder).is_dir()
            reason = f"its `cwd` {folder!r} is no folder" if missing else str(err)
            raise EvaluationError(f"The command cannot be started: {reason}.") from None  # a traceback would be ours
        stack.callback(process.stop)
        return process

    # --- after ------------------------------------------------------------------------------------------

    def _check_end(self, process: Process, values: Mapping[str, str]) -> None:
        if process.problem:
            program = self._plan.arguments(values)[0]
            raise EvaluationError(f"The program {program!r} {_start_problem(process.problem)}.")
        code = process.code
        if code is None:
            raise _failure("The command was ended from outside, with its supervisor.", "killed", process)
        of_shell = _signal_name(code - 128) if self.shell else None  # its way to pass a child's signal on
        name = of_shell if code >= 0 else _signal_name(-code) or f"signal {-code}"
        if name:
            raise _failure(f"The command was killed by {name}.", "killed", process)
        if code > 0:
            said = process.stderr.text(_SHOWN).splitlines()
            last = f": {said[-1].strip()[:200]}" if said else "."
            raise _failure(f"The command exited with code {code}{last}", "error", process)

    def _read_result(self, path: Path, trial: TrialContext, process: Process) -> float | Mapping[str, Any]:
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_RESULT)
        except OSError as err:
            message = f"The command left no readable result file {self.result!r}: {err.strerror}."
            raise _failure(message, "invalid-value", process) from err
        found = result_of(text, trial.objectives)
        if found is None:
            message = f"The result file {self.result!r} must hold {_wanted(trial)}. Got {_shown(text)}."
            raise _failure(message, "invalid-value", process)
        return found

    def _understand(
        self, last: bytes, trial: TrialContext, process: Process, reports: int
    ) -> float | Mapping[str, Any] | None:
        found = result_of(last, trial.objectives)
        if found is None and not reports:
            message = f"The last line of the command's output must be {_wanted(trial)}. Got {_shown(last)}."
            raise _failure(message, "invalid-value", process)
        return found


def _failure(message: str, kind: str, process: Process) -> EvaluationError:
    return EvaluationError(message, kind=kind, detail=process.stderr.text(_SHOWN))


def _wanted(trial: TrialContext) -> str:
    names = ", ".join(map(repr, trial.objectives))
    return f"a number or a JSON object with {names}" if len(trial.objectives) == 1 else f"a JSON object with {names}"


def _shown(text: bytes) -> str:
    shown = text[:200].decode("utf-8", "replace").strip()
    return repr(shown) if shown else "nothing"


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _start_problem(number: int) -> str:
    known = {
        errno.ENOENT: "was not found (nor the interpreter in its first line, if it is a script)",
        errno.EACCES: "may not be executed (no permission)",
        errno.ENOEXEC: "is not executable (a script needs a first line like #!/bin/sh)",
    }
    return known.get(number) or f"cannot be executed: {os.strerror(number)}"
