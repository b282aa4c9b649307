"""The part of the sampler kit that asks whether suggestions are a pure function of history and generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from numpy.random import default_rng

from hpt_core import events
from hpt_core.components import Sampler, Suggestion
from hpt_core.history import History
from hpt_core.testing import examples
from hpt_core.testing.checks import another_day, check, drawn_from, global_state, pinned
from hpt_core.testing.component import ComponentKit

if TYPE_CHECKING:
    from hpt_core.space import Space
    from hpt_core.trial import Params

__all__ = ["Make", "SamplerPurityKit", "ask", "plain", "text"]

Make = Callable[[], Sampler]


def ask(sampler: Sampler, history: History) -> Suggestion:
    """Ask as the core does, global randomness pinned."""
    with pinned():
        answer = sampler.suggest(history, default_rng([history.seed, history.next_number]))
    return answer if isinstance(answer, Suggestion) else Suggestion(answer)


def plain(params: Params) -> Params:
    """A configuration with numpy's scalars turned into Python's: another check minds those."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}


def text(suggestion: Suggestion) -> str:
    """A configuration to compare, types included."""
    return repr(plain(suggestion.params))


class SamplerPurityKit(ComponentKit):
    """Inherit `SamplerKit` instead."""

    seeded: ClassVar[bool] = True

    @pytest.fixture
    def make_sampler(self) -> Make:
        """Override this: a callable that makes a new sampler, as ``return MySampler`` does."""
        msg = "Override the fixture `make_sampler` to return a callable that makes your sampler."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_sampler: Make) -> Make:
        """For the checks of all kits."""
        return make_sampler

    @pytest.fixture
    def space(self) -> Space:
        """Override this, with a `Space` or a mapping, where the sampler cannot take every kind of parameter."""
        return examples.MIXED

    @check
    def test_follows_the_seed(self, make_sampler: Make) -> None:
        """Another seed of the study gives other suggestions.

        Why: repeating a study with other seeds is how people tell skill from luck; a sampler with a seed of its own
            repeats the same luck.
        """
        if not self.seeded:
            pytest.skip("this sampler says that it has no use for a seed")
        runs = []
        for seed in (1, 2):
            histories = [examples.studied(examples.FLOATS, count, seed=seed) for count in range(6)]
            runs.append([text(ask(make_sampler(), history)) for history in histories])
        assert runs[0] != runs[1], "two seeds, six times the same suggestion"

    @check
    def test_uses_no_global_randomness(self, make_sampler: Make, space: Space) -> None:
        """It leaves the global generators of `random` and `numpy.random` alone and takes ``rng``.

        Why: the user's training code uses and seeds them, so a suggestion would depend on what was trained before it.
        """
        for count in (0, 8):
            with pinned():
                before = global_state()
                history = examples.studied(space, count)
                make_sampler().suggest(history, default_rng(0))
                module = drawn_from(before)
                hint = "a library that draws from it is to be given a generator, or has to leave it as it was"
                assert not module, f"after {count} trials the state of `{module}` has changed; {hint}"

    @check
    def test_ignores_the_clock(self, make_sampler: Make, space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same suggestion comes at any time of day.

        Why: `hpt verify` takes every decision of a published study again, years later.
        """
        history = examples.studied(space, 8)
        now = text(ask(make_sampler(), history))
        another_day(monkeypatch)
        assert text(ask(make_sampler(), history)) == now, "a day later it suggests something else"

    @check
    def test_asking_again_changes_nothing(self, make_sampler: Make, space: Space) -> None:
        """Asked twice with the same history and generator, it answers the same.

        Why: the core may ask again (a point was taken, a worker died between asking and recording), and a study that
            is killed there must go on as if it had not been.
        """
        sampler = make_sampler()
        for count in (0, 8):
            history = examples.studied(space, count)
            first, second = text(ask(sampler, history)), text(ask(sampler, history))
            assert first == second, f"after {count} trials"

    @check
    def test_goes_on_the_same_after_a_resume(self, make_sampler: Make, space: Space) -> None:
        """A new sampler on the history so far suggests what one suggests that was there from the beginning.

        Why: a killed and resumed study must continue bit for bit as if it had never stopped; several workers each have
            their own sampler. What has to be remembered belongs into `Suggestion.info`.
        """
        sampler, history = make_sampler(), History()
        for record in examples.studied_log(space, 9):
            if record["event"] == "started":
                followed = text(ask(sampler, history))
                assert followed == text(ask(make_sampler(), history)), f"it differs at trial {history.next_number}"
            history.apply(record)

    @check
    def test_follows_what_is_taken_back(self, make_sampler: Make, space: Space) -> None:
        """When a trial is declared invalid, it suggests what it would if it had never seen its result.

        Why: a cache that only grows goes on to trust the wrong result; the user invalidated it because it is wrong.
        """
        sampler, history = make_sampler(), examples.studied(space, 10)
        ask(sampler, history)
        assert history.best is not None
        wrong = history.best.number
        history.apply(events.invalidated(1e3, wrong, "wrong data"))
        said = text(ask(make_sampler(), history))
        assert text(ask(sampler, history)) == said, "it remembers the invalid result"
        other = History()
        for record in examples.studied_log(space, 10):
            ended = record["event"] == "finished" and record["trial"] == wrong
            other.apply({**record, "values": [1e3]} if ended else record)
        other.apply(events.invalidated(1e3, wrong, "wrong data"))
        assert text(ask(make_sampler(), other)) == said, "it learns from the invalid result"

    @check
    def test_keeps_studies_apart(self, make_sampler: Make) -> None:
        """What it saw of one study changes nothing in another.

        Why: one sampler object may serve several studies of a program, or a study whose space was amended.
        """
        sampler = make_sampler()
        ask(sampler, examples.studied(examples.SMALL, 4))
        history = examples.studied(examples.FLOATS, 8)
        assert text(ask(sampler, history)) == text(ask(make_sampler(), history)), "it remembers the other study"

    @check
    def test_leaves_the_history_alone(self, make_sampler: Make, space: Space) -> None:
        """The history is the same after a suggestion as before.

        Why: the stopping rules, the records and the user's program look at the very same objects.
        """
        history = examples.studied(space, 9)
        before = examples.snapshot(history)
        ask(make_sampler(), history)
        assert examples.snapshot(history) == before, "something in it was changed"
