"""Scorers: from names, metrics and functions to one call that gives every score of a fold.

The sign is scikit-learn's: greater is better, ``neg_...`` scorers are maximised. One convenience is added: an
objective or score may be named as the *loss* (``log_loss``, ``mean_squared_error``, ``rmse``); it is then the
negated ``neg_...`` scorer and to be minimised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names, make_scorer

from hpt_core import EvaluationError, Mistake, UsageError, import_object
from hpt_evaluator_sklearn.estimators import near

__all__ = ["Scorers", "resolve_scorers"]

OWN = "score"
"""Stands for the estimator's own ``score`` method."""

_SHORT = {"mae": "mean_absolute_error", "mse": "mean_squared_error", "rmse": "root_mean_squared_error"}
_PATH = "evaluator.scoring"


@attrs.frozen(eq=False)
class Scorers:
    """All scores of a study; call it as a scorer to get them by name.

    Attributes:
        scorer: scikit-learn's scorer; where there are several scores, the one of all, which predicts once for all.
        name: What the score of a scorer is called that gives a number.
        directions: Name -> ``"maximize"`` or ``"minimize"`` where it is known which is better; scores that are to be
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
            y: Their targets; None: the scorers are called without.
            **params: Further arguments of the scorers.

        Returns:
            Name -> score, in the sign that the user asked for.
        """
        arguments = (X,) if y is None else (X, y)
        found = self.scorer(estimator, *arguments, **params)
        scores = dict(found) if isinstance(found, Mapping) else {self.name: found}
        for name, direction in self.directions.items():
            if direction == "minimize":
                scores[name] = 0.0 - scores[name]
        return scores

    def direction_mistakes(self, objectives: Mapping[str, str]) -> list[Mistake]:
        """Objectives that are to be driven to their worse end.

        Args:
            objectives: Name -> ``"minimize"`` or ``"maximize"``.
        """
        mistakes = []
        for name, direction in objectives.items():
            better = self.directions.get(name, direction)
            if better == direction:
                continue
            msg = f"Is a loss: minimise it, or maximise the scorer 'neg_{_SHORT.get(name, name)}'."
            if better == "maximize":
                loss = f" The loss to minimise is called {name[4:]!r}." if name.startswith("neg_") else ""
                msg = f"Is a scikit-learn score: greater is better, so maximise it.{loss}"
            mistakes.append(Mistake(f"objective.{name}", msg))
        return mistakes


def resolve_scorers(scoring: Any, objectives: Sequence[str], estimator: Any) -> Scorers:
    """Find the scorers of a study.

    Args:
        scoring: None: the objectives name the scorers, ``value`` and ``score`` being the estimator's own.
            Else one scorer (a name, ``"module:function"``, a callable, a table
            ``{"use": "module:metric", ...}`` of arguments of `sklearn.metrics.make_scorer`), a list of names,
            or a table name -> one scorer. The first serves an objective of another name.
        objectives: Their names, in order.
        estimator: Any estimator of the study.

    Returns:
        Scorers that have the objectives' names among theirs.

    Raises:
        UsageError: With every name that is no scorer.
    """
    if not objectives:
        raise UsageError(Mistake("objective", "There must be at least one objective."))
    wanted = _wanted(scoring, objectives)
    found: dict[str, Any] = {}
    directions: dict[str, str] = {}
    mistakes: list[Mistake] = []
    for name, spec in wanted.items():
        try:
            found[name], better = _one(spec, name, estimator, scoring is None)
        except UsageError as err:
            mistakes += err.mistakes
            continue
        directions |= {name: better} if better else {}
    if mistakes:
        raise UsageError(*mistakes)
    name, scorer = next(iter(found.items()))
    return Scorers(check_scoring(estimator, scoring=found) if len(found) > 1 else scorer, name, directions)


def _wanted(scoring: Any, objectives: Sequence[str]) -> dict[str, Any]:
    """Every score's name with its specification, the objectives first."""
    if scoring is None:
        return {name: name for name in objectives}
    if isinstance(scoring, (list, tuple)):
        bad = [item for item in scoring if not isinstance(item, str)]
        if bad or not scoring:
            raise UsageError(Mistake(_PATH, f"A list of scorers must hold names. Got {scoring!r:.80}."))
        table: dict[str, Any] = {name: name for name in scoring}
    elif isinstance(scoring, Mapping) and "use" not in scoring:
        if not scoring:
            raise UsageError(Mistake(_PATH, "The table of scorers is empty."))
        table = dict(scoring)
    else:
        table = {objectives[0]: scoring}
        if isinstance(scoring, str) and scoring != objectives[0] and _by_name(objectives[0]) is not None:
            msg = f"The objective is called {objectives[0]!r}, which is a scorer, but scoring = {scoring!r}."
            raise UsageError(Mistake(_PATH, f"{msg} Name the objective {scoring!r}, or leave scoring out."))
    missing = [name for name in objectives if name not in table]
    named = [name for name in missing if _by_name(name) is not None]
    unnamed = [name for name in missing if name not in named]
    if unnamed == [objectives[0]]:
        first = next(name for name in table if name not in objectives) if set(table) - set(objectives) else None
        if first is not None:
            table[unnamed[0]] = table.pop(first)
            unnamed = []
    if unnamed:
        msg = f"Is none of the scores, which are: {', '.join(table)}.{near(unnamed[0], table)}"
        raise UsageError(Mistake(f"objective.{unnamed[0]}", msg))
    table.update({name: name for name in named})
    return {name: table[name] for name in [*objectives, *(n for n in table if n not in objectives)]}


def _by_name(name: str) -> tuple[Any, str] | None:
    """The scorer of a name and which direction is better; None if there is none."""
    names = get_scorer_names()
    if name in names:
        return get_scorer(name), "maximize"
    negated = f"neg_{_SHORT.get(name, name)}"
    return (get_scorer(negated), "minimize") if negated in names else None


def _one(spec: Any, name: str, estimator: Any, by_objective: bool) -> tuple[Any, str | None]:
    """One scorer, and which direction is better, if that is known."""
    path = f"objective.{name}" if by_objective else _PATH
    if isinstance(spec, Mapping):
        return _from_metric(dict(spec), f"{path}.{name}"), "maximize"
    if isinstance(spec, str) and ":" in spec:
        spec = import_object(spec, path)
    if isinstance(spec, str):
        found = _by_name(spec)
        if found is not None:
            return found
        if spec in ("value", OWN):
            return _own_score(estimator, path), "maximize"
        hint = near(spec, [*get_scorer_names(), *_SHORT])
        given = " or give `evaluator.scoring`" if by_objective else ""
        msg = f"There is no scorer {spec!r}.{hint} See sklearn.metrics.get_scorer_names(){given}."
        raise UsageError(Mistake(path, msg))
    if not callable(spec):
        raise UsageError(Mistake(path, f"Must be a scorer: a name or a callable. Got {spec!r:.80}."))
    try:
        return check_scoring(estimator, scoring=spec), None
    except ValueError as err:
        metric = f"{spec.__module__.split('._')[0]}:{spec.__name__}"
        msg = f'A metric is no scorer yet: write it as {{ use = "{metric}", greater_is_better = ... }}.'
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
    try:
        return make_scorer(metric, **table)
    except (TypeError, ValueError) as err:
        raise UsageError(Mistake(path, f"{err}")) from err


def required(scores: Mapping[str, float], name: str) -> float:
    """The score of an objective; one that the scorers did not give is an `EvaluationError`."""
    if name not in scores:
        msg = f"The scorers gave no {name!r}, only {', '.join(scores)}."
        raise EvaluationError(msg, kind="invalid-value")
    return scores[name]
