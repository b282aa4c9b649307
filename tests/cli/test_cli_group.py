"""The command group: fast start, commands of plugins, errors and exit codes, completion."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Never

import click
import pytest
from click.testing import CliRunner

import hpt_core
from hpt_core.cli import main
from hpt_core.cli.group import COMMANDS, hpt
from hpt_core.cli.session import Session
from hpt_core.errors import Mistake, PluginError, StoreError, UsageError
from hpt_core.plugins.plugins import Plugins

Run = subprocess.CompletedProcess[str]
Shell = Callable[..., Run]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A real `hpt` process in an empty directory, with plugins from its subdirectory `site`."""

    def run(*arguments: str, **environment: str) -> Run:
        names = {key: value for key, value in os.environ.items() if not key.startswith(("HPT_", "_HPT_"))}
        return subprocess.run(
            [sys.executable, "-m", "hpt_core", *arguments],
            cwd=tmp_path,
            env={**names, "PYTHONPATH": str(tmp_path / "site"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def install(folder: Path, name: str, module: str) -> None:
    """Install a third-party plugin: a module and its metadata."""
    site = folder / "site"
    info = site / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(textwrap.dedent(module))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[hpt]\n{name} = {name}\n")


GREETING = """
    import click
    from hpt_core import hookimpl

    @hookimpl
    def hpt_commands(cli):
        @cli.command()
        def greet():
            "Greet the user."
            click.echo("hello")
"""


# --- light to start -------------------------------------------------------------------------------


def modules_after(arguments: list[str], tmp_path: Path) -> set[str]:
    program = (
        "import sys, json, contextlib, io\n"
        "from hpt_core.cli import main\n"
        f"sys.argv = ['hpt', *{arguments!r}]\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "print(json.dumps(list(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


HEAVY = {"numpy", "scipy", "sklearn", "torch", "pandas", "sqlite3", "rich", "joblib"}


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["plugins", "--json"], ["completion", "bash"]])
def test_nothing_heavy_is_imported(arguments: list[str], tmp_path: Path) -> None:
    assert not modules_after(arguments, tmp_path) & HEAVY


def test_version_imports_neither_plugins_nor_attrs(tmp_path: Path) -> None:
    assert not modules_after(["--version"], tmp_path) & (HEAVY | {"attr", "pluggy"})


def test_version_is_the_package_version(shell: Shell) -> None:
    run = shell("--version")
    assert (run.returncode, run.stdout) == (0, f"hpt, version {hpt_core.__version__}\n")


LOUD = """
    print("welcome")
    from hpt_core import hookimpl

    class Loud:
        "Samples."

        def suggest(self, history, rng):
            return history.space.sample(rng)

    @hookimpl
    def hpt_samplers():
        return {"loud": "loud_sampler:Loud"}
"""


@pytest.mark.parametrize(
    "command", [["plugins"], ["plugins", "show", "loud"], ["plugins", "doctor"], ["completion", "bash"]]
)
def test_a_plugin_that_prints_when_it_is_imported_does_not_mix_with_results(
    command: list[str], shell: Shell, tmp_path: Path
) -> None:
    install(tmp_path, "loud", LOUD)
    (tmp_path / "site" / "loud_sampler.py").write_text(textwrap.dedent(LOUD))
    others = ",".join(point.name for point in entry_points(group="hpt") if point.name != "builtin")
    run = shell(*command, *(["--json"] if command[0] == "plugins" else []), HPT_DISABLE_PLUGINS=others)
    assert "welcome" not in run.stdout
    if command[0] == "plugins":
        assert "welcome" in run.stderr
        json.loads(run.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_short_help_of_a_command_matches_the_command_list(name: str) -> None:
    command = importlib.import_module(f"hpt_core.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.short_help == COMMANDS[name]
    result = CliRunner().invoke(hpt, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: hpt {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_file_has_at_most_120_lines(name: str) -> None:
    path = Path(str(importlib.import_module(f"hpt_core.cli.{name}").__file__))
    assert len(path.read_text().splitlines()) <= 120


# --- commands of plugins --------------------------------------------------------------------------


def test_a_plugin_adds_a_command(shell: Shell, tmp_path: Path) -> None:
    install(tmp_path, "greeter", GREETING)
    assert shell("greet").stdout == "hello\n"
    of_plugins = shell("--help").stdout.partition("Commands of plugins:\n")[2]
    assert "greet Greet the user." in [" ".join(line.split()) for line in of_plugins.splitlines()]
    run = shell("--no-plugin", "greeter", "greet")
    assert run.returncode == 2
    assert "No such command 'greet'" in run.stderr
    assert shell("greet", HPT_DISABLE_PLUGINS="greeter").returncode == 2


def test_a_plugin_cannot_replace_a_command(shell: Shell, tmp_path: Path) -> None:
    install(tmp_path, "greeter", GREETING.replace("@cli.command()", "@cli.command('best')"))
    run = shell("--help")
    assert run.returncode == 0
    assert "Warning: The plugin greeter failed in hpt_commands" in run.stderr
    assert "there is already a command 'best'" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Traceback" in shell("--debug", "--help").stderr
    assert "hpt best [OPTIONS]" in shell("best", "--help").stdout


BROKEN = {
    "raising": ("raise RuntimeError('half installed')", "cannot be imported: RuntimeError: half installed"),
    "unimportable": ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
    "future": ("hpt_api_version = 99", "requires plugin API 99"),
    "misspelt": (
        "from hpt_core import hookimpl\n@hookimpl\ndef hpt_sampler(): return {}\n",
        "implements 'hpt_sampler', which is not a hook of hpt. Did you mean 'hpt_samplers'?",
    ),
    "failing": (
        "from hpt_core import hookimpl\n@hookimpl\ndef hpt_samplers(): return 1 / 0\n",
        "hpt_samplers failed: ZeroDivisionError",
    ),
}


def test_broken_plugins_are_listed_with_the_reason_and_do_no_harm(shell: Shell, tmp_path: Path) -> None:
    for name, (module, _) in BROKEN.items():
        install(tmp_path, name, module)
    listed, table = shell("plugins", "--json"), shell("plugins")
    assert (listed.returncode, table.returncode, shell("--help").returncode) == (0, 0, 0)
    plugins = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)["plugins"]}
    for name, (_, reason) in BROKEN.items():
        found = plugins[name]
        assert (found["distribution"], found["version"], found["status"]) == (name, "1.2", "broken")
        assert reason in found["problem"]
        assert reason in table.stderr
        run = shell("plugins", "show", name)
        assert run.returncode == 3
        assert reason in run.stderr


# --- plugins --------------------------------------------------------------------------------------


def test_disabled_plugins_are_listed_as_such(shell: Shell) -> None:
    doctor = shell("plugins", "doctor", "--no-plugin", "sampler-random")
    assert "sampler-random: disabled" in doctor.stdout
    assert "Traceback" in shell("plugins", "show", "nope", "--debug").stderr
    run = shell("plugins", "--json", "--no-plugin", "sampler-random", HPT_DISABLE_PLUGINS="hpt-store-sqlite")
    found = {plugin["name"]: plugin for plugin in json.loads(run.stdout)["plugins"]}
    assert found["builtin"]["status"] == "ok"
    assert found["builtin"]["components"]["executor"] == ["local"]
    assert found["sampler-random"]["status"] == found["store-sqlite"]["status"] == "disabled"
    assert list(found["builtin"]) == [
        "name", "distribution", "version", "status", "problem", "components", "hooks",
    ]  # fmt: skip


def test_disabling_an_unknown_plugin_prints_a_warning(shell: Shell) -> None:
    run = shell("--no-plugin", "sampler-randon", "plugins")
    assert run.returncode == 0
    assert "Warning: --no-plugin: there is no plugin 'sampler-randon'. Did you mean 'sampler-random'?" in run.stderr


def test_the_core_cannot_be_disabled(shell: Shell) -> None:
    for run in (shell("--no-plugin", "builtin", "plugins"), shell("--help", HPT_DISABLE_PLUGINS="builtin")):
        assert run.returncode == 2
        assert run.stderr == "Error: The plugin 'builtin' is part of hpt-core and cannot be disabled.\n"


OFFER = """
    from typing import Literal
    import attrs
    from hpt_core import hookimpl, option

    @attrs.define(kw_only=True)
    class Dice:
        '''Throws dice.

        And more.
        '''
        sides: int = option(6, ge=2, help="How many sides.")
        name: str = option(help="What to call them.")
        marks: list[str] = option(factory=lambda: ["dot"], help="What is on them.")
        _cache: dict = attrs.field(init=False, factory=dict)

        def suggest(self, history, rng):
            return history.space.sample(rng)

    @hookimpl
    def hpt_samplers():
        return {"dice": Dice}
"""


def test_the_options_of_a_component(shell: Shell, tmp_path: Path) -> None:
    install(tmp_path, "casino", OFFER)
    run = shell("plugins", "show", "dice", "--json")
    (found,) = json.loads(run.stdout)["components"]
    assert found == {
        "kind": "sampler",
        "name": "dice",
        "plugin": "casino (casino 1.2)",
        "class": "casino:Dice",
        "help": "Throws dice.\n\nAnd more.",
        "options": [
            {"name": "sides", "type": "int >= 2", "default": 6, "required": False, "help": "How many sides."},
            {"name": "name", "type": "str", "default": None, "required": True, "help": "What to call them."},
            {"name": "marks", "type": "list[str]", "default": ["dot"], "required": False, "help": "What is on them."},
        ],
    }
    assert shell("plugins", "show", "dice").stdout == textwrap.dedent(
        """\
        sampler dice, from the plugin casino (casino 1.2)
        Throws dice.
          option  type       default     meaning
          sides   int >= 2   6           How many sides.
          name    str        (required)  What to call them.
          marks   list[str]  ['dot']     What is on them.
        """
    )
    assert shell("plugins", "show", "casino").stdout == shell("plugins", "show", "dice").stdout
    run = shell("plugins", "show", "dise")
    assert run.returncode == 3
    assert "Did you mean 'dice'?" in run.stderr


def test_a_component_of_a_disabled_plugin_is_reported_as_disabled(shell: Shell) -> None:
    for name in ("random", "sampler-random", "hpt-sampler-random"):
        run = shell("--no-plugin", "sampler-random", "plugins", "show", name)
        assert run.returncode == 3
        assert run.stderr.startswith("Error: The plugin sampler-random (hpt-sampler-random ")
        assert "is not in use: disabled by the user." in run.stderr


def test_every_installed_component_can_be_shown() -> None:
    plugins = Plugins()
    runner = CliRunner()
    plugins.names("sampler")  # loads the declarations of all components
    for info in (info for info in plugins.plugins if info.components):
        result = runner.invoke(hpt, ["plugins", "show", info.name], obj=Session(plugins))
        assert result.exit_code == 0, result.stderr


# --- errors ---------------------------------------------------------------------------------------


class Raising:
    """A plugin whose command raises a given error."""

    __name__ = "raising"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hpt_core.hookimpl
    def hpt_commands(self, cli: click.Group) -> None:
        @cli.command()
        def fall() -> None:
            raise self.error


def fall(error: BaseException, *arguments: str) -> tuple[int, str]:
    plugins = Plugins(discover=False)
    plugins.register(Raising(error), "raising")
    result = CliRunner().invoke(hpt, [*arguments, "fall"], obj=Session(plugins))
    assert result.stdout == ""
    return result.exit_code, result.stderr


def test_every_kind_of_error_has_its_exit_code_and_no_traceback() -> None:
    assert fall(hpt_core.NothingSucceededError("none")) == (1, "Error: none\n")
    assert fall(UsageError(Mistake("a.b", "Must be 1."))) == (2, "Error: a.b: Must be 1.\n")
    assert fall(UsageError("One.", Mistake("b", "Two."))) == (2, "Error: 2 errors:\n  One.\n  b: Two.\n")
    assert fall(PluginError("broken")) == (3, "Error: broken\n")
    assert fall(StoreError("locked")) == (4, "Error: locked\n")
    assert fall(KeyboardInterrupt()) == (130, "Interrupted.\n")


def test_an_internal_error_is_reported_as_a_bug_with_a_hint() -> None:
    code, said = fall(ZeroDivisionError("oops"))
    assert code == 70
    assert said.splitlines()[0] == "Error: ZeroDivisionError: oops"
    assert "--debug" in said
    assert "Traceback" not in said
    assert re.search(rf"^Raised through {re.escape(__file__)}, line \d+, in fall\.$", said, re.MULTILINE)


def test_debug_shows_the_traceback_before_and_after_the_command() -> None:
    code, said = fall(UsageError("wrong"), "--debug")
    assert code == 2
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith("\nError: wrong\n")


def test_an_error_inside_a_plugin_shows_the_plugins_own_traceback() -> None:
    def from_afar() -> None:
        raise ValueError("inside")

    try:
        from_afar()
    except ValueError as err:
        error = PluginError("The sampler X failed.")
        error.__cause__ = err
    code, said = fall(error)
    assert code == 3
    assert said.startswith("Error: The sampler X failed.\nTraceback (most recent call last):\n")
    assert "in from_afar" in said
    assert said.endswith("ValueError: inside\n")


def test_an_error_in_calling_a_plugin_shows_no_frame_of_the_core() -> None:
    """A wrong signature: there is no frame of the plugin, and the message is sufficient."""
    error = PluginError("The sampler X failed: TypeError: suggest() takes 2 positional arguments but 3 were given")
    try:
        importlib.import_module("no_such_module")
    except ImportError as err:
        error.__cause__ = err.with_traceback(err.__traceback__.tb_next if err.__traceback__ else None)
    code, said = fall(error)
    assert code == 3
    assert said == f"Error: {error}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there a folder in use cannot be removed")
def test_a_deleted_current_directory_is_reported(tmp_path: Path) -> None:
    command = f'rmdir "$PWD"; {shlex.quote(sys.executable)} -m hpt_core studies'
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    expected = "Error: The current directory does not exist any more. Change to another one.\n"
    assert (done.returncode, done.stderr) == (2, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX closes the streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_not_fail(closed: str, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(params): return params['x']\n")
    (tmp_path / "s.toml").write_text(
        '[space]\nx = { low = 0, high = 9 }\n[evaluator]\nuse = "function"\ncall = "f:f"\n[store]\nuse = "memory"\n'
        '[sampler]\nuse = "random"\n'
    )
    command = f"{shlex.quote(sys.executable)} -m hpt_core run s.toml trials=2 {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def interrupt(*_: object, **__: object) -> Never:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["main", "make_context", "invoke"])
def test_ctrl_c_at_any_time_is_reported_with_its_exit_code(
    step: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hpt", "completion", "bash"])
    monkeypatch.setattr(click.Group, step, interrupt)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_error_messages_cannot_control_the_terminal() -> None:
    assert fall(StoreError("\x1b[2Jgone")) == (4, "Error: \\x1b[2Jgone\n")


def test_an_unknown_command_or_option_suggests_the_nearest(shell: Shell) -> None:
    run = shell("bets")
    assert run.returncode == 2
    assert "No such command 'bets'. Did you mean 'best'?" in run.stderr
    assert "Some commands come with plugins" in run.stderr
    run = shell("--no-plugin", "report-html", "report")
    assert "No such command 'report'. It comes with the plugin hpt-report-html; 'hpt plugins' lists" in run.stderr
    run = shell("xyzzy")
    assert "Known: init, check, run," in run.stderr
    run = shell("best", "--jsn")
    assert (run.returncode, "--json" in run.stderr) == (2, True)
    run = shell("best", "--name", "two")  # as like --as as any option is
    assert (run.returncode, "--as" in run.stderr) == (2, False)


@pytest.mark.parametrize(
    ("command", "options"), [("best", "--study or --store"), ("export", "--study or --store or --output")]
)
def test_a_name_or_file_given_as_an_argument_names_the_options(shell: Shell, command: str, options: str) -> None:
    run = shell(command, "hpt.db")
    assert run.returncode == 2
    assert f"Got unexpected extra argument (hpt.db). Did you mean {options}?" in run.stderr
    assert run.stdout == ""


def test_a_closed_pipe_is_not_an_error(shell: Shell, tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m hpt_core plugins --json | head -n 1"
    run = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("{\n", "")


# --- completion -----------------------------------------------------------------------------------


def completed(shell: Shell, words: str, **environment: str) -> list[str]:
    count = len(words.split(" ")) - 1
    variables = {"_HPT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count), **environment}
    run = shell(**variables)
    assert run.stderr == ""
    return [line.partition(",")[2] for line in run.stdout.splitlines() if line]


def test_commands_options_studies_and_plugins_are_completed(shell: Shell, tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        study = hpt_core.Study({"x": [1, 2]}, name=name, sampler="random", store=tmp_path / "hpt.db", seed=0)
        study.ask()
        study.close()
    install(tmp_path, "greeter", GREETING)
    assert completed(shell, "hpt pl") == ["plugins"]
    assert completed(shell, "hpt gr") == ["greet"]
    assert "--reverse" in completed(shell, "hpt trials --re")
    assert completed(shell, "hpt best --study ") == ["alpha", "beta"]
    assert completed(shell, "hpt best --store other.db --study ") == []
    assert completed(shell, "hpt --no-plugin gre") == ["greeter"]
    assert completed(shell, "hpt plugins show rand") == ["random"]
    assert completed(shell, "hpt be", HPT_DISABLE_PLUGINS="builtin") == ["best"]  # completion ignores errors


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_script_of_each_shell(shell: Shell, name: str) -> None:
    run = shell("completion", name)
    assert run.returncode == 0
    assert f"_HPT_COMPLETE={name}_complete" in run.stdout
    assert run.stderr == ""


def test_bash_accepts_the_completion_script(shell: Shell) -> None:
    script = shell("completion", "bash").stdout
    command = ["bash", "--norc", "-c", f"{script}\ncomplete -p hpt"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith("hpt\n")
