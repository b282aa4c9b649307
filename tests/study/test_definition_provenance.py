"""Differences between definitions and between provenances, with both sides in the message."""

from __future__ import annotations

import hashlib
import json
import platform
import types
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpt_core import (
    DefinitionChangedError,
    Evaluator,
    Float,
    History,
    Params,
    Plugins,
    Sampler,
    Study,
    Suggestion,
    TrialContext,
    UsageError,
    hookimpl,
    liveness,
    load_history,
    option,
)
from hpt_core.builtin.memory import MemoryStore
from hpt_core.errors import Mistake
from hpt_core.history import definition
from hpt_core.study import provenance
from hpt_core.study.verify import VerifyResult, verify

if TYPE_CHECKING:
    from numpy.random import Generator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "use"]), inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from(["space", "seed", "sampler", "stop"]), JSON, max_size=4)


def normal(value: Any) -> Any:
    """A missing key equals None."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items() if item is not None}
    return value


@given(TABLES, TABLES)
@example({"seed": 1}, {"seed": True})
@example({"space": {"x": {"choices": [0, 1]}}}, {"space": {"x": {"choices": [0.0, 1.0]}}})
def test_there_are_differences_exactly_if_two_definitions_differ(before: dict[str, Any], now: dict[str, Any]) -> None:
    found = definition.differences(before, now)
    same = {key: [json.dumps(normal(side.get(key)), sort_keys=True) for side in (before, now)] for key in before | now}
    changed = {key for key, (old, new) in same.items() if old != new}  # in JSON, 1 and True differ
    assert {mistake.path.partition(".")[0] for mistake in found} == changed
    assert all(mistake.message for mistake in found)


def test_a_difference_names_the_smallest_part_that_changed() -> None:
    before = {"sampler": {"use": "grid", "points": 5, "order": "x"}, "space": {"x": {"low": 0, "high": 1}}, "seed": 1}
    now = {"sampler": {"use": "grid", "points": 7, "extra": 1}, "space": {"x": {"low": 0, "high": 2}}, "seed": 1}
    assert definition.differences(before, now) == [
        Mistake("sampler.points", "Was 5, is now 7."),
        Mistake("sampler.order", "Is gone; was 'x'."),
        Mistake("sampler.extra", "Is new: 1."),
        Mistake("space.x.high", "Was 1, is now 2."),
    ]


def test_another_component_is_one_difference() -> None:
    (found,) = definition.differences({"sampler": {"use": "a", "n": 1}}, {"sampler": {"use": "b", "n": 1}})
    assert found.path == "sampler"
    assert "'use': 'a'" in found.message
    assert "'use': 'b'" in found.message


@attrs.define(kw_only=True)
class Old:
    """A sampler in its old version."""

    n: int = option(1, help="Something.")

    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


@attrs.define(kw_only=True)
class New(Old):
    """The same sampler in its next version."""

    more: list[int] = option(factory=list, help="Something else.")


def offering(sampler: type, **others: type) -> Plugins:
    plugins = Plugins()
    offer = types.SimpleNamespace(hpt_samplers=hookimpl(lambda: {"changing": sampler, **others}))
    plugins.register(offer, "changing")
    return plugins


@pytest.mark.parametrize("sampler", ["changing", [{"use": "changing"}, {"use": "random", "trials": 2}]])
def test_a_new_option_at_its_default_is_no_change(sampler: Any) -> None:
    store = MemoryStore()

    def study(version: type) -> Study:
        return Study({"x": Float(0, 1)}, sampler=sampler, store=store, plugins=offering(version))

    study(Old).run(float_of, trials=2)
    later = study(New)
    later.run(float_of, trials=4)
    assert len(later.trials) == 4
    assert later.history.definition["sampler"] == later.plugins.describe(later.sampler)


def test_a_new_option_that_is_used_is_a_change() -> None:
    store = MemoryStore()
    plugins = {version: offering(version) for version in (Old, New)}
    Study({"x": Float(0, 1)}, sampler="changing", store=store, plugins=plugins[Old]).run(float_of, trials=2)
    used = Study({"x": Float(0, 1)}, sampler={"use": "changing", "more": [3]}, store=store, plugins=plugins[New])
    with pytest.raises(DefinitionChangedError, match=r"sampler\.more: Is new: \[3\]"):
        used.run(float_of, trials=3)


@attrs.define(kw_only=True)
class Table(Old):
    """The same sampler with a table as an option."""

    table: dict[str, int] = option(factory=lambda: {"a": 1}, help="Something.")


@attrs.define(kw_only=True)
class LongerTable(Old):
    """The same sampler with another default."""

    table: dict[str, int] = option(factory=lambda: {"a": 1, "b": 2}, help="Something.")


def test_another_default_of_a_known_option_is_a_change() -> None:
    store = MemoryStore()
    earlier, later = (
        Study({"x": Float(0, 1)}, sampler="changing", store=store, plugins=offering(version))
        for version in (Table, LongerTable)
    )
    earlier.run(float_of, trials=2)
    with pytest.raises(DefinitionChangedError, match=r"sampler\.table\.b: Is new: 2|sampler\.table: Was"):
        later.run(float_of, trials=3)


def test_another_rule_is_a_change() -> None:
    store = MemoryStore()
    one, two = (
        Study({"x": Float(0, 1)}, sampler="random", store=store, stop=[{"use": "target", "value": v} for v in values])
        for values in ([-1], [-1, -2])
    )
    one.run(float_of, trials=2)
    with pytest.raises(DefinitionChangedError, match=r"stop: Was \[.*\], is now \[.*-2"):
        two.run(float_of, trials=3)


@pytest.mark.parametrize("reproducible", [True, False])
def test_whether_a_study_is_reproducible_counts_before_its_first_trial(*, reproducible: bool) -> None:
    store = MemoryStore()

    def study(workers: int, *, reproducible: bool) -> Study:
        made = Study({"x": Float(0, 1)}, sampler="random", store=store, reproducible=reproducible)
        made.workers = workers
        return made

    assert len(study(2, reproducible=reproducible).history.trials) == 0
    with pytest.raises(DefinitionChangedError, match="reproducible: Was"):
        _ = study(2, reproducible=not reproducible).history
    assert len(study(3, reproducible=reproducible).history.trials) == 0  # no decision depended on the workers yet


@attrs.define(kw_only=True)
class Around:
    """A sampler that uses another one."""

    inner: Sampler = option({"use": "changing"}, help="The other sampler.")

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        return self.inner.suggest(history, rng)


def test_a_new_option_of_a_default_component_is_no_change() -> None:
    store = MemoryStore()
    for sampler, trials in ((Old, 2), (New, 4)):
        study = Study({"x": Float(0, 1)}, sampler="around", store=store, plugins=offering(sampler, around=Around))
        study.run(float_of, trials=trials)
        assert len(study.trials) == trials


@attrs.define(kw_only=True)
class Saving:
    """An evaluator with an option that affects no trial."""

    scale: float = option(1.0, help="Factor of the result.")
    save: str | None = option(None, help="Where the winner goes.", affects_results=False)
    concluded: list[str | None] = attrs.field(factory=list, init=False)

    def evaluate(self, trial: TrialContext) -> float:
        return float(trial.params["x"]) * self.scale

    def conclude(self, best: TrialContext) -> dict[str, Any]:
        self.concluded.append(self.save)
        return {"saved": self.save}


@attrs.define(kw_only=True)
class Outer:
    """An evaluator around another one."""

    evaluator: Evaluator = option(help="The other evaluator.")

    def evaluate(self, trial: TrialContext) -> Any:
        return self.evaluator.evaluate(trial)


def saving(store: MemoryStore, trials: int, *, nested: bool = False, **options: Any) -> Saving:
    """Resume a study with these options of its evaluator, and return the evaluator."""
    evaluator = Saving(**options)
    used = Outer(evaluator=evaluator) if nested else evaluator
    study = Study({"x": Float(0, 1)}, sampler=Old(), evaluator=used, store=store, seed=1)
    study.run(trials=trials)
    assert len(study.trials) == trials
    return evaluator


@pytest.mark.parametrize("nested", [False, True])
def test_an_option_that_affects_no_result_may_change(nested: bool, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    saving(store, 2, nested=nested)
    with caplog.at_level("INFO", "hpt"):
        saving(store, 4, nested=nested, save="a.txt")
    path = "evaluator.evaluator.save" if nested else "evaluator.save"
    assert f"resumed with options that affect no result: {path}: Was None, is now 'a.txt'." in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    recorded = load_history(store, "study").definition["evaluator"]
    assert (recorded["evaluator"] if nested else recorded)["save"] == "a.txt"  # the log has what was in use
    saving(store, 5, nested=nested)  # back to its default
    with pytest.raises(DefinitionChangedError) as refused:
        saving(store, 6, nested=nested, save="b.txt", scale=2.0)
    assert [mistake.path for mistake in refused.value.mistakes[1:]] == [path.replace("save", "scale")]
    assert verify(store, "study", Plugins(), sampler=Old()) == VerifyResult(checked=5)


def test_the_evaluator_concludes_again_with_options_that_affect_no_result() -> None:
    store = MemoryStore()
    assert saving(store, 3).concluded == [None]
    assert saving(store, 3).concluded == []
    assert saving(store, 3, save="a.txt").concluded == ["a.txt"]
    assert saving(store, 3, save="a.txt").concluded == []


def test_the_evaluator_concludes_again_even_if_the_process_that_brought_its_options_did_not_end_a_run() -> None:
    store = MemoryStore()
    saving(store, 3)
    opened = Study({"x": Float(0, 1)}, sampler=Old(), evaluator=Saving(save="a.txt"), store=store, seed=1)
    assert len(opened.trials) == 3
    assert saving(store, 3, save="a.txt").concluded == ["a.txt"]


def test_the_evaluator_concludes_again_after_another_process_that_has_its_earlier_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, other = MemoryStore(), Saving()
    study = Study({"x": Float(0, 1)}, sampler=Old(), evaluator=other, store=store, seed=1)

    def amended_meanwhile(*_: object) -> float:
        with monkeypatch.context() as process:
            process.setattr(liveness, "this_process", lambda: "elsewhere:1:1")
            evaluator = Saving(save="a.txt")
            assert Study({"x": Float(0, 1)}, sampler=Old(), evaluator=evaluator, store=store).trials
        return 0.5

    monkeypatch.setattr(Saving, "evaluate", amended_meanwhile)
    study.run(trials=1)
    assert other.concluded == [None]
    assert saving(store, 1, save="a.txt").concluded == ["a.txt"]


def test_the_evaluator_concludes_with_the_options_of_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if another one with other options, which the log then has, has concluded on the same winner."""
    store, mine, other = MemoryStore(), Saving(), Saving(save="a.txt")
    study = Study({"x": Float(0, 1)}, sampler=Old(), evaluator=mine, store=store, seed=1)

    def evaluate(self: Saving, trial: TrialContext) -> float:
        if self is other:
            return 0.0
        with monkeypatch.context() as process:
            process.setattr(liveness, "this_process", lambda: "elsewhere:1:1")
            Study({"x": Float(0, 1)}, sampler=Old(), evaluator=other, store=store).run(trials=2)
        return 1.0

    monkeypatch.setattr(Saving, "evaluate", evaluate)
    study.run(trials=2)
    assert [t.value for t in study.trials] == [1.0, 0.0]
    assert (other.concluded, mine.concluded) == (["a.txt"], [None])


def test_a_changed_option_that_affects_no_result_allows_no_other_change_in_the_next_run() -> None:
    store = MemoryStore()
    saving(store, 2)
    study = Study({"x": Float(0, 1)}, sampler=Old(), evaluator=Saving(save="a.txt"), store=store, seed=1)
    study.run(trials=3)
    with pytest.raises(DefinitionChangedError, match=r"evaluator\.scale: Was 1\.0, is now 2\.0\."):
        study.run(Saving(save="a.txt", scale=2.0), trials=4)


def test_other_processes_go_on_after_a_change_of_an_option_that_affects_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    here = Study({"x": Float(0, 1)}, sampler=Old(), evaluator=Saving(), store=store, seed=1)
    here.ask()
    with monkeypatch.context() as other_process:
        other_process.setattr(liveness, "this_process", lambda: "elsewhere:1:1")
        saving(store, 2, save="a.txt")
    assert here.ask().number == 2


def float_of(params: Params) -> float:
    return float(params["x"])


def test_the_order_of_objectives_counts() -> None:
    two = {"a": "minimize", "b": "minimize"}
    swapped = dict(reversed(two.items()))
    assert definition.differences({"objectives": two}, {"objectives": dict(two)}) == []
    (found,) = definition.differences({"objectives": two}, {"objectives": swapped})
    assert found == Mistake("objectives", "The order was a, b, is now b, a.")


def test_one_direction_is_called_value() -> None:
    assert definition.parse_objectives("maximize") == {"value": "maximize"}
    assert list(definition.parse_objectives({"b": "minimize", "a": "maximize"})) == ["b", "a"]


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ("minimise", r"Must be 'minimize', 'maximize' or a table .* Got 'minimise'\. Did you mean 'minimize'\?"),
        ({}, r"Must be 'minimize', 'maximize' or a table .* Got \{\}\.$"),
        ({"a\n": "minimize"}, r"The name of an objective must be printable text\. Got 'a\\n'"),
        ({"": "minimize"}, r"The name of an objective must be printable text\. Got ''"),
        ({"a": "max"}, r"objective\.a: Must be 'minimize' or 'maximize'\. Got 'max'\. Did you mean 'maximize'\?"),
    ],
)
def test_a_wrong_objective_is_refused(objective: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        definition.parse_objectives(objective)


def test_code_is_refused_wherever_a_log_names_it() -> None:
    definition.refuse_code({"use": "random", "parts": ["grid", {"use": "tpe"}]}, "sampler")
    with pytest.raises(UsageError, match=r"sampler\.parts\.1\.use: The log names the code 'trap:Sampler'"):
        definition.refuse_code({"use": "random", "parts": ["grid", {"use": "trap:Sampler"}]}, "sampler")


def test_what_an_evaluator_declares() -> None:
    class Folds:
        evidence, steps, resumable = "folds", 5, True

    assert definition.evidence_of(Folds()) == {"kind": "folds", "steps": 5, "resumable": True}
    assert definition.evidence_of(None) == {"kind": "curve", "steps": None, "resumable": False}


def test_software_is_recorded_by_distribution_and_version() -> None:
    found = provenance.provenance([MemoryStore(), None, object()])
    assert found["packages"] == {"hpt-core": version("hpt-core"), "numpy": np.__version__}
    assert (found["python"], found["platform"]) == (platform.python_version(), platform.platform())


def test_different_software_is_listed() -> None:
    before = {"python": "3.11.0", "platform": "p", "packages": {"a": "1", "b": "1", "c": "1"}}
    now = {"python": "3.12.0", "platform": "p", "packages": {"a": "1", "b": "2", "d": "1"}}
    assert provenance.differences(before, before) == []
    assert provenance.differences(before, now) == [
        "python was 3.11.0, is now 3.12.0",
        "b was 1, is now 2",
        "c was 1, is now not used",
        "d was not recorded, is now 1",
    ]


def test_the_libraries_that_a_plugin_requires_are_recorded() -> None:
    """The version of the library that an evaluator wraps says more about a result than that of the plugin."""
    plugins = Plugins()
    evaluator = plugins.make(
        "evaluator", {"use": "sklearn", "estimator": "sklearn.svm:SVC", "data": "sklearn.datasets:load_iris"}
    )
    found = provenance.provenance([evaluator])["packages"]
    assert found["hpt-evaluator-sklearn"] == version("hpt-evaluator-sklearn")
    assert found["scikit-learn"] == version("scikit-learn")
    assert all(type(number) is str for number in found.values())


@pytest.mark.parametrize("several", [list, tuple, lambda parts: dict(enumerate(parts))])
def test_the_distributions_of_components_in_lists_and_tables_are_recorded(several: Any) -> None:
    @attrs.define
    class Choosing:
        rules: Any

    inner = Plugins().make("stopping rule", {"use": "median"})
    found = provenance.provenance([Choosing(several([inner]))])["packages"]
    assert found["hpt-stopping-basic"] == version("hpt-stopping-basic")


def test_requirements_for_development_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=1",
        'pytest>=8; extra == "test"',
        "torch-like[gpu]==2; extra == 'torch'",
        "absent; sys_platform == 'x'",
    ]
    monkeypatch.setattr(provenance, "requires", lambda _: wanted)
    assert provenance._requirements.__wrapped__("p") == ("numpy", "torch-like", "absent")


@pytest.mark.parametrize("resumed", [False, True])
def test_the_files_of_the_user_are_read_once_when_a_study_is_opened(
    resumed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be data of a gigabyte."""

    @attrs.define
    class Reader:
        sources: str = option(help="The file.")

        def evaluate(self, trial: TrialContext) -> float:
            return 0.0

    data, store = tmp_path / "data.csv", MemoryStore()
    data.write_text("1,2")
    if resumed:
        Study({"x": Float(0.0, 1.0)}, sampler="random", evaluator=Reader(str(data)), store=store).ask()
    read: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        read.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    study = Study({"x": Float(0.0, 1.0)}, sampler="random", evaluator=Reader(str(data)), store=store)
    assert list(study.decisions.ledger.history.provenance["files"]) == [data.as_posix()]
    assert read == [str(data)]
