"""The sampler ``tpe``: an initial design, then the density ratio of good and other configurations."""

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

_ENUMERATED = 2000  # finite spaces of up to this many configurations are searched for untried ones
_MAX_DRAWS = 200  # random points drawn in search of an untried one


@attrs.define(kw_only=True)
class TpeSampler:
    """Tree-structured Parzen estimators: the ratio of two densities, of good configurations and of all others.

    The first suggestion is the space's default point, the next ones come from a Latin hypercube. Then candidates are
    drawn from the density of good configurations, and the candidate with the highest density ratio is suggested.
    Running and failed trials count as not good. Several objectives are ranked by non-dominated fronts.

    Every suggestion carries ``info`` with ``model`` (``"initial"``, ``"tpe"`` or ``"random"``). With ``"tpe"`` it also
    has ``gain`` (log density ratio), ``results`` (number of results learnt from) and ``good`` (how many are good).
    """

    n_initial: int | None = option(
        None, ge=1, le=100_000, help="Number of results before the densities take over; none: by `rules`."
    )
    candidates: int | None = option(
        None, ge=1, le=100_000, help="Configurations drawn from the good density; none: by `rules`."
    )
    good: float | None = option(None, gt=0, lt=1, help="Fraction of the results that counts as good; none: by `rules`.")
    rules: Literal["hpt", "optuna"] = option(
        "hpt", help="All other settings: tuned for hpt, or the defaults of Optuna 5."
    )

    _trees: dict[str, Tree] = attrs.field(init=False, factory=dict, repr=False, eq=False)

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        tree = self._tree(history.space)
        rules = self._rules(tree)
        order = ranked(history)
        idle = np.setdiff1d(history.pending, order, assume_unique=True)
        least = max(2, rules.n_initial // 2)
        if len(order) < least or len(order) + len(idle) < rules.n_initial:
            return _initial(history, tree, rules.n_initial, rng)
        order = focused(history, order, rng)
        below, above = _densities(history, tree, rules, order, np.concatenate([idle, history.failed]))
        info = {"model": "tpe", "results": len(order), "good": _count_good(rules, len(order))}
        drawn = below.sample(rules.candidates, rng)
        fresh = _best_new(history, tree, drawn, _log_ratio(below, above, drawn))
        if fresh is None and _small(history.space):
            unseen = _unseen(history)
            gain = _log_ratio(below, above, history.space.to_unit(unseen))
            fresh = unseen[int(np.argmax(gain))], float(gain.max())
        if fresh is None:
            return Suggestion(_random_unseen(history, rng), {"model": "random"})
        return Suggestion(fresh[0], {**info, "gain": fresh[1]})

    def _tree(self, space: Space) -> Tree:
        if space.hash not in self._trees:
            self._trees = {space.hash: Tree.of(space)}
        return self._trees[space.hash]

    def _rules(self, tree: Tree) -> Rules:
        rules = RULES[self.rules]
        if len(tree.groups) > 1:
            rules = attrs.evolve(rules, n_initial=rules.n_initial_conditional)
        given = {"n_initial": self.n_initial, "candidates": self.candidates, "good": self.good}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return attrs.evolve(rules, **changes)


def _initial(history: History, tree: Tree, n_initial: int, rng: Generator) -> Suggestion:
    """The first untried point of the initial design, else a random one."""
    for index, row in enumerate(initial_rows(tree, history.seed, n_initial)):
        params = _params(tree, row)
        if history.untried(params):
            return Suggestion(params, {"model": "initial", "index": index})
    return Suggestion(_random_unseen(history, rng), {"model": "initial", "index": None})


def _densities(history: History, tree: Tree, rules: Rules, order: IntArray, bad: IntArray) -> tuple[Parzen, Parzen]:
    """The densities of good configurations and of all others.

    Each group of parameters learns from the trials in which it was active, and splits those into good and others. So
    what is good within a branch is learnt however good the branch is, and the quality of the branch is learnt by the
    parameter that selects it.

    Args:
        history: The history.
        tree: The tree of its space.
        rules: How trials are split and weighted.
        order: Trials with evidence, best first. (n,)
        bad: Trials that count as not good: running ones without evidence, and failed ones.
    """
    below, above = [], []
    for group in tree.groups:
        columns, unit = [tree.columns[j] for j in group], history.unit[:, group]
        mine, others = (numbers[~np.isnan(unit[numbers, 0])] for numbers in (order, bad))
        count = _count_good(rules, len(mine))
        good, rest = mine[:count], np.concatenate([mine[count:], others])
        below.append(Mixture.of(columns, unit[good], rules.weights(good, good=True), rules.bandwidths))
        above.append(Mixture.of(columns, unit[rest], rules.weights(rest, good=False), rules.bandwidths))
    return Parzen(tree, tuple(below)), Parzen(tree, tuple(above))


def _count_good(rules: Rules, n: int) -> int:
    """Number of good results among ``n``; a single result cannot be judged."""
    return rules.split(n) if n > 1 else 0


def _log_ratio(below: Parzen, above: Parzen, rows: FloatArray) -> FloatArray:
    return below.log_density(rows) - above.log_density(rows)


def _best_new(history: History, tree: Tree, rows: FloatArray, gain: FloatArray) -> tuple[Params, float] | None:
    """The untried configuration of highest ``gain``, and its gain; None if all were tried."""
    for i in np.argsort(-gain, kind="stable"):
        params = _params(tree, rows[i])
        if history.untried(params):
            return params, float(gain[i])
    return None


def _params(tree: Tree, row: FloatArray) -> Params:
    params: Params = tree.space.from_unit(np.nan_to_num(row, nan=0.5))
    return params


def _small(space: Space) -> bool:
    return space.size is not None and space.size <= _ENUMERATED


def _unseen(history: History) -> list[Params]:
    """All untried configurations of a small space.

    If all were tried, the study allows repeats or has ended, so all configurations are returned.
    """
    space = history.space
    return [params for params in space.grid() if history.untried(params)] or list(space.grid())


def _random_unseen(history: History, rng: Generator) -> Params:
    """A random untried configuration; a tried one only if no untried one is found."""
    if _small(history.space):
        left = _unseen(history)
        return left[int(rng.integers(len(left)))]
    for _ in range(_MAX_DRAWS):
        params = history.space.sample(rng)
        if history.untried(params):
            break
    return params
