"""Components within components: a list in place of one, options in one table, and the paths of mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hpt_core import (
    History,
    Params,
    Sampler,
    Stop,
    StoppingRule,
    Study,
    StudyRule,
    UsageError,
    builtin,
    hookimpl,
    option,
)
from hpt_core.options import build
from hpt_core.plugins.plugins import Plugins

if TYPE_CHECKING:
    from numpy.random import Generator


@attrs.define(kw_only=True)
class Fixed:
    """Always suggests the same point."""

    x: float = option(0.5, ge=0, help="Where.")

    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": self.x}


@attrs.define(kw_only=True)
class Awkward:
    """Has options with the names of those of the component that contains it."""

    sampler: str = option("a", help="No sampler.")
    times: int = option(9, help="Other times.")

    def suggest(self, history: History, rng: Generator) -> Params:
        return {"x": 0.0}


@attrs.define(kw_only=True)
class Item:
    """A sampler and its number of trials."""

    sampler: Sampler = option(inline=True, help="The sampler.")
    times: int = option(1, ge=1, help="How often.")


@attrs.define(kw_only=True)
class Limits:
    """A table within the options, not inline."""

    low: float = option(help="Lower.")


@attrs.define(kw_only=True)
class Team:
    """Asks its members in turn."""

    members: list[Item] = option(help="Who.")
    limits: Limits | None = option(None, help="Bounds.")

    def suggest(self, history: History, rng: Generator) -> Any:
        turn = [item.sampler for item in self.members for _ in range(item.times)]
        return turn[len(history.trials) % len(turn)].suggest(history, rng)


class Offer:
    @hookimpl
    def hpt_samplers(self) -> dict[str, Any]:
        return {"awkward": Awkward, "fixed": Fixed, "team": Team}

    @hookimpl
    def hpt_compose(self, kind: str) -> tuple[str, str] | None:
        return ("team", "members") if kind == "sampler" else None


def plugins(*, composing: bool = True) -> Plugins:
    found = Plugins(discover=False)
    found.register(builtin, "builtin")
    if composing:
        found.register(Offer())
    return found


def mistakes(make: Any) -> dict[str, str]:
    with pytest.raises(UsageError) as caught:
        make()
    return {mistake.path: mistake.message for mistake in caught.value.mistakes}


def test_a_list_is_what_a_plugin_says_it_is() -> None:
    made = plugins().make("sampler", [{"use": "fixed", "x": 0.25, "times": 2}, "fixed", Fixed(x=1)])
    assert made == Team(members=[Item(sampler=Fixed(x=0.25), times=2), Item(sampler=Fixed()), Item(sampler=Fixed(x=1))])
    assert plugins().make("sampler", ("fixed",)) == Team(members=[Item(sampler=Fixed())])


def test_a_list_that_no_plugin_composes_is_refused() -> None:
    assert mistakes(lambda: plugins(composing=False).make("sampler", ["fixed"])) == {
        "sampler": "Must be one sampler: no installed plugin composes several."
    }
    assert "evaluator" in mistakes(lambda: plugins().make("evaluator", ["function"]))


def test_a_study_takes_a_list() -> None:
    study = Study({"x": (0.0, 0.25, 0.5, 0.75)}, sampler=["fixed"], plugins=plugins())
    assert study.ask().params == {"x": 0.5}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([{"use": "fixed", "x": -1, "times": 0}], {"sampler[0].x": "Must be", "sampler[0].times": "Must be"}),
        ([{"use": "fixed"}, {"use": "fixed", "y": 1}], {"sampler[1].y": "Fixed has no such option."}),
        ([{"times": 2}], {"sampler[0].use": "Must name a sampler"}),
        ([{"sampler": {"use": "fixed", "x": "a"}}], {"sampler[0].sampler.x": "Must be"}),
        ([3], {"sampler[0]": "Must be a sampler"}),
        ([[{"use": "fixed", "x": -1}]], {"sampler[0][0].x": "Must be"}),
        ({"use": "team", "members": [{"use": "fixed", "x": -1}]}, {"sampler.members[0].x": "Must be"}),
        ({"use": "team", "members": [], "limits": 3}, {"sampler.limits": "Must be a table. Got 3."}),
        ({"use": "team", "members": [], "limits": {"low": "a"}}, {"sampler.limits.low": "Must be a number"}),
        ({"use": "team", "members": [], "limits": {}}, {"sampler.limits.low": "This option is required."}),
    ],
)
def test_mistakes_have_the_key_paths_of_the_user(given: Any, expected: dict[str, str]) -> None:
    found = mistakes(lambda: plugins().make("sampler", given))
    assert found.keys() == expected.keys()
    assert all(found[path].startswith(start) for path, start in expected.items())


@attrs.define(kw_only=True)
class Ranked:
    """A sampler and its rank."""

    sampler: Sampler = option(inline=True, help="The sampler.")
    sampler_rank: int = option(1, ge=1, help="Its rank.")


@attrs.define(kw_only=True)
class Ranking:
    """Has a ranked sampler."""

    first: Ranked = option(help="The first.")


def test_an_option_whose_name_begins_like_that_of_the_inline_one_keeps_its_key() -> None:
    given = {"first": {"use": "fixed", "x": -1, "sampler_rank": 0}}
    found = mistakes(lambda: build(Ranking, given, "sampler", plugins()._resolve))
    assert found.keys() == {"sampler.first.x", "sampler.first.sampler_rank"}


def test_a_description_creates_an_equal_component() -> None:
    found = plugins()
    team = found.make("sampler", {"use": "team", "members": [{"use": "fixed", "times": 3}], "limits": {"low": 1}})
    described = found.describe(team)
    assert described["members"] == [{"use": "fixed", "x": 0.5, "times": 3}]
    assert described["limits"]["low"] == 1.0
    assert found.make("sampler", {**described, "limits": {"low": 1}}) == team


def test_options_with_equal_names_are_kept_apart() -> None:
    found = plugins()
    team = found.make("sampler", [{"use": "awkward", "sampler": "b", "times": 2}])
    assert team.members == [Item(sampler=Awkward(sampler="b"), times=2)]
    team = found.make("sampler", [{"sampler": {"use": "awkward", "times": 5}, "times": 2}])
    assert team.members == [Item(sampler=Awkward(times=5), times=2)]
    described = found.describe(team)
    assert described["members"] == [{"sampler": {"use": "awkward", "sampler": "a", "times": 5}, "times": 2}]
    assert found.make("sampler", described) == team
    assert mistakes(lambda: found.make("sampler", [{"use": "awkward", "sampler": 3}])) == {
        "sampler[0].sampler": "Must be a string. Got 3."
    }


def test_a_record_without_anything_inline_is_a_table() -> None:
    made = build(Team, {"members": [], "limits": {"low": 2}}, "")
    assert made.limits == Limits(low=2.0)
    given = Limits(low=0.0)
    assert build(Team, {"members": [], "limits": given}, "").limits is given


class Enough:
    """Judges studies only, which is a complete rule, also for a type checker."""

    def judge_study(self, history: History) -> Stop | None:
        return Stop("enough")


@attrs.define(kw_only=True)
class Held:
    """Contains a rule or None."""

    rule: StoppingRule | None = option(None, help="The rule.")

    def judge_study(self, history: History) -> Stop | None:
        return None


def test_a_rule_needs_one_method_and_an_option_takes_it_by_name() -> None:
    rule: StoppingRule = Enough()
    assert Held(rule=rule).rule is rule
    plugins = Plugins(discover=False)
    plugins.register(builtin)
    named = f"{__name__}:Enough"
    assert isinstance(plugins.make("stopping rule", {"use": f"{__name__}:Held", "rule": named}).rule, Enough)
    with pytest.raises(UsageError, match=r"stopping rule\.rule: Must be .*"):
        plugins.make("stopping rule", {"use": f"{__name__}:Held", "rule": 3})


@attrs.define(kw_only=True)
class HeldOfOneContract:
    """Contains a rule of one of the three contracts of rules."""

    rule: StudyRule = option(help="The rule.")

    def judge_study(self, history: History) -> Stop | None:
        return None


def test_an_option_for_a_rule_of_one_contract_takes_it_by_name() -> None:
    plugins = Plugins(discover=False)
    held = {"use": f"{__name__}:HeldOfOneContract"}
    assert isinstance(plugins.make("stopping rule", {**held, "rule": f"{__name__}:Enough"}).rule, Enough)
    assert "stopping rule.rule" in mistakes(lambda: plugins.make("stopping rule", {**held, "rule": 3}))
