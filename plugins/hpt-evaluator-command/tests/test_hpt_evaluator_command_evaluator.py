"""The evaluator's contract: results, reports, files, failures."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from hpt_core import EvaluationError, Report, Study, TrialContext
from hpt_evaluator_command.evaluator import CommandEvaluator


def run(evaluator: CommandEvaluator, **trial: Any) -> tuple[list[Report], Any]:
    """Drive the generator to its end: (reports, result)."""
    generator: Generator[Report, None, Any] = evaluator.evaluate(TrialContext(**({"params": {}} | trial)))
    reports = []
    try:
        while True:
            reports.append(next(generator))
    except StopIteration as end:
        return reports, end.value


def python(code: str, *arguments: str, **options: Any) -> CommandEvaluator:
    escaped = code.replace("{", "{{").replace("}", "}}")
    return CommandEvaluator(command=[sys.executable, "-S", "-c", escaped, *arguments], **options)


def test_the_last_line_is_the_value() -> None:
    assert run(CommandEvaluator(command="printf 'log\\n0.25\\n\\n'")) == ([], 0.25)


def test_parameters_number_and_seed_reach_the_command() -> None:
    code = "import sys; print(int(sys.argv[1:] == ['0.5', '7', '99']))"
    evaluator = python(code, "{x}", "{number}", "{seed}")
    assert run(evaluator, params={"x": 0.5}, number=7, seed=99) == ([], 1.0)


PARAMS = {"x": 0.1, "name": "a 'b' \"c\" ;", "size": [1, "two"], "flag": True, "none": None}


@pytest.mark.parametrize(
    ("code", "arguments", "options"),
    [
        ("print(sys.argv[1])", ["{params_json}"], {}),
        ("print(open(sys.argv[1]).read())", ["{params_file}"], {}),
        ("print(sys.stdin.read())", [], {"stdin": True}),
        ("import os; print(os.environ['ALL'])", [], {"env": {"ALL": "{params_json}"}}),
    ],
)
@pytest.mark.parametrize("with_folder", [True, False])
def test_all_parameters_can_be_passed_as_json_in_four_ways(
    code: str, arguments: list[str], options: dict[str, Any], with_folder: bool, tmp_path: Path
) -> None:
    wrapped = f"import sys, io, json\nout = sys.stdout; sys.stdout = io.StringIO()\n{code}\n"
    wrapped += f"same = json.loads(sys.stdout.getvalue()) == {PARAMS!r}\nprint(int(same), file=out)"
    workdir = tmp_path / "trials" / "0" if with_folder else None
    assert run(python(wrapped, *arguments, **options), params=PARAMS, workdir=workdir) == ([], 1.0)


def test_a_standard_input_larger_than_a_pipe_causes_no_deadlock() -> None:
    params = {f"p{i}": "x" * 1000 for i in range(500)}
    evaluator = python("import sys; print(len(sys.stdin.read()))", stdin=True)
    assert run(evaluator, params=params)[1] == len(json.dumps(params)) + 1


def test_reports_arrive_while_it_runs_and_can_be_the_result(tmp_path: Path) -> None:
    code = """
import json, sys, pathlib, time
for i in (1, 2):
    print("epoch", i)
    print(json.dumps({"step": i, "acc": i / 10, "time": 5}))
    while not pathlib.Path(sys.argv[1], str(i)).exists():
        time.sleep(0.005)
"""
    generator = python(code, str(tmp_path)).evaluate(TrialContext({}, objectives=("acc",)))
    for i in (1, 2):  # the command waits for the file, so its report arrived while it was running
        assert next(generator) == Report(i, i / 10, {"time": 5.0})
        (tmp_path / str(i)).touch()
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value is None


def test_a_result_after_reports_is_the_result() -> None:
    code = """print('{"step": 1, "value": 3}'); print(2.5)"""
    assert run(python(code)) == ([Report(1, 3.0)], 2.5)


def test_other_output_after_reports_leaves_them_the_result() -> None:
    code = """print('{"step": 1, "value": 3}'); print("done.")"""
    assert run(python(code)) == ([Report(1, 3.0)], None)


def test_a_resumed_command_repeats_no_report() -> None:
    code = """
import json, sys
for i in range(int(sys.argv[1]), 5):
    print(json.dumps({"step": i, "value": i}))
"""
    again = python(code, "{resume_step}", resumable=True)
    assert [r.step for r in run(again, resume_step=3)[0]] == [4]
    plain = python(code, "2")
    assert [r.step for r in run(plain, resume_step=3)[0]] == [2, 3, 4]


def test_the_reports_before_a_pause_are_the_result_of_a_command_that_has_nothing_left_to_do() -> None:
    assert run(CommandEvaluator(command="true", resumable=True), resume_step=3) == ([], None)
    failure(CommandEvaluator(command="true"), resume_step=3)  # it started over


def test_a_result_file_is_read_and_a_stale_one_is_not(tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[1], 'w').write('{\"loss\": 1.5, \"size\": 3}'); print('chatter')"
    evaluator = python(code, "{result}", result="deep/out.json")
    trial: dict[str, Any] = {"workdir": tmp_path / "t", "objectives": ("loss",)}
    assert run(evaluator, **trial) == ([], {"loss": 1.5, "size": 3.0})
    lazy = python("print(7)", "{result}", result="deep/out.json")
    with pytest.raises(EvaluationError, match=r"wrote no readable result file 'deep/out.json'") as caught:
        run(lazy, **trial)
    assert caught.value.kind == "invalid-value"
    assert caught.value.__cause__ is None  # a cause would show its traceback


@pytest.mark.parametrize("content", ["", "accuracy: 3", '{"other": 1}', "[1]"])
def test_a_result_file_without_the_objective_is_an_invalid_value(content: str) -> None:
    code = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    error = failure(python(code, "{result}", "{x}", result="out.json"), params={"x": content}, objectives=("loss",))
    assert error.kind == "invalid-value"
    assert "must contain a number or a JSON object with 'loss'" in str(error)


def test_a_command_may_run_in_its_folder(tmp_path: Path) -> None:
    evaluator = python("open('out.json', 'w').write('4')", cwd="{workdir}", result="out.json")
    assert run(evaluator, workdir=tmp_path / "t") == ([], 4.0)
    assert run(evaluator) == ([], 4.0)


def test_files_that_cannot_be_removed_cost_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those that a container has left in a folder of its own, which belong to another user."""

    def refuses(function: Callable[..., None]) -> Callable[..., None]:
        def refuse(path: Any, *args: Any, **options: Any) -> None:
            if str(path).endswith("theirs"):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))
            function(path, *args, **options)

        return refuse

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("chmod", "unlink"):
        monkeypatch.setattr(os, name, refuses(getattr(os, name)))
    evaluator = python("open('theirs', 'w'), open('out.json', 'w').write('4')", cwd="{workdir}", result="out.json")
    assert run(evaluator) == ([], 4.0)
    assert [path.name for path in tmp_path.glob("hpt-*/*")] == ["theirs"]


def test_an_environment_variable_of_an_inactive_parameter_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LR", "5")  # no value of the trial
    code = "import os; print(int('LR' in os.environ) + 10 * int(os.environ['N']))"
    evaluator = python(code, env={"LR": "{lr}", "N": "{number}"})
    assert run(evaluator, number=3) == ([], 30.0)
    assert run(evaluator, number=3, params={"lr": 1}) == ([], 31.0)


# --- failures -------------------------------------------------------------------------------------


def failure(evaluator: CommandEvaluator, **trial: Any) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        run(evaluator, **trial)
    return caught.value


def test_an_exit_code_is_a_failure_with_the_end_of_stderr() -> None:
    error = failure(python("import sys; sys.stderr.write('x' * 300_000 + '\\nlast words\\n'); sys.exit(3)"))
    assert error.kind == "error"
    assert str(error) == "The command exited with code 3: last words"
    assert error.detail.endswith("xxx\nlast words")
    assert len(error.detail) <= 2000


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT", "SIGTERM"])
@pytest.mark.parametrize("shell", [False, True])
def test_a_signal_is_reported_by_name(name: str, shell: bool) -> None:
    number = f"'import os, signal; os.kill(os.getpid(), signal.{name})'"
    evaluator = CommandEvaluator(command=f"{shlex.quote(sys.executable)} -I -S -c {number}; exit $?", shell=True)
    if not shell:
        evaluator = python(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    error = failure(evaluator)
    assert (error.kind, str(error)) == ("killed", f"The command was killed by {name}.")


@pytest.mark.parametrize(("code", "said"), [(2, ""), (127, ""), (200, ""), (255, " bye")])
def test_an_exit_code_of_a_shell_is_reported(code: int, said: str) -> None:
    error = failure(CommandEvaluator(command=f"echo '{said}' >&2; exit {code}", shell=True))
    assert (error.kind, str(error)) == ("error", f"The command exited with code {code}{said.replace(' ', ': ') or '.'}")


def test_a_missing_program_is_named() -> None:
    error = failure(CommandEvaluator(command="no-such-program-here {x}"), params={"x": 1})
    assert error.kind == "error"
    assert str(error).startswith("The program 'no-such-program-here' was not found")


def test_a_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("print(1)")
    assert "may not be executed" in str(failure(CommandEvaluator(command=[str(script)])))
    script.chmod(0o755)
    assert "first line like #!/bin/sh" in str(failure(CommandEvaluator(command=[str(script)])))


def test_a_missing_working_directory_is_named() -> None:
    error = failure(CommandEvaluator(command="ls", cwd="/no/such/folder"))
    assert "`cwd` '/no/such/folder' is not a folder" in str(error)
    assert error.__cause__ is None  # a cause would show its traceback


def test_a_value_that_cannot_be_an_argument_is_a_failure() -> None:
    assert "cannot be started" in str(failure(CommandEvaluator(command="echo {x}"), params={"x": "a\0b"}))
    message = str(failure(CommandEvaluator(command="echo {x}"), params={"x": "a" * 10**7}))
    assert "cannot be started: Argument list too long (pass long values by {params_file}" in message
    assert sys.executable not in message


@pytest.mark.parametrize(
    ("said", "shown"), [("", "nothing"), ("done", "'done'"), ("1_000", "'1_000'"), ("\\377\\376", "'\ufffd\ufffd'")]
)
def test_no_value_in_the_last_line_is_an_invalid_value(said: str, shown: str) -> None:
    evaluator = CommandEvaluator(command=["printf", said])
    one, two = failure(evaluator), failure(evaluator, objectives=("loss", "ms"))
    assert one.kind == two.kind == "invalid-value"
    wanted = "The last line of the command's output must be a"
    assert str(one) == f"{wanted} number or a JSON object with 'value'. Got {shown}."
    assert str(two) == f"{wanted} JSON object with 'loss', 'ms'. Got {shown}."


def test_output_that_is_not_utf8_is_harmless() -> None:
    code = """
import sys
sys.stdout.buffer.write(b"\\xff\\xfe\\x00{\\n0.5\\n")
sys.stderr.buffer.write(b"\\xff")
"""
    assert run(python(code)) == ([], 0.5)
    assert failure(python(code + "sys.exit(1)")).detail == "\ufffd"


@pytest.mark.parametrize("crash", [False, True])
def test_the_shell_script_in_the_readme_extracts_the_value(crash: bool, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if "val_loss" in block)
    options = tomllib.loads(block)["evaluator"]
    assert options.pop("use") == "command"
    program = tmp_path / "train.sh"
    talk = 'echo "epoch 1 val_loss=0.9"\n' + "exit 3\n" * crash + 'echo "epoch 2 val_loss=$1 acc=0.8"\necho "saved"\n'
    program.write_text("#!/bin/sh\n" + talk.replace("$1", "${1#--lr=}"))
    program.chmod(0o755)
    evaluator = CommandEvaluator(**options, cwd=str(tmp_path))
    if crash:
        with pytest.raises(EvaluationError, match="exited with code 3"):
            run(evaluator, params={"lr": 1e-05})
    else:
        assert run(evaluator, params={"lr": 1e-05}) == ([], 1e-05)


def test_a_changed_script_is_reported_when_a_study_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for trials, value in ((1, 0.25), (2, 0.5)):
        Path("train.py").write_text(f"print({value})\n")
        evaluator = CommandEvaluator(command=[sys.executable, "-S", "train.py", "{x}"])
        with contextlib.closing(Study({"x": [1, 2]}, sampler="grid", evaluator=evaluator, store="hpt.db")) as study:
            study.run(trials=trials)
    assert [trial.value for trial in study.trials] == [0.25, 0.5]
    assert "still count: train.py has changed." in caplog.text
