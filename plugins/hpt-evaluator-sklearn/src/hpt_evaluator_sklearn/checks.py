"""Find the user's mistakes before the first trial."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from sklearn.base import clone
from sklearn.utils import get_tags

from hpt_core import Mistake, Space, UsageError
from hpt_evaluator_sklearn.conclusion import save_problem
from hpt_evaluator_sklearn.estimators.recipe import Recipe, as_key
from hpt_evaluator_sklearn.estimators.specifications import PASSIVE, did_you_mean, parameters_of
from hpt_evaluator_sklearn.fitting.growth import growth_size, never_grows

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

__all__ = ["find_mistakes", "option_mistakes"]

_MAX_COMBINATIONS = 1000
"""Maximum number of combinations of steps that are checked for one parameter."""

_MISSPELT = 0.83
"""How similar a parameter is to a listed one, by `difflib`, if it is probably that one misspelt; `num_leafs` is, and
`colsample_bynode`, like all other aliases of LightGBM, is not."""


def option_mistakes(evaluator: SklearnEvaluator) -> list[Mistake]:
    """List options that do not fit together, as far as this can be seen without data."""
    mistakes = []
    if evaluator.holdout >= 1 and evaluator.holdout != int(evaluator.holdout):
        msg = f"Must be a fraction below 1 or a whole number of rows. Got {evaluator.holdout}."
        mistakes.append(Mistake("holdout", msg))
    mistakes += [
        Mistake(name, f"Needs refit = true. Got {getattr(evaluator, name)}.")
        for name in ("holdout", "save")
        if getattr(evaluator, name) and not evaluator.refit
    ]
    bad = [step for step in evaluator.report_at or () if not 1 <= step <= evaluator.levels]
    if bad:
        mistakes.append(Mistake("report_at", f"Steps go from 1 to {evaluator.levels}. Got {bad[0]}."))
    if evaluator.grow is not None and evaluator.resource != "growth":
        mistakes.append(Mistake("grow", f'Needs resource = "growth". Got {evaluator.resource!r}.'))
    if evaluator.metadata_routing and evaluator.resource == "growth":
        msg = "Growing models do not support metadata routing: set metadata_routing = false or another resource."
        mistakes.append(Mistake("resource", msg))
    return mistakes


def find_mistakes(evaluator: SklearnEvaluator, space: Space, objectives: Mapping[str, str]) -> list[Mistake]:
    """List the mistakes in an evaluator's options, given a study.

    Args:
        evaluator: The evaluator. Its data and folds are made as a side effect.
        space: The space of the study.
        objectives: Name -> direction.
    """
    mistakes: list[Mistake] = []

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except UsageError as err:
            mistakes.extend(err.mistakes)
            return None

    recipe = attempt(lambda: evaluator.recipe)
    data = attempt(lambda: evaluator.loaded)
    if recipe is not None:
        mistakes += _none_mistakes(recipe, space)
        misnamed = _name_mistakes(recipe, evaluator.choices, space)
        mistakes += misnamed or _parameter_mistakes(recipe, space)
        split_data = None if data is None else attempt(lambda: evaluator.split_data)
        if split_data is not None and not misnamed:
            mistakes += _kernel_mistakes(recipe, space, split_data.folds.data.X)
        how = evaluator.grow
        if how is not None and not recipe.choices:
            attempt(lambda: growth_size(recipe.template, how, evaluator.levels))
        if evaluator.resource == "growth" and how is None and not recipe.choices:
            mistakes += never_grows(recipe.template)
        scorers = attempt(lambda: evaluator.scorers(tuple(objectives)))
        if scorers is not None:
            mistakes += scorers.direction_mistakes(objectives)
    problem = save_problem(evaluator.save) if evaluator.save else None
    if problem:
        mistakes.append(Mistake("evaluator.save", problem))
    return mistakes


def _none_mistakes(recipe: Recipe, space: Space) -> Iterator[Mistake]:
    """Yield a mistake if no parameter of an estimator has the text that stands for None."""
    names = [name for name in space.names if recipe.target(name) not in recipe.choices]
    if recipe.none is not None and not any(space[name].contains(recipe.none) for name in names):
        texts = [value for name in names for value in _values(space, name) if isinstance(value, str)]
        hint = did_you_mean(recipe.none, texts)
        msg = f"No parameter of an estimator has the value {recipe.none!r} in the space.{hint}"
        yield Mistake("evaluator.none", msg)


def _name_mistakes(recipe: Recipe, choices: Mapping[str, Any], space: Space) -> list[Mistake]:
    """Names in ``params`` and ``choices`` that are not in the space, and values without an estimator."""
    mistakes = [
        Mistake(f"evaluator.params.{name}", f"The space has no parameter {name!r}.{did_you_mean(name, space.names)}")
        for name in recipe.names
        if name not in space.names
    ]
    targets = {recipe.target(name): name for name in space.names}
    for name in choices:
        target = recipe.target(name)
        if target not in targets:
            hint = did_you_mean(name, space.names)
            msg = f"The space has no parameter {name!r} to choose among these.{hint}"
            mistakes.append(Mistake(f"evaluator.choices.{name}", msg))
            continue
        table = recipe.choices[target]
        for value in _values(space, targets[target]):
            if as_key(value) not in table and value is not None and value not in PASSIVE:
                hint = did_you_mean(as_key(value), table)
                msg = f"`choices.{name}` has no {value!r}.{hint} It has: {', '.join(table) or 'none'}."
                mistakes.append(Mistake(f"space.{targets[target]}", msg))
    return mistakes


def _values(space: Space, name: str) -> list[Any]:
    """The values of a parameter that chooses a step; empty if there are too many to check."""
    parameter = space[name]
    size = parameter.size
    return [] if size is None or size > _MAX_COMBINATIONS else [parameter.value_at(i) for i in range(size)]


def _parameter_mistakes(recipe: Recipe, space: Space) -> list[Mistake]:
    """Parameters that the estimator lacks under some choice of steps, and pairs that set the same parameter."""
    mistakes = []
    seen: dict[str, list[str]] = {}
    for name in space.names:
        target = recipe.target(name)
        mistake = _no_estimator(recipe, space, name, target) or _unknown(recipe, space, name, target)
        mistakes += [mistake] if mistake else []
        rivals = [other for other in seen.get(target, []) if not _exclusive(space, name, other)]
        if rivals:
            msg = f"Sets {target!r}, as does {rivals[0]!r}, and both can be active at once."
            mistakes.append(Mistake(f"space.{name}", msg))
        seen.setdefault(target, []).append(name)
    return mistakes


def _no_estimator(recipe: Recipe, space: Space, name: str, target: str) -> Mistake | None:
    """A mistake if ``target`` must be an estimator and the space has values for it that no choice gives."""
    part = recipe.template.get_params(deep=True).get(target)
    if target in recipe.choices or not (hasattr(part, "get_params") or (isinstance(part, str) and part in PASSIVE)):
        return None
    value = next((value for value in _values(space, name) if value is not None and value not in PASSIVE), None)
    if value is None:
        return None
    module, _, last = as_key(value).replace(":", ".").rpartition(".")
    stands_for = f"{module}:{last}" if module and last.isidentifier() else "module:Class"
    msg = f"{target!r} must be an estimator, which {value!r} is not. Give its estimator in `choices.{name}`: "
    return Mistake(f"space.{name}", f'{msg}{{ {json.dumps(as_key(value))} = "{stands_for}" }}.')


def _unknown(recipe: Recipe, space: Space, name: str, target: str) -> Mistake | None:
    """A mistake if the estimator has no parameter ``target`` under some choice of steps."""
    for chosen, estimator in _under_each_choice(recipe, space, name):
        known = estimator.get_params(deep=True)
        if target in known:
            continue
        takes_it = _takes_unlisted(estimator, target, known)
        if not takes_it or _looks_misspelt(estimator, target, known):
            last = target.rpartition("__")[2]
            unless = f" If it takes {last!r} all the same, give it a value in the estimator." if takes_it else ""
            return Mistake(f"space.{name}", f"{_explain(estimator, target, known, chosen)}{unless}")
    return None


def _takes_unlisted(estimator: Any, target: str, known: Mapping[str, Any]) -> bool:
    """Whether an estimator takes a parameter that ``get_params`` does not list.

    CatBoost lists the parameters that it was given only, and LightGBM and XGBoost take any.
    """
    if not hasattr(_owner(estimator, target, known), "get_params"):
        return False
    try:
        clone(clone(estimator).set_params(**{target: 1}))
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take it
        return False
    return True


def _looks_misspelt(estimator: Any, target: str, known: Mapping[str, Any]) -> bool:
    names, last = _own_names(_owner(estimator, target, known)), target.rpartition("__")[2]
    return last not in names and bool(difflib.get_close_matches(last, names, n=1, cutoff=_MISSPELT))


def _owner(estimator: Any, target: str, known: Mapping[str, Any]) -> Any:
    """The part of an estimator that has a parameter, by its name; None if there is none."""
    owner = target.rpartition("__")[0]
    return known.get(owner) if owner else estimator


def _own_names(part: Any) -> list[str]:
    """The parameters that an estimator lists, and those of its constructor."""
    signature = (parameters_of(type(part)) or {}).values()
    return list(dict.fromkeys([*part.get_params(deep=False), *(p.name for p in signature if p.kind != p.VAR_KEYWORD)]))


def _under_each_choice(recipe: Recipe, space: Space, name: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield each choice of steps for which a parameter is active, and the estimator with these steps."""
    choosers = [n for n in space.names if _governs(recipe.target(n), recipe.target(name), recipe)]
    allowed = _conditions(space, name)
    options = [[v for v in _values(space, n) if v in allowed.get(n, (v,))] for n in choosers]
    for values in islice(product(*options), _MAX_COMBINATIONS):
        chosen = dict(zip(choosers, values, strict=True))
        if not space.allows(chosen):
            continue
        estimator = clone(recipe.template)
        steps = {recipe.target(n): value for n, value in chosen.items()}
        try:
            estimator.set_params(**{target: recipe.chosen(target, value) for target, value in steps.items()})
        except ValueError:  # the estimator has no such step, which is a mistake of the parameter that chooses it
            continue
        yield chosen, estimator


def _kernel_mistakes(recipe: Recipe, space: Space, X: Any) -> Iterator[Mistake]:
    """Yield a mistake for each parameter by which the estimator may take X for a kernel matrix, if X is not square.

    What the holdout or an outer fold leaves of a square X is square only if the template takes X for a kernel matrix.
    """
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) != 2 or shape[0] == shape[1]:
        return
    for name in space.names:
        value = _kernel_value(recipe, space, name)
        if value is not None:
            remedy = "make it the first choice" if recipe.target(name) in recipe.choices else "set it in the estimator"
            msg = f"{value!r} needs a square X. Got {shape[0]} x {shape[1]}. For a holdout or nested cross-validation, "
            yield Mistake(f"space.{name}", f"{msg}{remedy} instead: then the columns of X are split as well.")


def _kernel_value(recipe: Recipe, space: Space, name: str) -> Any:
    """The first value of a parameter by which the estimator takes X for a kernel matrix; None if there is none."""
    target = recipe.target(name)
    if target in recipe.choices:
        settings = [(value, recipe.chosen(target, value)) for value in _values(space, name)]
    else:
        settings = [("precomputed", "precomputed")] if space[name].contains("precomputed") else []
    for value, setting in settings:
        for _, estimator in _under_each_choice(recipe, space, name):
            if target in estimator.get_params():
                estimator.set_params(**{target: setting})
                if get_tags(estimator).input_tags.pairwise:
                    return value
    return None


def _governs(chooser: str, target: str, recipe: Recipe) -> bool:
    return chooser in recipe.choices and target.startswith(f"{chooser}__")


def _explain(estimator: Any, target: str, known: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """Explain which part lacks the parameter, and which parameters it has."""
    owner, _, last = target.rpartition("__")
    while owner and owner not in known:
        owner, _, rest = owner.rpartition("__")
        last = f"{rest}__{last}"
    part = known[owner] if owner else estimator
    under = "".join(f" (when {n} = {v!r})" for n, v in chosen.items())
    if not hasattr(part, "get_params"):
        return f"{target!r}: {owner!r} is {part!r}{under}, which has no parameters."
    ends = [name for name in known if name.endswith(f"__{target}")]
    tail = last.rpartition("__")[2]
    if ends:
        hint = f' Did you mean {ends[0]!r}? Then write `params = {{ {target} = "{ends[0]}" }}`.'
    elif tail in known:
        hint = f" Did you mean {tail!r}?"
    else:
        own = _own_names(part)
        hint = did_you_mean(last, [*own, *part.get_params(deep=True)]) or f" It has: {', '.join(own)}."
    return f"{type(part).__name__} has no parameter {last!r}{under}.{hint}"


def _conditions(space: Space, name: str) -> dict[str, tuple[Any, ...]]:
    """All conditions under which a parameter is active, those of its parents included."""
    found: dict[str, tuple[Any, ...]] = {}
    for parent, values in space[name].when.items():
        found |= _conditions(space, parent)
        found[parent] = tuple(values)
    return found


def _exclusive(space: Space, one: str, other: str) -> bool:
    """Whether a shared condition keeps two parameters from being active together."""
    first, second = _conditions(space, one), _conditions(space, other)
    return any(not set(map(as_key, first[n])) & set(map(as_key, second[n])) for n in first.keys() & second.keys())
