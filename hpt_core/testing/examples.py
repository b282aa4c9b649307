"""Spaces and histories on which the kits run components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import default_rng

from hpt_core.history.history import History
from hpt_core.history.trial import Params, Trial
from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Space
from hpt_core.testing.histories import make_records

if TYPE_CHECKING:
    from hpt_core.history.events import Record

__all__ = ["AWKWARD", "FLOATS", "MIXED", "ONE_POINT", "SMALL", "loss", "points", "snapshot", "studied", "studied_log"]

FLOATS = Space({"x": Float(-2.0, 3.0), "rate": Float(1e-4, 1.0, log=True)})
"""Two continuous parameters."""

MIXED = Space(
    {
        "model": Categorical("svm", "forest"),
        "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
        "depth": Int(1, 20, log=True, when={"model": "forest"}),
        "size": Ordinal("small", "medium", "large"),
        "drop": Float(0.0, 0.5, step=0.1),
        "x": Float(-1.0, 1.0),
    }
)
"""Every kind of parameter, conditional ones included."""

SMALL = Space({"k": Int(0, 2), "kind": Categorical("a", "b")})
"""Six configurations."""

ONE_POINT = Space({"a": Categorical("only"), "c": Constant(3)})
"""A single configuration: no choices, and no column in the unit cube."""

AWKWARD: Mapping[str, Space] = {
    "one narrow float": Space({"x": Float(1.0, 1.0 + 1e-12)}),
    "large integers": Space({"n": Int(1, 2**53 - 1, log=True), "m": Int(-(2**40), 2**40)}),
    "extreme floats": Space({"tiny": Float(1e-300, 1e300, log=True), "wide": Float(-1e150, 1e150)}),
    "choices of every type": Space({"c": Categorical("1", 1, None, False, 2.5, [1, 2]), "o": Ordinal(0.1, 0.5)}),
    "odd names": Space({"a b": Float(0, 1), "läuft/.": Int(0, 9), "model__C": Categorical("x", "y")}),
    "nested conditions": Space(
        {
            "leaf": Float(0, 1, when={"branch": "b"}),
            "branch": Categorical("a", "b", when={"root": [1, 2]}),
            "root": Int(0, 2),
        }
    ),
    "one column among constants": Space({"c": Constant(1), "x": Int(0, 10**6), "d": Constant("d")}),
    "thirty parameters": Space({f"x{i}": Float(0, 1) for i in range(30)}),
}
"""Spaces at the limits of what can be declared, by the name of the difficulty."""


def loss(space: Space, params: Params) -> float:
    """A smooth loss of at most 1: the mean squared distance of the active unit coordinates from 0.3."""
    unit = space.to_unit(params)
    active = unit[~np.isnan(unit)]
    return float(np.mean((active - 0.3) ** 2)) if len(active) else 0.5


def points(space: Space, count: int, seed: int = 1) -> list[Params]:
    """Random configurations, the same at each call."""
    rng = default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def studied_log(space: Space, count: int, *, directions: Sequence[str] = ("minimize",), **options: Any) -> list[Record]:
    """The log of ``count`` complete trials with random configurations and the values of `loss`; see `make_records`."""
    outcomes = []
    for params in points(space, count):
        value = loss(space, params)
        values = [value, 1.0 - value, value**2][: len(directions)]
        signed = [v if way == "minimize" else -v for v, way in zip(values, directions, strict=True)]
        outcomes.append((params, tuple(signed)))
    return make_records(space, outcomes, directions=directions, **options)


def studied(space: Space, count: int, **options: Any) -> History:
    """The history of `studied_log`."""
    history = History()
    history.extend(studied_log(space, count, **options))
    return history


def snapshot(history: History) -> str:
    """Everything in a history that a component could change, as text."""
    state = [history.position, history.keys, history.definition, history.notes, sorted(history.open), history.stop]
    return repr([*state, [_of(trial) for trial in history.trials], history.losses.tolist()])


def _of(trial: Trial) -> list[Any]:
    return [getattr(trial, name) for name in Trial.__slots__ if not name.startswith("__")]
