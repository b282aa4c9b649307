"""Every branch of a conditional space is guaranteed a share of the trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hpt_core import Categorical, Float, Int, Params, Space
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_bayes.branches import in_neglected_branch, top_parents
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.sampler import BayesSampler

BRANCHES = ("a", "b", "c", "d")
SPACE = Space(
    {
        "m": Categorical(*BRANCHES),
        "other": Categorical("p", "q"),
        **{f"x{name}": Float(0, 1, when={"m": name}) for name in BRANCHES},
    }
)
ENCODING = Encoding.of(SPACE)


def rows(names: str) -> np.ndarray:
    return ENCODING.fill(SPACE.to_unit([{"m": name, "other": "p", f"x{name}": 0.3} for name in names]))


def always(row: np.ndarray) -> bool:
    return True


def branch_of(owed: np.ndarray | None) -> str | None:
    return None if owed is None else "".join(ENCODING.params(row)["m"] for row in owed)


def due(encoding: Encoding, some: np.ndarray, taken: np.ndarray, untried: Callable[[np.ndarray], bool] = always) -> Any:
    return in_neglected_branch(encoding, some, taken, untried, np.random.default_rng(0))


def test_only_parameters_that_others_depend_on_have_branches() -> None:
    assert [ENCODING.columns[j] for j in top_parents(ENCODING)] == ["m"]


@pytest.mark.parametrize(
    ("taken", "owed"),
    [
        ("abcc", "d"),  # 0 < 1.5 sqrt(4) / 4
        ("abcdaa", None),  # 1 > 1.5 sqrt(6) / 4
        ("abcdabaa", "c"),  # 1 < 1.5 sqrt(8) / 4, the first of those with one trial
        ("abcdabaaa", None),  # after an odd number of trials no branch is forced
        ("abcd" * 2 + "a" * 20, None),  # 2 > 1.5 sqrt(28) / 4
        ("abcd" * 2 + "a" * 21 + "b", "c"),  # 2 < 1.5 sqrt(30) / 4
    ],
)
def test_a_branch_with_too_few_trials_is_due_one(taken: str, owed: str | None) -> None:
    assert branch_of(due(ENCODING, rows("abcd"), rows(taken))) == owed


def test_an_exhausted_branch_is_not_due() -> None:
    assert due(ENCODING, rows("abc"), rows("abcc")) is None


def test_a_branch_of_tried_rows_is_not_due_and_the_next_one_is() -> None:
    def outside(names: str) -> Callable[[np.ndarray], bool]:
        return lambda row: ENCODING.params(row)["m"] not in names

    taken = "abcdabaa"  # "c" and "d" have too few trials
    assert branch_of(due(ENCODING, rows("abcd"), rows(taken), outside("c"))) == "d"
    assert due(ENCODING, rows("abcd"), rows(taken), outside("cd")) is None


def test_a_choice_without_parameters_of_its_own_is_suggested_once_and_the_model_makes_all_other_suggestions() -> None:
    space = Space({"m": Categorical("dummy", "svm"), "C": Float(1e-3, 1e3, log=True, when={"m": "svm"})})
    sampler, trials = BayesSampler(), list[tuple[Params, float]]()
    for number in range(24):
        suggestion = sampler.suggest(make_history(space, trials), np.random.default_rng([0, number]))
        params = suggestion.params
        assert number == 0 or params["m"] == "svm"
        assert suggestion.info["model"] == ("initial" if number < 5 else "gp")
        trials.append((params, 1.0 if params["m"] == "dummy" else float(np.log10(params["C"]) - 1.0) ** 2))


def test_a_space_without_conditions_has_no_branches() -> None:
    encoding = Encoding.of(Space({"m": Categorical("a", "b"), "x": Float(0, 1)}))
    some = encoding.snap(np.random.default_rng(0).random((8, 2)))
    assert due(encoding, some, some) is None


def test_a_parameter_that_depends_on_others_has_no_branches() -> None:
    inner = Categorical("p", "q", when={"m": "a"})
    space = Space({"m": Categorical("a", "b"), "inner": inner, "x": Float(0, 1, when={"inner": "p"})})
    assert [space.columns[j] for j in top_parents(Encoding.of(space))] == ["m"]


@pytest.mark.parametrize("many", [Categorical(*range(9)), Int(1, 10_000)], ids=["choices", "integers"])
def test_a_parameter_of_many_values_has_no_branches(many: Categorical | Int) -> None:
    encoding = Encoding.of(Space({"m": many, "x": Float(0, 1, when={"m": 5})}))
    some = encoding.snap(np.random.default_rng(0).random((8, 2)))
    assert due(encoding, some, np.repeat(some[:1], 8, axis=0)) is None


def test_the_search_returns_to_a_branch_that_looked_bad() -> None:
    def loss(params: Params) -> float:
        x = params[f"x{params['m']}"]
        return float((x - 0.7) ** 2 if params["m"] == "a" else 5.0 + x)

    sampler, trials = BayesSampler(), list[tuple[Params, float]]()
    for number in range(30):
        params = sampler.suggest(make_history(SPACE, trials), np.random.default_rng([0, number])).params
        trials.append((params, loss(params)))
    counts = Counter(params["m"] for params, _ in trials)
    assert min(counts[name] for name in BRANCHES) >= 2
    assert counts.most_common(1)[0][0] == "a"


def test_a_branch_of_which_hardly_anything_is_allowed_has_its_share_of_the_trials() -> None:
    when = {"m": "narrow"}
    thresholds = {f"t{i}": Float(0, 1, when=when, requires=f"t{i - 1} < t{i}") for i in range(1, 8)}
    free = {"m": Categorical("free", "narrow"), "x": Float(0, 1, when={"m": "free"}), "t0": Float(0, 1, when=when)}
    space = Space({**free, **thresholds})
    sampler, trials = BayesSampler(), list[tuple[Params, float]]()
    for number in range(20):
        params = sampler.suggest(make_history(space, trials), np.random.default_rng([0, number])).params
        assert space.contains(params)
        trials.append((params, params.get("x", 5.0)))
    assert sum(params["m"] == "narrow" for params, _ in trials) >= 3


def test_a_branch_that_requirements_leave_empty_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    when = {"m": "empty"}
    empty = {"y": Float(0, 1, when=when), "z": Float(2, 3, when=when, requires="z < y")}
    space = Space({"m": Categorical("free", "empty"), "x": Float(0, 1, when={"m": "free"}), **empty})
    encoding = Encoding.of(space)
    some = encoding.snap(np.random.default_rng(0).random((50, len(encoding.columns))))
    free = encoding.fill(space.to_unit([{"m": "free", "x": 0.3}] * 4))
    sample, draws = Space.sample, list[Params]()

    def counted(self: Space, rng: np.random.Generator) -> Params:
        draws.append(sample(self, rng))
        return draws[-1]

    monkeypatch.setattr(Space, "sample", counted)
    assert due(encoding, some, free) is None
    assert draws
    draws.clear()
    assert due(encoding, some, free) is None
    assert not draws


def test_a_small_finite_branch_that_was_tried_is_not_due() -> None:
    when = {"m": "b"}
    grid = {"x": Int(1, 9, when=when), "y": Int(1, 9, when=when, requires="x < y")}
    space = Space({"m": Categorical("a", "b"), **grid})
    trials: list[tuple[Params, float]] = [({"m": "a"}, 1.0)]
    for number in range(1, 16):
        params = BayesSampler().suggest(make_history(space, trials), np.random.default_rng([0, number])).params
        assert params["m"] == "b"
        trials.append((params, float(params["x"])))


def test_trials_outside_an_amended_space_belong_to_no_branch() -> None:
    def of(name: str, x: float) -> Params:
        return {"m": name, "other": "p", f"x{name}": x}

    # two trials in each branch except "a", and many in "a" that are outside the amended space
    points = [of(name, x) for name in "bcd" for x in (0.2, 0.4)] + [of("a", 0.9 + k / 100) for k in range(8)]
    history = make_history(SPACE, [(params, float(k)) for k, params in enumerate(points)])
    smaller = Space({name: Float(0, 0.5, when={"m": "a"}) if name == "xa" else SPACE[name] for name in SPACE})
    history.apply(events.amended(99.0, {**history.definition, "space": smaller.to_json()}, []))
    assert BayesSampler().suggest(history, np.random.default_rng(0)).params["m"] == "a"
