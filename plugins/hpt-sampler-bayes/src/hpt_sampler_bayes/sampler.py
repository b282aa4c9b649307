"""The sampler ``bayes``: an initial design, then expected improvement under a Gaussian process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # ships no types

from hpt_core import History, Params, Space, Suggestion, option
from hpt_sampler_bayes.branches import in_neglected_branch
from hpt_sampler_bayes.candidates import candidates
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.initial import initial_rows
from hpt_sampler_bayes.kernel import FloatArray
from hpt_sampler_bayes.maximise import maximise, score
from hpt_sampler_bayes.observations import Observations, observe
from hpt_sampler_bayes.priors import Prior, PriorTerm
from hpt_sampler_bayes.strategy import model_and_acquisition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager

    from numpy.random import Generator

    from hpt_sampler_bayes.gp import BoolArray
    from hpt_sampler_bayes.model import Model

__all__ = ["BayesSampler"]

_ENUMERATED = 2000  # finite spaces of up to this many configurations are scored completely
_SPACE_CANDIDATES = 512  # candidates spread over the space
_LOCAL_CANDIDATES = 60  # candidates around each of the best points
_PRIOR_CANDIDATES = 128  # candidates drawn from the user's prior


@attrs.frozen(eq=False)
class _Prepared:
    """Everything that depends on the space and the options alone; computed once per space.

    Attributes:
        encoding: The encoding of the space.
        prior: The user's prior, None if none was given.
        every: All configurations by key; empty unless the space is finite and small.
        rows: The full rows of ``every``.
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
        """Mask of the untried configurations in ``every``; None if the space is not enumerated.

        If all were tried, the study allows repeats or has ended, so all count as untried again.
        """
        if not self.every:
            return None
        unseen = np.array([key not in history.keys for key in self.every])
        return unseen if unseen.any() else ~unseen


@attrs.define(kw_only=True)
class BayesSampler:
    """Bayesian optimisation: a Gaussian process over mixed and conditional spaces, log expected improvement.

    The first suggestion is the space's default point, the next ones are scrambled Sobol points. Once there are
    ``n_initial`` results, the model takes over. Running trials are assumed to have the loss that the model predicts
    (kriging believer), failed trials repel, and no point is repeated before all were tried once. Constraints of the
    study are modelled; ``priors`` weight the acquisition, less with every trial. Several objectives are optimised by
    expected hypervolume improvement.

    Every suggestion carries ``info`` with ``model`` (``"initial"``, ``"gp"`` or ``"random"``). A suggestion of the
    model adds ``mean`` and ``sd`` of the predicted value of the first objective (in the user's units and sign),
    ``acquisition`` (log acquisition value, on the warped scale), ``results`` (number of results, failed trials
    included, that the model learned from) and ``theta`` (log inverse squared lengthscales, log variance, log noise),
    from which the next fit starts.
    """

    n_initial: int = option(
        5, ge=1, le=100_000, help="Number of results before the model takes over from the initial design."
    )
    priors: dict[str, Any] = option(
        factory=dict,
        help="Where you expect the optimum, by parameter: { center, spread }; for a categorical { choice = weight }.",
    )

    _prepared: dict[str, _Prepared] = attrs.field(init=False, factory=dict, repr=False, eq=False)

    def suggest(self, history: History, rng: Generator) -> Suggestion:
        """Propose the next configuration; a pure function of ``history`` and ``rng``."""
        prepared = self._prepare(history.space)
        with _one_blas_thread():
            seen = observe(history, prepared.encoding)
            if self._too_few(seen):
                return self._initial(history, prepared, rng)
            return self._modelled(history, prepared, seen, rng)

    def _prepare(self, space: Space) -> _Prepared:
        if space.hash not in self._prepared:
            self._prepared = {space.hash: _Prepared.of(space, self.priors)}
        return self._prepared[space.hash]

    def check(self, space: Space, objectives: Collection[str]) -> None:  # noqa: ARG002 - what the core gives
        """Check that ``priors`` fits a space.

        Args:
            space: The study's space.
            objectives: The names of its objectives.

        Raises:
            UsageError: Listing every mistake in ``priors``.
        """
        self._prepare(space)

    def _too_few(self, seen: Observations) -> bool:
        least = max(2, self.n_initial // 2)
        return len(seen.y) < least or len(seen.y) + len(seen.pending) < self.n_initial

    def _initial(self, history: History, prepared: _Prepared, rng: Generator) -> Suggestion:
        """The first untried point of the initial design."""
        count = len(history.trials) + self.n_initial + 8
        encoding, prior = prepared.encoding, prepared.prior
        first = history.space.default({} if prior is None else prior.mode)  # exact; the unit cube would round it
        for index, row in enumerate(initial_rows(encoding, history.seed, count, self.n_initial, prior)):
            params = encoding.params(row) if index else first
            if history.untried(params):
                return Suggestion(params, {"model": "initial", "index": index})
        unseen = prepared.unseen(history)
        params = history.space.sample(rng) if unseen is None else encoding.params(rng.choice(prepared.rows[unseen]))
        return Suggestion(params, {"model": "initial", "index": None})

    def _modelled(self, history: History, prepared: _Prepared, seen: Observations, rng: Generator) -> Suggestion:
        encoding, prior, unseen = prepared.encoding, prepared.prior, prepared.unseen(history)
        t = max(1, len(history.trials) - self.n_initial + 1)
        prior_term = None if prior is None else PriorTerm(prior, t)
        warm = _last_fit(history, len(encoding.columns))
        model, acquisition = model_and_acquisition(encoding, seen, warm, prior_term, rng)
        if unseen is not None:
            rows = prepared.rows[unseen]
        else:
            rows = candidates(encoding, model.best, rng, spread=_SPACE_CANDIDATES, around=_LOCAL_CANDIDATES)
            if prior is not None:
                rows = np.vstack([rows, prior.draw(_PRIOR_CANDIDATES, rng)])
        inside = ~np.isnan(history.unit).all(axis=1)  # an amended space may exclude earlier trials

        def untried(row: FloatArray) -> bool:
            return unseen is not None or history.untried(encoding.params(row))

        due = in_neglected_branch(encoding, rows, history.unit[inside], untried, rng)
        if due is not None:
            rows = due
        if unseen is not None or due is not None:
            values = score(encoding, acquisition, rows)
            order = np.argsort(-values, kind="stable")
            rows, values = rows[order], values[order]
        else:
            rows, values = maximise(encoding, acquisition, rows, rng)
        for row, value in zip(rows, values, strict=True):
            if untried(row):
                return Suggestion(encoding.params(row), _info(history, encoding, model, row, float(value)))
        return Suggestion(history.space.sample(rng), {"model": "random"})  # if it was tried, the core asks again


def _last_fit(history: History, groups: int) -> list[FloatArray]:
    """The latest logged hyperparameters that fit the space; empty if there are none."""
    for trial in reversed(history.trials):
        theta = trial.info.get("theta")
        if isinstance(theta, (list, tuple)) and len(theta) == groups + 2:
            return [np.asarray(theta, dtype=np.float64)]
    return []


def _info(history: History, encoding: Encoding, model: Model, row: FloatArray, value: float) -> dict[str, Any]:
    mu, sd = model.posterior.predict(encoding.encode(row[None]))
    best, worst = model.warp.inverse(np.array([model.warp.t.min(), model.warp.t.max()]))
    span = worst - best  # the inverse warp is unbounded: predictions are clipped to within one range of the losses
    predicted = model.warp.inverse(mu + sd * np.array([-1.0, 0.0, 1.0]))
    low, middle, high = (float(v) for v in np.clip(predicted, best - span, worst + span))
    return {
        "model": "gp",
        "mean": history.value_of(middle),
        "sd": 0.5 * (high - low),
        "acquisition": value,
        "results": len(model.warp.t),
        "theta": [float(v) for v in model.theta],
    }


@functools.cache
def _controller() -> ThreadpoolController:
    """The controller of the loaded BLAS libraries; cached, as finding them takes a millisecond."""
    return ThreadpoolController()


def _one_blas_thread() -> AbstractContextManager[object]:
    """Limit BLAS to one thread: several are slower on small matrices, and workers share the machine."""
    limiter: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limiter
