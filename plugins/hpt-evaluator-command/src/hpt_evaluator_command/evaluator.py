"""The evaluator ``command``: passes a configuration to a program as arguments and reads the result from its output."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from hpt_core import EvaluationError, Mistake, Report, Space, TrialContext, UsageError, option
from hpt_evaluator_command.output import report_of, result_of
from hpt_evaluator_command.plan import Plan, compile_plan
from hpt_evaluator_command.process import CommandTimeoutError, Process
from hpt_evaluator_command.template import text_of

__all__ = ["CommandEvaluator"]

_NEED_WORKDIR = {"params_file", "result", "workdir"}
_MAX_STDERR = 2000  # characters of stderr in a failure
_MAX_RESULT = 1 << 20  # bytes of a result file


@attrs.define(kw_only=True)
class CommandEvaluator:
    """Runs a program for each trial and reads the value from its output.

    ``{name}`` placeholders are replaced by the values of parameters: strings as they are, other values as JSON. Without
    ``shell``, the command is split into arguments before the placeholders are replaced. With ``shell``, the values are
    passed as environment variables. Either way, a value is never parsed, whatever quotes or semicolons it contains.

    An argument with the placeholder of an inactive parameter is omitted (``--depth={depth}``). If the placeholder is
    the whole argument, an option right before it is omitted as well (``--depth {depth}``).

    The result is the last line of the standard output, or the content of the ``result`` file: a bare number, or a JSON
    object with the objectives by name (``value`` is accepted for a single objective); further numbers in it are
    metrics. A line such as ``{"step": 3, "value": 0.42}`` is a report. If the last line is not a result but there are
    reports, the result is made from the reports.

    The command and all its descendants end with the trial: when it is stopped, when it times out, on Ctrl-C, and even
    when hpt itself is killed. Processes that the command leaves behind when it exits are ended as well.
    """

    command: str | list[str] = option(
        help="Program and arguments, with placeholders: {name} of each parameter, {params_json}, {params_file}, "
        "{number}, {seed}, {workdir}, {result}, {resume_step}."
    )
    shell: bool = option(False, help="Run the command, one string, with /bin/sh.")
    stdin: bool = option(False, help="Pass all parameters as one JSON object on the standard input.")
    result: str | None = option(
        None, help="Name of a JSON file in the trial's {workdir} to read the result from; {result} is its path."
    )
    timeout: float | None = option(
        None, gt=0, seconds=True, help="Maximum run time of a trial, in seconds or as text like '10m'."
    )
    grace: float = option(
        1.0, ge=0, seconds=True, help="Seconds between SIGTERM and SIGKILL when the command has to end."
    )
    env: dict[str, str] = option(factory=dict, help="Additional environment variables; may contain placeholders.")
    cwd: str | None = option(None, help="Working directory; may contain placeholders, but not those of parameters.")
    evidence: Literal["curve", "folds"] = option(
        "curve",
        help="Kind of the reports: a curve (the last report counts) or folds (step i is the same split in all trials).",
    )
    steps: int | None = option(None, ge=1, help="Step of the last report of a complete trial, if known.")
    resumable: bool = option(
        False, help="Whether the command can continue after {resume_step} from a checkpoint in {workdir}."
    )
    _plan: Plan = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._plan = compile_plan(self.command, self.env, self.cwd, shell=self.shell)
        if self.result is not None:
            self._check_result_path(self.result)

    def _check_result_path(self, result: str) -> None:
        parts = Path(result).parts
        if not parts or Path(result).is_absolute() or ".." in parts:
            message = f"Must be a relative path within the trial's folder. Got {result!r}."
            raise UsageError(Mistake("result", message))
        if not self._placeholders() & _NEED_WORKDIR - {"params_file"}:
            message = "The command does not contain the path of this file: add {result} or {workdir} to it."
            raise UsageError(Mistake("result", message))

    def _placeholders(self) -> set[str]:
        return {name for _, name in self._plan.placeholders()}

    @property
    def sources(self) -> list[Any]:
        """The command, which may name a script."""
        return [self.command]

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - part of the contract
        """Check that the command fits the space.

        Args:
            space: The space of the study.
            objectives: Names of its objectives.

        Raises:
            UsageError: If a placeholder is not a parameter, a parameter is not passed to the command, or the program
                or its working directory does not exist.
        """
        self._plan.check(space, all_on_stdin=self.stdin)
        missing = self._plan.missing_program()
        if missing is not None:
            message = f"There is no executable program {missing!r}. Install it, or give its path."
            raise UsageError(Mistake("evaluator.command", message))
        folder = self._plan.folder({})  # None if it depends on the trial
        if folder is not None and not os.path.isdir(folder):  # noqa: PTH112 - Path raises for a long name
            raise UsageError(Mistake("evaluator.cwd", f"Must be an existing folder. Got {folder!r}."))

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, float | Mapping[str, Any] | None]:
        """Run the command.

        Args:
            trial: The trial to evaluate.

        Yields:
            Its reports, as they are printed.

        Returns:
            Its result; None if the reports are the result.

        Raises:
            EvaluationError: Of kind ``error`` if the command cannot be started or its exit code is not 0; ``killed``;
                ``timeout``; or ``invalid-value`` if it has no result.
        """
        with contextlib.ExitStack() as stack:
            values = self._values(trial, stack)
            process = self._start(values, stack)
            last, ends_with_report = b"", False
            has_reports = self.resumable and trial.resume_step > 0
            try:
                for line in process.lines(self.timeout):
                    if line and not line.isspace():
                        report = report_of(line, trial.objectives)
                        last, ends_with_report = line, report is not None
                        if report and not (self.resumable and report.step <= trial.resume_step):
                            has_reports = True
                            yield report
            except CommandTimeoutError:
                message = f"The command exceeded its `timeout` of {self.timeout:g} s."
                raise _failure(message, "timeout", process) from None
            self._check_end(process, values)
            if self.result is not None:
                return self._read_result(Path(values["result"]), trial, process)
            if ends_with_report:
                return None
            return self._parse_result(last, trial, process, has_reports=has_reports)

    # --- start ------------------------------------------------------------------------------------------

    def _values(self, trial: TrialContext, stack: contextlib.ExitStack) -> dict[str, str]:
        """The values of the placeholders; creates the trial's folder if a placeholder needs it."""
        all_params = json.dumps(trial.params)
        values = {name: text_of(value) for name, value in trial.params.items()}
        values |= {name: str(getattr(trial, name)) for name in ("number", "resume_step", "seed")}
        values["params_json"] = all_params
        if self._placeholders() & _NEED_WORKDIR:
            folder = trial.workdir
            if folder is None:
                folder = Path(tempfile.mkdtemp(prefix="hpt-"))
                # A container may leave folders of another user in it, which must not cost the result.
                # TemporaryDirectory may not change their permissions, and fails even if told to ignore errors.
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            values["workdir"] = str(folder.absolute())
            params_file = folder.absolute() / "params.json"
            params_file.write_text(all_params + "\n", encoding="utf-8")
            values["params_file"] = str(params_file)
            if self.result is not None:
                result = folder.absolute() / self.result
                result.parent.mkdir(parents=True, exist_ok=True)
                result.unlink(missing_ok=True)  # it may be the result of an earlier attempt
                values["result"] = str(result)
        return values

    def _start(self, values: Mapping[str, str], stack: contextlib.ExitStack) -> Process:
        arguments, folder = self._plan.arguments(values), self._plan.folder(values)
        stdin = None
        if self.stdin:
            stdin = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
            stdin.write(values["params_json"].encode() + b"\n")
            stdin.seek(0)
        try:
            process = Process(arguments, stdin=stdin, cwd=folder, env=self._plan.environment(values), grace=self.grace)
        except (OSError, ValueError) as err:
            reason = _start_problem(err, folder)
            raise EvaluationError(f"The command cannot be started: {reason}.") from None  # hides hpt's own traceback
        stack.callback(process.stop)
        return process

    # --- end --------------------------------------------------------------------------------------------

    def _check_end(self, process: Process, values: Mapping[str, str]) -> None:
        if process.start_errno:
            program = self._plan.arguments(values)[0]
            raise EvaluationError(f"The program {program!r} {_program_problem(process.start_errno)}.")
        code = process.code
        if code is None:
            raise _failure("The command was ended from outside, together with its supervisor.", "killed", process)
        from_shell = _signal_name(code - 128) if self.shell else None  # a shell adds 128 to the signal of its child
        name = from_shell if code >= 0 else _signal_name(-code) or f"signal {-code}"
        if name:
            raise _failure(f"The command was killed by {name}.", "killed", process)
        if code > 0:
            lines = process.stderr.text(_MAX_STDERR).splitlines()
            last = f": {lines[-1].strip()[:200]}" if lines else "."
            raise _failure(f"The command exited with code {code}{last}", "error", process)

    def _read_result(self, path: Path, trial: TrialContext, process: Process) -> float | Mapping[str, Any]:
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_RESULT)
        except OSError as err:
            message = f"The command wrote no readable result file {self.result!r}: {err.strerror}."
            raise _failure(message, "invalid-value", process) from None  # hides hpt's own traceback
        found = result_of(text, trial.objectives)
        if found is None:
            message = f"The result file {self.result!r} must contain {_expected(trial)}. Got {_shown(text)}."
            raise _failure(message, "invalid-value", process)
        return found

    def _parse_result(
        self, last: bytes, trial: TrialContext, process: Process, *, has_reports: bool
    ) -> float | Mapping[str, Any] | None:
        found = result_of(last, trial.objectives)
        if found is None and not has_reports:
            message = f"The last line of the command's output must be {_expected(trial)}. Got {_shown(last)}."
            raise _failure(message, "invalid-value", process)
        return found


def _failure(message: str, kind: str, process: Process) -> EvaluationError:
    return EvaluationError(message, kind=kind, detail=process.stderr.text(_MAX_STDERR))


def _expected(trial: TrialContext) -> str:
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


def _start_problem(err: OSError | ValueError, folder: str | None) -> str:
    """Why the supervisor could not be started: without its own name, which is in the error but tells users nothing."""
    if folder is not None and not Path(folder).is_dir():
        return f"its `cwd` {folder!r} is not a folder"
    if not isinstance(err, OSError):
        return str(err)
    remedy = " (pass long values by {params_file} or on the standard input)" if err.errno == errno.E2BIG else ""
    return f"{err.strerror}{remedy}"


def _program_problem(number: int) -> str:
    known = {
        errno.ENOENT: "was not found (or, if it is a script, the interpreter in its first line)",
        errno.EACCES: "may not be executed (no permission)",
        errno.ENOEXEC: "is not executable (a script needs a first line like #!/bin/sh)",
    }
    return known.get(number) or f"cannot be executed: {os.strerror(number)}"
