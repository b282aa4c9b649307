"""What hpt asks of every stopping rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_folds.folds import Folds
from hpt_stopping_folds.race import Race

if TYPE_CHECKING:
    from hpt_core import History

MAKERS: dict[str, Callable[[], Any]] = {
    "gain": Folds,
    "forgiving": partial(Folds, test="forgiving"),
    "t": partial(Folds, test="t"),
    "wilcoxon": partial(Folds, test="wilcoxon"),
    "race": Race,
}
OWN_CURVES = ("test_takes_a_young_study", "test_lets_trials_end", "test_goes_on_the_same_after_a_resume")


class TestFolds(StoppingRuleKit):
    """These rules refuse curves: see the tests of rules and of real studies for the checks that are left out."""

    def study(self, series: Sequence[Sequence[float]], outcomes: Sequence[Any], **options: Any) -> History:
        return super().study(series, outcomes, **{**options, "evidence": "folds"})

    @pytest.fixture(autouse=True)
    def _leave_out(self, request: pytest.FixtureRequest) -> None:
        if request.node.originalname in OWN_CURVES:
            pytest.skip("this check of the kit has a study of its own, which reports curves")

    @pytest.fixture(params=MAKERS)
    def make_rule(self, request: pytest.FixtureRequest) -> Callable[[], Any]:
        return MAKERS[request.param]
