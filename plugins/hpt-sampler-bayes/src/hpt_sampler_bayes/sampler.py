"""The sampler: initial design, then a Gaussian process with expected improvement."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # ships no types

from hpt_core import History, Params, Space, Suggestion, option
from hpt_sampler_bayes.aim import aim
from hpt_sampler_bayes.branches import in_neglected_branch
from hpt_sampler_bayes.candidates import candidates
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.initial import initial_rows
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.maximise import maximise
from hpt_sampler_bayes.observations import Observations, observe
from hpt_sampler_bayes.priors import Belief, Prior

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

    from numpy.random import Generator

    from hpt_sampler_bayes.gp import BoolArray
    from hpt_sampler_bayes.model import Model

__all__ = ["BayesSampler"]

_ENUMERATED = 2000  # configurations up to which a finite space is scored whole
_TRIES = 200  # random points to look at for one that is new
_SPREAD = 512  # candidates over the space
_AROUND = 60  # candidates around each of the best
_BELIEVED = 128  # candidates drawn from what the user believes


@attrs.frozen(eq=False)
class _Prepared:
    """What is worked out once per space.

    Attributes:
        encoding: Its encoding.
        prior: What the user believes.
        every: All configurations by key; empty unless the space is finite and small.
        rows: Their full rows.
    """

    encoding: Encoding
    prior: Prior | None
    every: dict[Any, Params]
    rows: FloatArray

    @classmethod
    def of(cls, space: Space, priors: Mapping[str, Any]) -> _Prepared:
        small = space.size is not None and space.size <= _ENUMERATED
        every = {space.key(params): params for params in space.grid()} if small else {}
        encoding = Encoding.of(space)
        prior = Prior.of(encoding, priors) if priors else None
        return cls(encoding, prior, every, encoding.fill(space.to_unit(every.values())))

    def unseen(self, history: History) -> BoolArray | None:
        """Which of ``every`` no trial has taken; where all were, the study allows repeats or has ended: all again."""
        if not self.every:
            return None
        unseen = np.array([key not in history.keys for key in self.every])
        return unseen if unseen.any() else ~unseen


@attrs.define(kw_only=True)
class BayesSampler:
    """Bayesian optimisation: a Gaussian process over mixed and conditional spaces, log expected improvement.

    The first suggestion is the space's default point, the next are scrambled Sobol points; from ``n_initial``
    results on, a model chooses. Running trials count as if they had given what the model predicts, failed ones
    repel, no point comes twice before all came once. Constraints of the study are modelled; ``priors`` weigh what is
    aimed at, at first. Of two objectives the dominated hypervolume is improved, more are scalarised with random
    weights (ParEGO).

    Every suggestion carries ``info``: ``model`` (``"initial"`` or ``"gp"``) and of the model ``mean`` and ``sd`` of
    the value it predicts (in the user's units and sign; with two objectives of the first, with more of the warped
    scalarisation), ``acquisition`` (the logarithm of what was aimed at, on the warped scale), ``results`` (how many it
    has learnt from) and ``theta`` (log inverse squared lengthscales, log variance, log noise), from which the next
    fit starts.
    """

    n_initial: int = option(5, ge=1, help="Results to wait for before the model chooses.")
    priors: dict[str, Any] = option(
        factory=dict,
        help="What you believe of the optimum, by parameter: { center, spread }, of a categorical { choice = weight }.",
    )

    _prepared: dict[str, _Prepared] = attrs.field(init=False, factory=dict, repr=False, eq=False)

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        prepared = self._prepare(history.space)
        with _one_blas_thread():
            seen = observe(history, prepared.encoding, rng)
            if self._too_few(seen):
                return self._initial(history, prepared, rng)
            return self._modelled(history, prepared, seen, rng)

    def _prepare(self, space: Space) -> _Prepared:
        if space.hash not in self._prepared:
            self._prepared = {space.hash: _Prepared.of(space, self.priors)}
        return self._prepared[space.hash]

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - what the core gives
        """See that ``priors`` fits a space.

        Args:
            space: The study's space.
            objectives: The names of its objectives.

        Raises:
            UsageError: With every mistake in it.
        """
        self._prepare(space)

    def _too_few(self, seen: Observations) -> bool:
        least = max(2, self.n_initial // 2)
        return len(seen.y) < least or len(seen.y) + len(seen.pending) < self.n_initial

    def _initial(self, history: History, prepared: _Prepared, rng: Generator) -> Suggestion:
        """The first point of the design that nobody has taken."""
        count = len(history.trials) + self.n_initial + 8
        encoding, prior = prepared.encoding, prepared.prior
        first = history.space.default({} if prior is None else prior.mode)  # as declared, not as in the cube
        for index, row in enumerate(initial_rows(encoding, history.seed, count, self.n_initial, prior)):
            params = encoding.params(row) if index else first
            if history.space.key(params) not in history.keys:
                return Suggestion(params, {"model": "initial", "index": index})
        return Suggestion(_another(history, prepared, rng), {"model": "initial", "index": None})

    def _modelled(self, history: History, prepared: _Prepared, seen: Observations, rng: Generator) -> Suggestion:
        encoding, prior, unseen = prepared.encoding, prepared.prior, prepared.unseen(history)
        t = max(1, len(history.trials) - self.n_initial + 1)
        belief = None if prior is None else Belief(prior, t)
        warm = _last_fit(history, len(encoding.columns))
        model, acquisition = aim(encoding, seen, warm, belief, rng)
        if unseen is not None:
            rows = prepared.rows[unseen]
        else:
            rows = candidates(encoding, model.best, rng, spread=_SPREAD, around=_AROUND)
            if prior is not None:
                rows = np.vstack([rows, prior.draw(_BELIEVED, rng)])
        inside = ~np.isnan(history.unit).all(axis=1)  # of an amended space
        owed = in_neglected_branch(encoding, rows, history.unit[inside])
        if owed is not None:
            rows = rows[owed]
        if unseen is not None or owed is not None:
            values = acquisition(encoding.encode(rows))
            order = np.argsort(-values, kind="stable")
            rows, values = rows[order], values[order]
        else:
            rows, values = maximise(encoding, acquisition, rows, rng)
        for row, value in zip(rows, values, strict=True):
            params = encoding.params(row)
            if unseen is not None or history.space.key(params) not in history.keys:
                return Suggestion(params, _info(history, encoding, model, row, float(value)))
        return Suggestion(_another(history, prepared, rng), {"model": "random"})


def _another(history: History, prepared: _Prepared, rng: Generator) -> Params:
    """A random configuration, if there is one that no trial has taken."""
    unseen = prepared.unseen(history)
    if unseen is not None:
        return prepared.encoding.params(rng.choice(prepared.rows[unseen]))
    for _ in range(_TRIES):
        params = history.space.sample(rng)
        if history.space.key(params) not in history.keys:
            return params
    every = history.space.grid() if history.space.size else ()
    return next((point for point in every if history.space.key(point) not in history.keys), params)


def _last_fit(history: History, groups: int) -> list[FloatArray]:
    """The hyperparameters noted with the latest suggestion that has fitting ones."""
    for trial in reversed(history.trials):
        theta = trial.info.get("theta")
        if isinstance(theta, (list, tuple)) and len(theta) == groups + 2:
            return [np.asarray(theta, dtype=np.float64)]
    return []


def _info(history: History, encoding: Encoding, model: Model, row: FloatArray, value: float) -> dict[str, Any]:
    mu, sd = model.posterior.predict(encoding.encode(row[None]))
    best, worst = model.warp.inverse(np.array([model.warp.t.min(), model.warp.t.max()]))
    span = worst - best  # the warps stretch without bounds, so a prediction keeps within reach of the losses
    predicted = model.warp.inverse(mu + sd * np.array([-1.0, 0.0, 1.0]))
    low, middle, high = (float(v) for v in np.clip(predicted, best - span, worst + span))
    first = len(history.objectives) < 3  # a process of its own; of more objectives the scalarisation has one
    return {
        "model": "gp",
        "mean": history.value_of(middle) if first else middle,
        "sd": 0.5 * (high - low),
        "acquisition": value,
        "results": len(model.warp.t),
        "theta": [float(v) for v in model.theta],
    }


@functools.cache
def _controller() -> ThreadpoolController:
    """Looks up the BLAS libraries that are loaded; costs a millisecond, so once."""
    return ThreadpoolController()


def _one_blas_thread() -> AbstractContextManager[object]:
    """Small matrices are slower on several threads, and workers share the machine."""
    limiter: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limiter
