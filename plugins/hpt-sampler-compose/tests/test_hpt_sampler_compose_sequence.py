"""The sequence and the defaults: which part suggests when, sources, replays, and how a study declares them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from numpy.random import Generator, default_rng

from hpt_core import (
    Categorical,
    Failure,
    Float,
    History,
    Int,
    Params,
    SpaceExhausted,
    Study,
    Suggestion,
    Trial,
    UsageError,
)
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.config import make_study, read_study_file
from hpt_core.study.verify import verify
from hpt_sampler_compose.auto import AutoSampler
from hpt_sampler_compose.defaults import DefaultsSampler
from hpt_sampler_compose.parts import Part
from hpt_sampler_compose.sequence import SequenceSampler

SPACE = {"x": Float(0, 1), "k": Int(1, 9, default=2), "c": Categorical("a", "b")}


@attrs.define(kw_only=True)
class UniformSampler:
    """Draws at random until it is set to exhausted."""

    has: int | None = None
    source: str = "sampler"

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if self.has is not None and len(history.trials) >= self.has:
            raise SpaceExhausted("no more")
        return Suggestion(history.space.sample(rng), {"by": "uniform"}, self.source)


@attrs.define(kw_only=True)
class StuckSampler:
    """Always the same point."""

    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": 0.25, "k": 1, "c": "a"}


def study(sampler: Any, **settings: Any) -> Study:
    return Study(SPACE, sampler=sampler, seed=0, **settings)


def take(found: Study, count: int) -> list[Trial]:
    """Ask for a trial, and tell a value that depends on its point only."""
    trials = [found.ask() for _ in range(count)]
    for trial in trials:
        found.tell(trial, trial.params["x"])
    return trials


def sources(found: Study) -> list[str]:
    return [trial.source for trial in found.trials]


def test_each_part_gets_its_trials_and_the_last_continues() -> None:
    found = study([{"use": "defaults"}, {"use": "random", "method": "sobol", "trials": 3}, {"use": "random"}])
    take(found, 7)
    assert sources(found) == ["defaults", *["random"] * 3, *["random-2"] * 3]
    assert found.trials[0].params == {"x": 0.5, "k": 2, "c": "a"} == found.space.default()
    assert [trial.info.get("sobol") for trial in found.trials] == [None, 0, 1, 2, None, None, None]


def test_a_part_suggests_the_same_as_alone() -> None:
    alone, within = study(UniformSampler()), study([Part(sampler=UniformSampler(), trials=9)])
    assert [t.params for t in take(alone, 5)] == [t.params for t in take(within, 5)]
    assert within.trials[0].info == {"by": "uniform"}


def test_an_exhausted_part_hands_over_and_the_last_one_ends_the_study() -> None:
    found = study([UniformSampler(has=2), UniformSampler(has=5)])
    take(found, 5)
    assert sources(found) == ["uniform", "uniform", *["uniform-2"] * 3]
    with pytest.raises(SpaceExhausted, match="every sampler of the sequence is finished"):
        found.ask()


def test_running_and_failed_trials_count_but_invalid_and_given_ones_do_not() -> None:
    found = study([Part(sampler=UniformSampler(), trials=3, name="first"), Part(sampler=UniformSampler(), name="then")])
    found.enqueue({"x": 0.125, "k": 3, "c": "b"})
    running, failing, wrong = found.ask(), found.ask(), found.ask()
    assert [running.source, failing.source, wrong.source] == ["given", "first", "first"]
    found.tell(failing, Failure("error", "no"))
    found.tell(wrong, 1.0)
    found.invalidate(wrong.number, "a mistake")
    assert [found.ask().source for _ in range(4)] == ["first", "first", "then", "then"]


def test_a_replaced_repeat_counts_for_the_part_that_suggested_it() -> None:
    found = study([Part(sampler=StuckSampler(), trials=3), UniformSampler()])
    take(found, 5)
    assert sources(found) == ["stuck", "fill", "fill", "uniform", "uniform"]


def test_nested_parts_have_both_names_as_source_and_count_their_own_trials() -> None:
    inner = {"use": "sequence", "samplers": [{"use": "random", "trials": 1, "name": "a"}, UniformSampler(source="m")]}
    found = study([{"use": "random", "trials": 1, "name": "a"}, {**inner, "trials": 3, "name": "in"}, inner])
    take(found, 7)
    assert sources(found) == ["a", "in/a", *["in/uniform/m"] * 2, "sequence/a", *["sequence/uniform/m"] * 2]


def test_defaults_is_one_point_even_if_it_fails() -> None:
    found = study("defaults")
    found.tell(found.ask(), Failure("error", "no"))
    with pytest.raises(SpaceExhausted, match="the default point was tried"):
        found.ask()
    given = study([DefaultsSampler(), UniformSampler()])
    given.enqueue(given.space.default())
    assert [trial.source for trial in take(given, 2)] == ["given", "uniform"]


def test_it_is_a_pure_function_of_the_history() -> None:
    parts = [{"use": "defaults"}, {"use": "random", "method": "halton", "trials": 2}, {"use": "random"}]
    found = study(parts, store="memory")
    take(found, 6)
    audit = verify(found.store, found.name, default_plugins())
    assert (audit.checked, audit.differences) == (6, [])
    copied = pickle.loads(pickle.dumps(found.sampler))
    resumed = Study(SPACE, store=found.store, sampler=copied)
    again = study(parts)
    take(again, 6)
    assert resumed.ask().params == again.ask().params


@pytest.mark.parametrize(
    ("sampler", "path", "message"),
    [
        ([], "sampler", "at least one sampler"),
        (["nope"], "sampler[0].use", "There is no sampler 'nope'"),
        (["random", {"use": "random", "metod": 1}], "sampler[1].metod", "Did you mean 'method'"),
        ([{"use": "random", "trials": 0}], "sampler[0].trials", "an int >= 1. Got 0"),
        ([{"use": "random", "name": "a/b"}], "sampler[0].name", "without '/'"),
        ([{"use": "random", "name": "given"}], "sampler[0].name", "other than fill, given, sampler"),
        (
            [{"use": "random", "name": "a"}, {"use": "defaults", "name": "a"}],
            "sampler[1].name",
            "Must differ from the names",
        ),
        ([{"method": "sobol"}], "sampler[0].use", "Must name a sampler"),
        ([7], "sampler[0]", "Got int 7"),
        ({"use": "sequence", "samplers": [7]}, "sampler.samplers[0]", "Got int 7"),
        (
            {"use": "sequence", "samplers": [{"sampler": {"use": "no"}}]},
            "sampler.samplers[0].sampler.use",
            "no sampler",
        ),
        ([[{"use": "random", "metod": 1}]], "sampler[0][0].metod", "no such option"),
    ],
)
def test_a_mistake_is_reported_at_the_path_that_the_user_wrote(sampler: Any, path: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        study(sampler)
    assert [mistake.path for mistake in caught.value.mistakes] == [path]
    assert message in caught.value.mistakes[0].message


WRONG = {"use": "random", "distributions": {"z": {"name": "norm"}}}


@pytest.mark.parametrize(
    ("sampler", "path"),
    [
        (["random", WRONG], "sampler[1]"),
        ({"use": "portfolio", "samplers": ["random", WRONG]}, "sampler.samplers[1]"),
        (["random", {"use": "portfolio", "samplers": [WRONG]}], "sampler[1].samplers[0]"),
        ({"use": "portfolio", "samplers": ["random", [WRONG]]}, "sampler.samplers[1][0]"),
        ({"use": "auto", "model": {"use": "portfolio", "samplers": [WRONG]}}, "sampler.model.samplers[0]"),
    ],
)
def test_mistakes_of_parts_are_reported_before_the_first_trial(sampler: Any, path: str) -> None:
    found = study(sampler)
    with pytest.raises(UsageError) as caught:
        found.run(lambda params: params["x"], trials=1)
    assert [mistake.path for mistake in caught.value.mistakes] == [f"{path}.distributions.z"]


STUDY = """
objective = "minimize"
seed = 3
[space]
x = { low = 0.0, high = 1.0 }
[evaluator]
use = "function"
call = "math:fsum"
[[sampler]]
use = "defaults"
[[sampler]]
use = "random"
method = "sobol"
trials = 2
[[sampler]]
use = "random"
"""


def test_a_study_file_and_an_override_accept_a_list(tmp_path: Path) -> None:
    file = tmp_path / "demo.toml"
    file.write_text(STUDY, encoding="utf-8")
    found, _ = make_study(read_study_file(file), folder=tmp_path)
    assert [found.ask().source for _ in range(4)] == ["defaults", "random", "random", "random-2"]
    override = 'sampler=[{use="random", trials=1}, {use="defaults"}]'
    found, _ = make_study(read_study_file(file, [override]), folder=tmp_path)
    assert [found.ask().source for _ in range(2)] == ["random", "defaults"]


@pytest.mark.parametrize(
    ("samplers", "mistaken"),
    [
        (["random", "bayes"], "random"),
        (["defaults", "tpe", "random"], "tpe"),
        ([{"use": "random", "trials": 2, "name": "start"}, {"use": "auto", "name": "main"}, "random"], "main"),
        ([["defaults", "random"], "bayes"], "sequence"),
        ([{"use": "portfolio", "samplers": [{"use": "random", "trials": 2}, "tpe"]}, "bayes"], "portfolio"),
        (["defaults", {"use": "random", "trials": 2}, "bayes"], None),
        (["grid", "random"], None),
        ([UniformSampler(has=2), "random"], None),
        ([AutoSampler(model=UniformSampler(has=2), cheap=None), "random"], None),
        ([["defaults", {"use": "random", "trials": 2}], "bayes"], None),
        ([{"use": "portfolio", "samplers": [{"use": "random", "trials": 2}, "defaults"]}, "bayes"], None),
    ],
)
def test_a_sequence_in_which_a_sampler_would_never_be_used_is_refused(
    samplers: list[Any], mistaken: str | None
) -> None:
    space = {"k": Int(1, 9)}
    evaluated = Study(space, sampler=samplers, seed=0)
    if mistaken is None:
        evaluated.run(lambda params: float(params["k"]), trials=4)
        return
    with pytest.raises(
        UsageError, match=rf"sampler\[\d\]\.trials: Must be an int >= 1: '{mistaken}' never ends by itself"
    ):
        evaluated.run(lambda params: float(params["k"]), trials=4)
    assert not evaluated.trials


def test_the_recorded_definition_recreates_the_sampler() -> None:
    found = study([{"use": "defaults"}, {"use": "random", "block": 4, "trials": 2, "name": "r"}, "random"])
    described = found.plugins.describe(found.sampler)
    assert described["samplers"][1] == {
        "use": "random", "method": "uniform", "block": 4, "distributions": {}, "trials": 2, "name": "r",
    }  # fmt: skip
    assert found.plugins.make("sampler", described) == found.sampler
    found.ask()
    reopened = Study(SPACE, store=found.store)
    assert reopened.ask().source == "r"


def test_the_versions_of_parts_are_recorded() -> None:
    found = study(["defaults", "random"])
    found.ask()
    assert {"hpt-sampler-compose", "hpt-sampler-random"} <= found.history.provenance["packages"].keys()


def test_a_sequence_constructed_directly_accepts_samplers() -> None:
    bare: Any = [UniformSampler()]
    made = SequenceSampler(samplers=bare)
    assert made.samplers == [Part(sampler=UniformSampler())]
    assert made.suggest(study("random").history, default_rng(0)).source == "uniform"
