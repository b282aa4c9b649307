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
from hpt_evaluator_sklearn.data import Data, load_data
from hpt_evaluator_sklearn.estimators import Recipe, make_recipe
from hpt_evaluator_sklearn.fitting import FoldScore
from hpt_evaluator_sklearn.reports import in_context, known_folds, report_folds, report_levels, report_steps, summary
from hpt_evaluator_sklearn.routing import routing_context, routing_enabled
from hpt_evaluator_sklearn.scoring import Scorers, required, resolve_scorers
from hpt_evaluator_sklearn.shared import Material, Shared, prepare_material
from hpt_evaluator_sklearn.transformers import TransformerCache

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["SklearnEvaluator"]

_SEED_LIMIT = 2**32 - 1
_REMEMBERED = 1000
"""Trials whose folds are remembered, in case one of them wins."""


@attrs.define(kw_only=True, eq=False, slots=False)
class SklearnEvaluator:
    """Cross-validates any scikit-learn estimator or pipeline and reports fold by fold.

    The parameters of the space are ``set_params`` names (``svc__C``), or have one given in ``params``. Trials
    are paired: the folds and, unless asked otherwise, the random states are the same for all of them.

    Example::

        SklearnEvaluator(estimator="sklearn.svm:SVC", data="sklearn.datasets:load_digits", cv=5)
    """

    estimator: Any = option(
        None,
        help='"module:Class", "module:function", a table {use = ..., constructor arguments}, or an object.',
    )
    pipeline: list[Any] | None = option(
        None,
        help='Steps instead of an estimator: ["name", estimator] each, or a name alone that `choices` fills.',
    )
    choices: dict[str, dict[str, Any]] = option(
        factory=dict, help="Parameter that chooses a step -> its value in the space -> an estimator."
    )
    params: dict[str, str] = option(
        factory=dict, help='Short names: parameter of the space -> set_params name, as C = "model__C".'
    )
    data: Any = option(
        None,
        help='"module:function", {use = ..., arguments}, or {file = "x.csv", target = "y"} (.parquet, .npz).',
    )
    X: Any = option(None, help="Features as an object, instead of `data`.")
    y: Any = option(None, help="Targets that go with `X`.")
    groups: Any = option(None, help="Group of each row for the splitter: labels, or the name of a column.")
    fit_params: dict[str, Any] = option(
        factory=dict,
        help="Further arguments of fit (model__sample_weight): values, arrays by row, or column names.",
    )
    cv: Any = option(
        None,
        help='Folds: an int (5), "module:Class", {use = ..., arguments}, a splitter, or (train, test) rows.',
    )
    scoring: Any = option(None, help="Scorer, list of names, or table of scorers; by default the objectives name them.")
    return_train_score: bool = option(False, help="Score on the training parts too.")
    seed: int = option(
        0,
        ge=0,
        le=_SEED_LIMIT,
        help="Seeds a shuffling splitter, the holdout and each random_state left None.",
    )
    randomness: Literal["fixed", "trial", "own"] = option(
        "fixed", help="What a random_state left None gets: the seed above, the trial's own seed, or nothing."
    )
    holdout: float = option(
        0.0,
        ge=0,
        help="Rows set aside before all else and scored once, for the winner: a fraction, or a count.",
    )
    refit: bool = option(True, help="Fit the winner on all rows but the holdout at the end.")
    save: Path | None = option(None, help="Where to write the refitted winner (joblib; skops if it ends in .skops).")

    compare: bool = option(
        True, help="Score the default configuration at the end too and compare the winner with it, fold by fold."
    )
    resource: Literal["folds", "growth", "subsets"] = option(
        "folds",
        help="What reports grow in: folds one by one; trees, iterations or epochs of the model; training rows.",
    )
    levels: int = option(
        9, ge=1, help="Steps of a growing model or training set: at step i it has i/levels of its full size."
    )
    report_at: list[int] | None = option(
        None, help="Steps to score at; by default all of a growing model, 1, 3, 9 of nine of a training set."
    )
    grow: str | None = option(
        None, help="How the model grows: n_estimators, max_iter or partial_fit; by default found out."
    )
    threads: int = option(
        1,
        ge=0,
        help="Threads of linear algebra and OpenMP in one fit; 0 leaves them alone. More pays for large data only.",
    )
    cache_mb: int = option(
        256, ge=0, help="Megabytes for fitted transformers that trials share; 0 fits all of them anew."
    )
    metadata_routing: bool = option(
        factory=routing_enabled, help="Switch scikit-learn's metadata routing on, as it is where this is made."
    )

    best_estimator: Any = attrs.field(default=None, init=False, repr=False)
    """The refitted winner, after a run."""
    _space: Space | None = attrs.field(default=None, init=False, repr=False)
    _objectives: Mapping[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _shared: Shared | None = attrs.field(default=None, init=False, repr=False)
    _done: dict[str, list[FoldScore]] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        mistakes = option_mistakes(self)
        if mistakes:
            raise UsageError(*mistakes)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.init}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # the options are all there is to it

    # --- what it says of its reports --------------------------------------------------------------------

    @property
    def evidence(self) -> Literal["folds", "curve"]:
        """What a report is about: one fold alone, or the model as it is by then."""
        return "folds" if self.resource == "folds" else "curve"

    @property
    def resumable(self) -> bool:
        """Whether a trial can go on: with the folds that are left; models are not kept."""
        return self.resource == "folds"

    @property
    def steps(self) -> int:
        """The step of the last report: how many folds or levels there are."""
        return len(self.material.folds) if self.resource == "folds" else self.levels

    # --- what all trials share --------------------------------------------------------------------------

    @cached_property
    def recipe(self) -> Recipe:
        """How configurations become estimators."""
        with self._context():
            return make_recipe(self.estimator, self.pipeline, self.choices, self.params)

    @cached_property
    def loaded(self) -> Data:
        """All the data, loaded once per process."""
        return load_data(self.data, X=self.X, y=self.y, groups=self.groups, fit_params=self.fit_params)

    @cached_property
    def material(self) -> Material:
        """The data without the holdout, its folds, and the holdout."""
        with self._context():
            return prepare_material(
                self.loaded,
                self.recipe,
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
        """What all trials share, made once.

        Args:
            objectives: Names of the objectives, in order.

        Raises:
            UsageError: If an option does not fit.
        """
        if self._shared is None or self._shared.objectives != tuple(objectives):
            self._shared = Shared(
                self.recipe,
                self.material,
                self.scorers(objectives),
                tuple(objectives),
                seed=self.seed,
                return_train_score=self.return_train_score,
                cache=TransformerCache(self.cache_mb * 10**6) if self.cache_mb else None,
            )
        return self._shared

    def _context(self) -> AbstractContextManager[object]:
        return routing_context(self.metadata_routing)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Where estimators are fitted and scored: threads and routing are as the options say, for so long only."""
        _ = self.recipe  # imports the libraries whose threads are limited
        with self._context(), self._threads.limit(limits=self.threads or None):
            yield

    @cached_property
    def _threads(self) -> Any:
        return ThreadpoolController()

    # --- what the core calls ----------------------------------------------------------------------------

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
            trial: What to evaluate.

        Yields:
            One report per fold, or per level of a growing model or training set; the value is the first
            objective's.

        Returns:
            Means over the folds, see `summary`.
        """
        return in_context(self._evaluate(trial), self._at_work)

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
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]
        return summary(done, trial.objectives)

    @property
    def report_steps(self) -> list[int]:
        """The steps that a growing model or training set is scored at, the last one being all of it."""
        return report_steps(self.levels, self.report_at, self.resource)

    def conclude(self, best: TrialContext) -> dict[str, Any]:
        """Compare the winner with the default configuration, refit it, score the holdout, save it.

        Args:
            best: The winning configuration.

        Returns:
            JSON-shaped, see `hpt_evaluator_sklearn.conclusion.conclude`. The fitted estimator is then in
            ``best_estimator``.
        """
        with self._at_work():
            return conclude(self, best)

    # --- what concluding asks ---------------------------------------------------------------------------

    def fold_scores(self, trial: TrialContext) -> list[float]:
        """The first objective on each fold: remembered, or evaluated now."""
        if self._key(trial) not in self._done:
            for _ in self.evaluate(trial):
                pass
        done = self._done.get(self._key(trial), [])
        return [required(fold, trial.objectives[0]) for fold in done]

    def _key(self, trial: TrialContext) -> str:
        return json.dumps([trial.params, self._seed_of(trial)], sort_keys=True)

    def default_params(self) -> Params:
        """The space's default configuration; before `check` told the space, the estimator as it is given."""
        return {} if self._space is None else self._space.default()

    def direction(self, objective: str) -> str:
        """Which scores are better."""
        return self._objectives.get(objective, "maximize")
