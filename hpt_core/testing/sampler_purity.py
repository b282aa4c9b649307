"""The part of the sampler kit that checks whether suggestions are a pure function of history and generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from numpy.random import default_rng

from hpt_core.components import Sampler, Suggestion
from hpt_core.history import events
from hpt_core.history.history import History
from hpt_core.testing import examples
from hpt_core.testing.checks import another_day, check, drawn_from, global_state, pinned
from hpt_core.testing.component import ComponentKit, pickled
from hpt_core.testing.histories import make_records
from hpt_core.testing.processes import in_new_process

if TYPE_CHECKING:
    from hpt_core.history.events import Record
    from hpt_core.history.trial import Params
    from hpt_core.space.space import Space

__all__ = ["Make", "SamplerPurityKit", "ask", "plain", "text"]

Make = Callable[[], Sampler]


def ask(sampler: Sampler, history: History) -> Suggestion:
    """Ask for a suggestion as the core does, with the global random state pinned."""
    with pinned():
        answer = sampler.suggest(history, default_rng([history.seed, history.next_number]))
    suggestion = answer if isinstance(answer, Suggestion) else Suggestion(answer)
    assert isinstance(suggestion.params, Mapping), f"suggest() returned {answer!r:.80}, expected a mapping"
    return suggestion


def plain(params: Params) -> Params:
    """A configuration with numpy scalars converted to Python values, because another check tests for those."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}


def text(suggestion: Suggestion) -> str:
    """A configuration as text for comparison, types included."""
    return repr(plain(suggestion.params))


class SamplerPurityKit(ComponentKit):
    """Inherit `SamplerKit` instead."""

    seeded: ClassVar[bool] = True

    @pytest.fixture
    def make_sampler(self) -> Make:
        """Override this to return a callable that makes a new sampler, for example ``return MySampler``."""
        msg = "Override the fixture `make_sampler` to return a callable that makes your sampler."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_sampler: Make) -> Make:
        """Used by the checks that all kits share."""
        return make_sampler

    @pytest.fixture
    def space(self) -> Space:
        """Override this with a `Space` or a mapping if the sampler does not support every kind of parameter."""
        return examples.MIXED

    @check
    def test_follows_the_seed(self, make_sampler: Make) -> None:
        """Another seed of the study gives other suggestions.

        Why: people repeat a study with other seeds to tell skill from luck. A sampler with a seed of its own repeats
            the same luck.
        """
        if not self.seeded:
            pytest.skip("this sampler declares seeded = False")
        runs = []
        for seed in (1, 2):
            histories = [examples.studied(examples.FLOATS, count, seed=seed) for count in range(6)]
            runs.append([text(ask(make_sampler(), history)) for history in histories])
        assert runs[0] != runs[1], "six suggestions are the same with two seeds"

    @check
    def test_uses_no_global_randomness(self, make_sampler: Make, space: Space) -> None:
        """The sampler uses ``rng`` and leaves the global generators of `random` and `numpy.random` unchanged.

        Why: the user's training code uses and seeds them, so a suggestion would depend on earlier trainings.
        """
        for count in (0, 8):
            with pinned():
                before = global_state()
                history = examples.studied(space, count)
                make_sampler().suggest(history, default_rng(0))
                module = drawn_from(before)
                hint = "pass a generator to a library that draws from it, or restore its state"
                assert not module, f"after {count} trials the sampler changed the state of `{module}`; {hint}"

    @check
    def test_ignores_the_clock(self, make_sampler: Make, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
        """A suggestion does not depend on the time of day.

        Why: `hpt verify` recomputes every decision of a published study, even years later.
        """
        logs = [examples.studied_log(space, count) for count in (0, 3, 8, 13)]
        now = _suggestions(make_sampler(), logs)
        another_day(monkeypatch, make_sampler())
        assert _suggestions(make_sampler(), logs) == now, "a day later a suggestion is different"

    @check
    def test_asking_again_changes_nothing(self, make_sampler: Make, space: Space) -> None:
        """Two calls with the same history and generator give the same suggestion.

        Why: the core may ask again (a point was taken, a worker died before the suggestion was recorded). A study that
            is killed at that moment must continue as if it had not been.
        """
        sampler = make_sampler()
        for count in (0, 8):
            history = examples.studied(space, count)
            first, second = text(ask(sampler, history)), text(ask(sampler, history))
            assert first == second, f"after {count} trials: first {first}, then {second}"

    @check
    def test_goes_on_the_same_after_a_resume(self, make_sampler: Make, space: Space) -> None:
        """A new sampler makes the same suggestion as one that has followed the study from the beginning.

        Why: a killed and resumed study must continue bit for bit as if it had never stopped, and each of several
            workers has its own sampler. Keep state that must be remembered in `Suggestion.info`.
        """
        sampler, history = make_sampler(), History()
        for record in examples.studied_log(space, 9):
            if record["event"] == "started":
                followed = text(ask(sampler, history))
                assert followed == text(ask(make_sampler(), history)), f"they differ at trial {history.next_number}"
            history.apply(record)

    @check
    def test_suggests_the_same_in_another_process(self, make_sampler: Make, space: Space) -> None:
        """A copy of the sampler in another process makes the same suggestions.

        Why: a study is resumed by another process, and each worker is one. There, strings have other hashes, so a set
            of strings has another order, and what the module remembers is gone.
        """
        logs = [examples.studied_log(space, count) for count in (0, 3, 8, 13)]
        logs += [_upside_down(log) for log in logs]
        # the module remembers what it saw first, so the other order brings it to light
        there = in_new_process(_separate_suggestions, make_sampler(), logs[::-1])[::-1]
        here = _separate_suggestions(make_sampler(), logs)
        for found, expected in zip(there, here, strict=True):
            assert found == expected, f"here {expected}, in another process {found}"

    @check
    def test_ignores_which_trial_ends_first(self, make_sampler: Make, space: Space) -> None:
        """In a reproducible study with several workers, suggestions do not depend on the order in which trials end.

        Why: ``reproducible = true`` promises the same trials whichever worker is faster. `Trial.started` and
            `Trial.ended` depend on that; the trial's number does not.
        """
        oldest, newest = (_of_three_workers(make_sampler(), space, newest_first=newest) for newest in (False, True))
        for number, (one, other) in enumerate(zip(oldest, newest, strict=True), start=3):
            assert one == other, f"trial {number}: {one} if the oldest trial ends first, {other} if the newest does"

    @check
    def test_follows_what_is_taken_back(self, make_sampler: Make, space: Space) -> None:
        """The result of an invalidated trial has no influence on suggestions.

        Why: the user invalidated the trial because its result is wrong. A cache that only grows still trusts it.
        """
        sampler, history = make_sampler(), examples.studied(space, 10)
        ask(sampler, history)
        assert history.best is not None
        wrong = history.best.number
        history.apply(events.invalidated(1e3, wrong, "wrong data"))
        expected = text(ask(make_sampler(), history))
        assert text(ask(sampler, history)) == expected, "the sampler remembers the invalid result"
        other = History()
        for record in examples.studied_log(space, 10):
            ended = record["event"] == "finished" and record["trial"] == wrong
            other.apply({**record, "values": [1e3]} if ended else record)
        other.apply(events.invalidated(1e3, wrong, "wrong data"))
        assert text(ask(make_sampler(), other)) == expected, "the sampler learns from the invalid result"

    @check
    def test_keeps_studies_apart(self, make_sampler: Make) -> None:
        """What a sampler saw of one study does not influence another study.

        Why: one sampler object may serve several studies of a program, or a study whose space was amended.
        """
        log = examples.studied_log(examples.FLOATS, 8)
        (alone,) = _suggestions(make_sampler(), [log])
        others = {
            "of another space": examples.studied_log(examples.SMALL, 4),
            "of the same space, seed and length": _upside_down(log),
        }
        for name, other in others.items():
            _, found = _suggestions(make_sampler(), [other, log])
            assert found == alone, f"the sampler remembers the other study, {name}"

    @check
    def test_leaves_the_history_alone(self, make_sampler: Make, space: Space) -> None:
        """A suggestion leaves the history unchanged.

        Why: the stopping rules, the records and the user's program use the same objects.
        """
        history = examples.studied(space, 9)
        before = examples.snapshot(history)
        ask(make_sampler(), history)
        assert examples.snapshot(history) == before, "the sampler changed the history"


def _suggestions(sampler: Sampler, logs: Sequence[Sequence[Record]]) -> list[str]:
    """A sampler's suggestion for the history of each log."""
    found = []
    for log in logs:
        history = History()
        history.extend(log)
        found.append(text(ask(sampler, history)))
    return found


def _of_three_workers(sampler: Sampler, space: Space, *, newest_first: bool) -> list[str]:
    """The suggestions of a reproducible study whose trials end three at a time, the newest or the oldest first."""
    created, *started = make_records(space, running=examples.points(space, 3))
    history = History()
    history.extend([{**created, "definition": {**created["definition"], "reproducible": 3}}, *started])
    found = []
    for number in range(3, 18):
        running = [] if number % 3 else list(history.open)
        for ends in running[::-1] if newest_first else running:
            value = examples.loss(space, history.trials[ends].params)
            history.apply(events.complete(float(history.position), ends, 1, [value], {}))
        suggestion = ask(sampler, history.as_seen_by(number, 3))
        now, params = history.position, plain(suggestion.params)
        history.apply(events.started(float(now), number, params, "worker", 1, now, suggestion.source, suggestion.info))
        found.append(text(suggestion))
    return found


def _separate_suggestions(sampler: Sampler, logs: Sequence[Sequence[Record]]) -> list[str]:
    """The suggestions of separate copies of a sampler, one for each log."""
    return [_suggestions(pickled(sampler), [log])[0] for log in logs]


def _upside_down(log: Sequence[Record]) -> list[Record]:
    """The log of a study with the same configurations and the opposite values."""
    return [{**record, "values": [-record["values"][0]]} if "values" in record else record for record in log]
