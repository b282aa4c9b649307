"""A component is interrupted once in a block, before each of its calls in turn."""

from __future__ import annotations

import sys

import pytest

from hpt_core.testing import interruptions


class Base:
    def third(self) -> None:
        self.__dict__["place"] = 3
        len("")


class Component(Base):
    """Notes where it is before each of its calls."""

    place = 0

    def work(self) -> None:
        self.__dict__["place"] = 1
        len("")
        self.__dict__["place"] = 2
        for _ in range(9):
            self.third()


def places(component: Component, blocks: int, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    found: list[list[int]] = []
    monkeypatch.setattr("hpt_core.testing.interruptions.time.sleep", lambda _: found[-1].append(component.place))
    interrupting = interruptions.Interruptions(component, seed=0)
    for _ in range(blocks):
        found.append([])
        with interrupting.once():
            component.work()
    return found


def test_each_block_but_the_first_is_interrupted_once_and_each_call_is_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = places(Component(), 60, monkeypatch)
    assert first == []
    assert {len(one) for one in others} == {1}
    assert {place for (place,) in others} == {1, 2, 3}


def test_what_other_code_does_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    component = Component()
    monkeypatch.setattr(Component, "__module__", "another.package")
    monkeypatch.setattr(Base, "__module__", "another.package")
    assert not any(places(component, 9, monkeypatch))


def test_an_error_in_a_block_is_raised_and_ends_the_interruptions() -> None:
    with pytest.raises(ZeroDivisionError), interruptions.Interruptions(Component(), seed=0).once():
        raise ZeroDivisionError
    assert sys.getprofile() is None
