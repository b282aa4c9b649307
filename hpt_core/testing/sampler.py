"""The conformance kit for samplers."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from numpy.random import default_rng

from hpt_core.components import Pause, Stop
from hpt_core.errors import SpaceExhausted, UsageError
from hpt_core.testing import examples
from hpt_core.testing.checks import check
from hpt_core.testing.histories import make_history
from hpt_core.testing.sampler_purity import Make, SamplerPurityKit, ask, plain, text
from hpt_core.trial import FAILURE_KINDS, Failure, Params

if TYPE_CHECKING:
    from hpt_core.space import Space

__all__ = ["SamplerKit"]


class SamplerKit(SamplerPurityKit):
    """What every sampler must pass. Override `make_sampler`.

    Attributes:
        seeded: Whether suggestions depend on the study's seed. A grid in lexicographic order says False.
        several_objectives: Whether it takes studies with several objectives. One that does not says False, and
            must refuse such a study in ``check(space, objectives)`` with a `UsageError`.
    """

    several_objectives: ClassVar[bool] = True

    # --- the answer -------------------------------------------------------------------------------------

    @check
    def test_stays_inside_the_space(self, make_sampler: Make, space: Space) -> None:
        """Every suggestion lies in the space and has exactly the active parameters.

        Why: the core asks again and then gives up with an error; a value for an inactive parameter would make two
            equal configurations look different.
        """
        sampler = make_sampler()
        for count in (0, 1, 2, 3, 5, 8, 13, 21):
            params = plain(ask(sampler, examples.studied(space, count)).params)
            assert space.contains(params), f"after {count} trials it suggested {params}"

    @check
    def test_takes_any_space(self, make_sampler: Make) -> None:
        """It copes with every space that can be declared.

        Why: huge integers, 600 orders of magnitude, a choice among 1, "1", None and a list, odd names and constants are
            all legal, and users have them.
        """
        for name, space in examples.AWKWARD.items():
            for count in (0, 7):
                params = plain(ask(make_sampler(), examples.studied(space, count)).params)
                assert space.contains(params), f"{name}, after {count} trials: it suggested {params}"

    @check
    def test_accepts_the_space_beforehand(self, make_sampler: Make, space: Space) -> None:
        """Its ``check(space, objectives)``, if it has one, takes a space and an objective that it can search.

        Why: it is called before the first trial and by `hpt check`, and what it raises ends the run.
        """
        look = getattr(make_sampler(), "check", None)
        if look is not None:
            for direction in ("minimize", "maximize"):
                look(space, {"value": direction})

    @check
    def test_gives_native_values(self, make_sampler: Make, space: Space) -> None:
        """A suggestion is a dict of native Python values: no numpy scalars, no tuples.

        Why: it goes to a log of JSON and to the user's code, where numpy.int64 is no int and numpy.str_ no str.
        """
        for count in (0, 8):
            params = ask(make_sampler(), examples.studied(space, count)).params
            assert type(params) is dict, f"it is a {type(params).__name__}"
            odd = {name: type(value).__name__ for name, value in params.items() if not _is_native(value)}
            assert not odd, f"not native: {odd}"

    @check
    def test_notes_plain_data(self, make_sampler: Make, space: Space) -> None:
        """What a suggestion carries as ``info`` is JSON-shaped and finite.

        Why: it is written to the log, and read back by people, programs and the sampler itself.
        """
        for count in (0, 8):
            info = ask(make_sampler(), examples.studied(space, count)).info
            assert json.loads(json.dumps(info, allow_nan=False)) == info

    # --- what studies are like --------------------------------------------------------------------------

    @check
    def test_minds_running_trials(self, make_sampler: Make) -> None:
        """It does not suggest again what is being evaluated just now.

        Why: with k workers, one that looks at results only has k - 1 of them evaluate the same point.
        """
        space = examples.FLOATS
        finished = [(params, examples.loss(space, params)) for params in examples.points(space, 6)]
        running: list[Params] = []
        for _ in range(4):
            history = make_history(space, finished, running=running)
            running.append(plain(ask(make_sampler(), history).params))
        unit = space.to_unit(running)
        gaps = [float(np.abs(a - b).max()) for i, a in enumerate(unit) for b in unit[:i]]
        assert min(gaps) > 1e-3, f"of four suggestions that run at once two differ by {min(gaps):.1e} of the range"

    @check
    def test_starts_many_at_once(self, make_sampler: Make, space: Space) -> None:
        """It goes on suggesting while trials run and none has ended yet.

        Why: this is how every study with several workers begins.
        """
        for count in (1, 12):
            history = make_history(space, running=examples.points(space, count))
            assert ask(make_sampler(), history).params, f"{count} trials are running"

    @check
    def test_survives_failures(self, make_sampler: Make, space: Space) -> None:
        """It copes with failed trials of every kind, also where nothing else is there.

        Why: failed trials have no value (None, and NaN in ``history.losses``); the first ones of a study often fail.
        """
        failures = [Failure(kind, "it failed") for kind in FAILURE_KINDS]
        spots = examples.points(space, 14)
        only = [(params, failures[i % len(failures)]) for i, params in enumerate(spots)]
        mixed = [(params, failure if i % 2 else 0.1 * i) for i, (params, failure) in enumerate(only)]
        for name, trials in (("failed trials only", only), ("every second trial failed", mixed)):
            assert ask(make_sampler(), make_history(space, trials)).params, name

    @check
    def test_takes_unfinished_business(self, make_sampler: Make, space: Space) -> None:
        """It copes with trials that were stopped early (with and without a value) and with paused ones.

        Why: any study with stopping rules has them; a partial value is no complete one.
        """
        outcomes = [0.4, Stop("bad", value=0.9), Pause("wait"), Stop("bad"), 0.2, 0.3, Pause("wait"), 0.8, 0.7, 0.6]
        reports = {i: [1.0, 0.9] for i in range(len(outcomes))}
        trials = list(zip(examples.points(space, len(outcomes)), outcomes, strict=True))
        assert ask(make_sampler(), make_history(space, trials, reports=reports, steps=4, resumable=True)).params

    @check
    def test_takes_a_space_of_one_point(self, make_sampler: Make) -> None:
        """It suggests the one point of a space without any choice.

        Why: people fix parameters one after the other; the matrices of such a space have no columns.
        """
        params = ask(make_sampler(), make_history(examples.ONE_POINT)).params
        assert params == {"a": "only", "c": 3}

    @check
    def test_ends_a_finite_space(self, make_sampler: Make) -> None:
        """Where every point was taken it raises `SpaceExhausted`, or suggests one again.

        Why: the core then ends the study with a reason, or applies what the user wants of duplicates.
        """
        grid = examples.SMALL.grid()
        history = make_history(examples.SMALL, [(grid[i], float(i)) for i in range(grid.size)])
        with contextlib.suppress(SpaceExhausted):
            assert examples.SMALL.contains(plain(ask(make_sampler(), history).params))

    @check
    def test_minimizes_and_maximizes_alike(self, make_sampler: Make, space: Space) -> None:
        """Maximising the negative of a value gives the same suggestions as minimising the value.

        Why: the user's sign is handled once, in ``history.losses``; what reads ``trial.value`` searches for the
            worst in half of all studies.
        """
        for count in (3, 10):
            down, up = (examples.studied(space, count, directions=[way]) for way in ("minimize", "maximize"))
            assert text(ask(make_sampler(), down)) == text(ask(make_sampler(), up)), f"after {count} trials"

    @check
    def test_takes_several_objectives(self, make_sampler: Make, space: Space) -> None:
        """It works with two objectives, or refuses them in ``check`` with a `UsageError`.

        Why: a study must not die at its tenth trial of what could be said before the first.
        """
        sampler: Any = make_sampler()
        if not self.several_objectives:
            with pytest.raises(UsageError):
                sampler.check(space, {"value0": "minimize", "value1": "maximize"})
            return
        for count in (0, 10):
            history = examples.studied(space, count, directions=["minimize", "maximize"])
            assert ask(sampler, history).params, f"after {count} trials"

    @check
    def test_takes_constraints(self, make_sampler: Make, space: Space) -> None:
        """It copes with a study whose constraints no trial keeps, some keep, or all.

        Why: a study often begins with nothing but trials that break them; it has no best then, and none is feasible.
        """
        spots = examples.points(space, 8)
        trials = [(params, {"value": examples.loss(space, params), "ms": 10.0 * i}) for i, params in enumerate(spots)]
        for bound in ("<= -1", "<= 35", "<= 100"):
            history = make_history(space, trials, constraints={"ms": bound})
            assert ask(make_sampler(), history).params, f"eight trials of 0 to 70 ms, and the constraint is {bound}"

    @check
    def test_takes_thousands_of_trials(self, make_sampler: Make) -> None:
        """It still answers after 2,000 trials.

        Why: cheap evaluations make long studies; recursion, or a matrix of all pairs, ends them.
        """
        space = examples.FLOATS
        unit = default_rng(3).random((2000, 2))
        losses = ((unit - 0.3) ** 2).sum(axis=1).tolist()
        trials = list(zip(space.from_unit(unit), losses, strict=True))
        assert ask(make_sampler(), make_history(space, trials)).params


def _is_native(value: object) -> bool:
    if type(value) is list:
        return all(_is_native(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
