"""The key path of a stopping rule in messages is the one that the user wrote, in a study file and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from hpt_core import (
    Float,
    History,
    Mistake,
    PluginError,
    Space,
    Stop,
    StoppingRule,
    Study,
    UsageError,
    hookimpl,
    option,
)
from hpt_core.plugins.plugins import Plugins
from hpt_core.study.config import make_study


@attrs.define(kw_only=True)
class Picky:
    """Refuses every study, in one of two ways."""

    limit: int = option(1, ge=1, help="A limit.")
    by_reports: bool = option(False, help="Whether it refuses the reports, or the space.")
    rule: StoppingRule | None = option(None, help="A rule within.")

    def judge_study(self, history: History) -> Stop | None:
        """Judge nothing."""

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Refuse the space."""
        if not self.by_reports:
            raise UsageError(Mistake("limit", "Does not fit."))

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> None:
        """Refuse the reports."""
        if self.by_reports:
            raise UsageError(Mistake("limit", "Does not fit."))


class Offer:
    @hookimpl
    def hpt_stopping_rules(self) -> dict[str, Any]:
        return {"picky": Picky}


def refused_in_file(stop: Any) -> list[str]:
    plugins = Plugins()
    plugins.register(Offer())
    file = {"space": {"x": {"low": 0.0, "high": 1.0}}, "evaluator": {"use": "function", "call": "math:fabs"}}
    with pytest.raises(UsageError) as refused:
        make_study({**file, "sampler": "random", "stop": stop}, folder=Path(), plugins=plugins)
    return [mistake.path for mistake in refused.value.mistakes]


def refused_in_python(stop: Any) -> list[str]:
    plugins = Plugins()
    plugins.register(Offer())

    def run() -> None:
        study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=stop, plugins=plugins)
        study.run(lambda params: params["x"], trials=1)

    with pytest.raises(UsageError) as refused:
        run()
    return [mistake.path for mistake in refused.value.mistakes]


@pytest.mark.parametrize("refused", [refused_in_file, refused_in_python])
@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ({"use": "pickyy"}, ".use"),
        ({"use": "picky", "limit": 0}, ".limit"),
        ({"use": "picky"}, ".limit"),
        ({"use": "picky", "by_reports": True}, ".limit"),
        ({"use": "picky", "rule": {"use": "picky", "limit": 0}}, ".rule.limit"),
    ],
)
def test_a_single_rule_is_at_stop_and_one_of_a_list_at_its_index(refused: Any, rule: Any, key: str) -> None:
    assert refused(rule) == [f"stop{key}"]
    assert refused([rule]) == [f"stop[0]{key}"]


@pytest.mark.parametrize("by_reports", [False, True])
def test_rules_given_as_objects_have_the_same_paths(by_reports: bool) -> None:
    rule = Picky(by_reports=by_reports)
    assert refused_in_python(rule) == ["stop.limit"]
    assert refused_in_python([rule, rule]) == ["stop[0].limit", "stop[1].limit"]
    assert refused_in_python((rule,)) == ["stop[0].limit"]


def test_a_rule_whose_check_fails_is_named_with_its_path() -> None:
    class Broken(Picky):
        def check(self, space: Space, objectives: Mapping[str, str]) -> None:
            raise ZeroDivisionError("here")

    study = Study({"x": Float(0.0, 1.0)}, sampler="random", stop=[Broken(by_reports=False)])
    with pytest.raises(PluginError, match=r"^stop\[0\]: Broken failed in check: ZeroDivisionError: here$"):
        study.run(lambda params: params["x"], trials=1)
