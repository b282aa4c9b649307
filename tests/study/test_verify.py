"""The audit finds what was tampered with, and no difference in an honest study."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import (
    Float,
    History,
    Int,
    Params,
    Pause,
    PluginError,
    Record,
    SpaceExhausted,
    Stop,
    Study,
    Trial,
    UsageError,
    hookimpl,
    option,
)
from hpt_core.builtin.memory import MemoryStore
from hpt_core.plugins.plugins import Plugins
from hpt_core.study.verify import VerifyResult, verify

if TYPE_CHECKING:
    from numpy.random import Generator


@attrs.define(kw_only=True)
class Learning:
    """A sampler whose points depend on all visible results and on the pending trials."""

    scale: float = option(1.0, help="Anything that changes its points.")

    def suggest(self, history: History, rng: Generator) -> Params:
        complete = history.complete
        seen = sum((i + 1) * v for i, v in zip(complete, history.losses[complete, 0], strict=True))
        x = math.modf(abs(seen) * self.scale + rng.random() / (1 + len(history.pending)))[0]
        return {"x": x, "n": 1 + history.next_number % 3}


@attrs.define(kw_only=True)
class Above:
    """Stops a trial that reports more than the limit, and the study after some trials."""

    limit: float = option(0.9, help="Reports above it are stopped.")
    trials: int = option(1000, help="How many trials are enough.")

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        value = trial.reports[-1].value
        return Stop(f"{value} > {self.limit}") if value > self.limit else None

    def judge_study(self, history: History) -> Stop | None:
        return Stop("enough") if history.next_number >= self.trials else None


@attrs.define
class PauseAll:
    """Pauses each trial once."""

    def judge_trial(self, history: History, trial: Trial) -> Pause | None:
        return Pause("once") if trial.attempt == 1 else None


@attrs.define
class PromoteFirst(PauseAll):
    """Promotes the first of two paused trials."""

    def promote(self, history: History) -> int | None:
        paused = [trial.number for trial in history.trials if trial.state == "paused"]
        return paused[0] if len(paused) > 1 else None


class Offer:
    @hookimpl
    def hpt_samplers(self) -> dict[str, type]:
        return {"learning": Learning}

    @hookimpl
    def hpt_stopping_rules(self) -> dict[str, type]:
        return {"above": Above, "pause-all": PauseAll, "promote-first": PromoteFirst, "budget-like": Above}


def plugins() -> Plugins:
    made = Plugins()
    made.register(Offer())
    return made


PLUGINS = plugins()


def evaluate(params: Params) -> Iterator[float]:
    yield float(params["x"]) / 2
    yield float(params["x"])


def study_of(**changed: Any) -> Study:
    given: dict[str, Any] = {
        "space": {"x": Float(0, 1), "n": Int(1, 3)},
        "sampler": "learning",
        "seed": 3,
        "plugins": PLUGINS,
        "stop": [{"use": "above", "limit": 0.8}, {"use": "above", "limit": 0.9, "trials": 14}],
    }
    return Study(**(given | changed))


def audit(study: Study) -> VerifyResult:
    return verify(study.store, study.name, PLUGINS)


def changed(study: Study, change: Callable[[list[Record]], object]) -> VerifyResult:
    """Audit a copy of the log after a change."""
    records = copy.deepcopy(list(study.store.read(study.name)))
    change(records)
    store = MemoryStore()
    store.append(study.name, records)
    return verify(store, study.name, PLUGINS)


def first(records: list[Record], **wanted: Any) -> Record:
    return next(record for record in records if wanted.items() <= record.items())


@pytest.fixture(scope="module")
def honest() -> Study:
    study = study_of()
    assert study.run(evaluate) == "enough"
    return study


def test_an_honest_study_has_no_differences(honest: Study) -> None:
    result = audit(honest)
    stopped = sum(t.state == "stopped" for t in honest.trials)
    assert stopped > 0
    assert result == VerifyResult(checked=14 + stopped + 1)


def test_a_resumed_study_with_every_kind_of_record_has_no_differences() -> None:
    store = MemoryStore()
    study_of(store=store).run(evaluate, trials=3)
    study = study_of(store=store)
    study.enqueue({"x": 0.123, "n": 1})
    study.run(evaluate, trials=6)
    study.invalidate(2, "wrong data")
    study.tell(study.ask(), ValueError("no"))
    study.tell(study.ask(), Stop("by hand"))
    interrupted = study.ask()
    study = study_of(store=store, duplicates="reuse", amend=True)
    study.tell(interrupted.number, TimeoutError())
    study.run(evaluate)
    assert audit(study).differences == []


def test_a_budget_is_not_a_decision_of_a_rule() -> None:
    """Even if a rule has the name that the core uses for its own stops."""

    class Own:
        @hookimpl
        def hpt_stopping_rules(self) -> dict[str, type]:
            return {"trials": Above}

    with_trials = Plugins(["stopping-basic"])
    for offer in (Offer(), Own()):
        with_trials.register(offer)
    study = study_of(stop=[{"use": "trials", "trials": 50}], plugins=with_trials)
    study.run(evaluate, trials=5)
    assert verify(study.store, study.name, with_trials).differences == []


def test_a_stop_for_the_time_since_the_last_record_has_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be written for hours while a trial runs."""
    study = study_of(stop=[{"use": "time", "limit": 60.0}])
    study.ask()
    ledger, now = study.ledger, study.ledger.now()
    monkeypatch.setattr(ledger, "now", lambda: now + 3_600.0)
    assert isinstance(study.decisions.claim("w", None), Stop)
    assert audit(study) == VerifyResult(checked=1 + 1)


def test_a_stop_while_configurations_wait_has_no_difference() -> None:
    """It was decided on what the first of them may see, in a reproducible study with two workers one result of two."""

    class AtFirst:
        def judge_study(self, history: History) -> Stop | None:
            return Stop("one") if len(history.complete) == 1 else None

    study = study_of(reproducible=True, stop=AtFirst())
    study.workers = 2
    for x in (0.1, 0.2, 0.3, 0.4):
        study.enqueue({"x": x, "n": 1})
    for trial in (study.ask(), study.ask()):
        study.tell(trial, 1.0)
    assert isinstance(study.decisions.claim("w", None), Stop)
    assert verify(study.store, study.name, PLUGINS, rules=study.named_rules) == VerifyResult(checked=1)


def test_pauses_are_checked_too() -> None:
    study = study_of(stop=["pause-all"])
    study.run(evaluate, trials=3)
    assert audit(study) == VerifyResult(checked=6)

    def stop_instead(records: list[Record]) -> None:
        pause = first(records, event="paused")
        pause |= {"event": "finished", "state": "stopped", "values": [0.1]}

    assert changed(study, stop_instead).differences[0] == "trial 0: 'pause-all' leaves it paused, the log says stopped"


def test_a_promotion_that_no_rule_decided_is_found() -> None:
    study = study_of(stop=["promote-first"])
    study.run(evaluate, trials=4)
    assert audit(study) == VerifyResult(checked=4 + 4 + 3)  # suggestions, pauses, promotions of all but the last

    def promote_the_other(records: list[Record]) -> None:
        promotion = first(records, event="started", trial=0, attempt=2)
        promotion["trial"] = 1

    assert "trial 1: no rule promotes it, the log says promoted" in changed(study, promote_the_other).differences


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 4), st.booleans())
def test_parallel_studies_have_no_differences(order: list[int], workers: int, reproducible: bool) -> None:
    study = study_of(reproducible=reproducible, stop=[{"use": "above", "limit": 0.9}])
    study.workers = workers
    luck, running = itertools.cycle(order), list[Trial]()
    while len(study.trials) < 10 or running:
        if len(running) < workers and len(study.trials) < 10:
            try:
                running.append(study.ask())
            except UsageError:  # a reproducible study waits for a result
                pass
            else:
                continue
        trial = running.pop(next(luck) % len(running))
        if study.report(trial, 1, trial.params["x"]) is None:
            study.tell(trial, trial.params["x"])
    assert audit(study).differences == []


def test_a_finite_space_with_repeats_has_no_differences() -> None:
    for duplicates in ("avoid", "reuse", "allow"):
        study = study_of(space={"x": Int(0, 1), "n": Int(1, 3)}, sampler=Constant(), stop=(), duplicates=duplicates)
        study.run(lambda p: p["n"], trials=6)
        found = verify(study.store, study.name, PLUGINS, sampler=Constant(), rules=[])
        assert found == VerifyResult(checked=6)


class Constant:
    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": 1, "n": 2}


# --- tampering ------------------------------------------------------------------------------------


def test_a_changed_parameter_is_found(honest: Study) -> None:
    def nudge(records: list[Record]) -> None:
        record = first(records, event="started", trial=5)
        record["params"]["x"] = math.nextafter(record["params"]["x"], 2)

    (found,) = changed(honest, nudge).differences
    assert found.startswith("trial 5: the sampler suggests x=")


def test_a_changed_value_is_found_by_later_decisions(honest: Study) -> None:
    def improve(records: list[Record]) -> None:
        first(records, event="finished", state="complete")["values"] = [-1.0]

    assert changed(honest, improve).differences


def test_a_stop_that_no_rule_decided_is_found(honest: Study) -> None:
    def stop_early(records: list[Record]) -> None:
        complete = first(records, event="finished", state="complete")
        report = next(r for r in records if r["event"] == "reported" and r["trial"] == complete["trial"])
        extra = {
            "state": "stopped",
            "rule": "above",
            "reason": "bad",
            "seen": records.index(report) + 1,
            "evidence": {},
        }
        complete |= extra

    (found, *_) = changed(honest, stop_early).differences
    assert "'above' leaves it running, the log says stopped" in found


@pytest.mark.parametrize("event", ["created", "started"])
def test_a_stop_without_a_report_is_found(honest: Study, event: str) -> None:
    """Before the trial existed, or right after its start."""

    def antedate(records: list[Record]) -> None:
        stop = first(records, event="finished", state="stopped")
        whose = {"trial": stop["trial"]} if event == "started" else {}
        stop["seen"] = records.index(first(records, event=event, **whose)) + 1

    (found,) = changed(honest, antedate).differences
    assert "it had no report, the log says ended by 'above'" in found


def test_a_rule_that_fails_in_an_audit_is_named(honest: Study) -> None:
    class Fails:
        def judge_trial(self, history: History, trial: Trial) -> None:
            raise ZeroDivisionError

    with pytest.raises(PluginError, match="The stopping rule 'above' failed in judge_trial: ZeroDivisionError"):
        verify(honest.store, honest.name, PLUGINS, rules=[("above", Fails())])


def test_a_stop_by_an_unknown_rule_is_found(honest: Study) -> None:
    def blame(records: list[Record]) -> None:
        first(records, event="finished", state="stopped")["rule"] = "somebody"

    (found,) = changed(honest, blame).differences
    assert "the study has no rule 'somebody', the log says ended by it" in found


def test_an_end_of_the_study_by_an_unknown_rule_is_found() -> None:
    study = study_of(stop=[{"use": "above", "trials": 6}])
    study.run(evaluate)

    def blame(records: list[Record]) -> None:
        first(records, event="stopped")["rule"] = "somebody"

    (found,) = changed(study, blame).differences
    assert found == "the study: it has no rule 'somebody', the log says ended by it"


def test_an_end_of_the_study_that_no_rule_decided_is_found() -> None:
    study = study_of(stop=[{"use": "above", "trials": 6}])
    study.run(evaluate)

    def later(records: list[Record]) -> None:
        records[0]["definition"]["stop"][0]["trials"] = 9

    (found,) = changed(study, later).differences
    assert found == "the study: 'above' does not stop it, the log says stopped: enough"


@pytest.mark.parametrize("seen", [None, -1, 10**9, "1", True])
def test_a_decision_with_a_wrong_position_is_found(honest: Study, seen: Any) -> None:
    def hide(records: list[Record]) -> None:
        record = first(records, event="started", trial=5)
        record["params"]["x"] = 0.5
        record["seen"] = seen

    found = changed(honest, hide).differences
    assert any("which is not an earlier position" in difference for difference in found)


def test_another_seed_is_found(honest: Study) -> None:
    def reseed(records: list[Record]) -> None:
        records[0]["definition"]["seed"] = 4

    assert len(changed(honest, reseed).differences) >= 14


def test_a_point_of_an_exhausted_sampler_is_found() -> None:
    class Enough:
        def suggest(self, history: History, rng: Generator) -> Params:
            raise SpaceExhausted

    study = study_of(sampler=Constant(), space={"x": Int(0, 1), "n": Int(1, 3)}, stop=())
    study.run(lambda p: p["n"], trials=1)
    (found,) = verify(study.store, study.name, PLUGINS, sampler=Enough(), rules=[]).differences
    assert found == "trial 0: the sampler has nothing left, the log has x=1, n=2"


@pytest.mark.parametrize("module", ["trap", "trap-1", "ätrap", "package.ätrap", " trap"])
def test_no_module_that_a_log_names_is_imported_whatever_its_name(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "package").mkdir()
    place = tmp_path / f"{module.replace('.', '/')}.py"
    place.write_text("raise AssertionError('the log ran code')\n")
    study = study_of()
    study.ask()
    created = study.store.read("study")[0]
    created["definition"]["sampler"] = {"use": f"{module}:Sampler"}
    with pytest.raises(UsageError, match="The log names the code"):
        verify(study.store, "study", study.plugins)


def test_a_sampler_that_cannot_be_created_by_name_must_be_given() -> None:
    class Local(Constant):
        """A class that cannot be imported."""

    study = study_of(sampler=Local(), space={"x": Int(0, 1), "n": Int(1, 3)}, stop=())
    study.run(lambda p: p["n"], trials=2)
    with pytest.raises(UsageError, match="recorded sampler cannot be created"):
        audit(study)
    assert verify(study.store, study.name, PLUGINS, sampler=Local()).differences == []
