"""The evaluator `sklearn`: cross-validates a scikit-learn estimator, one report per fold."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships no types

from hpt_core import Params, Report, Space, TrialContext, UsageError, option
from hpt_evaluator_sklearn.checks import find_mistakes, option_mistakes
from hpt_evaluator_sklearn.conclusion import conclude
from hpt_evaluator_sklearn.data.loading import load_data
from hpt_evaluator_sklearn.data.routing import routing_context, routing_enabled
from hpt_evaluator_sklearn.data.splits import SplitData, make_split_data
from hpt_evaluator_sklearn.estimators.recipe import Recipe, make_recipe
from hpt_evaluator_sklearn.fitting.shared import Shared
from hpt_evaluator_sklearn.fitting.transformers import TransformerCache
from hpt_evaluator_sklearn.scoring.reports import (
    in_context,
    known_folds,
    report_folds,
    report_levels,
    report_steps,
    summary,
)
from hpt_evaluator_sklearn.scoring.scorers import TIMES, FoldScore, Scorers, required, resolve_scorers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hpt_evaluator_sklearn.data.data import Data

__all__ = ["SklearnEvaluator"]

_SEED_LIMIT = 2**32 - 1
_MAX_REMEMBERED = 1000
"""Maximum number of trials whose folds are remembered for the comparison with the winner."""


@attrs.define(kw_only=True, eq=False, slots=False)
class SklearnEvaluator:
    """Cross-validates any scikit-learn estimator or pipeline and reports fold by fold.

    The parameters of the space are ``set_params`` names (``svc__C``), or are mapped to one by ``params``. Trials are
    paired: all of them have the same folds and, by default, the same random states.

    The objectives name the scores. ``fit_time`` and ``score_time``, the mean seconds per fold, may be objectives as
    well. They vary with the load of the machine. Trials with such an objective share no fitted transformers.

    Example::

        SklearnEvaluator(estimator="sklearn.svm:SVC", data="sklearn.datasets:load_digits", cv=5)
    """

    estimator: Any = option(
        None,
        help='The estimator: "module:Class", "module:function", a table {use = ..., arguments}, or an object.',
    )
    pipeline: list[Any] | None = option(
        None,
        help='Steps instead of an estimator: ["name", estimator], or just a name whose estimators are in `choices`.',
    )
    choices: dict[str, dict[str, Any]] = option(
        factory=dict, help="Estimators to choose from: parameter or step -> value in the space -> estimator."
    )
    params: dict[str, str] = option(
        factory=dict, help='Short names: parameter of the space -> set_params name, such as C = "model__C".'
    )
    none: str | None = option(
        None,
        help='The text in the space that stands for None, as TOML has no null: class_weight = ["none", "balanced"].',
    )
    data: Any = option(
        None,
        help='The data: "module:function", {use = ..., arguments}, or {file = "x.csv", target = "y"} (.parquet, .npz).',
    )
    X: Any = option(None, help="Features as an object, instead of `data`.")
    y: Any = option(None, help="Targets of `X`.")
    groups: Any = option(None, help="Group of each row, for the splitter: labels, or the name of a column.")
    fit_params: dict[str, Any] = option(
        factory=dict,
        help="Further arguments of fit (model__sample_weight): values, arrays by row, or column names.",
    )
    cv: Any = option(
        None,
        help='Folds: an int (5), "module:Class", {use = ..., arguments}, a splitter, or (train, test) rows.',
    )
    scoring: Any = option(
        None, help="A scorer, a list of names, or a table of scorers; by default the objectives name the scorers."
    )
    return_train_score: bool = option(False, help="Score on the training parts as well.")
    seed: int = option(
        0,
        ge=0,
        le=_SEED_LIMIT,
        help="Seed of a shuffling splitter, of the holdout and of each random_state that is None.",
    )
    randomness: Literal["fixed", "trial", "own"] = option(
        "fixed", help="Seed of each random_state that is None: `seed`, the seed of the trial, or none."
    )
    holdout: float = option(
        0.0,
        ge=0,
        help="Rows set aside before the search, on which only the winner is scored: a fraction, or a count.",
    )
    refit: bool = option(True, help="Fit the winner on all rows but the holdout at the end.", affects_results=False)
    save: Path | None = option(
        None, help="File for the refitted winner (joblib; skops if it ends in .skops).", affects_results=False
    )
    compare: bool = option(
        True,
        help="Score the default configuration at the end and compare the winner with it, fold by fold.",
        affects_results=False,
    )
    resource: Literal["folds", "growth", "subsets"] = option(
        "folds",
        help="What a further report adds: the next fold; more trees, iterations or epochs of the model; or more "
        "training rows.",
    )
    levels: int = option(
        9,
        ge=1,
        le=100_000,
        help="Number of steps of a growing model or training set: at step i it has i/levels of its full size.",
    )
    report_at: list[int] | None = option(
        None, help="Steps to score at; by default all for a growing model, and 1, 3, 9 of 9 for a training set."
    )
    grow: str | None = option(
        None, help="How the model grows: n_estimators, max_iter or partial_fit; by default detected."
    )
    threads: int = option(
        1,
        ge=0,
        help="Threads of linear algebra and OpenMP in one fit; 0: no limit. More than 1 pays off for large data only.",
    )
    cache_mb: int = option(
        256,
        ge=0,
        help="Megabytes for fitted transformers that trials share; 0: every trial fits its own.",
        affects_results=False,
    )
    metadata_routing: bool = option(
        factory=routing_enabled,
        help="Enable scikit-learn's metadata routing; by default as it is when the evaluator is created.",
    )

    best_estimator: Any = attrs.field(default=None, init=False, repr=False)
    """The refitted winner after a run that ended with a new best trial, otherwise None."""
    _space: Space | None = attrs.field(default=None, init=False, repr=False)
    _objectives: Mapping[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _shared: dict[tuple[str, ...], Shared] = attrs.field(factory=dict, init=False, repr=False)
    _done: dict[str, list[FoldScore]] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        mistakes = option_mistakes(self)
        if mistakes:
            raise UsageError(*mistakes)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # only the options are pickled

    # --- properties of the reports ----------------------------------------------------------------------

    @property
    def evidence(self) -> Literal["folds", "curve"]:
        """Whether a report is the score of one fold, or a point of a learning curve."""
        return "folds" if self.resource == "folds" else "curve"

    @property
    def resumable(self) -> bool:
        """Whether a trial can resume: only by folds, with the remaining ones. Growing models are not kept."""
        return self.resource == "folds"

    @property
    def steps(self) -> int:
        """The step of the last report: the number of folds or levels."""
        return len(self.split_data.folds) if self.resource == "folds" else self.levels

    @property
    def sources(self) -> list[Any]:
        """The options that may name code and data of the user."""
        return [self.estimator, self.pipeline, self.choices, self.data, self.cv, self.scoring]

    # --- state shared by all trials ---------------------------------------------------------------------

    @cached_property
    def recipe(self) -> Recipe:
        """Makes the estimator of a configuration."""
        with self._context():
            return make_recipe(self.estimator, self.pipeline, self.choices, self.params, self.none)

    @cached_property
    def loaded(self) -> Data:
        """All the data, loaded once per process."""
        return load_data(self.data, X=self.X, y=self.y, groups=self.groups, fit_params=self.fit_params)

    @cached_property
    def split_data(self) -> SplitData:
        """The data, its folds, and the holdout."""
        with self._context():
            return make_split_data(
                self.loaded,
                self.recipe.template,
                cv=self.cv,
                holdout=self.holdout,
                seed=self.seed,
                single=self.resource != "folds",
            )

    def scorers(self, objectives: Sequence[str]) -> Scorers:
        """The scorers of a study with these objectives."""
        with self._context():
            return resolve_scorers(self.scoring, objectives, self.recipe.template)

    def shared(self, objectives: Sequence[str]) -> Shared:
        """The state shared by all trials, created on the first call.

        Args:
            objectives: Names of the objectives, in order.

        Raises:
            UsageError: If an option does not fit.
        """
        key = tuple(objectives)
        if key not in self._shared:
            caches = self.cache_mb > 0 and not set(TIMES) & set(objectives)  # a cached transformer takes no fit time
            self._shared[key] = Shared(
                self.recipe,
                self.split_data,
                self.scorers(objectives),
                seed=self.seed,
                return_train_score=self.return_train_score,
                cache=TransformerCache(self.cache_mb * 10**6) if caches else None,
            )
        return self._shared[key]

    def _context(self) -> AbstractContextManager[object]:
        return routing_context(self.metadata_routing)

    @contextmanager
    def fitting_context(self) -> Iterator[None]:
        """The context for fitting and scoring, with threads and metadata routing as the options say."""
        _ = self.recipe  # imports the libraries whose threads are limited
        with self._context(), self._threads.limit(limits=self.threads or None):
            yield

    @cached_property
    def _threads(self) -> Any:
        return ThreadpoolController()

    # --- the contract of an evaluator -------------------------------------------------------------------

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Find the user's mistakes before the first trial.

        Args:
            space: The space of the study.
            objectives: Name -> ``"minimize"`` or ``"maximize"``.

        Raises:
            UsageError: With all mistakes found.
        """
        with self._context():
            mistakes = find_mistakes(self, space, objectives)
        if mistakes:
            raise UsageError(*mistakes)
        self._space, self._objectives = space, dict(objectives)

    def configured(self, trial: TrialContext) -> Any:
        """The unfitted estimator of a trial, random states set."""
        return self.recipe.build(trial.params, self._seed_of(trial))

    def _seed_of(self, trial: TrialContext) -> int | None:
        return {"fixed": self.seed, "trial": trial.seed, "own": None}[self.randomness]

    def evaluate(self, trial: TrialContext) -> Generator[Report, None, dict[str, float]]:
        """Fit and score one configuration.

        Args:
            trial: The trial to evaluate.

        Yields:
            One report per fold, or per level of a growing model or training set. Its value is that of the first
            objective.

        Returns:
            Means over the folds, see `hpt_evaluator_sklearn.scoring.reports.summary`.
        """
        return in_context(self._evaluate(trial), self.fitting_context)

    def _evaluate(self, trial: TrialContext) -> Generator[Report, None, dict[str, float]]:
        shared, estimator = self.shared(trial.objectives), self.configured(trial)
        if self.resource == "folds":
            folds = shared.by_folds(estimator, known=known_folds(trial))
            done = yield from report_folds(folds, trial.objectives, trial.resume_step)
        elif self.resource == "growth":
            done = yield from report_levels(shared.by_growth(estimator, self.report_steps, self.grow), trial.objectives)
        else:
            done = yield from report_levels(shared.by_subsets(estimator, self.report_steps), trial.objectives)
        self._done[self._key(trial)] = done
        if len(self._done) > _MAX_REMEMBERED:
            del self._done[next(iter(self._done))]
        return summary(done, trial.objectives)

    @property
    def report_steps(self) -> list[int]:
        """The steps at which a growing model or training set is scored; the last one is its full size."""
        return report_steps(self.levels, self.report_at, self.resource)

    def conclude(self, best: TrialContext) -> dict[str, Any]:
        """Compare the winner with the default configuration, refit it, score the holdout, save it.

        Args:
            best: The winning configuration.

        Returns:
            JSON-shaped data, see `hpt_evaluator_sklearn.conclusion.conclude`. The fitted estimator is kept as
            ``best_estimator``.
        """
        with self.fitting_context():
            return conclude(self, best)

    # --- used by conclude -------------------------------------------------------------------------------

    def fold_scores(self, trial: TrialContext) -> list[float]:
        """The first objective on each fold: remembered from the run, or evaluated now."""
        if self._key(trial) not in self._done:
            for _ in self.evaluate(trial):
                pass
        done = self._done.get(self._key(trial), [])
        return [required(fold, trial.objectives[0]) for fold in done]

    def _key(self, trial: TrialContext) -> str:
        return json.dumps([trial.objectives, trial.params, self._seed_of(trial)], sort_keys=True)

    def default_params(self) -> Params:
        """The default configuration of the space; empty before `check` was called."""
        return {} if self._space is None else self._space.default()

    def direction(self, objective: str) -> str:
        """The direction of an objective; ``"maximize"`` before `check` was called."""
        return self._objectives.get(objective, "maximize")
