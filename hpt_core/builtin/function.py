"""The function evaluator, which calls a Python function or generator function of the params."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import attrs

from hpt_core.builtin.callbacks import as_generator
from hpt_core.errors import EvaluationError, Mistake, UsageError
from hpt_core.history.trial import Report, TrialContext
from hpt_core.importing import import_object
from hpt_core.options import option

if TYPE_CHECKING:
    from hpt_core.space.space import Space

__all__ = ["FunctionEvaluator"]


@attrs.define(kw_only=True)
class FunctionEvaluator:
    """Calls a Python function with the params. A generator function yields reports.

    The function takes the params as a dict and, if it has a second required positional parameter, the `TrialContext`.
    It returns a number or a mapping by objective, or yields numbers (the value after each step), ``(step, value)``
    pairs, mappings by name, or `Report` objects.

    Where a library calls back instead, the last required parameter may be called ``report``: the function passes to
    it what a generator would yield, and runs in a thread. To stop the trial, ``report`` raises `GeneratorExit`.
    """

    call: str | Callable[..., Any] = option(help="The function, or its import path 'module:function'.")
    evidence: Literal["curve", "folds"] = option("curve", help="What its reports are: a curve, or paired folds.")
    steps: int | None = option(None, ge=1, help="The step of the last report of a whole trial, if known.")
    resumable: bool = option(False, help="Whether it resumes from trial.resume_step.")
    _function: Any = attrs.field(init=False, default=None, repr=False, eq=False)

    @property
    def sources(self) -> list[Any]:
        """The function."""
        return [self.call]

    def evaluate(self, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """Call the function. The items of a generator become reports."""
        self._function = self._function or self._resolve()
        try:
            result = self._function(trial)
        except TypeError as err:
            _note_form(err)
            raise
        if inspect.isgenerator(result):
            return _reports(result, trial)
        return result  # type: ignore[no-any-return]

    def check(self, space: Space | None, objectives: object) -> None:  # noqa: ARG002 - part of the contract
        """Find the function and check its parameters, so that mistakes are reported before the first trial."""
        call = self._find()
        arguments = _positional(call)
        by_name = len(arguments) > 1 and {p.name for p in arguments} <= set(space.names if space else ())
        if by_name or not _accepts_params(call):
            message = (
                "Must take one dict of parameters, `def f(params)`, and optionally the trial and `report`, by "
                f"position: `def f(params, trial, report)`. Got f{_signature(call)}. "
                "If it takes the parameters by name, wrap it: `lambda params: f(**params)`."
            )
            raise UsageError(Mistake("evaluator.call", message))
        if inspect.iscoroutinefunction(call):
            message = (
                "Must not be async. Wrap it: `lambda params: asyncio.run(f(params))`. A notebook runs an event loop "
                "already: there, write `trial = study.ask(); study.tell(trial, await f(trial.params))`."
            )
            raise UsageError(Mistake("evaluator.call", message))
        if _wanted(call)[1] and inspect.isgeneratorfunction(call):
            raise UsageError(Mistake("evaluator.call", "Must either yield its reports or take `report`, not both."))

    def _find(self) -> Any:
        call = import_object(self.call, "evaluator.call") if isinstance(self.call, str) else self.call
        if not callable(call):
            raise UsageError(Mistake("evaluator.call", f"Must be a function. Got {call!r:.80}."))
        return call

    def _resolve(self) -> Callable[[TrialContext], Any]:
        """The function as a function of the trial."""
        call = self._find()
        with_trial, with_report = _wanted(call)

        def function(trial: TrialContext, *report: Any) -> Any:
            return call(trial.params, *([trial] if with_trial else []), *report)

        return (lambda trial: as_generator(partial(function, trial))) if with_report else function

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the options only: the worker looks up the function again."""
        return {name: getattr(self, name) for name in ("call", "evidence", "steps", "resumable")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle."""
        self.__init__(**state)  # type: ignore[misc]


def _signature(function: Any) -> inspect.Signature:
    """The function's own signature; that of the wrapped function if it passes on ``*args``."""
    own = inspect.signature(function, follow_wrapped=False)
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in own.parameters.values())
    return inspect.signature(function) if takes_any else own


def _positional(function: Any) -> list[inspect.Parameter]:
    try:
        parameters = _signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _wanted(function: Any) -> tuple[bool, bool]:
    """Whether the function takes the trial, and whether it takes ``report``: what it requires after the params."""
    names = [p.name for p in _positional(function)[1:] if p.default is p.empty]
    report = names[-1:] == ["report"]
    return len(names) > report, report


def _accepts_params(function: Any) -> bool:
    """Whether the function can be called as hpt calls it."""
    try:
        _signature(function).bind(*([None] * (1 + sum(_wanted(function)))))
    except ValueError:  # a builtin without a signature
        return True
    except TypeError:
        return False
    return True


def _note_form(err: TypeError) -> None:
    """Add a note on how hpt calls the function if it may have used the dict of parameters as one parameter."""
    if "dict" in str(err):
        form = "hpt calls the function with one dict of all parameters"
        err.add_note(f"{form}. If it takes them by name, wrap it: `lambda params: f(**params)`.")


def _reports(items: Any, trial: TrialContext) -> Iterator[Report]:
    """Turn what a generator yields into reports. Plain values are numbered from the step where the trial resumes."""
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
        if objective not in item:
            msg = f"The report lacks the objective {objective!r}. Got {sorted(map(str, item))}."
            raise EvaluationError(msg, kind="invalid-value")
        rest = {name: value for name, value in item.items() if name not in (objective, "step")}
        return Report(item.get("step", step), item[objective], rest)
    return Report(step, item)
