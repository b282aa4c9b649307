"""Mistakes that are collected and raised together."""

from __future__ import annotations

import pytest

from hpt_core.errors import Mistake, SpaceError, UsageError
from hpt_core.mistakes import Mistakes, within, without_key


def refuse(*mistakes: Mistake) -> None:
    raise SpaceError(*mistakes) from KeyError("cause")


def test_without_mistakes_nothing_is_raised() -> None:
    found = Mistakes()
    assert found.collect(int, "3") == 3
    found.raise_all()
    assert not found


def test_a_single_error_is_raised_itself_with_its_cause() -> None:
    found = Mistakes()
    assert found.collect(refuse, Mistake("a", "no"), Mistake("b", "no")) is None
    assert found
    with pytest.raises(SpaceError, match=r"^a: no\nb: no$") as refused:
        found.raise_all()
    assert isinstance(refused.value.__cause__, KeyError)


def test_several_errors_become_one_of_the_given_class_with_each_mistake_once() -> None:
    found = Mistakes(SpaceError)
    found.add("a", "no")
    found.collect(refuse, Mistake("b", "no"), Mistake("a", "no"))
    found.extend([Mistake("", "neither")])
    assert [mistake.path for mistake in found] == ["a", "b", "a", ""]
    with pytest.raises(SpaceError, match=r"^a: no\nb: no\nneither$"):
        found.raise_all()


def test_other_errors_are_not_collected() -> None:
    with pytest.raises(ValueError, match="x"):
        Mistakes().collect(int, "x")


def test_mistakes_of_a_part_get_the_path_of_the_whole() -> None:
    refused = UsageError(Mistake("low", "no"), Mistake("", "neither"))
    assert [m.path for m in within("space.C", refused.mistakes)] == ["space.C.low", "space.C"]


def test_a_key_that_the_user_did_not_write_is_left_out() -> None:
    paths = ["sampler.samplers[1].n", "sampler.samplers.n", "sampler.samplers", "sampler.seed", "sampler.samplers_max"]
    moved = without_key("sampler", "samplers", [Mistake(path, "no") for path in paths])
    assert [m.path for m in moved] == ["sampler[1].n", "sampler.n", "sampler", "sampler.seed", "sampler.samplers_max"]
