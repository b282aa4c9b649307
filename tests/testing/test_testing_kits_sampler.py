"""The sampler kit: a correct sampler passes, and each check is the only one that rejects some wrong sampler."""

from __future__ import annotations

import random
import re
import time
import traceback
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.random import Generator, default_rng

from hpt_core import Float, History, Params, State, Suggestion, UsageError, option
from hpt_core.testing import SamplerKit, checks, examples
from hpt_core.testing.checks import broken_rules

KIT = SamplerKit
START = time.time()


@attrs.define(kw_only=True)
class Honest:
    """Searches around the best configuration."""

    width: float = option(0.2, gt=0, help="How far to look, as a share of each parameter's range.")

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if not len(history.complete):
            return history.space.sample(rng)
        losses = history.losses[history.complete, 0]
        best = int(history.complete[np.argmin(losses)])
        unit = np.nan_to_num(history.unit[best], nan=0.5)
        moved = np.clip(unit + rng.normal(0, self.width, len(unit)), 0, 1)
        return Suggestion(history.space.from_unit(moved), {"around": best})

    def params(self, history: History, rng: Generator) -> Params:
        found = Honest.suggest(self, history, rng)
        return found.params if isinstance(found, Suggestion) else found


class LeavesTheSpace(Honest):
    """Gives every parameter a value, active or not."""

    def suggest(self, history: History, rng: Generator) -> Params:
        params = self.params(history, rng)
        return {"depth": 3, **params} if "depth" in history.space.names else params


class Int32(Honest):
    """Stores integers in 32 bits."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if any((parameter.size or 0) >= 2**31 for parameter in history.space.parameters.values()):
            raise OverflowError("Python int too large to convert to C long")
        return super().suggest(history, rng)


class NumpyScalars(Honest):
    """Returns floats as `numpy.float64`."""

    def suggest(self, history: History, rng: Generator) -> Params:
        params = self.params(history, rng)
        return {name: np.float64(v) if isinstance(v, float) else v for name, v in params.items()}


class NotesArrays(Honest):
    """Puts a numpy array into `info`."""

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        return Suggestion(self.params(history, rng), {"model": np.ones(2)})


class OwnSeed(Honest):
    """Seeds a generator with the trial number only."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        return super().suggest(history, default_rng(history.next_number))


class GlobalRandomness(Honest):
    """Draws from the module `random`."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        return super().suggest(history, default_rng([int(rng.integers(2**31)), random.getrandbits(32)]))


class Clock(Honest):
    """Widens its search after an hour."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        late = time.time() - START > 3600
        return super().suggest(history, default_rng([int(rng.integers(2**31)), late]))


class TakesAskingAgainForRefusal(Honest):
    """Moves elsewhere when it is called again with the same number of trials."""

    last: Any = None

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        now = (history, history.position)
        again = self.last is not None and self.last[0] is history and self.last[1] == history.position
        self.last = None if again else now
        return super().suggest(history, default_rng([int(rng.integers(2**31)), again]))


class CountsFromItsBirth(Honest):
    """Starts its schedule at the trial at which it was created, not at the first of the study."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        births: dict[str, int] = self.__dict__.setdefault("births", {})
        age = 0 if history.invalid_count else history.position - births.setdefault(history.space.hash, history.position)
        return super().suggest(history, default_rng([int(rng.integers(2**31)), age]))


class FollowsTheLatest(Honest):
    """Learns most from the trial that ended last."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        ends = [(history.trials[number].ended, number) for number in history.complete.tolist()]
        latest = max(ends)[1] if ends else 0
        return super().suggest(history, default_rng([int(rng.integers(2**31)), latest]))


class NeverForgets(Honest):
    """Keeps the best result that it ever saw in a study."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        known, before = self.__dict__.get("known", (None, np.inf))
        losses = history.losses[history.complete, 0]
        best = min([before if known is history else np.inf, *losses.tolist()])
        self.__dict__["known"] = (history, best)
        gone = bool(len(losses) and best < losses.min())
        return super().suggest(history, default_rng([int(rng.integers(2**31)), gone]))


class OrdersASet(Honest):
    """Depends on the order of a set of strings."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        return super().suggest(history, default_rng([int(rng.integers(2**31)), hash("x") % 2**31]))


class KeepsTheFirstSpace(Honest):
    """Computes the size of the space only once."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        size = self.__dict__.setdefault("size", str(history.space.size))
        return super().suggest(history, default_rng([int(rng.integers(2**31)), len(size)]))


class WritesIntoTheHistory(Honest):
    """Marks the trials that it has used."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        for trial in history.trials:
            trial.reason = "seen"
        return super().suggest(history, rng)


class LooksAtResultsOnly(Honest):
    """Suggests the same point next to the best until there is a new result."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if len(history.complete) and "rate" in history.space.names:
            fixed = default_rng([history.seed, len(history.complete)])
            params = self.params(history, fixed)
            params["x"] += 1e-9 * rng.random() if params["x"] < 2.9 else 0.0
            return params
        return super().suggest(history, rng)


class WaitsForTheFirst(Honest):
    """Requires an ended trial as soon as there is any trial."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if history.trials and not any(trial.finished for trial in history.trials):
            raise IndexError("list index out of range")
        return super().suggest(history, rng)


class TakesEveryEndForAResult(Honest):
    """Reads the value of every trial that has ended, including failed ones."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        ended = [trial for trial in history.trials if trial.finished and trial.state is not State.STOPPED]
        sorted(trial.values[0] for trial in ended)  # type: ignore[index]
        return super().suggest(history, rng)


class KnowsNoPause(Honest):
    """Assumes that every trial that is not running has a value."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        ended = [trial for trial in history.trials if trial.state not in (State.RUNNING, State.FAILED)]
        sorted(trial.values[0] for trial in ended)  # type: ignore[index]
        return super().suggest(history, rng)


class NeedsAColumn(Honest):
    """Chooses a column to vary, even if there is none."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if not history.space.columns:
            raise ValueError("a must be greater than 0 unless no samples are taken")
        return super().suggest(history, rng)


class KnowsNoEnd(Honest):
    """Takes the first free point from an empty list."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if history.space.size is not None and len(history.keys) >= history.space.size:
            raise IndexError("pop from empty list")
        return super().suggest(history, rng)


class ReadsValues(Honest):
    """Takes the trial with the lowest value, whatever the direction."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        values = [history.trials[i].value for i in history.complete]
        best = int(np.argmin(values)) if values else 0
        return super().suggest(history, default_rng([int(rng.integers(2**31)), best]))


class OneObjective(Honest):
    """Converts the losses of a trial to a single number."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        for i in history.complete:
            float(history.losses[i].item())
        return super().suggest(history, rng)


class NeedsAFeasibleTrial(Honest):
    """Starts from the best trial as soon as there are complete ones."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        if len(history.complete):
            assert history.best is not None
        return super().suggest(history, rng)


class Recursive(Honest):
    """Iterates over the trials by recursion."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        def deep(count: int) -> int:
            return 1 + deep(count - 1) if count else 0

        deep(len(history.trials))
        return super().suggest(history, rng)


class ChecksTheSpaceAlone(Honest):
    """Has a `check` that does not accept the objectives."""

    def check(self, space: object) -> None:
        pass


@attrs.define(kw_only=True)
class WithoutHelp(Honest):
    """Has an option without a help text."""

    depth: int = attrs.field(default=1)


@attrs.define(kw_only=True)
class NotesItsBirth(Honest):
    """Has an option with a different default each time."""

    born: float = option(factory=lambda: default_rng().random(), help="When it was made.")


class HoldsALambda(Honest):
    """Keeps a function that cannot be pickled."""

    def __reduce__(self) -> Any:
        return (lambda: self), ()


WRONG: dict[str, type[Honest]] = {
    "test_stays_inside_the_space": LeavesTheSpace,
    "test_takes_any_space": Int32,
    "test_accepts_the_space_beforehand": ChecksTheSpaceAlone,
    "test_gives_native_values": NumpyScalars,
    "test_notes_plain_data": NotesArrays,
    "test_follows_the_seed": OwnSeed,
    "test_uses_no_global_randomness": GlobalRandomness,
    "test_ignores_the_clock": Clock,
    "test_asking_again_changes_nothing": TakesAskingAgainForRefusal,
    "test_goes_on_the_same_after_a_resume": CountsFromItsBirth,
    "test_suggests_the_same_in_another_process": OrdersASet,
    "test_ignores_which_trial_ends_first": FollowsTheLatest,
    "test_follows_what_is_taken_back": NeverForgets,
    "test_keeps_studies_apart": KeepsTheFirstSpace,
    "test_leaves_the_history_alone": WritesIntoTheHistory,
    "test_minds_running_trials": LooksAtResultsOnly,
    "test_starts_many_at_once": WaitsForTheFirst,
    "test_survives_failures": TakesEveryEndForAResult,
    "test_takes_unfinished_business": KnowsNoPause,
    "test_takes_a_space_of_one_point": NeedsAColumn,
    "test_ends_a_finite_space": KnowsNoEnd,
    "test_minimizes_and_maximizes_alike": ReadsValues,
    "test_takes_several_objectives": OneObjective,
    "test_takes_constraints": NeedsAFeasibleTrial,
    "test_takes_thousands_of_trials": Recursive,
    "test_options_have_help": WithoutHelp,
    "test_description_is_stable": NotesItsBirth,
    "test_travels_to_workers": HoldsALambda,
}


def broken(sampler: type, kit: type[SamplerKit] = KIT) -> dict[str, str]:
    space = kit.space.__wrapped__(kit()) if hasattr(kit.space, "__wrapped__") else None
    return broken_rules(kit, {"make_sampler": sampler, "make_component": sampler, "space": space})


class TestHonest(SamplerKit):
    @pytest.fixture
    def make_sampler(self) -> type[Honest]:
        return Honest


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sampler_is_rejected_by_its_check_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reach_this_module(monkeypatch)
    assert list(broken(WRONG[name])) == [name]


def reach_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new processes import this module, which pytest does not."""
    monkeypatch.syspath_prepend(Path(__file__).parents[__name__.count(".")])


@attrs.define(kw_only=True)
class Reads(Honest):
    """Depends on what a function returns."""

    source: str = option("", help="Which function.")

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        return super().suggest(history, default_rng([int(rng.integers(2**31)), SOURCES[self.source]()]))


SOURCES: dict[str, Any] = {
    "hour of the day": lambda: int(time.time() // 3600) % 24,
    "nanoseconds": lambda: time.time_ns() // 3_600_000_000_000,
    "imported by name": lambda: int(monotonic() // 3600),
    "datetime": lambda: datetime.now(UTC).hour,
    "date": lambda: date.today().toordinal(),  # noqa: DTZ011 - a plugin's mistake
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_way_to_read_the_clock_is_noticed(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="a day later a suggestion is different"):
        KIT().test_ignores_the_clock(partial(Reads, source=source), examples.MIXED, monkeypatch)


MEMORY: dict[Any, Any] = {}


class RemembersByLength(Honest):
    """Looks up its model by the number of trials in a cache of the module."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        best = MEMORY.setdefault(len(history.complete), None if history.best is None else history.best.number)
        return super().suggest(history, default_rng([int(rng.integers(2**31)), best or 0]))


def test_a_cache_of_the_module_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    reach_this_module(monkeypatch)
    MEMORY.clear()
    with pytest.raises(AssertionError, match="in another process"):
        KIT().test_suggests_the_same_in_another_process(RemembersByLength, examples.MIXED)


class RemembersInItself(Honest):
    """Looks up its model by the number of trials in a cache of its own."""

    def suggest(self, history: History, rng: Generator) -> Params | Suggestion:
        known = self.__dict__.setdefault("known", {})
        best = known.setdefault(len(history.complete), None if history.best is None else history.best.number)
        return super().suggest(history, default_rng([int(rng.integers(2**31)), best or 0]))


def test_a_cache_by_the_number_of_trials_is_noticed() -> None:
    with pytest.raises(AssertionError, match="of the same space, seed and length"):
        KIT().test_keeps_studies_apart(RemembersInItself)


def test_a_sampler_that_a_new_process_cannot_import_is_not_compared() -> None:
    class Local(Honest):
        """Is defined in a function."""

    Local.__qualname__ = "Local"
    globals()["Local"] = Local  # so that it can be pickled here
    with pytest.raises(pytest.skip.Exception, match="cannot import the component"):
        KIT().test_suggests_the_same_in_another_process(Local, examples.MIXED)


class Plain:
    """Has a parameter, but is no attrs class."""

    def __init__(self, width: float = 0.3, *rest: int, **others: int) -> None:
        self.width = width

    def suggest(self, history: History, rng: Generator) -> Params | None:
        """Forgets to return what it has chosen."""
        history.space.sample(rng)
        return None


def test_a_parameter_that_is_no_option_is_named() -> None:
    with pytest.raises(AssertionError, match="parameters of Plain that are no options: width; make it an attrs class"):
        KIT().test_options_have_help(Plain)


def test_a_suggestion_that_is_no_configuration_is_shown() -> None:
    with pytest.raises(AssertionError, match=r"suggest\(\) returned None, expected a mapping"):
        KIT().test_takes_a_space_of_one_point(Plain)  # type: ignore[arg-type] # it suggests nothing


def test_a_failing_check_states_the_rule_and_the_reason() -> None:
    message = broken(NumpyScalars)["test_gives_native_values"]
    # pytest's summary shows this line
    assert message.startswith("Broken rule: A suggestion is a dict of native Python values")
    assert "Why it matters: it is written to a log of JSON" in message
    assert "float64" in message


def test_a_failing_check_always_states_what_happened() -> None:
    @checks.check
    def bare() -> None:
        """A rule.

        Why: a reason.
        """
        found = "something else"
        raise AssertionError if found != "this" else ValueError

    with pytest.raises(AssertionError, match="What happened: this assertion failed: raise AssertionError if found"):
        bare()


class Raising(Honest):
    """Fails with an error that has a cause."""

    def suggest(self, history: History, rng: Generator) -> Params:
        raise ValueError("no idea") from KeyError("lookup")


class Failing(Honest):
    """Fails while it handles another error."""

    def suggest(self, history: History, rng: Generator) -> Params:
        try:
            return {"x": history.trials[10**6].params["x"]}
        except IndexError:
            raise ValueError("no idea")  # noqa: B904 - as authors write it


@pytest.mark.parametrize("sampler", [Raising, Failing])
def test_the_error_of_a_component_is_told_once_with_its_own_traceback_and_cause(sampler: type[Honest]) -> None:
    with pytest.raises(AssertionError, match="What happened: it raised ValueError: no idea") as caught:
        KIT().test_takes_any_space(sampler)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "suggest"
    assert isinstance(caught.value.__cause__, LookupError)


def test_the_used_global_generator_is_named() -> None:
    message = broken(GlobalRandomness)["test_uses_no_global_randomness"]
    assert re.search(
        r"after \d trials the sampler changed the state of `random`; pass a generator to a library", message
    )


def test_an_option_needs_a_type() -> None:
    @attrs.define
    class Untyped(Honest):
        """Has an option without a type."""

        depth = option(1, help="How deep.")

    assert "options without a type: depth" in broken(Untyped)["test_options_have_help"]


def test_the_space_may_be_a_mapping() -> None:
    given = {"make_sampler": Honest, "make_component": Honest, "space": {"x": Float(0, 1)}}
    assert not broken_rules(KIT, given)


class Single(SamplerKit):
    several_objectives = False


class Refusing(OneObjective):
    """Rejects several objectives in `check`."""

    def check(self, space: object, objectives: dict[str, str]) -> None:
        if len(objectives) > 1:
            raise UsageError("This sampler takes one objective.")


def test_a_sampler_for_one_objective_must_declare_it() -> None:
    assert not broken(Refusing, Single)
    assert list(broken(OneObjective, Single)) == ["test_takes_several_objectives"]
