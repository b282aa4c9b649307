"""The evaluator ``cache``: a configuration that was evaluated before has the result it had."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from hpt_core import Report, TrialContext, option
from hpt_evaluator_wrap.results import Kept, Results, plain_result
from hpt_evaluator_wrap.wrapper import Evidence, Wrapper, closed

__all__ = ["CacheEvaluator"]


@attrs.define(kw_only=True)
class CacheEvaluator(Wrapper):
    """Keeps the reports and result of every finished evaluation by its parameters, and gives them again.

    Without ``path`` they are kept in this process; with it in a file of JSON lines, which studies and processes may
    share. Failed evaluations and those that were stopped are not kept. The seed of a trial does not matter. The cache
    knows nothing of the evaluator's other options: use one file for one evaluator and its data.
    """

    path: Path | None = option(None, help="A file of JSON lines; none: kept in the process only.")
    _results: Results = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._results = Results(self.path)

    def evaluate(self, trial: TrialContext) -> Evidence:
        """Give what is kept, else evaluate and keep it.

        Args:
            trial: What to evaluate. One that goes on after a pause is evaluated and not kept.

        Returns:
            After the reports: the result.

        Raises:
            UsageError: If the file cannot be written.
        """
        if trial.resume_step:
            found = yield from self._run(trial, [])
            return found
        key = json.dumps({"objectives": list(trial.objectives), "params": trial.params}, sort_keys=True)
        kept = self._results.get(key)
        if kept is not None:
            yield from kept.reports
            return kept.result
        reports: list[Report] = []
        result = yield from self._run(trial, reports)
        try:
            plain = [Report(r.step, plain_result(r.value), plain_result(r.metrics)) for r in reports]
            kept = Kept(tuple(plain), plain_result(result))
        except (TypeError, ValueError, OverflowError):
            return result  # the core says what is wrong with it
        if _is_whole(kept, trial.objectives):
            self._results.put(key, kept)
        return result

    def _run(self, trial: TrialContext, reports: list[Report]) -> Evidence:
        result: Any = self.evaluator.evaluate(trial)
        if not isinstance(result, Iterator):
            return result
        with closed(result):
            while True:
                try:
                    report = next(result)
                except StopIteration as end:
                    return end.value
                reports.append(report)
                yield report


def _is_whole(kept: Kept, objectives: Sequence[str]) -> bool:
    """Whether a result tells every objective; the core fails a trial whose result does not."""
    result = kept.result
    if result is None:
        return bool(kept.reports)
    if isinstance(result, dict):
        return all(name in result for name in objectives)
    if isinstance(result, list):
        return len(result) == len(objectives) > 1
    return len(objectives) == 1
