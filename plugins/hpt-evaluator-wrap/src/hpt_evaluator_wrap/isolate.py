"""The evaluator ``isolate``: evaluates each trial in a fresh process, whose memory can be limited."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import attrs
import cloudpickle

from hpt_core import EvaluationError, Mistake, Report, Space, TrialContext, UsageError, option, pickle_by_value
from hpt_evaluator_wrap.trial_process import TrialProcess
from hpt_evaluator_wrap.wrapper import Evaluation, Wrapper

__all__ = ["IsolateEvaluator"]


@attrs.define(kw_only=True)
class IsolateEvaluator(Wrapper):
    """Evaluates each trial in a fresh process, so that all memory is freed when the trial ends, on the GPU as well.

    A trial whose process crashes fails, and the study continues. If the processes of a trial use more memory than
    ``memory_mb``, they are ended, and the trial fails with the kind ``out-of-memory``.

    The inner evaluator is copied to the process with cloudpickle, so functions may be defined anywhere. It must not
    hold what cannot be copied (open files, locks), and what it keeps in memory is gone after the trial. ``conclude``,
    ``discard`` and ``finish`` run in the process of the study.
    """

    memory_mb: float | None = option(
        None,
        gt=0,
        help="Maximum resident memory of a trial's process and all that it starts, in megabytes; it is measured four "
        "times a second.",
    )

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Let the inner evaluator check the study, and check that it can be copied.

        Args:
            space: The space of the study.
            objectives: Name -> direction.

        Raises:
            UsageError: From the inner evaluator, if it cannot be copied, or on Windows.
        """
        if sys.platform == "win32":
            raise UsageError(Mistake("evaluator.use", "The evaluator 'isolate' does not work on Windows."))
        super().check(space, objectives)
        self._job(TrialContext({}))

    def evaluate(self, trial: TrialContext) -> Evaluation:
        """Evaluate the trial in a new process.

        Args:
            trial: The trial to evaluate.

        Yields:
            The reports of the inner evaluator.

        Returns:
            The result of the inner evaluator.

        Raises:
            EvaluationError: If the inner evaluator fails; of kind ``out-of-memory`` beyond the limit, and ``killed`` if
                the process dies.
        """
        with TrialProcess(self.memory_mb) as process:
            message = process.ask(self._job(trial))
            while "report" in message:
                try:
                    yield Report(*message["report"])
                except GeneratorExit:
                    _result(process.ask(b"close"))
                    raise
                message = process.ask(b"next")
        return _result(message)

    def _job(self, trial: TrialContext) -> bytes:
        """The inner evaluator and a trial, pickled. Functions of a script are pickled by value."""
        if "__mp_main__" in sys.modules:  # the script in a worker; cloudpickle takes it for a module to import
            cloudpickle.register_pickle_by_value(sys.modules["__mp_main__"])
        try:
            return pickle_by_value((self.evaluator, trial))
        except Exception as err:
            message = (
                f"Cannot be copied to the process of a trial: {type(err).__name__}: {err}. Create what cannot be "
                "pickled (open files, locks, connections) within the trial."
            )
            raise UsageError(Mistake("evaluator.evaluator", message)) from err


def _result(message: Mapping[str, Any]) -> Any:
    """The result of the inner evaluator; raises its error if it failed."""
    if "error" in message:
        text, kind, detail = message["error"]
        raise EvaluationError(text, kind=kind, detail=detail)
    return message["result"]
