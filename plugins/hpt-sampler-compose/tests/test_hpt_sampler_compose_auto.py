"""The sampler ``auto``: its evidence, its choices and their reasons, replays, and missing parts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from hpt_core import Float, History, Params, Plugins, Study, Suggestion, UsageError, hookimpl
from hpt_core.cli.group import hpt
from hpt_core.cli.session import Session
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_sampler_compose.auto import AutoSampler
from hpt_sampler_compose.choice import choose, concordance, distinct
from hpt_sampler_compose.parts import Part
from hpt_sampler_compose.sequence import SequenceSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.random import Generator

SPACE = {"x": Float(0, 1)}
WITHOUT_BAYES, WITHOUT_TPE = "sampler-bayes", "sampler-tpe"


@attrs.define(kw_only=True)
class PredictingSampler:
    """Draws at random, and predicts that the value will be ``sign`` times x."""

    sign: float = 1.0

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        x = float(rng.uniform())
        return Suggestion({"x": x}, {"mean": self.sign * x})


@attrs.define(kw_only=True)
class CheapSampler:
    """Draws at random."""

    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


@attrs.define(kw_only=True)
class PickySampler(CheapSampler):
    """Rejects every space."""

    def check(self, space: object, objectives: Mapping[str, str]) -> None:
        raise UsageError("Rejects every space.")


def sampler(sign: float = 1.0) -> AutoSampler:
    return AutoSampler(model=PredictingSampler(sign=sign), cheap=CheapSampler())


def run(chooser: Any, trials: int, function: Callable[[Params], float], **settings: Any) -> Study:
    study = Study(SPACE, sampler=chooser, seed=3, **settings)
    study.run(function, trials=trials)
    return study


def sources(study: Study) -> list[str]:
    return [trial.source for trial in study.trials]


# --- the evidence ------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.5]), min_size=1, max_size=30))
def test_distinct_values_of_the_better_half(losses: list[float]) -> None:
    better = sorted(losses)[: -(-len(losses) // 2)]
    assert distinct(np.array(losses)) == pytest.approx(len(set(better)) / len(better))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=12, max_size=20), st.booleans())
def test_concordance_counts_pairs(pairs: Sequence[tuple[int, int]], maximize: bool) -> None:
    study = Study(SPACE, sampler="random", objective="maximize" if maximize else "minimize", seed=0)
    for i, (mean, value) in enumerate(pairs):
        study.tell(study.add_trial(Suggestion({"x": i / 100}, {"mean": mean})), float(value))
    right = sum((a - c) * (b - d) > 0 for (a, b), (c, d) in combinations(pairs, 2))
    wrong = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(pairs, 2))
    expected = right / (right + wrong) if right + wrong else None
    assert concordance(study.history) == (None if expected is None else pytest.approx(expected))


def test_concordance_equals_kendalls_tau_of_the_latest_thirty_predictions_without_ties() -> None:
    rng = np.random.default_rng(0)
    means, values = rng.normal(size=40), rng.normal(size=40)
    study = Study(SPACE, sampler="random", seed=0)
    for i, (mean, value) in enumerate(zip(means, values, strict=True)):
        study.tell(study.add_trial(Suggestion({"x": i / 100}, {"mean": float(mean)})), float(value))
    assert concordance(study.history) == pytest.approx((kendalltau(means[-30:], values[-30:]).statistic + 1) / 2)


def test_concordance_needs_a_dozen_predictions() -> None:
    study = run(sampler(), 11, lambda params: params["x"])
    assert concordance(study.history) is None


# --- the choice --------------------------------------------------------------------------------------


def test_a_model_that_predicts_well_is_kept() -> None:
    study = run(sampler(), 40, lambda params: params["x"])
    assert set(sources(study)) == {"predicting"}
    assert study.trials[-1].info["why"] == "its predictions agree with the results"
    assert "mean" in study.trials[-1].info


@pytest.mark.parametrize(
    ("chooser", "function", "said"),
    [
        (sampler(-1.0), lambda params: params["x"], "of the pairs of latest results came in the predicted order"),
        (sampler(), lambda params: round(params["x"], 1), "of the better half of the results"),
    ],
)
def test_evidence_against_the_model_alternates_both_samplers(
    chooser: AutoSampler, function: Callable[[Params], float], said: str
) -> None:
    study = run(chooser, 60, function)
    assert sources(study)[:12] == ["predicting"] * 12  # no evidence yet
    assert sources(study)[-8:] == ["predicting", "predicting", "cheap", "cheap"] * 2
    assert said in study.trials[-1].info["why"]


def test_the_model_returns_when_its_predictions_improve() -> None:
    study = Study(SPACE, sampler=sampler(), seed=3)
    study.run(lambda params, trial: params["x"] if trial.number > 40 else -params["x"], trials=120)
    assert sources(study)[36:40] == ["predicting", "predicting", "cheap", "cheap"]
    assert set(sources(study)[-20:]) == {"predicting"}


def test_from_a_thousand_results_on_only_the_cheap_sampler_suggests() -> None:
    study = Study(SPACE, sampler="random", seed=0)
    for i in range(1000):
        assert choose(study.history).model
        study.add_trial({"x": i / 1000}, i / 7)
    assert not choose(study.history).model


def test_units_and_sign_do_not_matter() -> None:
    plain = run(sampler(-1.0), 40, lambda params: params["x"])
    other = run(sampler(1.0), 40, lambda params: -7e3 * params["x"], objective="maximize")
    assert sources(plain) == sources(other)
    assert [t.params for t in plain.trials] == [t.params for t in other.trials]


def test_several_objectives_use_the_model() -> None:
    study = Study(SPACE, sampler=sampler(-1.0), objective={"a": "minimize", "b": "minimize"}, seed=0)
    study.run(lambda params: {"a": params["x"], "b": 1.0}, trials=30)
    assert set(sources(study)) == {"predicting"}


# --- the installed ones ------------------------------------------------------------------------------

installed = pytest.mark.skipif(
    not {"bayes", "tpe"} <= {*default_plugins().names("sampler")}, reason="needs the samplers bayes and tpe"
)


@installed
def test_it_is_the_default_and_its_parts_are_recorded() -> None:
    study = Study(SPACE, seed=0)
    study.run(lambda params: params["x"], trials=2)
    recorded = study.history.definition["sampler"]
    assert (recorded["use"], recorded["model"]["use"], recorded["cheap"]["use"]) == ("auto", "bayes", "tpe")
    assert {"hpt-sampler-bayes", "hpt-sampler-tpe"} <= {*study.history.provenance["packages"]}


@installed
def test_a_resumed_study_is_the_same_and_can_be_audited() -> None:
    def accuracy(params: Params) -> float:
        return float(round(1 - abs(params["x"] - 0.3), 1))

    straight = run("auto", 30, accuracy, objective="maximize")
    study = run("auto", 13, accuracy, objective="maximize")
    for budget in (14, 17, 30):
        study.run(accuracy, trials=budget)
    assert [(t.params, t.source, t.info) for t in study.trials] == [
        (t.params, t.source, t.info) for t in straight.trials
    ]
    assert {"bayes", "tpe"} == {*sources(straight)}
    assert verify(straight.store, straight.name, default_plugins()).differences == []


@installed
def test_a_sequence_treats_it_as_one_part() -> None:
    study = run(["defaults", {"use": "auto"}], 4, lambda params: params["x"])
    assert sources(study) == ["defaults", "auto/bayes", "auto/bayes", "auto/bayes"]


@installed
@pytest.mark.parametrize(
    ("left_out", "source", "why"),
    [
        ([WITHOUT_TPE], "bayes", "no other sampler is available"),
        ([WITHOUT_BAYES], "tpe", "no other sampler is available"),
        ([WITHOUT_BAYES, WITHOUT_TPE], "sampler", "no other sampler is available: points at random"),
    ],
)
def test_it_uses_the_installed_samplers(left_out: list[str], source: str, why: str) -> None:
    study = run("auto", 3, lambda params: params["x"], plugins=Plugins(left_out))
    assert {(trial.source, trial.info["why"]) for trial in study.trials} == {(source, why)}


@installed
def test_a_sampler_whose_name_two_plugins_offer_is_told_and_not_left_out(tmp_path: Path) -> None:
    class Rival:
        @hookimpl
        def hpt_samplers(self) -> dict[str, type]:
            return {"bayes": CheapSampler}

    plugins = Plugins()
    plugins.register(Rival(), "rival")
    for chosen in ("auto", None):  # None: it is the default
        with pytest.raises(UsageError, match=r"Two plugins offer the sampler 'bayes': .* Disable one") as refused:
            run(chosen, 1, lambda params: params["x"], plugins=plugins)
        assert [mistake.path for mistake in refused.value.mistakes] == ["sampler.model.use"]
    file = tmp_path / "study.toml"
    file.write_text('space.x = [1, 2]\nevaluator = { use = "function", call = "math:fsum" }\n')
    checked = CliRunner().invoke(hpt, ["check", str(file)], obj=Session(plugins))
    assert (checked.exit_code, "sampler.model.use: Two plugins offer" in checked.stderr) == (3, True)


def test_constructing_it_directly_requires_its_samplers() -> None:
    with pytest.raises(UsageError, match=r"AutoSampler\(model=..., cheap=...\)"):
        AutoSampler(model=CheapSampler())


def test_its_samplers_are_checked() -> None:
    study = Study(SPACE, sampler=AutoSampler(model=CheapSampler(), cheap=PickySampler()), seed=0)
    with pytest.raises(UsageError) as refused:
        study.run(lambda params: params["x"], trials=1)
    assert [(m.path, m.message) for m in refused.value.mistakes] == [("sampler.cheap", "Rejects every space.")]


def test_a_mistake_in_one_of_its_samplers_has_its_key_path() -> None:
    model = {"use": "bayes", "priors": {"y": {"center": 0.5, "spread": 0.1}}}
    study = Study(SPACE, sampler={"use": "auto", "model": model})
    with pytest.raises(UsageError) as refused:
        study.run(lambda params: params["x"], trials=1)
    assert [m.path for m in refused.value.mistakes] == ["sampler.model.priors.y"]


def test_inside_a_sequence_the_parts_of_its_model_keep_their_limits() -> None:
    parts = [Part(sampler=CheapSampler(), trials=3, name="first"), Part(sampler=CheapSampler(), name="then")]
    model = SequenceSampler(samplers=parts)
    study = run([{"use": "defaults"}, AutoSampler(model=model, cheap=None)], 6, lambda params: params["x"])
    first, then = "auto/sequence/first", "auto/sequence/then"
    assert sources(study) == ["defaults", first, first, first, then, then]
