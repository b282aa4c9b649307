"""The sampler: an initial design, then draws from the density of good configurations, judged against the others'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from hpt_core import History, Params, Space, Suggestion, option
from hpt_sampler_tpe.branches import focused
from hpt_sampler_tpe.initial import initial_rows
from hpt_sampler_tpe.parzen import Mixture, Parzen
from hpt_sampler_tpe.ranking import ranked
from hpt_sampler_tpe.rules import RULES, Rules
from hpt_sampler_tpe.tree import Tree

if TYPE_CHECKING:
    from numpy.random import Generator

    from hpt_sampler_tpe.normal import FloatArray, IntArray

__all__ = ["TpeSampler"]

_ENUMERATED = 2000  # configurations up to which a finite space is searched for what nobody has taken
_TRIES = 200  # random points to look at for one that is new


@attrs.define(kw_only=True)
class TpeSampler:
    """Tree-structured Parzen estimators: two densities, of good configurations and of the others, and their ratio.

    The first suggestion is the space's default point, the next come from a Latin hypercube. Then configurations are
    drawn from the density of the good ones, and the one is suggested whose density ratio is highest. Trials
    that run, or failed, count among the others. Several objectives are ranked by non-dominated fronts.

    Every suggestion carries ``info``: ``model`` (``"initial"``, ``"tpe"`` or ``"random"``), and of the densities
    ``gain`` (the log of the ratio), ``results`` (how many it has learnt from) and ``good`` (how many of them are good).
    """

    n_initial: int | None = option(None, ge=1, help="Results to wait for before the densities choose; none: by rules.")
    candidates: int | None = option(None, ge=1, help="Configurations drawn from the good density; none: by rules.")
    good: float | None = option(None, gt=0, lt=1, help="Fraction of the results that is good; none: by rules.")
    rules: Literal["hpt", "optuna"] = option("hpt", help="The other numbers: tuned for hpt, or Optuna 5's defaults.")

    _trees: dict[str, Tree] = attrs.field(init=False, factory=dict, repr=False, eq=False)

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        tree = self._tree(history.space)
        rules = self._numbers(tree)
        order = ranked(history)
        idle = np.setdiff1d(history.pending, order)
        least = max(2, rules.n_initial // 2)
        if len(order) < least or len(order) + len(idle) < rules.n_initial:
            return _initial(history, tree, rules.n_initial, rng)
        order = focused(history, order, rng)
        below, above = _densities(history, tree, rules, order, np.concatenate([idle, history.failed]))
        info = {"model": "tpe", "results": len(order), "good": _good(rules, len(order))}
        drawn = below.sample(rules.candidates, rng)
        fresh = _best_new(history, tree, drawn, _gain(below, above, drawn))
        if fresh is None and _small(history.space):
            unseen = _unseen(history)
            gain = _gain(below, above, history.space.to_unit(unseen))
            fresh = unseen[int(np.argmax(gain))], float(gain.max())
        if fresh is None:
            return Suggestion(_random(history, rng), {"model": "random"})
        return Suggestion(fresh[0], {**info, "gain": fresh[1]})

    def _tree(self, space: Space) -> Tree:
        if space.hash not in self._trees:
            self._trees = {space.hash: Tree.of(space)}
        return self._trees[space.hash]

    def _numbers(self, tree: Tree) -> Rules:
        rules = RULES[self.rules]
        if len(tree.groups) > 1:
            rules = attrs.evolve(rules, n_initial=rules.n_branched)
        given = {"n_initial": self.n_initial, "candidates": self.candidates, "good": self.good}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return attrs.evolve(rules, **changes)


def _initial(history: History, tree: Tree, n_initial: int, rng: Generator) -> Suggestion:
    """The first point of the design that nobody has taken, else a random one."""
    for index, row in enumerate(initial_rows(tree, history.seed, n_initial)):
        params = _params(tree, row)
        if history.space.key(params) not in history.keys:
            return Suggestion(params, {"model": "initial", "index": index})
    return Suggestion(_random(history, rng), {"model": "initial", "index": None})


def _densities(history: History, tree: Tree, rules: Rules, order: IntArray, bad: IntArray) -> tuple[Parzen, Parzen]:
    """The densities of good and of other configurations.

    Each group of parameters learns from the trials in which it was active, and splits those: what is good in a branch
    is learnt however good the branch is, and whether it is any good from the choice that leads to it.

    Args:
        history: The history.
        tree: Its space.
        rules: How trials are split and weighed.
        order: Trials with evidence, the best first. (n,)
        bad: Trials without, which count among the others: they run, or failed.
    """
    below, above = [], []
    for group in tree.groups:
        columns, unit = [tree.columns[j] for j in group], history.unit[:, group]
        mine, others = (numbers[~np.isnan(unit[numbers, 0])] for numbers in (order, bad))
        count = _good(rules, len(mine))
        good, rest = mine[:count], np.concatenate([mine[count:], others])
        below.append(Mixture.of(columns, unit[good], rules.weights(good, good=True), rules.widths))
        above.append(Mixture.of(columns, unit[rest], rules.weights(rest, good=False), rules.widths))
    return Parzen(tree, tuple(below)), Parzen(tree, tuple(above))


def _good(rules: Rules, n: int) -> int:
    """How many of ``n`` results are good; of one alone nobody knows."""
    return rules.split(n) if n > 1 else 0


def _gain(below: Parzen, above: Parzen, rows: FloatArray) -> FloatArray:
    return below.log_density(rows) - above.log_density(rows)


def _best_new(history: History, tree: Tree, rows: FloatArray, gain: FloatArray) -> tuple[Params, float] | None:
    """The configuration of highest ``gain`` that no trial has taken, and its gain; None without one."""
    for i in np.argsort(-gain, kind="stable"):
        params = _params(tree, rows[i])
        if history.space.key(params) not in history.keys:
            return params, float(gain[i])
    return None


def _params(tree: Tree, row: FloatArray) -> Params:
    params: Params = tree.space.from_unit(np.nan_to_num(row, nan=0.5))
    return params


def _small(space: Space) -> bool:
    return space.size is not None and space.size <= _ENUMERATED


def _unseen(history: History) -> list[Params]:
    """All configurations of a small space that no trial has taken; all, where they all were.

    The study allows repeats then, or it has ended.
    """
    space = history.space
    return [params for params in space.grid() if space.key(params) not in history.keys] or list(space.grid())


def _random(history: History, rng: Generator) -> Params:
    """A random configuration, if it can be helped one that no trial has taken."""
    if _small(history.space):
        left = _unseen(history)
        return left[int(rng.integers(len(left)))]
    for _ in range(_TRIES):
        params = history.space.sample(rng)
        if history.space.key(params) not in history.keys:
            break
    return params
