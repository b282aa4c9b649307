"""`Study`: ask and tell, running, resuming, amending, and arguments that are refused."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Never

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import (
    Categorical,
    DefinitionChangedError,
    Failure,
    Float,
    History,
    HptError,
    Int,
    InvalidParamsError,
    Mistake,
    NothingSucceededError,
    Params,
    SpaceError,
    SpaceExhausted,
    State,
    Stop,
    Study,
    Suggestion,
    TrialContext,
    UsageError,
    hookimpl,
    liveness,
    load_history,
)
from hpt_core.builtin.function import FunctionEvaluator
from hpt_core.builtin.memory import MemoryStore
from hpt_core.plugins.plugins import Plugins

if TYPE_CHECKING:
    from numpy.random import Generator

SPACE = {"x": Float(0, 1), "n": Int(1, 5)}


class Uniform:
    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


class Learning:
    """A sampler whose points depend on all results so far and their order."""

    def suggest(self, history: History, rng: Generator) -> Params:
        complete = history.complete
        weights = [(i + 1) * v for i, v in zip(complete, history.losses[complete, 0], strict=True)]
        return {"x": math.modf(abs(sum(weights)) + rng.random())[0], "n": 1 + len(complete) % 5}


class Constant:
    """Always suggests the same point."""

    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": 0.5, "n": 1}


class Other(Uniform):
    """A different sampler."""


def loss(params: Params) -> float:
    return float(params["x"] + params["n"])


def study_on(store: MemoryStore | None = None, **changed: Any) -> Study:
    given: dict[str, Any] = {"sampler": Learning(), "seed": 5, "store": store or MemoryStore()}
    return Study(**({"space": SPACE} | given | changed))


def told(study: Study) -> list[Any]:
    return [(t.number, t.params, t.values, t.state, t.source, t.attempt) for t in study.trials]


# --- ask and tell ---------------------------------------------------------------------------------


def test_ask_and_tell_give_the_same_trials_as_run() -> None:
    run, asked = study_on(), study_on()
    run.run(loss, trials=10)
    for _ in range(10):
        trial = asked.ask()
        asked.tell(trial, loss(trial.params))
    assert told(asked) == told(run)
    expected = min(run.trials, key=lambda t: loss(t.params))
    assert run.best is run.trials[expected.number]
    assert run.best.value == loss(expected.params)


def test_best_follows_the_direction() -> None:
    study = study_on(objective="maximize")
    study.run(loss, trials=10)
    assert study.best is not None
    assert study.best.value == max(loss(t.params) for t in study.trials)


def test_several_objectives_give_a_front() -> None:
    study = study_on(objective={"a": "minimize", "b": "maximize"}, sampler=Uniform())
    study.run(lambda p: {"a": p["x"], "b": p["n"]}, trials=30)
    points = [(t.params["x"], -t.params["n"]) for t in study.trials]
    expected = [i for i, p in enumerate(points) if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)]
    assert [t.number for t in study.front] == expected
    assert study.best is not None
    assert study.best.value == min(p[0] for p in points)


def test_a_result_can_be_told_only_once() -> None:
    study = study_on()
    trial = study.ask()
    assert study.tell(trial, 1.0) is trial
    for again in (trial, trial.number):
        with pytest.raises(UsageError, match="Trial 0 is not running: it is complete"):
            study.tell(again, 2.0)
    for number in (1, -1):
        with pytest.raises(UsageError, match=f"no trial {number}; the study has 1"):
            study.tell(number, 2.0)
    assert study.trials[0].value == 1.0


def test_of_two_threads_that_end_or_report_a_trial_at_once_the_second_is_refused() -> None:
    study = study_on()
    trial = study.ask()
    refused: list[str] = []

    def act(value: Any) -> None:
        try:
            study.report(trial, 1, value) if not trial.reports else study.tell(trial, value)
        except UsageError as err:
            refused.append(str(err))

    class Slow:
        """A value that another thread overtakes, unless it has to wait."""

        def __float__(self) -> float:
            self.other = threading.Thread(target=act, args=(9.0,))
            self.other.start()
            self.other.join(0.2)
            return 1.0

    for message in ("step of a report must be an int above the last one", "Trial 0 is not running: it is complete"):
        value = Slow()
        act(value)
        value.other.join()
        assert message in refused.pop()
    assert ([report.value for report in trial.reports], trial.values) == ([1.0], (1.0,))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_asks_in_its_own_name() -> None:
    """Else its trial would run on in the log if it dies, as long as its parent lives."""
    study = study_on(sampler=Uniform())
    assert study.ask().worker == liveness.this_process()
    child = os.fork()
    if not child:
        unpickled = pickle.loads(pickle.dumps(study))
        os._exit({study.ask().worker, unpickled.ask().worker} != {liveness.this_process()})
    assert os.waitpid(child, 0)[1] == 0


class UnspeakableError(Exception):
    def __str__(self) -> Never:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (ValueError("bad luck"), "error", "ValueError: bad luck"),
        (MemoryError(), "out-of-memory", "MemoryError"),
        (SystemExit(3), "error", "SystemExit: 3"),
        (UnspeakableError(), "error", "UnspeakableError"),
        (Failure("timeout", "too long"), "timeout", "too long"),
        (math.inf, "invalid-value", "The value of a trial must be a finite number. Got inf."),
    ],
)
def test_a_failure_can_be_told(result: object, kind: str, message: str) -> None:
    study = study_on()
    trial = study.tell(study.ask(), result)
    assert trial.state is State.FAILED
    assert trial.failure is not None
    assert (trial.failure.kind, trial.failure.message) == (kind, message)


def test_a_trial_told_as_interrupted_is_rerun() -> None:
    study = study_on()
    first = study.ask()
    study.tell(first, Failure("interrupted", "out of time"))
    again = study.ask()
    assert (again.number, again.params, again.attempt) == (0, first.params, 2)


class StopAbove:
    """Stops a trial that reports more than a limit."""

    def judge_trial(self, history: History, trial: Any) -> Stop | None:
        value = trial.reports[-1].value
        return Stop("too high", {"value": value}) if value > 10 else None


def test_reports_are_recorded_and_judged() -> None:
    study = study_on(stop=StopAbove())
    trial = study.ask()
    assert study.report(trial, 1, 3.0, f1=0.5) is None
    decision = study.report(trial, 4, 30.0)
    assert decision == Stop("too high", {"value": 30.0})
    assert trial.state is State.STOPPED
    assert (trial.value, trial.partial, trial.reason, trial.rule) == (30.0, True, "too high", "StopAbove")
    assert [(r.step, r.value, dict(r.metrics)) for r in trial.reports] == [(1, 3.0, {"f1": 0.5}), (4, 30.0, {})]
    assert study.history.stopped.tolist() == [0]
    with pytest.raises(
        UsageError, match=r"it is stopped\. The rule 'StopAbove' decided that, and it is recorded: there"
    ):
        study.tell(trial, decision)
    own = study.ask()
    study.tell(own, Stop("mine"))
    with pytest.raises(UsageError, match=r"it is stopped\.$"):
        study.tell(own, 1.0)


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (2, math.nan), (2, None), ("2", 1.0), (True, 1.0)])
def test_an_invalid_report_is_refused(step: Any, value: Any) -> None:
    study = study_on()
    trial = study.ask()
    with pytest.raises(UsageError, match="Trial 0: The "):
        study.report(trial, step, value)
    assert trial.state is State.RUNNING
    assert trial.reports == []


def test_a_sampler_that_counts_as_false_is_used() -> None:
    class Empty:
        def __len__(self) -> int:
            return 0

        def suggest(self, history: History, rng: Generator) -> Params:
            return {"x": 0.25}

    study = Study({"x": Float(0, 1)}, sampler=Empty())
    assert study.ask().params == {"x": 0.25}


def test_ask_ends_with_a_sampler_that_only_repeats_points() -> None:
    study = study_on(sampler=Constant(), duplicates="reuse")
    study.tell(study.ask(), 1.0)
    with pytest.raises(SpaceExhausted, match="in a row"):
        study.ask()


def test_ask_raises_when_the_space_is_exhausted() -> None:
    study = Study({"n": Int(1, 2)}, sampler=Uniform(), seed=0)
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), 1.0)
    with pytest.raises(HptError, match=r"There is no further trial: space exhausted\.") as raised:
        study.ask()
    assert type(raised.value) is SpaceExhausted


# --- enqueued configurations ----------------------------------------------------------------------


def test_enqueued_configurations_come_first_and_once() -> None:
    study = study_on(sampler=Uniform())
    points = [{"x": 0.5, "n": 3}, {"x": 0.25, "n": 1}]
    numbers = [study.enqueue(p).number for p in [*points, *points, {"n": 3, "x": 0.5}]]
    assert numbers == [0, 1, 0, 1, 0]
    study.run(loss, trials=4)
    assert [t.params for t in study.trials[:2]] == points
    assert [t.source for t in study.trials] == ["given", "given", "sampler", "sampler"]
    assert study.enqueue(points[0]) is study.trials[0]
    assert study.trials[0].value == 3.5


def test_a_point_that_was_sampled_is_not_enqueued_again() -> None:
    study = study_on()
    study.run(loss, trials=2)
    assert study.enqueue(study.trials[1].params).number == 1
    assert len(study.trials) == 2


def test_an_enqueued_configuration_is_completed_with_defaults() -> None:
    study = study_on(space={"x": Float(0, 1, default=0.25), "c": Categorical("a", "b")})
    assert study.enqueue({"c": "b"}).params == {"x": 0.25, "c": "b"}


@pytest.mark.parametrize("params", [{}, {"x": 2, "n": 1}, {"x": 0.5, "n": 1, "z": 1}, {"x": "0.5", "n": 1}])
def test_an_enqueued_configuration_outside_the_space_is_refused(params: Params) -> None:
    study = study_on()
    with pytest.raises(InvalidParamsError):
        study.enqueue(params)
    assert not study.trials


def test_enqueued_configurations_count_in_the_budget() -> None:
    study = study_on()
    for n in range(1, 5):
        study.enqueue({"x": 0.5, "n": n})
    assert study.run(loss, trials=2) == "all 2 trials were started"
    assert [t.state for t in study.trials] == [State.COMPLETE] * 2 + [State.WAITING] * 2


# --- invalid trials -------------------------------------------------------------------------------


def test_an_invalid_trial_is_kept_but_ignored() -> None:
    study = study_on()
    study.run(loss, trials=6)
    assert study.best is not None
    wrong = study.best.number
    study.invalidate(wrong, "the data were mixed up")
    rest = [t for t in study.trials if t.number != wrong]
    assert study.best is min(rest, key=lambda t: loss(t.params))
    assert study.trials[wrong].invalid == "the data were mixed up"
    assert wrong not in study.history.complete
    study.run(loss, trials=6)
    assert sum(t.invalid is None for t in study.trials) == 6
    with pytest.raises(UsageError, match="no trial 99"):
        study.invalidate(99, "")


def test_an_invalidated_waiting_trial_is_not_run() -> None:
    study = study_on()
    study.enqueue({"x": 0.5, "n": 1})
    study.enqueue({"x": 0.5, "n": 2})
    study.invalidate(0, "a slip")
    assert study.ask().number == 1


def test_an_invalidated_point_is_tried_again_although_a_trial_outside_the_amended_space_resembles_it() -> None:
    store = MemoryStore()
    before = Study({"k": [1, 2], "g": Float(0, 1)}, sampler="random", store=store, seed=0)
    before.enqueue({"k": 1, "g": 0.5})
    before.run(lambda p: p["k"], trials=1)
    study = Study({"k": [1, 2]}, sampler="random", store=store, seed=0, amend=True)
    assert study.run(lambda p: p["k"]) == "space exhausted"
    again = next(trial.number for trial in study.trials[1:] if trial.params["k"] == 1)
    study.invalidate(again, "wrong data")
    study.run(lambda p: p["k"])
    assert [trial.params["k"] for trial in study.trials[3:]] == [1]


def test_a_trial_with_a_list_from_before_an_amendment_can_be_invalidated() -> None:
    store = MemoryStore()
    Study({"layers": [[8], [8, 8]]}, sampler="random", store=store, seed=0).run(lambda _: 1.0, trials=2)
    study = Study({"layers": [1, 2]}, sampler="random", store=store, seed=0, amend=True)
    study.invalidate(0, "the data were mixed up")
    assert load_history(store).trials[0].invalid == "the data were mixed up"
    assert study.run(lambda _: 1.0) == "space exhausted"
    assert [trial.params["layers"] for trial in study.trials[2:]] in ([1, 2], [2, 1])


# --- resuming -------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 14), max_size=4), st.integers(0, 3))
def test_a_resumed_study_equals_an_uninterrupted_one(budgets: list[int], seed: int) -> None:
    at_once = study_on(seed=seed)
    at_once.run(loss, trials=14)
    store = MemoryStore()
    for budget in [*sorted(budgets), 14]:
        study_on(store, seed=seed).run(loss, trials=budget)
    assert told(study_on(store, seed=seed)) == told(at_once)


def test_a_budget_that_is_used_up_runs_nothing() -> None:
    study = study_on()
    for _ in range(3):
        assert study.run(loss, trials=3) == "all 3 trials were started"
    assert len(study.trials) == 3


def test_without_a_seed_one_is_drawn_and_recorded() -> None:
    stores = [MemoryStore(), MemoryStore()]
    seeds = []
    for store in stores:
        study = study_on(store, seed=None)
        study.run(loss, trials=3)
        seeds.append(study.history.seed)
        study_on(store, seed=None).run(loss, trials=6)
        again = study_on(seed=study.history.seed)
        again.run(loss, trials=6)
        assert told(again) == told(study_on(store, seed=None))
    assert seeds[0] != seeds[1]


class Offer:
    @hookimpl
    def hpt_samplers(self) -> dict[str, type]:
        return {"other": Other}


def test_settings_left_open_are_taken_from_the_log() -> None:
    store, plugins = MemoryStore(), Plugins()
    plugins.register(Offer())
    study_on(store, sampler="other", plugins=plugins).ask()
    resumed = study_on(store, sampler=None, seed=None, plugins=plugins)
    resumed.ask()
    assert isinstance(resumed.sampler, Other)
    assert resumed.history.seed == 5


def test_a_recorded_sampler_whose_plugin_is_missing_is_named_as_the_recorded_one() -> None:
    store, plugins = MemoryStore(), Plugins()
    plugins.register(Offer())
    study_on(store, sampler="other", plugins=plugins).ask()
    with pytest.raises(
        UsageError, match=r"^The study's recorded sampler cannot be created: .* no sampler 'other'"
    ) as caught:
        study_on(store, sampler=None, plugins=Plugins()).ask()
    assert caught.value.exit_code == 3
    assert [mistake.path for mistake in caught.value.mistakes] == [""]


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("space.n.high: Was 5, is now 6", {"space": {"x": Float(0, 1), "n": Int(1, 6)}}),
    ("space.z: Is new", {"space": SPACE | {"z": Int(1, 2)}}),
    ("space.n: Is gone", {"space": {"x": Float(0, 1)}}),
    ("objectives.value: Was 'minimize', is now 'maximize'", {"objective": "maximize"}),
    ("objectives.loss: Is new", {"objective": {"loss": "minimize"}}),
    ("sampler: Was", {"sampler": Other()}),
    ("seed: Was 5, is now 6", {"seed": 6}),
    ("stop: Was []", {"stop": [StopAbove()]}),
    ("duplicates: Was 'avoid', is now 'allow'", {"duplicates": "allow"}),
    ("reproducible: Was 0, is now 1", {"reproducible": True}),
    ("evaluator.steps: Was None, is now 3", {"evaluator": FunctionEvaluator(call=loss, steps=3)}),
]


@pytest.mark.parametrize(("said", "changed"), CHANGES)
def test_a_changed_definition_is_refused_and_says_what_changed(said: str, changed: dict[str, Any]) -> None:
    store = MemoryStore()
    study_on(store).run(loss, trials=2)
    before = list(store.read("study"))
    with pytest.raises(DefinitionChangedError, match="recorded with another definition") as refused:
        study_on(store, **changed).trials  # noqa: B018 - the access opens the study
    assert any(str(mistake).startswith(said) for mistake in refused.value.mistakes), refused.value.mistakes
    assert list(store.read("study")) == before
    amended = study_on(store, amend=True, **changed)
    assert len(amended.trials) == 2
    assert [t.values for t in amended.trials] == [t.values for t in study_on(store, **changed).trials]


def test_a_refused_run_leaves_the_study_as_it_was() -> None:
    study = study_on(MemoryStore(), reproducible=True)
    study.run(loss, trials=2)
    best = study.best
    for refused in ({"evaluator": lambda _: 0.0}, {"workers": 2}):
        with pytest.raises(DefinitionChangedError):
            study.run(**refused, trials=4)
        assert study.best == best
    study.run(trials=3)
    assert len(study.trials) == 3


def test_a_study_that_a_check_refuses_is_not_recorded_so_it_can_be_corrected() -> None:
    @attrs.define
    class Checked:
        scoring: str

        def evaluate(self, trial: TrialContext) -> float:
            return loss(trial.params)

        def check(self, space: Any, objectives: Any) -> None:
            if self.scoring == "misspelt":
                raise UsageError(Mistake("evaluator.scoring", "There is no such scorer."))

    store = MemoryStore()
    study = study_on(store)
    with pytest.raises(UsageError, match="no such scorer"):
        study.run(Checked("misspelt"), trials=2)
    assert list(store.read("study")) == []
    assert study.trials == []  # reading it records no evaluator
    study_on(store, evaluator=Checked("right")).run(trials=2)
    study.run(Checked("right"), trials=3)
    assert len(study.trials) == 3


@pytest.mark.parametrize(
    "use",
    [
        lambda study: study.ask(),
        lambda study: study.enqueue({"x": 0.5, "n": 1}),
        lambda study: study.add_trial({"x": 0.5, "n": 1}, 1.0),
        lambda study: study.history,
        lambda study: study.run(loss, trials=1),
    ],
    ids=["ask", "enqueue", "add_trial", "history", "run"],
)
def test_components_that_do_not_fit_are_told_by_whatever_would_record_them(use: Callable[[Study], object]) -> None:
    @attrs.define
    class Checked:
        def suggest(self, history: History, rng: Any) -> Params:
            return history.space.sample(rng)

        def judge_study(self, history: History) -> None:
            return None

        def check(self, space: Any, objectives: Any) -> None:
            raise UsageError(Mistake("width", "Does not fit the space."))

    store = MemoryStore()
    with pytest.raises(UsageError) as refused:
        use(study_on(store, sampler=Checked(), stop=[Checked()]))
    assert [mistake.path for mistake in refused.value.mistakes] == ["width", "stop[0].width"]
    assert list(store.read("study")) == []
    study_on(store).ask()
    with pytest.raises(UsageError) as refused:
        use(study_on(store, sampler=Checked(), stop=[Checked()], amend=True))
    assert [mistake.path for mistake in refused.value.mistakes] == ["width", "stop[0].width"]
    assert len(study_on(store).trials) == 1  # the definition was not amended


def test_a_rule_that_cannot_judge_the_reports_is_not_recorded() -> None:
    class Racing:
        evidence = "folds"

        def judge_trial(self, history: History, trial: Any) -> None:
            return None

    store = MemoryStore()
    study = study_on(store, evaluator=loss, stop=Racing())
    for use in (study.run, study.ask, lambda: study.history):
        with pytest.raises(UsageError, match="stop: This rule judges folds"):
            use()
    assert list(store.read("study")) == []


@pytest.mark.parametrize("objective", ["minimize", {"a": "minimize", "b": "maximize"}])
def test_reading_the_trials_of_a_new_study_records_nothing_so_it_can_still_be_changed(objective: Any) -> None:
    store = MemoryStore()
    study = study_on(store, objective=objective)
    trials = study.trials
    assert (len(trials), study.best, len(study.front)) == (0, None, 0)
    assert list(store.read("study")) == []
    changed = study_on(store, objective=objective, seed=6)
    assert len(changed.trials) == 0
    changed.ask()
    assert len(changed.trials) == 1
    with pytest.raises(DefinitionChangedError):
        study.trials  # noqa: B018 - the access compares the definitions


def test_reading_a_study_while_it_runs_does_not_change_how_it_ends() -> None:
    store = MemoryStore()

    def broken(_: Params) -> float:
        monitor = study_on(store)
        assert [trial.state for trial in monitor.trials][-1] is State.RUNNING
        assert (monitor.best, monitor.front) == (None, [])
        raise ValueError

    with pytest.raises(NothingSucceededError):
        study_on(store).run(broken, trials=9)
    assert [record["event"] for record in store.read("study")].count("joined") == 1


def test_a_stored_study_is_only_read_by_what_shows_it_and_by_amend_without_a_change() -> None:
    store = MemoryStore()
    study_on(store).run(loss, trials=2)
    before = list(store.read("study"))
    assert len(study_on(store).to_dataframe()) == 2
    assert len(study_on(store).history.complete) == 2
    assert len(study_on(store, amend=True).trials) == 2
    assert list(store.read("study")) == before
    assert study_on().to_dataframe().empty


def test_a_study_that_was_read_can_be_read_after_another_process_amended_it(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    study_on(store).run(loss, trials=2)
    monitor = study_on(store)
    assert len(monitor.trials) == 2
    study_on(store, space={"x": Float(0, 2), "n": Int(1, 5)}, amend=True).run(loss, trials=3)
    caplog.clear()
    assert (len(monitor.trials), len(monitor.to_dataframe())) == (3, 3)
    assert monitor.best is not None
    with pytest.raises(DefinitionChangedError, match=r"space\.x\.high: Was 2\.0, is now 1\.0"):
        monitor.ask()
    assert caplog.text == ""


def test_components_that_fit_no_longer_are_told_before_the_next_trial_but_the_study_can_be_read() -> None:
    """What they need may not be installed on the machine where the study is resumed."""

    @attrs.define
    class Checked(Uniform):
        missing: ClassVar[bool] = False

        def check(self, space: Any, objectives: Any) -> None:
            if self.missing:
                raise UsageError(Mistake("width", "Needs a package."))

    class Offer:
        @hookimpl
        def hpt_samplers(self) -> dict[str, type]:
            return {"checked": Checked}

    plugins = Plugins()
    plugins.register(Offer())
    store = MemoryStore()
    given: dict[str, Any] = {"plugins": plugins, "sampler": {"use": "checked"}}
    running = study_on(store, **given).ask()
    Checked.missing = True
    for use in (
        study_on(store, **given).ask,
        lambda: study_on(store, **given).run(loss, trials=2),
        lambda: study_on(store, plugins=plugins, sampler=None).run(loss, trials=2),
    ):
        with pytest.raises(UsageError, match="Needs a package"):
            use()
    study = study_on(store, **given)
    assert study.tell(running, 1.0).value == 1.0
    assert len(study.history.trials) == 1


def test_an_amendment_that_is_refused_is_not_reported_as_made(caplog: pytest.LogCaptureFixture) -> None:
    class Misfit(Uniform):
        def check(self, space: Any, objectives: Any) -> None:
            raise UsageError(Mistake("width", "Does not fit the space."))

    store = MemoryStore()
    study_on(store).ask()
    with pytest.raises(UsageError, match="Does not fit"):
        study_on(store, sampler=Misfit(), amend=True).enqueue({"x": 0.5, "n": 1})
    assert "amended" not in caplog.text


def test_a_run_with_mistaken_arguments_lists_them_all_and_changes_nothing() -> None:
    study = study_on(evaluator=loss)
    evaluator = study.evaluator
    with pytest.raises(UsageError) as refused:
        study.run("no-such", trials=0)
    assert [mistake.path for mistake in refused.value.mistakes] == ["evaluator.use", "trials"]
    with pytest.raises(UsageError):
        study.run(lambda _: 0.0, trials=0)
    assert study.evaluator is evaluator


def test_all_changes_are_listed_at_once() -> None:
    store = MemoryStore()
    study_on(store).run(loss, trials=1)
    with pytest.raises(DefinitionChangedError) as refused:
        study_on(store, seed=1, duplicates="allow", objective="maximize").ask()
    assert {m.path for m in refused.value.mistakes[1:]} == {"seed", "duplicates", "objectives.value"}


def test_swapped_objectives_are_a_change() -> None:
    store = MemoryStore()
    study_on(store, objective={"a": "minimize", "b": "minimize"}, sampler=Uniform()).run(lambda _: (1, 2), trials=1)
    swapped: dict[str, Any] = {"objective": {"b": "minimize", "a": "minimize"}, "sampler": Uniform()}
    with pytest.raises(DefinitionChangedError, match="objectives: The order was a, b, is now b, a"):
        study_on(store, **swapped).ask()
    amended = study_on(store, amend=True, **swapped)
    amended.run(lambda _: {"a": 1, "b": 2}, trials=2)
    assert [t.values for t in amended.trials] == [(2.0, 1.0)] * 2


TWO = {"a": "minimize", "b": "maximize"}


@pytest.mark.parametrize(
    ("before", "now", "result", "values", "metrics"),
    [
        (TWO, {"a": "minimize"}, (1, 2), (1.0,), {"b": 2.0}),
        (TWO, {"b": "maximize"}, (1, 2), (2.0,), {"a": 1.0}),
        (TWO, {"b": "maximize", "a": "minimize"}, (1, 2), (2.0, 1.0), {}),
        ({"a": "minimize"}, TWO, 1, None, {"a": 1.0}),
        ({"a": "minimize"}, TWO, {"a": 1, "b": 2}, (1.0, 2.0), {}),
        (TWO, TWO | {"c": "minimize"}, (1, 2), None, {"a": 1.0, "b": 2.0}),
        ({"a": "minimize"}, {"z": "maximize"}, 1, None, {"a": 1.0}),
    ],
)
def test_a_result_from_before_an_amendment_is_read_with_the_old_objectives(
    before: Any, now: Any, result: Any, values: Any, metrics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An amendment by another process must not make the log unreadable or mix up the values of objectives."""
    store = MemoryStore()
    here = study_on(store, objective=before, sampler=Uniform())
    told, reported = here.ask(), here.ask()
    with monkeypatch.context() as other_process:
        other_process.setattr(liveness, "this_process", lambda: "elsewhere:1:1")
        study_on(store, objective=now, sampler=Uniform(), amend=True).trials  # noqa: B018 - the access opens it
    here.tell(told, result)
    here.report(reported, 1, 1.0, b=2.0)
    here.tell(reported, Stop("enough"))
    again = study_on(store, objective=now, sampler=Uniform())
    assert (again.trials[0].values, again.trials[0].metrics) == (values, metrics)
    assert again.trials[1].state is State.STOPPED


def test_a_process_that_missed_an_amendment_starts_no_more_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would decide with the old sampler, rules and space."""
    store = MemoryStore()
    here = study_on(store, sampler=Uniform())
    running = here.ask()
    with monkeypatch.context() as other_process:
        other_process.setattr(liveness, "this_process", lambda: "elsewhere:1:1")
        other = study_on(store, sampler=Constant(), amend=True)
        assert other.ask().number == 1
    with pytest.raises(DefinitionChangedError, match=r"Another process amended .*: open the study again to continue"):
        here.ask()
    here.tell(running, 1.0)
    assert [trial.state for trial in here.trials] == [State.COMPLETE, State.RUNNING]
    assert study_on(store, sampler=Constant()).ask().number == 2


def test_adding_an_evaluator_is_no_amendment_for_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    here = study_on(store, sampler=Uniform())
    here.ask()
    with monkeypatch.context() as other_process:
        other_process.setattr(liveness, "this_process", lambda: "elsewhere:1:1")
        study_on(store, sampler=Uniform()).run(loss, trials=2)
    assert here.ask().number == 2


def test_a_result_that_lost_its_values_is_not_reused() -> None:
    store = MemoryStore()
    point = Suggestion({"x": 0.5, "n": 1})
    study_on(store, objective=TWO, duplicates="reuse", sampler=Constant()).add_trial(point, (1, 2))
    amended = study_on(store, objective={"c": "minimize"}, duplicates="reuse", sampler=Constant(), amend=True)
    amended.run(lambda _: 3.0, trials=2)
    assert [trial.values for trial in amended.trials] == [None, (3.0,)]


def test_after_an_amendment_the_trials_inside_the_space_are_used(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    study_on(store, sampler=Uniform()).run(loss, trials=30)
    narrow = {"x": Float(0, 0.5), "n": Int(1, 3)}
    amended = study_on(store, space=narrow, amend=True, sampler=Uniform())
    inside = [t.number for t in amended.trials if t.params["x"] <= 0.5 and t.params["n"] <= 3]
    assert amended.history.complete.tolist() == inside
    assert f"{30 - len(inside)} of 30 complete trials lie outside the new space" in caplog.text
    amended.run(loss, trials=40)
    assert all(t.params["x"] <= 0.5 and t.params["n"] <= 3 for t in amended.trials[30:])
    assert amended.best is not None
    assert amended.best.value == min(loss(t.params) for t in amended.trials)


def test_an_evaluator_may_be_added_later() -> None:
    """One script enqueues, another runs: the declarations of the evaluator count from then on."""

    def folds(params: Params) -> Iterator[float]:
        yield from (1.0, 2.0, 6.0)

    store = MemoryStore()
    study = study_on(store)
    study.enqueue({"x": 0.5, "n": 1})
    study.run(FunctionEvaluator(call=folds, evidence="folds", steps=3), trials=1)
    assert study.trials[0].values == (3.0,)
    assert (study.history.evidence, study.history.steps) == ("folds", 3)
    assert study_on(store).best is not None  # reading without an evaluator is no change
    with pytest.raises(DefinitionChangedError, match="evaluator"):
        study.run(FunctionEvaluator(call=folds), trials=2)


def test_an_amendment_without_the_evaluator_keeps_it() -> None:
    store = MemoryStore()
    study_on(store, evaluator=FunctionEvaluator(call=loss, steps=3)).run(trials=1)
    study_on(store, seed=6, amend=True).ask()
    with pytest.raises(DefinitionChangedError, match=r"evaluator\.steps: Was 3, is now 4"):
        study_on(store, seed=6).run(FunctionEvaluator(call=loss, steps=4), trials=2)


def test_who_asks_for_the_trials_of_a_reproducible_study_is_one_worker() -> None:
    study = study_on(reproducible=True)
    study.ask()
    with pytest.raises(UsageError, match="The next trial depends on running ones"):
        study.ask()


def test_a_reproducible_study_can_be_read_without_the_number_of_workers() -> None:
    store = MemoryStore()
    first = study_on(store, reproducible=True)
    first.enqueue({"x": 0.5, "n": 1})
    first.workers = 3
    first._decisions = None
    assert first.decisions.ledger.history.definition["reproducible"] == 3
    first.tell(first.ask(), 1.0)
    assert study_on(store, reproducible=True).history.definition["reproducible"] == 3
    with pytest.raises(DefinitionChangedError, match="reproducible: Was 3, is now 2"):
        study_on(store, reproducible=True).run(loss, workers=2)


def test_two_studies_in_one_store_are_separate() -> None:
    store = MemoryStore()
    study_on(store, name="one").run(loss, trials=3)
    study_on(store, name="two").run(loss, trials=2)
    assert (len(study_on(store, name="one").trials), len(study_on(store, name="two").trials)) == (3, 2)
    assert list(store.studies()) == ["one", "two"]


def test_counts_and_seeds_may_come_from_numpy() -> None:
    """As in ``for seed in np.arange(5)``."""
    store = MemoryStore()
    study_on(store, seed=np.int64(7)).run(loss, trials=np.int32(3))  # type: ignore[arg-type]
    assert (study_on(store, seed=7).history.seed, len(study_on(store, seed=7).trials)) == (7, 3)


# --- failing at the start -------------------------------------------------------------------------


def fail_as(message: Callable[[int], str]) -> Callable[[Params], Never]:
    count = itertools.count()

    def fail(params: Params) -> Never:
        raise ValueError(message(next(count)))

    return fail


@pytest.mark.parametrize("max_failures", [1, 3, 5])
def test_the_same_failure_at_the_start_ends_the_run_and_is_shown_once(max_failures: int) -> None:
    study = study_on(max_failures=max_failures)
    with pytest.raises(NothingSucceededError) as shown:
        study.run(fail_as(lambda i: f"no column 'y' at 0x{i:x}"), trials=20)
    assert len(study.trials) == max_failures
    assert str(shown.value).count("Traceback") == 1
    assert "no column 'y'" in str(shown.value)
    assert study.history.stop is not None
    several = f"the first {max_failures} trials of this run all failed in the same way (error): "
    expected = "the first trial of this run failed (error): " if max_failures == 1 else several
    assert study.history.stop["reason"].startswith(expected)


def test_failures_that_differ_only_in_numbers_are_the_same() -> None:
    numbers = iter(["1.5", "-2", "-3.25e-05", "0x7f", "4", "1e+300"])
    study = study_on()
    with pytest.raises(NothingSucceededError):
        study.run(fail_as(lambda _: f"bad x={next(numbers)}, y = {next(numbers)}"), trials=20)
    assert len(study.trials) == 3


def test_different_failures_do_not_end_the_run() -> None:
    study = study_on()
    study.run(fail_as(lambda i: f"unlike {'abcdefghijklmno'[i]}"), trials=12)
    assert [t.state for t in study.trials] == [State.FAILED] * 12


def test_one_success_among_the_first_trials_lets_the_run_continue() -> None:
    outcomes = iter([1.0] + [None] * 20)
    study = study_on()
    study.run(lambda _: next(outcomes), trials=12)
    assert len(study.trials) == 12


def test_after_the_cause_is_fixed_the_study_continues() -> None:
    """In the same notebook, with the same study object."""
    broken = True

    def evaluate(params: Params) -> float:
        if broken:
            raise ValueError("not yet")
        return loss(params)

    study = study_on()
    for _ in range(2):
        before = len(study.trials)
        with pytest.raises(NothingSucceededError):
            study.run(evaluate, trials=20)
        assert len(study.trials) == before + 3
    broken = False
    assert study.run(evaluate, trials=20) == "all 20 trials were started"
    assert [t.state for t in study.trials] == [State.FAILED] * 6 + [State.COMPLETE] * 14


# --- arguments that are refused--------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("name", value) for value in ("", "  ", "a\nb", "x" * 201, None, 3)),
        *(("seed", value) for value in (-1, 1.5, "0", True, 2**63)),
        *(("duplicates", value) for value in ("never", None, True)),
        *(("reproducible", value) for value in (1, "yes", None)),
        *(("retries", value) for value in (-1, 1.0, True, None)),
        *(("max_failures", value) for value in (0, 1.0, True, None)),
        *(("trial_timeout", value) for value in (0, -1, math.nan, math.inf, "1", True)),
    ],
)
def test_a_bad_setting_is_refused_by_name(argument: str, value: object) -> None:
    given: dict[str, Any] = {argument: value}
    with pytest.raises(UsageError) as refused:
        study_on(**given)
    assert [m.path for m in refused.value.mistakes] == [argument]


def test_all_bad_settings_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        study_on(seed=-1, retries="1", duplicates="no", max_failures=0, trial_timeout="10 min")
    expected = {"seed", "retries", "duplicates", "max_failures", "trial_timeout"}
    assert {m.path for m in refused.value.mistakes} == expected


@pytest.mark.parametrize("objective", ["min", "", {}, [], None, {"a": "up"}, {"": "minimize"}, {1: "minimize"}, 3])
def test_a_bad_objective_is_refused(objective: Any) -> None:
    with pytest.raises(UsageError, match="objective"):
        study_on(objective=objective)


@pytest.mark.parametrize(
    "given", [{"sampler": 3}, {"sampler": Uniform}, {"sampler": loss}, {"store": 3}, {"stop": [3]}, {"executor": 3}]
)
def test_anything_but_a_component_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"Must be an? "):
        study_on(**given)


@pytest.mark.parametrize("given", [{"store": ""}, {"store": {}}, {"executor": ""}, {"executor": []}])
def test_an_empty_value_does_not_mean_the_default(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):  # else a path that was left empty would silently store nothing
        Study(SPACE, **given)


def test_none_means_no_stopping_rule() -> None:
    assert study_on(stop=None).rules == []


def test_the_mistakes_of_all_arguments_are_raised_together() -> None:
    with pytest.raises(UsageError) as refused:
        Study(
            {"x": Float(0, 1), "y": {"low": 1, "high": 0}},
            objective="min",
            constraints={"ms": "< 5"},
            sampler=3,
            evaluator="no-such-evaluator",
            store={},
            stop=[StopAbove(), 4],
            executor=5,
            retries=-1,
        )
    assert [mistake.path for mistake in refused.value.mistakes] == [
        *("retries", "space.y.low", "objective", "constraints.ms", "sampler", "evaluator.use", "stop[1]", "executor"),
        "store.use",
    ]


def test_the_mistakes_of_one_argument_keep_their_type() -> None:
    with pytest.raises(SpaceError):
        Study({"y": {"low": 1, "high": 0}})


def test_all_bad_rules_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        study_on(stop=[3, StopAbove(), {"use": "no-such-rule"}])
    assert [m.path for m in refused.value.mistakes] == ["stop[0]", "stop[2].use"]


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "3"])
def test_counts_are_ints_from_one(count: Any) -> None:
    with pytest.raises(UsageError, match="trials: Must be an int >= 1") as refused:
        study_on().run(loss, trials=count, workers=count)
    assert [mistake.path for mistake in refused.value.mistakes] == ["trials", "workers"]
    with pytest.raises(UsageError, match="top: Must be an int >= 1"):
        study_on().enqueue_from(study_on(), top=count)


def test_running_needs_an_evaluator() -> None:
    with pytest.raises(UsageError, match="The study has no evaluator: pass one to"):
        study_on().run()


# --- reading --------------------------------------------------------------------------------------


def test_a_data_frame_has_a_row_per_trial() -> None:
    study = study_on()
    study.run(loss, trials=4)
    frame = study.to_dataframe()
    assert frame["params.x"].tolist() == [t.params["x"] for t in study.trials]
    assert frame["value"].tolist() == [t.value for t in study.trials]
    assert str(frame["started"].dtype).endswith("UTC]")


def test_each_trial_has_its_own_context() -> None:
    seen: list[TrialContext] = []

    def evaluate(params: Params, trial: TrialContext) -> float:
        seen.append(trial)
        params["x"] = 7.0  # the evaluator's copy
        return 1.0

    study = study_on()
    study.run(evaluate, trials=5)
    assert [c.number for c in seen] == list(range(5))
    assert len({c.seed for c in seen}) == 5
    assert all(0 <= c.seed < 2**32 for c in seen)
    assert all(0 <= t.params["x"] <= 1 for t in study.trials)
    again = study_on()
    again.run(lambda params, trial: seen.append(trial) or 1.0, trials=5)  # type: ignore[func-returns-value]
    assert [c.seed for c in seen[:5]] == [c.seed for c in seen[5:]]


def test_an_evaluator_that_changes_a_list_does_not_change_the_trial() -> None:
    study = Study({"layers": Categorical([1], [1, 2])}, sampler=Uniform(), duplicates="allow", seed=0)

    def evaluate(params: Params) -> float:
        params["layers"].append(10)  # the output layer
        return float(len(params["layers"]))

    study.run(evaluate, trials=4)
    assert all(study.space.contains(trial.params) for trial in study.trials)


def test_a_caller_that_changes_the_params_does_not_change_the_trial() -> None:
    study = Study({"model": ["svm", "tree"], "layers": Categorical([1], [1, 2])}, sampler=Uniform(), seed=0)
    trial = study.ask()
    params = trial.params
    params.pop("model")
    params["layers"].append(10)
    study.tell(trial, 1.0)
    assert study.space.contains(study.trials[0].params)
    assert all(study.space.contains(record["params"]) for record in study.store.read(study.name) if "params" in record)


def test_the_repr_names_the_study_and_its_size() -> None:
    study = study_on(name="digits")
    study.run(loss, trials=2)
    assert repr(study) == "<Study 'digits': 2 parameters, 2 trials>"
    alone = Study({"x": Float(0, 1)}, sampler="random")
    assert repr(alone) == "<Study 'study': 1 parameter, 0 trials>"
