"""The conformance kit for samplers."""

from __future__ import annotations

import contextlib
import json
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.random import default_rng

from hpt_core.components import Pause, Stop
from hpt_core.errors import SpaceExhausted, UsageError
from hpt_core.history.trial import FAILURE_KINDS, Failure, Params
from hpt_core.space.space import Space
from hpt_core.testing import examples
from hpt_core.testing.checks import check
from hpt_core.testing.histories import make_history
from hpt_core.testing.sampler_purity import Make, SamplerPurityKit, ask, plain, text

__all__ = ["SamplerKit"]


class SamplerKit(SamplerPurityKit):
    """The checks that every sampler must pass. Override `make_sampler`.

    Attributes:
        seeded: Whether suggestions depend on the study's seed. False for a grid in lexicographic order.
        several_objectives: Whether the sampler supports studies with several objectives. If False, it must reject such
            a study in ``check(space, objectives)`` with a `UsageError`.
    """

    several_objectives: ClassVar[bool] = True

    # --- the suggestion ---------------------------------------------------------------------------------

    @check
    def test_stays_inside_the_space(self, make_sampler: Make, space: Space) -> None:
        """Every suggestion is in the space and has exactly the active parameters.

        Why: the core retries and then fails with an error. A value for an inactive parameter makes two equal
            configurations look different.
        """
        sampler = make_sampler()
        # A sampler need not know of requirements: the core asks it again.
        free = Space({name: {**p.to_json(), "requires": None} for name, p in space.parameters.items()})
        for count in (0, 1, 2, 3, 5, 8, 13, 21):
            params = plain(ask(sampler, examples.studied(space, count)).params)
            assert free.contains(params), f"after {count} trials the suggestion is {params}"

    @check
    def test_takes_any_space(self, make_sampler: Make) -> None:
        """The sampler supports every space that can be declared.

        Why: huge integers, 600 orders of magnitude, a choice between 1, "1", None and a list, unusual names and
            constants are all valid, and users have them.
        """
        for name, space in examples.AWKWARD.items():
            for count in (0, 7):
                params = plain(ask(make_sampler(), examples.studied(space, count)).params)
                assert space.contains(params), f"{name}, after {count} trials: the suggestion is {params}"

    @check
    def test_accepts_the_space_beforehand(self, make_sampler: Make, space: Space) -> None:
        """The optional ``check(space, objectives)`` accepts a space and an objective that the sampler supports.

        Why: it is called before the first trial and by `hpt check`. An exception in it ends the run.
        """
        check_space = getattr(make_sampler(), "check", None)
        if check_space is not None:
            for direction in ("minimize", "maximize"):
                check_space(space, {"value": direction})

    @check
    def test_gives_native_values(self, make_sampler: Make, space: Space) -> None:
        """A suggestion is a dict of native Python values: no numpy scalars, no tuples.

        Why: it is written to a log of JSON and passed to the user's code, which may not accept a numpy.int64 as an int.
        """
        for count in (0, 8):
            params = ask(make_sampler(), examples.studied(space, count)).params
            assert type(params) is dict, f"the suggestion is a {type(params).__name__}"
            odd = {name: type(value).__name__ for name, value in params.items() if not _is_native(value)}
            assert not odd, f"these values are not native: {odd}"

    @check
    def test_notes_plain_data(self, make_sampler: Make, space: Space) -> None:
        """The ``info`` of a suggestion is JSON-shaped and finite.

        Why: it is written to the log, and read back by people, by programs and by the sampler itself.
        """
        for count in (0, 8):
            info = ask(make_sampler(), examples.studied(space, count)).info
            restored = json.loads(json.dumps(info, allow_nan=False))
            assert restored == info, f"the info {info} is read back as {restored}"

    # --- the variety of studies -------------------------------------------------------------------------

    @check
    def test_minds_running_trials(self, make_sampler: Make) -> None:
        """A suggestion differs from the configurations that are being evaluated.

        Why: with k workers, a sampler that considers results only makes k - 1 of them evaluate the same point.
        """
        space = examples.FLOATS
        finished = [(params, examples.loss(space, params)) for params in examples.points(space, 6)]
        running: list[Params] = []
        for _ in range(4):
            history = make_history(space, finished, running=running)
            running.append(plain(ask(make_sampler(), history).params))
        unit = space.to_unit(running)
        gaps = [float(np.abs(a - b).max()) for i, a in enumerate(unit) for b in unit[:i]]
        assert min(gaps) > 1e-3, f"two of four concurrent suggestions differ by only {min(gaps):.1e} of the range"

    @check
    def test_starts_many_at_once(self, make_sampler: Make, space: Space) -> None:
        """The sampler makes suggestions while trials are running and none has ended yet.

        Why: every study with several workers begins like this.
        """
        for count in (1, 12):
            history = make_history(space, running=examples.points(space, count))
            assert ask(make_sampler(), history).params, f"with {count} running trials the suggestion is empty"

    @check
    def test_survives_failures(self, make_sampler: Make, space: Space) -> None:
        """The sampler handles failed trials of every kind, also if there are no others.

        Why: failed trials have no value (None, and NaN in ``history.losses``), and the first trials of a study often
            fail.
        """
        failures = [Failure(kind, "it failed") for kind in FAILURE_KINDS]
        spots = examples.points(space, 14)
        only = [(params, failures[i % len(failures)]) for i, params in enumerate(spots)]
        mixed = [(params, failure if i % 2 else 0.1 * i) for i, (params, failure) in enumerate(only)]
        for name, trials in (("failed trials only", only), ("every second trial failed", mixed)):
            assert ask(make_sampler(), make_history(space, trials)).params, f"{name}: the suggestion is empty"

    @check
    def test_takes_unfinished_business(self, make_sampler: Make, space: Space) -> None:
        """The sampler handles trials that were stopped early, with and without a value, and paused trials.

        Why: every study with stopping rules has them. A partial value is not a complete one.
        """
        outcomes = [0.4, Stop("bad", value=0.9), Pause("wait"), Stop("bad"), 0.2, 0.3, Pause("wait"), 0.8, 0.7, 0.6]
        reports = {i: [1.0, 0.9] for i in range(len(outcomes))}
        trials = list(zip(examples.points(space, len(outcomes)), outcomes, strict=True))
        history = make_history(space, trials, reports=reports, steps=4, resumable=True)
        assert ask(make_sampler(), history).params, "the suggestion is empty"

    @check
    def test_takes_a_space_of_one_point(self, make_sampler: Make) -> None:
        """The sampler suggests the only configuration of a space that has just one.

        Why: users fix parameters one after the other. The matrices of such a space have no columns.
        """
        params = ask(make_sampler(), make_history(examples.ONE_POINT)).params
        assert params == {"a": "only", "c": 3}, f"the suggestion is {params}"

    @check
    def test_ends_a_finite_space(self, make_sampler: Make) -> None:
        """When every configuration is taken, the sampler raises `SpaceExhausted` or suggests one of them again.

        Why: the core then ends the study with a reason, or handles the duplicate as the user configured.
        """
        grid = examples.SMALL.grid()
        history = make_history(examples.SMALL, [(grid[i], float(i)) for i in range(grid.size)])
        with contextlib.suppress(SpaceExhausted):
            params = plain(ask(make_sampler(), history).params)
            assert examples.SMALL.contains(params), f"the suggestion is {params}"

    @check
    def test_minimizes_and_maximizes_alike(self, make_sampler: Make, space: Space) -> None:
        """Maximizing the negative of a value gives the same suggestions as minimizing the value.

        Why: the direction is handled in one place, ``history.losses``. A sampler that reads ``trial.value`` instead
            searches for the worst result whenever the objective is maximized.
        """
        for count in (3, 10):
            down, up = (examples.studied(space, count, directions=[way]) for way in ("minimize", "maximize"))
            assert text(ask(make_sampler(), down)) == text(ask(make_sampler(), up)), (
                f"after {count} trials the suggestions differ"
            )

    @check
    def test_takes_several_objectives(self, make_sampler: Make, space: Space) -> None:
        """The sampler supports two objectives, or rejects them in ``check`` with a `UsageError`.

        Why: a study must not fail at its tenth trial because of something that was known before the first.
        """
        sampler: Any = make_sampler()
        if not self.several_objectives:
            with pytest.raises(UsageError):
                sampler.check(space, {"value0": "minimize", "value1": "maximize"})
            return
        for count in (0, 10):
            history = examples.studied(space, count, directions=["minimize", "maximize"])
            assert ask(sampler, history).params, f"after {count} trials the suggestion is empty"

    @check
    def test_takes_constraints(self, make_sampler: Make, space: Space) -> None:
        """The sampler handles studies in which no trial, some trials or all trials satisfy the constraints.

        Why: a study often begins with infeasible trials only. It then has no best trial.
        """
        spots = examples.points(space, 8)
        trials = [(params, {"value": examples.loss(space, params), "ms": 10.0 * i}) for i, params in enumerate(spots)]
        for bound in ("<= -1", "<= 35", "<= 100"):
            history = make_history(space, trials, constraints={"ms": bound})
            assert ask(make_sampler(), history).params, (
                f"eight trials of 0 to 70 ms, constraint {bound}: the suggestion is empty"
            )

    @check
    def test_takes_thousands_of_trials(self, make_sampler: Make) -> None:
        """The sampler still makes suggestions after 2,000 trials.

        Why: cheap evaluations make long studies. Recursion, or a matrix of all pairs, makes them fail.
        """
        space = examples.FLOATS
        unit = default_rng(3).random((2000, 2))
        losses = ((unit - 0.3) ** 2).sum(axis=1).tolist()
        trials = list(zip(space.from_unit(unit), losses, strict=True))
        assert ask(make_sampler(), make_history(space, trials)).params, "the suggestion is empty"


def _is_native(value: object) -> bool:
    if type(value) is list:
        return all(_is_native(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
