"""Scorers: turn names, metrics and functions into one call that computes every score of a fold.

The sign convention is scikit-learn's: greater is better, and ``neg_...`` scorers are maximised. As a convenience, an
objective or score may also be named by its *loss* (``log_loss``, ``mean_squared_error``, ``rmse``): this is the negated
``neg_...`` scorer, which is minimised. The times of `TIMES` are measured with every fit and need no scorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names, make_scorer

from hpt_core import EvaluationError, Mistake, UsageError, import_object
from hpt_evaluator_sklearn.estimators.specifications import did_you_mean, parameters_of, refuse_unknown_arguments

__all__ = ["TIMES", "FoldScore", "Scorers", "required", "resolve_scorers"]

TIMES = ("fit_time", "score_time")
"""Names of the times, in seconds, that are measured with every fit."""

FoldScore = Mapping[str, float]
"""The result of one fit on one fold, as it is reported: each score by its name, training scores as ``train_...``, the
times of `TIMES`, and the number of ``warnings`` if there were any."""

_OWN_SCORE = ("value", "score")
"""Names of the estimator's own ``score`` method; the first is used if nothing else names a score."""

_SHORT = {"mae": "mean_absolute_error", "mse": "mean_squared_error", "rmse": "root_mean_squared_error"}
_PATH = "evaluator.scoring"


@attrs.frozen(eq=False)
class Scorers:
    """All scores of a study; call it like a scorer to get them by name.

    Attributes:
        scorer: A scikit-learn scorer. For several scores, one multimetric scorer that predicts once for all of them.
        name: Name of the score if the scorer returns a single number.
        directions: Name -> ``"maximize"`` or ``"minimize"``, for scores whose better direction is known. Scores to be
            minimised are negated.
    """

    scorer: Any
    name: str
    directions: Mapping[str, str] = attrs.field(factory=dict)

    def __call__(self, estimator: Any, X: Any, y: Any, **params: Any) -> dict[str, float]:
        """Score a fitted estimator.

        Args:
            estimator: Fitted.
            X: Rows to score on.
            y: Their targets. If None, the scorers are called without targets.
            **params: Further arguments of the scorers.

        Returns:
            Name -> score, with the sign that the user asked for.
        """
        arguments = (X,) if y is None else (X, y)
        found = self.scorer(estimator, *arguments, **params)
        scores = dict(found) if isinstance(found, Mapping) else {self.name: found}
        for name, direction in self.directions.items():
            if direction == "minimize":
                scores[name] = 0.0 - scores[name]
        return scores

    def direction_mistakes(self, objectives: Mapping[str, str]) -> list[Mistake]:
        """List the objectives that are optimised in the wrong direction.

        Args:
            objectives: Name -> ``"minimize"`` or ``"maximize"``.
        """
        mistakes = []
        for name, direction in objectives.items():
            better = "minimize" if name in TIMES else self.directions.get(name, direction)
            if better == direction:
                continue
            if name in TIMES:
                msg = "Is a time in seconds: minimise it."
            elif better == "minimize":
                msg = f"Is a loss: minimise it, or maximise the scorer 'neg_{_SHORT.get(name, name)}'."
            else:
                loss = f" The loss to minimise is called {name[4:]!r}." if name.startswith("neg_") else ""
                msg = f"Is a scikit-learn score: greater is better, so maximise it.{loss}"
            mistakes.append(Mistake(f"objective.{name}", msg))
        return mistakes


def resolve_scorers(scoring: Any, objectives: Sequence[str], estimator: Any) -> Scorers:
    """Find the scorers of a study.

    Args:
        scoring: If None, the objectives name the scorers; ``value`` and ``score`` name the estimator's own. Otherwise
            one scorer (a name, ``"module:function"``, a callable, or a table ``{"use": "module:metric", ...}`` with
            arguments of `sklearn.metrics.make_scorer`), a list of names, or a table name -> scorer. A scorer given
            alone scores the first objective, whatever its name; the first of a list or table, only ``value`` or
            ``score``.
        objectives: Names of one or more objectives, in order. Those in `TIMES` need no scorer.
        estimator: Any estimator of the study.

    Returns:
        Scorers whose names include those of the objectives.

    Raises:
        UsageError: With every name that is not a scorer.
    """
    specifications = _specifications(scoring, [name for name in objectives if name not in TIMES])
    found: dict[str, Any] = {}
    directions: dict[str, str] = {}
    mistakes: list[Mistake] = []
    for name, (spec, path) in specifications.items():
        try:
            found[name], better = _make_scorer(spec, path, estimator)
        except UsageError as err:
            mistakes += err.mistakes
            continue
        directions |= {name: better} if better else {}
    if mistakes:
        raise UsageError(*mistakes)
    name, scorer = next(iter(found.items()))
    return Scorers(check_scoring(estimator, scoring=found) if len(found) > 1 else scorer, name, directions)


def _specifications(scoring: Any, objectives: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Name -> (specification, key path) of every score, the objectives first; at least one."""
    table = _score_table(scoring, objectives)
    missing = [name for name in objectives if name not in table]
    named = [name for name in missing if _by_name(name) is not None]
    unnamed = [name for name in missing if name not in named]
    extra = [name for name in table if name not in objectives]
    if unnamed and unnamed == objectives[:1] and unnamed[0] in _OWN_SCORE and extra:
        table[unnamed.pop()] = table.pop(extra[0])
    if unnamed:
        hint = did_you_mean(unnamed[0], [*table, *get_scorer_names(), *_SHORT])
        msg = f"Is not one of the scores, which are: {', '.join(table)}.{hint}"
        raise UsageError(Mistake(f"objective.{unnamed[0]}", msg))
    table.update(_by_their_names(named))
    ordered = {name: table[name] for name in [*objectives, *(n for n in table if n not in objectives)]}
    return ordered or {_OWN_SCORE[0]: (_OWN_SCORE[0], _PATH)}


def _score_table(scoring: Any, objectives: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Name -> (specification, key path) of the option's scores, before the objectives are assigned to them."""
    if scoring is None:
        return _by_their_names(objectives)
    if isinstance(scoring, (list, tuple)):
        if not scoring or any(not isinstance(item, str) for item in scoring):
            raise UsageError(Mistake(_PATH, f"A list of scorers must contain names. Got {scoring!r:.80}."))
        return {name: (name, _PATH) for name in scoring if name not in TIMES}
    if isinstance(scoring, Mapping) and "use" not in scoring:
        if not scoring:
            raise UsageError(Mistake(_PATH, "The table of scorers is empty."))
        measured = next((name for name in TIMES if name in scoring), None)
        if measured is not None:
            raise UsageError(Mistake(f"{_PATH}.{measured}", "Is measured with every fit. Rename the scorer."))
        return {name: (spec, f"{_PATH}.{name}") for name, spec in scoring.items()}
    is_name = isinstance(scoring, str) and ":" not in scoring
    if not objectives:
        return {scoring if is_name else _OWN_SCORE[0]: (scoring, _PATH)}
    if isinstance(scoring, str) and scoring != objectives[0] and _by_name(objectives[0]) is not None:
        msg = f"The objective is called {objectives[0]!r}, which is a scorer, but scoring = {scoring!r}."
        raise UsageError(Mistake(_PATH, f"{msg} Name the objective {scoring!r}, or leave scoring out."))
    return {objectives[0]: (scoring, _PATH)}


def _by_their_names(objectives: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Name -> (specification, key path) of objectives that name their scorers."""
    return {name: (name, f"objective.{name}") for name in objectives}


def _by_name(name: str) -> tuple[Any, str] | None:
    """The scorer of a name and its better direction; None if there is no such scorer."""
    names = get_scorer_names()
    if name in names:
        return get_scorer(name), "maximize"
    negated = f"neg_{_SHORT.get(name, name)}"
    return (get_scorer(negated), "minimize") if negated in names else None


def _make_scorer(spec: Any, path: str, estimator: Any) -> tuple[Any, str | None]:
    """Make one scorer; returns it with its better direction, or None if that is unknown."""
    if isinstance(spec, Mapping):
        return _from_metric(dict(spec), path), "maximize"
    if isinstance(spec, str) and ":" in spec:
        spec = import_object(spec, path)
    if isinstance(spec, str):
        found = _by_name(spec)
        if found is not None:
            return found
        if spec in _OWN_SCORE:
            return _own_score(estimator, path), "maximize"
        hint = did_you_mean(spec, [*get_scorer_names(), *_SHORT])
        given = "" if path.startswith(_PATH) else " or give `evaluator.scoring`"
        msg = f"There is no scorer {spec!r}.{hint} See sklearn.metrics.get_scorer_names(){given}."
        raise UsageError(Mistake(path, msg))
    if not callable(spec):
        raise UsageError(Mistake(path, f"Must be a scorer: a name or a callable. Got {spec!r:.80}."))
    try:
        return check_scoring(estimator, scoring=spec), None
    except ValueError as err:
        metric = f"{spec.__module__.split('._')[0]}:{spec.__name__}"
        msg = f'A metric is not a scorer: write it as {{ use = "{metric}", greater_is_better = ... }}.'
        raise UsageError(Mistake(path, msg)) from err


def _own_score(estimator: Any, path: str) -> Any:
    try:
        return check_scoring(estimator, scoring=None)
    except TypeError as err:
        msg = f"{type(estimator).__name__} has no `score` of its own: give `evaluator.scoring`."
        raise UsageError(Mistake(path, msg)) from err


def _from_metric(table: dict[str, Any], path: str) -> Any:
    if "use" not in table:
        raise UsageError(Mistake(path, f'Needs a key `use = "module:metric"`. Got {sorted(table)}.'))
    metric = table.pop("use")
    if isinstance(metric, str):
        metric = import_object(metric, f"{path}.use")
    own = parameters_of(make_scorer) or ()
    refuse_unknown_arguments(metric, [name for name in table if name not in own], path)
    try:
        return make_scorer(metric, **table)
    except (TypeError, ValueError) as err:
        raise UsageError(Mistake(path, f"{err}")) from err


def required(scores: Mapping[str, float], name: str) -> float:
    """The score of an objective.

    Raises:
        EvaluationError: If the scorers did not return it.
    """
    if name not in scores:
        msg = f"The scorers returned no {name!r}, only {', '.join(map(str, scores))}."
        raise EvaluationError(msg, kind="invalid-value")
    return scores[name]
