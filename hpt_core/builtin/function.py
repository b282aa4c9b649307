"""The function evaluator: any Python function or generator of params."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from hpt_core.errors import Mistake, UsageError
from hpt_core.importing import import_object
from hpt_core.options import option
from hpt_core.trial import Report, TrialContext

if TYPE_CHECKING:
    from hpt_core.space import Space

__all__ = ["FunctionEvaluator"]


@attrs.define(kw_only=True)
class FunctionEvaluator:
    """Calls a Python function with the params, or iterates a generator of reports.

    The function takes the params as a dict and, if it has a second positional parameter, the `TrialContext`. It
    returns a number or a mapping by objective, or yields numbers (the value after each step), ``(step, value)``
    pairs, mappings by name, or `Report` objects.
    """

    call: str | Callable[..., Any] = option(help="The function, or its import path 'module:function'.")
    evidence: Literal["curve", "folds"] = option("curve", help="What its reports mean: epochs, or paired folds.")
    steps: int | None = option(None, ge=1, help="How many reports a whole trial gives, if that is known.")
    resumable: bool = option(False, help="Whether it goes on from trial.resume_step.")
    _function: Any = attrs.field(init=False, default=None, repr=False, eq=False)

    def evaluate(self, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """Call the function; a generator's items become reports."""
        function = self._function or self._resolve()
        try:
            result = function(trial)
        except TypeError as err:
            _note_form(err)
            raise
        if inspect.isgenerator(result):
            return _reports(result, trial)
        return result  # type: ignore[no-any-return]

    def check(self, space: Space | None, objectives: object) -> None:  # noqa: ARG002 - the arguments of the contract
        """Find the function now: a wrong import path, or one of other arguments, is told before the first trial."""
        call = self._find()
        arguments = _positional(call)
        by_name = len(arguments) > 1 and {p.name for p in arguments} <= set(space.names if space else ())
        if by_name or not _fits(call):
            message = (
                "Must take one dict of parameters, as `def f(params)`, and may take the trial, `def f(params, trial)`. "
                f"Got f{_signature(call)}; where it takes them by name, call it as f(**params)."
            )
            raise UsageError(Mistake("evaluator.call", message))

    def _find(self) -> Any:
        call = import_object(self.call, "evaluator.call") if isinstance(self.call, str) else self.call
        if not callable(call):
            raise UsageError(Mistake("evaluator.call", f"Must be a function. Got {call!r:.80}."))
        return call

    def _resolve(self) -> Any:
        call = self._find()
        if _takes_trial(call):
            self._function = lambda trial: call(trial.params, trial)
        else:
            self._function = lambda trial: call(trial.params)
        return self._function

    def __getstate__(self) -> dict[str, Any]:
        """Travel by import path or reference; the function is looked up again."""
        return {name: getattr(self, name) for name in ("call", "evidence", "steps", "resumable")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive."""
        self.__init__(**state)  # type: ignore[misc]


def _signature(function: Any) -> inspect.Signature:
    """Of the function itself; of what it wraps where it passes on whatever it gets."""
    own = inspect.signature(function, follow_wrapped=False)
    passes_on = any(p.kind is p.VAR_POSITIONAL for p in own.parameters.values())
    return inspect.signature(function) if passes_on else own


def _positional(function: Any) -> list[inspect.Parameter]:
    try:
        parameters = _signature(function).parameters.values()
    except (TypeError, ValueError):  # of a builtin that does not say
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _takes_trial(function: Any) -> bool:
    positional = _positional(function)
    return len(positional) >= 2 and positional[1].default is positional[1].empty


def _fits(function: Any) -> bool:
    """Whether a function can be called as it will be."""
    try:
        _signature(function).bind(*([None] * (1 + _takes_trial(function))))
    except ValueError:  # a builtin that does not say what it takes
        return True
    except TypeError:
        return False
    return True


def _note_form(err: TypeError) -> None:
    """Say how the function is called, where it may have taken the dict of parameters for one of them."""
    if "dict" in str(err):
        form = "hpt calls the function with one dict of all parameters"
        err.add_note(f"{form}. Where it takes them by name, give `lambda params: f(**params)`.")


def _reports(items: Any, trial: TrialContext) -> Iterator[Report]:
    """Number the plain values that a generator yields, from the step where the trial goes on."""
    step = trial.resume_step
    objective = trial.objectives[0]
    try:
        while True:
            try:
                item = next(items)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            except TypeError as err:
                _note_form(err)
                raise
            report = _report(item, step + 1, objective)
            step = report.step
            yield report
    finally:
        items.close()


def _report(item: Any, step: int, objective: str) -> Report:
    if isinstance(item, Report):
        return item
    if isinstance(item, tuple) and len(item) == 2:
        return Report(item[0], item[1])
    if isinstance(item, Mapping):
        rest = {name: value for name, value in item.items() if name not in (objective, "step")}
        return Report(item.get("step", step), item.get(objective), rest)  # type: ignore[arg-type]
    return Report(step, item)
