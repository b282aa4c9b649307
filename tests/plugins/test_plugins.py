"""Plugins as they are installed: good, broken, of another version, colliding, misspelt, disabled."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Never

import attrs
import click
import pytest

from hpt_core import History, Params, PluginError, Study, Trial, UsageError, hookimpl, hookspecs, option
from hpt_core.builtin.memory import MemoryStore
from hpt_core.plugins.plugins import PluginInfo, Plugins

Install = Callable[..., Path]
GOOD = """
    from hpt_core import hookimpl

    hpt_api_version = 1

    @hookimpl
    def hpt_samplers():
        return {"SAMPLER": "MODULE:Sampler"}

    class Sampler:
        def suggest(self, history, rng):
            return history.space.sample(rng)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution as pip would: a module, and beside it its dist-info with the entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(dist: str, source: str = GOOD, *, points: Mapping[str, str] | None = None, sampler: str = "") -> Path:
        module = dist.replace("-", "_")
        text = textwrap.dedent(source).replace("MODULE", module).replace("SAMPLER", sampler or module)
        (tmp_path / f"{module}.py").write_text(text)
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
        lines = [f"{name} = {target}" for name, target in (points or {dist: module}).items()]
        (info / "entry_points.txt").write_text("\n".join(["[hpt]", *lines, ""]))
        return tmp_path

    return make


def listed(plugins: Plugins, name: str) -> PluginInfo:
    (found,) = [info for info in plugins.plugins if info.name == name]
    return found


def test_the_components_of_a_plugin_are_listed_before_any_is_asked_for() -> None:
    plugins = bare()
    plugins.register(Offer())
    assert [info.components for info in plugins.plugins][-1] == {"sampler": ["constant"]}


def test_an_installed_plugin_offers_its_components(install: Install) -> None:
    install("stranger-one")
    plugins = Plugins()
    assert "stranger_one" in plugins.names("sampler")
    info = listed(plugins, "stranger-one")
    assert (info.distribution, info.version, info.problem) == ("stranger-one", "1.2", "")
    assert (info.components, info.hooks) == ({"sampler": ["stranger_one"]}, ["hpt_samplers"])
    sampler = plugins.make("sampler", "stranger_one")
    assert plugins.name_of(type(sampler)) == "stranger_one"
    assert plugins.owner("sampler", "stranger_one") is info
    study = Study({"x": [1, 2, 3]}, sampler="stranger_one", seed=0, plugins=plugins)
    assert study.run(lambda p: p["x"]) == "space exhausted"


BROKEN = {
    "fails": ("raise ValueError('at import')", "cannot be imported: ValueError: at import"),
    "lacks": ("import no_such_dependency", "cannot be imported: ModuleNotFoundError: No module named"),
    "syntax": ("def", "cannot be imported: SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
    "newer": (GOOD.replace("version = 1", "version = 2"), "requires plugin API 2; this hpt-core has 1"),
    "misspelt": (
        GOOD.replace("def hpt_samplers", "def hpt_sampler"),
        "implements 'hpt_sampler', which is not a hook of hpt. Did you mean 'hpt_samplers'?",
    ),
    "arguments": (GOOD.replace("hpt_samplers()", "hpt_samplers(extra)"), "cannot be registered"),
    "raises": (GOOD.replace("return {", "raise OSError('late') # {"), "hpt_samplers failed: OSError: late"),
    "garbage": (GOOD.replace("return {", "return 3 # {"), "hpt_samplers failed: TypeError"),
    "nothing": (
        GOOD.replace("return {", "return None # {"),
        "hpt_samplers failed: TypeError: it must return a mapping of name -> class or 'module:Class'. Got None.",
    ),
    "number": (GOOD.replace("return {", "return {6: 'a:B'} # {"), "hpt_samplers failed: TypeError: it must return"),
    "target": (GOOD.replace("return {", "return {'a': 5} # {"), "hpt_samplers failed: TypeError: it must return"),
    "version": (GOOD.replace("version = 1", "version = '1'"), "requires plugin API '1'; this hpt-core has 1"),
    "unmarked": (
        "def hpt_samplers():\n    return {}",
        "defines hpt_samplers without @hookimpl, so hpt would never call it",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_listed_with_the_reason_and_affects_no_other(install: Install, case: str) -> None:
    source, problem = BROKEN[case]
    install("stranger-good")
    install(f"broken-{case}", source)
    plugins = Plugins()
    assert "stranger_good" in plugins.names("sampler")
    assert f"broken_{case}" not in plugins.names("sampler")
    info = listed(plugins, f"broken-{case}")
    assert info.problem.startswith(problem)
    assert str(info) == f"broken-{case} (broken-{case} 1.2)"
    with pytest.raises(UsageError) as refused:
        plugins.make("sampler", f"broken_{case}")
    assert f"The plugin broken-{case} (broken-{case} 1.2) is not in use: {problem[:30]}" in str(refused.value)
    with pytest.raises(UsageError, match=f"No store handles 'x.unknown'.* The plugin broken-{case} .* is not in use"):
        plugins.make_store("x.unknown")  # what would keep it may be that one
    assert plugins.default("store") == "memory"


def test_a_known_component_that_is_missing_names_its_own_distribution_only(install: Install) -> None:
    install("broken-case", BROKEN["garbage"][0])
    off = Plugins(disabled=["sampler-random", "sampler-grid"])
    with pytest.raises(UsageError, match=r"sampler-random .* is not in use: disabled") as disabled:
        off.make("sampler", "random")
    assert "broken-case" not in str(disabled.value)
    assert "sampler-grid" not in str(disabled.value)
    with pytest.raises(UsageError, match=r"no sampler 'bayes'\. Installed: .*cmaes.* is not in use: disabled"):
        Plugins(disabled=["sampler-bayes"]).make("sampler", "bayes")


def test_an_import_error_is_reported_in_one_line_with_its_place(install: Install) -> None:
    install("broken-inside", "def helper():\n    raise RuntimeError('too old:\\nthe driver')\n\n\nhelper()")
    problem = listed(Plugins(), "broken-inside").problem
    assert re.fullmatch(r"cannot be imported: RuntimeError: too old: the driver \(\S+_inside.py, line 2\)", problem)


def test_a_reason_that_ends_with_a_question_gets_no_full_stop(install: Install) -> None:
    install("broken-asking", GOOD.replace("def hpt_samplers", "def hpt_sampler"))
    with pytest.raises(UsageError, match=r"Did you mean 'hpt_samplers'\?$"):
        Plugins().make("sampler", "none-such")


def test_the_import_time_of_a_module_is_measured(install: Install) -> None:
    install("slow-one", GOOD.replace("hpt_api", "import time\n\n    time.sleep(0.05)\n    hpt_api"))
    assert listed(Plugins(), "slow-one").seconds >= 0.05


class Odd:
    def __init__(self, default: Any = None, composer: Any = None) -> None:
        self.default, self.composer = default, composer

    @hookimpl
    def hpt_default(self, kind: str) -> Any:
        return self.default

    @hookimpl
    def hpt_compose(self, kind: str) -> Any:
        return self.composer


@pytest.mark.parametrize("odd", [Odd(default=5), Odd(composer="sequence"), Odd(composer=5), Odd(composer=(1, 2))])
def test_a_hook_with_an_invalid_answer_is_ignored(odd: Odd, caplog: pytest.LogCaptureFixture) -> None:
    plugins = Plugins()
    plugins.register(odd, "odd")
    assert plugins.default("store") == "memory"
    with contextlib.suppress(UsageError):  # no plugin may be there that composes
        plugins.make("sampler", ["random", "random"])
    assert "The plugin odd failed in hpt_" in caplog.text
    assert "It must return" in caplog.text
    assert 'File "' not in caplog.text


def test_the_traceback_of_a_hook_starts_in_the_plugin(caplog: pytest.LogCaptureFixture) -> None:
    plugins = bare()
    plugins.register(CommandsBroken())
    plugins.commands(click.Group())
    (trace,) = re.findall(r'^  File "(.*)", line', caplog.text, re.MULTILINE)
    assert trace == __file__


def test_a_plugin_that_cannot_be_registered_leaves_no_hook_behind(install: Install) -> None:
    source = """
        from hpt_core import hookimpl

        @hookimpl(tryfirst=True)
        def hpt_default(kind):
            return "left-behind"

        @hookimpl
        def hpt_samplers(no_such_argument):
            return {}
    """
    install("half-good", source)
    plugins = Plugins()
    assert listed(plugins, "half-good").problem.startswith("cannot be registered")
    assert plugins.default("store") == "memory"


class HalfDeclared:
    """Declares a sampler, and fails to declare its stores."""

    @hookimpl
    def hpt_samplers(self) -> dict[str, Any]:
        return {"constant": Constant}

    @hookimpl
    def hpt_stores(self) -> dict[str, Any]:
        raise RuntimeError("no stores")


def test_of_a_plugin_that_is_not_in_use_no_component_is_offered() -> None:
    plugins = bare()
    info = plugins.register(HalfDeclared())
    assert plugins.names("sampler") == []
    assert (info.status, info.components) == ("broken", {})
    assert info.problem.startswith("hpt_stores failed: RuntimeError: no stores")


def test_an_entry_point_to_nothing_is_listed(install: Install) -> None:
    install("points-nowhere", points={"nowhere": "no_such_module_at_all", "no-attr": "points_nowhere:nothing"})
    plugins = Plugins()
    assert listed(plugins, "nowhere").problem.startswith("cannot be imported: ModuleNotFoundError")
    assert listed(plugins, "no-attr").problem.startswith("cannot be imported: AttributeError")


def test_two_plugins_with_one_component_name_are_both_named(install: Install) -> None:
    install("stranger-a", sampler="same")
    install("stranger-b", sampler="same")
    plugins = Plugins()
    with pytest.raises(UsageError, match=r"Two plugins offer the sampler 'same': stranger-a \(stranger-a 1.2\) and"):
        plugins.make("sampler", "same")
    left = Plugins(["stranger-b"])
    assert type(left.make("sampler", "same")).__module__ == "stranger_a"


def test_two_plugins_with_one_entry_point_name_are_both_in_use(install: Install) -> None:
    install("stranger-c", points={"same": "stranger_c"})
    install("stranger-d", points={"same": "stranger_d"})
    plugins = Plugins()
    for name in ("stranger_c", "stranger_d"):
        assert type(plugins.make("sampler", name)).__module__ == name
    both = [info for info in plugins.plugins if info.name == "same"]
    assert [(info.distribution, info.components) for info in both] == [
        ("stranger-c", {"sampler": ["stranger_c"]}),
        ("stranger-d", {"sampler": ["stranger_d"]}),
    ]


def test_one_module_under_two_names_is_used_once(install: Install) -> None:
    install("stranger-e", points={"first": "stranger_e", "second": "stranger_e"})
    plugins = Plugins()
    assert isinstance(plugins.make("sampler", "stranger_e"), object)
    problems = [listed(plugins, name).problem for name in ("first", "second")]
    assert problems[0] == ""
    assert problems[1].startswith("cannot be registered")


@pytest.mark.parametrize("by", ["stranger-f", "point-f"])
def test_a_plugin_is_disabled_by_name_or_distribution(install: Install, by: str) -> None:
    install("stranger-f", "raise RuntimeError('must not even be imported')", points={"point-f": "stranger_f"})
    info = listed(Plugins([by]), "point-f")
    assert info.problem == "disabled by the user"
    assert listed(Plugins(iter([by])), "point-f").problem == "disabled by the user"
    assert "stranger_f" not in sys.modules


class Wrapper:
    @hookimpl(wrapper=True)
    def hpt_trial_finished(self) -> Generator[None, None, None]:
        yield


def test_a_wrapper_that_would_never_be_called_is_refused() -> None:
    with pytest.raises(PluginError, match="wraps 'hpt_trial_finished', but only 'hpt_evaluate' can be wrapped"):
        Plugins(discover=False).register(Wrapper())


def test_the_builtin_plugin_cannot_be_disabled() -> None:
    with pytest.raises(UsageError, match="'builtin' is part of hpt-core"):
        Plugins(["builtin"])


def test_a_component_that_cannot_be_loaded_is_a_plugin_error(install: Install) -> None:
    install("stranger-g", GOOD.replace("MODULE:Sampler", "no_such_module_there:Sampler"))
    install("stranger-h", GOOD.replace("MODULE:Sampler", "math:pi"))
    plugins = Plugins()
    with pytest.raises(PluginError, match=r"'stranger_g' of the plugin stranger-g \(stranger-g 1.2\) cannot be loaded"):
        plugins.make("sampler", "stranger_g")
    with pytest.raises(PluginError, match=r"'stranger_h' of the plugin stranger-h .* is not a class"):
        plugins.make("sampler", "stranger_h")


# --- in processes of their own: what is imported, what the environment says -----------------------


def python(source: str, folder: Path, **environment: str) -> Any:
    import os

    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_importing_hpt_imports_next_to_nothing(tmp_path: Path) -> None:
    source = """
        import json, sys
        before = set(sys.modules)
        import hpt_core
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(json.dumps(sorted(new - sys.stdlib_module_names)))
    """
    assert python(source, tmp_path) == ["hpt_core"]


def test_every_public_name_is_there(tmp_path: Path) -> None:
    source = """
        import json
        import hpt_core
        missing = [name for name in hpt_core.__all__ if not hasattr(hpt_core, name)]
        print(json.dumps([missing, hasattr(hpt_core, "nothing"), set(hpt_core.__all__) <= set(dir(hpt_core))]))
    """
    assert python(source, tmp_path) == [[], False, True]


def test_a_plugin_is_loaded_when_it_is_used(install: Install) -> None:
    folder = install("lazy-one", GOOD.replace("MODULE:Sampler", "lazy_heavy:Sampler"))
    (folder / "lazy_heavy.py").write_text("import wave\nfrom lazy_one import Sampler as S\nclass Sampler(S): pass\n")
    source = """
        import json, sys
        from hpt_core.plugins.plugins import default_plugins
        heavy = ("numpy", "scipy", "sklearn", "torch", "sqlite3", "wave")
        loaded = lambda: [name for name in heavy if name in sys.modules]
        plugins = default_plugins()
        plugins.names("sampler"), plugins.default("store"), plugins.owner("sampler", "lazy_one")
        listed = loaded()
        plugins.make("sampler", "lazy_one")
        print(json.dumps([listed, "wave" in loaded()]))
    """
    assert python(source, folder) == [[], True]


def test_the_environment_disables_plugins(install: Install) -> None:
    folder = install("quiet-one")
    install("quiet-two")
    source = """
        import json
        from hpt_core.plugins.plugins import default_plugins
        print(json.dumps([n for n in default_plugins().names("sampler") if n.startswith("quiet")]))
    """
    assert python(source, folder) == ["quiet_one", "quiet_two"]
    assert python(source, folder, HPT_DISABLE_PLUGINS="quiet-two, other") == ["quiet_one"]
    assert python(source, folder, HPT_DISABLE_PLUGINS=" quiet-one,quiet-two ") == []


# --- registered by a program ----------------------------------------------------------------------


class Constant:
    def suggest(self, history: History, rng: Any) -> Params:
        return {"x": 1}


class Offer:
    @hookimpl
    def hpt_samplers(self) -> dict[str, Any]:
        return {"constant": Constant}

    @hookimpl
    def hpt_default(self, kind: str) -> str | None:
        return "constant" if kind == "sampler" else None

    @hookimpl
    def hpt_store_for(self, location: str) -> str | None:
        return "memory" if location.endswith(".mem") else None


def bare() -> Plugins:
    from hpt_core import builtin

    plugins = Plugins(discover=False)
    plugins.register(builtin, "builtin")
    return plugins


def test_a_program_may_register_and_unregister_a_plugin() -> None:
    plugins, offer = bare(), Offer()
    assert plugins.register(offer).name == "Offer"
    assert plugins.names("sampler") == ["constant"]
    assert plugins.default("sampler") == "constant"
    plugins.unregister(offer)
    assert plugins.names("sampler") == []
    message = "No sampler is given and no installed plugin offers a default. Install hpt-sampler-bayes, which does."
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$") as refused:
        plugins.default("sampler")
    assert refused.value.exit_code == 3
    with pytest.raises(UsageError, match="Installed: none, no plugin offers one") as refused:
        plugins.make("sampler", {})
    assert refused.value.exit_code == 3


class Named:
    """Offers a sampler under a name of its own; observes runs, and fails if ``broken``."""

    def __init__(self, name: str, *, broken: bool = False) -> None:
        self.name, self.broken = name, broken
        self.runs = 0

    @hookimpl
    def hpt_samplers(self) -> dict[str, Any]:
        return {self.name: Constant}

    @hookimpl
    def hpt_study_started(self) -> None:
        self.runs += 1
        if self.broken:
            raise RuntimeError("as asked")


def test_plugins_of_one_name_are_registered_and_unregistered_one_by_one() -> None:
    plugins = bare()
    several = [Named(name) for name in ("a", "b", "c")]
    assert [plugins.register(plugin).name for plugin in several] == ["Named"] * 3
    assert plugins.names("sampler") == ["a", "b", "c"]
    plugins.unregister(several[0])
    assert plugins.names("sampler") == ["b", "c"]
    plugins.unregister(several[2])
    assert [info.components.get("sampler", []) for info in plugins.plugins] == [[], ["b"]]
    with pytest.raises(UsageError, match="is not registered"):
        plugins.unregister(several[2])


def test_a_plugin_that_replaces_one_that_failed_is_called() -> None:
    plugins = bare()
    broken, mended = Named("a", broken=True), Named("a")
    plugins.register(broken)
    study = Study({"x": [1]}, sampler="a", plugins=plugins)
    for _ in range(2):
        plugins.study_started(study)
    plugins.unregister(broken)
    plugins.register(mended)
    plugins.study_started(study)
    assert (broken.runs, mended.runs) == (1, 1)


class Misspelt:
    @hookimpl
    def hpt_samplrs(self) -> dict[str, Any]:
        return {}


class Newer:
    hpt_api_version = 7


class Observes:
    @hookimpl
    def hpt_trial_finished(self, trial: Trial) -> None:
        pass


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (Misspelt(), "not a hook of hpt"),
        (Newer(), "requires plugin API 7"),
        (print, "implements no hook of hpt"),
        (Observes, r"is a class, but hpt_trial_finished is a method of its instances: register Observes\(\)"),
    ],
)
def test_registering_a_bad_plugin_is_an_error(plugin: object, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        bare().register(plugin)


class CommandsBroken:
    @hookimpl
    def hpt_commands(self, cli: click.Group) -> Never:
        raise RuntimeError("no commands")


class Commands:
    @hookimpl
    def hpt_commands(self, cli: click.Group) -> None:
        cli.add_command(click.Command("extra"))


def test_commands_of_one_plugin_survive_another() -> None:
    plugins = bare()
    plugins.register(Commands())
    plugins.register(CommandsBroken())
    group = click.Group()
    plugins.commands(group)
    assert list(group.commands) == ["extra"]


# --- from what users write to components ----------------------------------------------------------


def test_a_store_is_given_in_many_ways() -> None:
    plugins = bare()
    plugins.register(Offer())
    store = MemoryStore()
    assert plugins.make_store(store) is store
    assert isinstance(plugins.make_store("memory"), MemoryStore)
    assert isinstance(plugins.make_store({"use": "memory"}), MemoryStore)
    for wrong, said in (
        ("x.unknown", "No store handles 'x.unknown'. To choose a store, write NAME:///PATH. Installed: memory."),
        ("server:/me:secret@host", "No store handles 'server:/me@host'."),
        ("nothing://x", "store: There is no store 'nothing'"),
        ("memory:x.mem", "store: To choose a store, write memory:///PATH. Got 'memory:x.mem'."),
        ("memory:/x.mem", "store: To choose a store, write memory:///PATH. Got 'memory:/x.mem'."),
        ("C:x.mem", "MemoryStore has no such option"),
        ("memory:///x", "MemoryStore has no such option"),
        ("x.mem", "MemoryStore has no such option"),
        (3, "Must be a store"),
    ):
        with pytest.raises(UsageError) as refused:
            plugins.make_store(wrong)
        assert said in str(refused.value)
        assert refused.value.mistakes[0].path.startswith("store")


def test_an_unknown_ending_is_told_those_that_the_stores_claim() -> None:
    class Files:
        @hookimpl
        def hpt_store_for(self, location: str) -> str | None:
            return "memory" if location.endswith((".db", ".csv")) else None

    plugins = bare()
    plugins.register(Files())
    with pytest.raises(UsageError) as refused:
        plugins.make_store("runs.bd")
    hint = "Did you mean '.db'? To choose a store, write NAME:///PATH. Known endings: .csv, .db. Installed: memory."
    assert str(refused.value) == f"store: No store handles 'runs.bd'. {hint}"


@attrs.define(kw_only=True)
class ServerStore(MemoryStore):
    """A store that is at a URL."""

    url: str = option(help="Where it is.")


def test_a_store_with_the_option_url_gets_the_whole_url() -> None:
    class OfferServer:
        @hookimpl
        def hpt_stores(self) -> Mapping[str, type]:
            return {"server": ServerStore}

    plugins = bare()
    plugins.register(OfferServer())
    for url in ("server://host", "server:///host", "server://me@host:1/db?x=1"):
        assert plugins.make_store(url).url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "memory:///x/y.db",
            'Must be a name, not a URL: write store = "memory:///x/y.db", or use = "memory" and path = "x/y.db".',
        ),
        (
            "server://me:secret@host/db",
            (
                'Must be a name, not a URL: write store = "server://me@host/db", or use = "server" and '
                'url = "server://me@host/db".'
            ),
        ),
        ("memroy:///x", "There is no store 'memroy'. Did you mean 'memory'? Installed: memory, server."),
    ],
)
def test_a_url_in_place_of_the_name_of_a_store_is_told_its_place(url: str, said: str) -> None:
    class OfferServer:
        @hookimpl
        def hpt_stores(self) -> Mapping[str, type]:
            return {"server": ServerStore}

    plugins = bare()
    plugins.register(OfferServer())
    with pytest.raises(UsageError) as refused:
        plugins.make_store({"use": url})
    assert str(refused.value) == f"store.use: {said}"


class NoSampler:
    """Has no method that a sampler needs."""


class Foreign:
    """Looks like a sampler of another library, which a plugin uses."""

    __module__ = "optuna.samplers"

    def __repr__(self) -> str:
        return "<Foreign>"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("constnat", "sampler.use: There is no sampler 'constnat'. Did you mean 'constant'? Installed: constant."),
        ("bayes", "There is no sampler 'bayes'. Install hpt-sampler-bayes, which provides it. Installed: constant."),
        ("swarm", "A distribution like hpt-sampler-swarm may provide it."),
        ("auto", "There is no sampler 'auto'. Install hpt-sampler-compose, which provides it. Installed: constant."),
        ("asha", "A distribution like hpt-sampler-asha may provide it."),
        ({}, "sampler.use: Must name a sampler. Installed: constant"),
        ({"use": 3}, "sampler.use: Must name a sampler"),
        ({"use": "constant", "n": 3}, "sampler.n: Constant has no such option."),
        (Constant, "sampler: Must be a sampler, not a class: write Constant(...)."),
        (NoSampler(), "sampler: Must be a sampler: a name, a mapping with 'use', or an object with suggest()."),
        (NoSampler, "sampler: Must be a sampler: a name, a mapping with 'use', or an object with suggest()."),
        (Foreign(), "<Foreign>. For optuna, use the sampler 'optuna' (of hpt-sampler-optuna)."),
        (f"{__name__}:nothing", "sampler.use: Cannot import"),
        ("math:pi", "sampler.use: 'math:pi' is not a class: give the class of a sampler."),
        ("builtins:int", "sampler: Must be a sampler"),
        ("subprocess:Popen", "sampler: Popen cannot be created from these options: TypeError"),
        ("hpt_core.builtin.memory:MemoryStore", "sampler: Must be a sampler"),
        ("", "sampler.use: There is no sampler ''"),
    ],
)
def test_an_invalid_sampler_is_rejected_with_the_remedy(spec: Any, said: str) -> None:
    plugins = bare()
    plugins.register(Offer())
    with pytest.raises(UsageError) as refused:
        plugins.make("sampler", spec)
    assert said in str(refused.value)


def test_the_name_of_a_plugin_in_place_of_a_component_is_told_what_the_plugin_offers() -> None:
    plugins = bare()
    plugins.register(Offer(), "sampler-mine")
    with pytest.raises(UsageError) as refused:
        plugins.make("sampler", "sampler-mine")
    said = "There is no sampler 'sampler-mine'. The plugin of that name offers constant. Installed: constant."
    assert str(refused.value) == f"sampler.use: {said}"
    with pytest.raises(UsageError, match="A distribution like hpt-executor-sampler-mine may provide it"):
        plugins.make("executor", "sampler-mine")


@pytest.mark.parametrize("text", ["<= 5", "../x", "line\n", "x" * 100])
def test_a_text_that_is_no_name_is_not_made_the_name_of_a_distribution(text: str) -> None:
    with pytest.raises(UsageError, match="There is no sampler ") as refused:
        bare().make("sampler", text)
    assert "may provide it" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_store_of_the_wrong_type_is_refused_with_all_forms_of_a_location() -> None:
    with pytest.raises(UsageError, match="store: Must be a store: a path, a URL, a name, a mapping with 'use'"):
        bare().make_store(3)


def test_a_function_given_as_a_class_gets_a_hint() -> None:
    plugins = bare()
    with pytest.raises(UsageError, match=r'To use a function, write \{ use = "function", call = "math:sqrt" \}\.'):
        plugins.make("evaluator", "math:sqrt")


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("bayes", 3),
        ("constnat", 3),
        ({"use": "constant", "n": 3}, 2),
    ],
)
def test_a_missing_component_has_the_exit_code_for_plugins(spec: Any, code: int) -> None:
    plugins = bare()
    plugins.register(Offer())
    with pytest.raises(UsageError) as refused:
        plugins.make("sampler", spec)
    assert refused.value.exit_code == code
    assert pickle.loads(pickle.dumps(refused.value)).exit_code == code
    assert UsageError(*refused.value.mistakes, "and one of the user's").exit_code == 2


def test_a_component_without_a_name_is_named_by_its_import_path() -> None:
    class Local:
        def judge_study(self, history: History) -> None:
            return None

    plugins = bare()
    rule = plugins.make("stopping rule", Local())
    assert plugins.name_of(Local) is None
    assert plugins.describe(rule)["use"].endswith("Local")
    assert plugins.owner("sampler", "nobody") is None


def test_all_hooks_are_documented() -> None:
    hooks = [getattr(hookspecs, name) for name in dir(hookspecs) if name.startswith("hpt_")]
    assert len(hooks) >= 14
    assert all(hook.__doc__ for hook in hooks)
