"""What hpt asks of every stopping rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hpt_core.testing import StoppingRuleKit
from hpt_stopping_halving.asha import Asha
from hpt_stopping_halving.halving import Halving
from hpt_stopping_halving.hyperband import Hyperband
from hpt_stopping_halving.pasha import Pasha

MAKERS: dict[str, Callable[[], Any]] = {
    "asha-stop": Asha,
    "asha-promote": partial(Asha, mode="promote"),
    "halving": partial(Halving, trials=4, min_resource=1),
    "hyperband-stop": partial(Hyperband, min_resource=1),
    "hyperband-promote": partial(Hyperband, mode="promote", max_resource=12),
    "hyperband-rounds": partial(Hyperband, mode="rounds", max_resource=12),
    "pasha": Pasha,
}


class TestHalving(StoppingRuleKit):
    ordered = True

    @pytest.fixture(params=MAKERS)
    def make_rule(self, request: pytest.FixtureRequest) -> Callable[[], Any]:
        return MAKERS[request.param]
