"""The rules in real studies: they train what the papers' tables list, and `verify` confirms every decision."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from hpt_core import Float, History, Int, Params, Pause, State, Stop, Study, Trial, TrialContext
from hpt_core.builtin.memory import MemoryStore
from hpt_core.cli.group import hpt
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify

if TYPE_CHECKING:
    from numpy.random import Generator

MODES: list[dict[str, Any]] = [
    {"use": "asha"},
    {"use": "asha", "mode": "promote"},
    {"use": "halving"},
    {"use": "hyperband"},
    {"use": "hyperband", "mode": "promote"},
    {"use": "hyperband", "mode": "rounds"},
    {"use": "pasha"},
]


def name_of(spec: dict[str, Any]) -> str:
    return "-".join(str(value) for value in spec.values())


every_rule = pytest.mark.parametrize("spec", MODES, ids=name_of)


class Counting:
    """Suggests x = 0, 1, 2, ..."""

    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": history.next_number}


def study_of(
    losses: Sequence[float], steps: int, spec: dict[str, Any], seen: list[tuple[int, int]], **given: Any
) -> Study:
    """Trial i has loss ``losses[i]`` at every step; each step trained is noted as (trial, step)."""

    def train(params: Params, trial: TrialContext) -> Iterator[float]:
        for step in range(trial.resume_step + 1, steps + 1):
            seen.append((trial.number, step))
            yield losses[params["x"]]

    evaluator = {"use": "function", "call": train, "steps": steps, "resumable": given.pop("resumable", True)}
    space = {"x": Int(0, len(losses) - 1)}
    return Study(space, sampler=Counting(), evaluator=evaluator, stop=spec, seed=0, **given)


def reached(study: Study) -> dict[int, int]:
    """Step -> number of trials that reached it."""
    last = Counter(trial.reports[-1].step for trial in study.trials if trial.reports)
    return {step: sum(count for at, count in last.items() if at >= step) for step in sorted(last)}


def audited(study: Study) -> None:
    """Each decision comes out the same again."""
    rules = study.decisions.rules
    found = verify(study.store, study.name, default_plugins(), sampler=study.sampler, rules=rules)
    assert not found.differences
    assert found.checked >= len(study.trials)
    assert promotions_of(study, rules[0][1]) == sum(trial.attempt - 1 for trial in study.trials)


def promotions_of(study: Study, rule: Any) -> int:
    """How many trials were taken up again; each is the one that the rule names on the log that it had seen."""
    records = study.store.read(study.name)
    again = {r["seen"]: r["trial"] for r in records if r["event"] == "started" and r["attempt"] > 1}
    history = History()
    for record in records:
        history.apply(record)
        if history.position in again:
            named = []
            for history.closing in (False, True):
                named.append(rule.promote(history))
            history.closing = False
            assert again[history.position] in named
    return len(again)


# --- the tables -----------------------------------------------------------------------------------


def test_the_worked_example_of_asha() -> None:
    """From 1 to R = 9, eta = 3, one worker: 9 at 1, 3 at 3, 1 at 9, in the order that algorithm 2 gives by hand."""
    seen: list[tuple[int, int]] = []
    study = study_of([5, 3, 8, 1, 9, 2, 7, 4, 6], 9, {"use": "asha", "mode": "promote", "min_resource": 1}, seen)
    study.run(trials=9)
    rest = [(3, step) for step in range(4, 10)]
    assert seen == [
        (0, 1), (1, 1), (2, 1),  # of three the best goes on: trial 1
        (1, 2), (1, 3),
        (3, 1), (3, 2), (3, 3),  # the best of four at once
        (4, 1),
        (5, 1), (5, 2), (5, 3),  # the second of six; rung 3 has three now, and the best of them goes on
        *rest,
        (6, 1), (7, 1), (8, 1),  # of nine the best three are through
    ]  # fmt: skip
    assert reached(study) == {1: 9, 3: 3, 9: 1}
    assert study.best is study.trials[3]
    audited(study)


@pytest.mark.parametrize(("steps", "table"), [(9, {1: 9, 3: 3, 9: 1}), (27, {1: 27, 3: 9, 9: 3, 27: 1})])
def test_rounds_of_halving(steps: int, table: dict[int, int]) -> None:
    seen: list[tuple[int, int]] = []
    losses = [float(i * 10 % (steps + 2)) for i in range(2 * steps)]
    study = study_of(losses, steps, {"use": "halving", "min_resource": 1}, seen)
    study.run(trials=steps)
    assert reached(study) == table
    assert study.best is not None
    assert study.best.number == min(range(steps), key=lambda i: losses[i])
    study.run(trials=2 * steps)  # the next round, none of the first one's
    assert reached(study) == {step: 2 * count for step, count in table.items()}
    assert len([t for t in study.trials[steps:] if t.state is State.COMPLETE]) == 1
    audited(study)


def test_the_table_of_hyperband_is_what_is_trained() -> None:
    """R = 81, eta = 3: 143 trials in five brackets (Li et al. 2018)."""
    seen: list[tuple[int, int]] = []
    losses = [float(i * 37 % 143) for i in range(143)]
    study = study_of(losses, 81, {"use": "hyperband", "mode": "rounds", "min_resource": 1}, seen)
    study.run(trials=143)
    expected = Counter({1: 81, 3: 27, 9: 9, 27: 3, 81: 1})
    for bracket in ({3: 34, 9: 11, 27: 3, 81: 1}, {9: 15, 27: 5, 81: 1}, {27: 8, 81: 2}, {81: 5}):
        expected.update(bracket)
    starts = [0, 81, 115, 130, 138, 143]
    tables: Counter[int] = Counter()
    for first, end in pairwise(starts):
        last = [trial.reports[-1].step for trial in study.trials[first:end]]
        tables.update({rung: sum(step >= rung for step in last) for rung in (1, 3, 9, 27, 81) if rung >= min(last)})
        best = min(range(first, end), key=lambda i: losses[i])
        assert study.trials[best].state is State.COMPLETE
    assert tables == expected
    assert len(seen) == sum(trial.reports[-1].step for trial in study.trials)  # nothing was trained twice
    audited(study)


def test_the_stopping_type_keeps_last_values() -> None:
    seen: list[tuple[int, int]] = []
    study = study_of([5, 3, 8, 1, 9, 2, 7, 4, 6], 9, {"use": "asha", "min_resource": 1}, seen, resumable=False)
    study.run(trials=9)
    assert reached(study) == {1: 9, 3: 4, 9: 3}  # 0 and 1 unseen, 3 the best; 5 is second of four at 3
    stopped = [trial for trial in study.trials if trial.state is State.STOPPED]
    assert [trial.value for trial in stopped] == [8, 9, 2, 7, 4, 6]
    assert all(trial.partial and trial.value == trial.reports[-1].value for trial in stopped)
    audited(study)


# --- the end of a study ---------------------------------------------------------------------------


@every_rule
@pytest.mark.parametrize("trials", [1, 2, 5, 20])
def test_a_trial_gets_to_the_end_however_small_the_budget(spec: dict[str, Any], trials: int) -> None:
    losses = [float((i * 7 + 3) % 20) for i in range(20)]
    study = study_of(losses, 27, spec, [])
    reason = "the only trial was started" if trials == 1 else f"all {trials} trials were started"
    assert study.run(trials=trials) == reason
    assert len(study.trials) == trials
    assert study.best is not None
    audited(study)


@every_rule
def test_an_exhausted_space_ends_like_a_budget(spec: dict[str, Any]) -> None:
    losses = [float((i * 7 + 3) % 5) for i in range(5)]
    evaluator = {"use": "function", "call": lambda p, t: iter_losses(losses, p, t), "steps": 9, "resumable": True}
    study = Study({"x": Int(0, 4)}, sampler="random", evaluator=evaluator, stop=spec, seed=0)
    assert study.run().startswith("space exhausted")
    assert len(study.trials) == 5
    assert study.best is not None
    audited(study)


def iter_losses(losses: Sequence[float], params: Params, trial: TrialContext) -> Iterator[float]:
    for _ in range(trial.resume_step, 9):
        yield losses[params["x"]]


def test_growth_spends_less_where_the_ranking_is_settled() -> None:
    losses = [float(i * 37 % 60) for i in range(60)]
    spent = {}
    for name in ("asha", "pasha"):
        seen: list[tuple[int, int]] = []
        spec = {"use": name, "min_resource": 1} | ({"mode": "promote"} if name == "asha" else {})
        study = study_of(losses, 81, spec, seen)
        study.run(trials=60)
        assert study.best is not None
        assert study.best.value == 0
        spent[name] = len(seen)
        audited(study)
    assert spent["pasha"] == 60 + 20 * 2 + (81 - 3)  # two rungs, and the winner to the end
    assert spent["asha"] > spent["pasha"]


def test_each_run_of_an_extended_study_takes_its_best_trial_to_the_end() -> None:
    """The ranking is settled, so the ladder keeps its two rungs, and those that went beyond it do not make it grow."""
    study = study_of([float(-i) for i in range(90)], 81, {"use": "pasha", "min_resource": 1}, [])
    for trials in (30, 60, 90):
        study.run(trials=trials)
        assert study.best is not None
        assert study.best.number == trials - 1
    assert reached(study) == {1: 90, 3: 88, 81: 3}  # the first two at rung 1 were not promoted
    audited(study)


# --- several workers ------------------------------------------------------------------------------


def test_two_workers_never_take_the_same_trial() -> None:
    store = MemoryStore()
    losses = [float(i) for i in range(120)]
    spec = {"use": "asha", "mode": "promote", "min_resource": 1}
    workers = [study_of(losses, 9, spec, [], store=store) for _ in range(3)]
    held: list[tuple[Study, Trial]] = []
    for i in range(120):
        worker = workers[i % 3]
        trial = worker.ask()
        assert trial.number not in [other.number for _, other in held]
        held.append((worker, trial))
        if len(held) == 3:
            owner, oldest = held.pop(0)
            step = oldest.reports[-1].step if oldest.reports else 0
            decision = None
            while decision is None and step < 9:
                step += 1
                decision = owner.report(oldest.number, step, losses[oldest.params["x"]])
            assert isinstance(decision, Pause | None)
            if decision is None:
                owner.tell(oldest.number, losses[oldest.params["x"]])
    trials = workers[0].history.trials
    attempts = [trial.attempt for trial in trials]
    assert max(attempts) <= 3  # 1, 3, 9: started once, promoted at most twice
    assert sum(attempts) == 120


EVALUATOR = """
    import time

    def train(params, trial):
        for step in range(trial.resume_step + 1, 10):
            time.sleep(0.001)
            yield (params["x"] - 0.3) ** 2 + 1 / step
"""


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The import path of a function that workers can import."""
    folder = tmp_path_factory.mktemp("halving")
    (folder / "halving_study_evaluator.py").write_text(textwrap.dedent(EVALUATOR))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "halving_study_evaluator:train"


@pytest.mark.parametrize("spec", [MODES[1], MODES[2]], ids=name_of)
def test_two_processes(spec: dict[str, Any], train: str) -> None:
    evaluator = {"use": "function", "call": train, "steps": 9, "resumable": True}
    study = Study({"x": Float(0, 1)}, sampler="random", evaluator=evaluator, stop={**spec, "min_resource": 1}, seed=0)
    study.run(trials=18, workers=2)
    assert len(study.trials) == 18
    over = State.STOPPED if spec["use"] == "halving" else State.PAUSED
    assert {trial.state for trial in study.trials} == {over, State.COMPLETE}
    steps = [[report.step for report in trial.reports] for trial in study.trials]
    assert all(found == list(range(1, len(found) + 1)) for found in steps)
    assert {len(found) for found in steps} <= {1, 3, 9}
    assert study.best is not None
    if spec["use"] == "halving":
        assert reached(study) == {1: 18, 3: 6, 9: 2}
    audited(study)


# --- replay ---------------------------------------------------------------------------------------


def events_of(study: Study) -> list[tuple[Any, ...]]:
    keys = ("event", "trial", "attempt", "params", "step", "reason", "evidence", "values")
    return [tuple(str(record.get(key)) for key in keys) for record in study.store.read(study.name)]


@every_rule
def test_a_study_in_pieces_is_the_study_in_one(spec: dict[str, Any]) -> None:
    """The rules have no state of their own: a new process with new rules continues bit for bit."""
    losses = [float((i * 7 + 3) % 31) for i in range(40)]
    whole = study_of(losses, 27, spec, [])
    while whole.history.next_number < 30:
        once(whole, losses)
    store = MemoryStore()
    while True:
        piece = study_of(losses, 27, spec, [], store=store)
        if piece.history.next_number >= 30:
            break
        once(piece, losses)
    kept = [event for event in events_of(piece) if event[0] not in ("joined", "created")]
    assert kept == [event for event in events_of(whole) if event[0] not in ("joined", "created")]


def once(study: Study, losses: Sequence[float]) -> None:
    trial = study.ask()
    step = trial.reports[-1].step if trial.reports else 0
    decision: Stop | Pause | None = None
    while decision is None and step < 27:
        step += 1
        decision = study.report(trial, step, losses[trial.params["x"]] + 1 / step)
    if decision is None:
        study.tell(trial, losses[trial.params["x"]])


def test_the_rules_work_from_a_study_file(tmp_path: Path, train: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(
        f"""
        name = "demo"
        objective = "minimize"
        seed = 0
        trials = 9
        [space]
        x = {{ low = 0.0, high = 1.0 }}
        [evaluator]
        use = "function"
        call = "{train}"
        steps = 9
        resumable = true
        [sampler]
        use = "random"
        [store]
        use = "sqlite"
        path = "hpt.db"
        [[stop]]
        use = "asha"
        mode = "promote"
        """
    )
    for command in (["run", "study.toml"], ["verify"]):
        result = CliRunner().invoke(hpt, command, prog_name="hpt")
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("spec", [{"use": "halving"}, {"use": "hyperband", "mode": "rounds"}], ids=name_of)
def test_the_losers_of_a_finished_round_are_stopped(spec: dict[str, Any]) -> None:
    seen: list[tuple[int, int]] = []
    study = study_of(range(18), 9, {**spec, "min_resource": 1}, seen)
    study.run(trials=9)
    assert {trial.state for trial in study.trials} == {State.COMPLETE, State.STOPPED}
    assert study.trials[0].state is State.COMPLETE
    lost = study.trials[5]
    assert (lost.values, lost.partial) == ((5.0,), True)
    assert lost.reason == "value = 5 is number 6 of 9 at rung 1, and its round is over"
    trained = list(seen)
    study.run(trials=18)
    assert [step for step in seen[len(trained) :] if step[0] < 9] == [], "one that was stopped went on"
    audited(study)
