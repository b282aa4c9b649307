"""Values in commands: a real program receives exactly the value that was filled in."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Constant, Float, Int, Space, UsageError
from hpt_evaluator_command.evaluator import CommandEvaluator
from hpt_evaluator_command.plan import compile_plan
from hpt_evaluator_command.template import fill_arguments, parse, parse_script, split, text_of

NASTY = [
    "a b", "'", '"', "a'b\"c", ";rm -rf x", "$(id)", "`id`", "$HOME", "${HOME}", "*", "?", "~", "|", "&&",
    ">x", "\\", "\n", "a\nb", "{x}", "{{", "}", "--help", "", " ", "#", "!", "é€😀", "\t", "%s", "\\n",
]  # fmt: skip
text = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)


def received(command: list[str], env: dict[str, str] | None = None) -> list[str]:
    """The arguments that a program receives."""
    run = subprocess.run(command, check=True, capture_output=True, env=os.environ | (env or {}))
    return run.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("value", NASTY)
def test_a_nasty_value_arrives_as_one_argument(value: str) -> None:
    arguments = split("printf '%s\\0' {x} --x={x} 'q {x}'", "command")
    assert received(fill_arguments(arguments, {"x": value})) == [value, f"--x={value}", f"q {value}"]


SHELL_PLACES = "printf '%s\\0' {x} --x={x} 'q {x}' \"d {x}\" a{x}\\ b"


@pytest.mark.parametrize("command", ["printf %s\\\\0 '|' a>b x&y", ["printf", "%s\\0", "|", "a>b", "x&y"]])
def test_operators_of_shells_that_are_quoted_or_no_words_are_arguments(command: str | list[str]) -> None:
    assert received(fill_arguments(split(command, "command"), {})) == ["|", "a>b", "x&y"]


@pytest.mark.parametrize(
    "given", ['--x="a | b"', '"say \\"a | b\\""', "'it'\\''s > that'", '"\\""', "\\; a\\ | ", '"|"', "1|2"]
)
def test_operators_of_shells_within_quotes_are_parts_of_arguments(given: str) -> None:
    command = f"printf '%s\\0' {given}"
    assert received(fill_arguments(split(command, "command"), {})) == shlex.split(given)


@pytest.mark.parametrize("value", NASTY)
def test_a_nasty_value_arrives_through_a_shell_in_every_kind_of_quotes(value: str) -> None:
    script = parse_script(SHELL_PLACES, "command")
    got = received(["/bin/sh", "-c", script.text], script.variables({"x": value}))
    assert got == [value, f"--x={value}", f"q {value}", f"d {value}", f"a{value} b"]


@settings(max_examples=25)
@given(text, text)
def test_any_text_arrives_with_and_without_a_shell(one: str, two: str) -> None:
    template = "printf '%s\\0' {a} \"{b}\" '{a}{b}'"
    script = parse_script(template, "command")
    values = {"a": one, "b": two}
    expected = [one, two, one + two]
    assert received(fill_arguments(split(template, "command"), values)) == expected
    assert received(["/bin/sh", "-c", script.text], script.variables(values)) == expected


SCRIPTS = {
    "comment": ("printf '%s\\0' 1 # it's {x}\n# don't\nprintf '%s\\0' {x} a#'b'{x}", ["1", "%s", "a#b%s"]),
    "quotes": ("printf '%s\\0' '{x}' \"it's {x}\" 'say \"{x}\"' \\'{x}", ["%s", "it's %s", 'say "%s"', "'%s"]),
    "substitution": ("printf '%s\\0' $(printf 1){x} \"$(printf 2)\"\nprintf '%s\\0' {x}", ["1%s", "2", "%s"]),
    "subshell": ("(printf '%s\\0' {x} ')'; (printf '%s\\0' '{x}'))", ["%s", ")", "%s"]),
    "case": ("case {x} in q) printf q;; *) printf '%s\\0' {x};; esac", ["%s"]),
    "expansion": ("V='1#2'; printf '%s\\0' ${V#1} ${#V} \"${V%#*}\" {x}", ["#2", "3", "1", "%s"]),
    "assignment": ('V={x}; W="{x}"; printf \'%s\\0\' "$V" "$W"', ["%s", "%s"]),
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("value", [value for value in NASTY if not value.endswith("\n")])
def test_a_nasty_value_arrives_from_every_place_of_a_script(name: str, value: str) -> None:
    text, expected = SCRIPTS[name]
    script = parse_script(text, "command")
    got = received(["/bin/sh", "-c", script.text], script.variables({"x": value}))
    assert got == [argument.replace("%s", value) for argument in expected]


def test_a_number_is_calculated_with() -> None:
    script = parse_script("printf '%s\\0' $(({n} * (2 + {n}) << 1)) {n} \"$((1 + {n}))\" {n}", "command")
    assert received(["/bin/sh", "-c", script.text], script.variables({"n": "3"})) == ["30", "3", "4", "3"]


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("cat <<EOF\n{x}\nEOF", "after a here-document (<<)"),
        ("cat <<EOF\nit's\nEOF\necho {x}", "after a here-document (<<)"),
        ("cat <<{x}\na\n{x}", "after a here-document (<<)"),
        ('echo "$(basename {x})"', 'on a line after "$('),
        ('echo "$(basename "a b" {x})"', 'on a line after "$('),
        ("echo `basename {x}`", "after a backtick"),
        ('echo "`date`" {x}', "after a backtick"),
        ("echo \\{x}", "after a backslash"),
    ],
)
def test_a_placeholder_is_refused_where_its_quoting_is_not_clear(script: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_script(script, "command")
    [mistake] = caught.value.mistakes
    assert mistake.path == "command"
    assert f"the placeholder {{x}} {place}." in mistake.message
    assert 'env = { VALUE = "{x}" }' in mistake.message


def test_a_script_with_a_nul_character_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        parse_script("echo \0 {x}", "command")


def test_a_shell_keeps_its_own_braces() -> None:
    script = parse_script("V=7; printf '%s\\0' ${V} {x} {{a,b}}", "command")
    assert received(["/bin/sh", "-c", script.text], script.variables({"x": "1"}))[:2] == ["7", "1"]
    assert script.names == ("x",)


@given(st.lists(text, max_size=4))
def test_doubled_braces_are_literal(parts: list[str]) -> None:
    joined = "".join(parts)
    doubled = joined.replace("{", "{{").replace("}", "}}")
    assert parse(doubled, "command").fill({}) == joined


@pytest.mark.parametrize("bad", ["{", "a}b", "{}", "{ }", "x {a"])
def test_a_single_brace_is_refused_with_the_remedy(bad: str) -> None:
    with pytest.raises(UsageError, match=r"single '[{}]'.*write \{\{ and \}\}"):
        parse(bad, "command")


@given(st.lists(text.filter(lambda t: "{" not in t and "}" not in t), min_size=1, max_size=5))
def test_a_command_is_split_as_a_shell_does(words: list[str]) -> None:
    assert fill_arguments(split(shlex.join(words), "command"), {}) == words


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.1, "0.1"), (1e-5, "1e-05"), (7, "7"), (True, "true"), (None, "null"), ("a b", "a b"), ([64, "x"], '[64, "x"]')],
)
def test_values_are_written_as_json_and_strings_as_they_are(value: Any, written: str) -> None:
    assert text_of(value) == written


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("run --depth={d} {x}", ["run", "1"]),
        ("run --depth {d} {x}", ["run", "1"]),
        ("run -d {d} -x {x}", ["run", "-x", "1"]),
        ("run {d} {x}", ["run", "1"]),
        ("run -- {d} {x}", ["run", "--", "1"]),
        ("run - {d}", ["run", "-"]),
        ("run --a=b {d} {x}", ["run", "--a=b", "1"]),
        ("run --x={x} {d}", ["run", "--x=1"]),
        ("run --flag {d}{x} end", ["run", "--flag", "end"]),
        ("run {d} {d}", ["run"]),
        ("run --both {d} {d} end", ["run", "end"]),
    ],
)
def test_arguments_of_an_inactive_parameter_are_left_out(command: str, expected: list[str]) -> None:
    assert fill_arguments(split(command, "command"), {"x": "1"}) == expected


# --- options and checks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": ""}, "Must name a program"),
        ({"command": []}, "Must name a program"),
        ({"command": "a 'b"}, "No closing quotation"),
        ({"command": "a {x} | tail -n 1"}, r"Only a shell understands '\|': set shell = true"),
        ({"command": "a {x} 2>&1"}, "Only a shell understands '2>&1'"),
        ({"command": ["a"], "shell": True}, "one string if shell = true"),
        ({"command": "a", "env": {"A=B": "1"}}, "not a valid name of an environment variable"),
        ({"command": "a", "env": {"": "1"}}, "not a valid name of an environment variable"),
        ({"command": "a {x}", "cwd": "{x}"}, "no parameter"),
        ({"command": "a", "timeout": 0}, "timeout.*> 0"),
        ({"command": "a", "result": "../out.json"}, "within the trial's folder"),
        ({"command": "a", "result": "/out.json"}, "within the trial's folder"),
        ({"command": "a {result}", "result": "."}, "within the trial's folder"),
        ({"command": "a", "result": "out.json"}, r"does not contain the path of this file: add \{result\} or"),
    ],
)
def test_an_invalid_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandEvaluator(**options)


SPACE = Space(
    {
        "model": Categorical("svm", "forest"),
        "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
        "depth": Int(2, 30, when={"model": "forest"}),
        "jobs": Constant(1),
    }
)


@pytest.mark.parametrize(
    "options",
    [
        {"command": "echo {model} --C={C} --depth={depth} {number} {seed} {workdir}"},
        {"command": "echo {params_json}"},
        {"command": "echo {params_file}"},
        {"command": "echo", "stdin": True},
        {"command": "echo {model}", "env": {"C": "{C}", "DEPTH": "{depth}"}},
        {"command": "echo {model} {C} $depth {depth}", "shell": True},
    ],
)
def test_a_command_that_receives_every_parameter_is_accepted(options: dict[str, Any]) -> None:
    CommandEvaluator(**options).check(SPACE, ["value"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo {modle} {model} {C} {depth}", r"\{modle\} is not a parameter.*Did you mean \{model\}"),
        ("echo {model} {C}", "does not receive the value of 'depth'"),
        ("echo", "does not receive the value of 'model', 'C', 'depth'"),
        ("awk '{print}' {model} {C} {depth}", r"\{print\} is not a parameter.* write \{\{ and \}\} for"),
    ],
)
def test_a_command_that_does_not_fit_the_space_is_refused(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandEvaluator(command=command).check(SPACE, ["value"])


def test_a_constant_that_is_active_for_one_choice_is_a_flag() -> None:
    space = Space({"amp": Categorical(True, False), "flag": Constant("--amp", when={"amp": True})})
    evaluator = CommandEvaluator(command=["echo", "{flag}"])
    evaluator.check(space, ["value"])
    with pytest.raises(UsageError, match="does not receive the value of 'amp'"):
        CommandEvaluator(command=["echo"]).check(space, ["value"])
    arguments = compile_plan("echo {flag} .", {}, None, shell=False).arguments
    assert arguments({"amp": "true", "flag": "--amp"}) == ["echo", "--amp", "."]
    assert arguments({"amp": "false"}) == ["echo", "."]


def test_a_placeholder_that_is_also_a_parameter_is_refused() -> None:
    space = Space({"seed": Int(0, 9)})
    CommandEvaluator(command="echo {params_json}").check(space, ["value"])
    with pytest.raises(UsageError, match="ambiguous"):
        CommandEvaluator(command="echo {seed}").check(space, ["value"])


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"command": "no-such-program {params_json}"}, "no-such-program"),
        ({"command": "./no-such-script.sh {params_json}"}, "./no-such-script.sh"),
        ({"command": ["/no/such/program", "{params_json}"]}, "/no/such/program"),
        ({"command": "no-such-program {params_json}", "cwd": "elsewhere"}, "no-such-program"),
        ({"command": "/bin/sh {params_json}"}, None),
        ({"command": "sh {params_json}"}, None),
        ({"command": "{model} {C} {depth}"}, None),
        ({"command": "no-such-program {params_json}", "shell": True}, None),
        ({"command": "no-such-program {params_json}", "env": {"PATH": "/elsewhere"}}, None),
        ({"command": "./no-such-script.sh {params_json}", "cwd": "/"}, None),
    ],
)
def test_a_program_that_certainly_does_not_exist_is_refused(options: dict[str, Any], missing: str | None) -> None:
    evaluator = CommandEvaluator(**options)
    if missing is None:
        evaluator.check(SPACE, ["value"])
        return
    with pytest.raises(UsageError, match=f"evaluator.command: There is no executable program '{missing}'"):
        evaluator.check(SPACE, ["value"])


@pytest.mark.parametrize(
    ("cwd", "refused"), [("no/such", True), (__file__, True), ("/", False), ("{workdir}/x", False)]
)
def test_a_working_directory_that_does_not_exist_is_refused(cwd: str, refused: bool) -> None:
    evaluator = CommandEvaluator(command="echo {params_json}", cwd=cwd)
    if not refused:
        evaluator.check(SPACE, ["value"])
        return
    with pytest.raises(UsageError, match=f"^evaluator.cwd: Must be an existing folder. Got '{cwd}'.$"):
        evaluator.check(SPACE, ["value"])


def test_a_script_without_execute_permission_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text("#!/bin/sh\necho 1\n", encoding="utf-8")
    evaluator = CommandEvaluator(command=[str(script), "{params_json}"])
    with pytest.raises(UsageError, match="There is no executable program"):
        evaluator.check(SPACE, ["value"])
    script.chmod(0o755)
    evaluator.check(SPACE, ["value"])
