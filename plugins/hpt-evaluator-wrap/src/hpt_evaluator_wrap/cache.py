"""The evaluator ``cache``: reuses the result of a configuration that was evaluated before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from hpt_core import EvaluationError, Report, Space, TrialContext, option
from hpt_evaluator_wrap.result_cache import CachedResult, ResultCache, finite_result
from hpt_evaluator_wrap.wrapper import Evaluation, Running, Wrapper

__all__ = ["CacheEvaluator"]


@attrs.define(kw_only=True)
class CacheEvaluator(Wrapper):
    """Caches the reports and the result of every finished evaluation, keyed by its parameters.

    Without ``path`` the cache is in the memory of this process. With ``path`` it is a file of JSON lines, which studies
    and processes may share. Failed and stopped evaluations are not cached. The seed of a trial is not part of the key.
    Neither are the options of the inner evaluator, its code and its data: use a separate file for each evaluator and
    data set.
    """

    path: Path | None = option(None, help="File of JSON lines; without it, the cache is in memory only.")
    _results: ResultCache = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._results = ResultCache(self.path)

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Let the inner evaluator check the study, and read the file.

        Args:
            space: The space of the study.
            objectives: Name -> direction.

        Raises:
            UsageError: From the inner evaluator, or if the file cannot be read.
        """
        super().check(space, objectives)
        self._results.get("")

    def evaluate(self, trial: TrialContext) -> Evaluation:
        """Return the cached result, or evaluate the trial and cache its result.

        Args:
            trial: The trial to evaluate. A trial that resumes after a pause is evaluated and not cached.

        Yields:
            The reports.

        Returns:
            The result.

        Raises:
            UsageError: If the file cannot be read.
        """
        if trial.resume_step:
            return (yield from self._run(trial, []))
        key = json.dumps({"objectives": list(trial.objectives), "params": trial.params}, sort_keys=True)
        cached = self._results.get(key)
        if cached is not None:
            yield from cached.reports
            return cached.result
        reports: list[Report] = []
        result = yield from self._run(trial, reports)
        try:
            plain = [Report(r.step, finite_result(r.value), finite_result(r.metrics)) for r in reports]
            cached = CachedResult(tuple(plain), finite_result(result))
        except (EvaluationError, ValueError):
            return result  # invalid: the core fails the trial
        if _is_complete(cached, trial.objectives):
            self._results.put(key, cached)
        return result

    def _run(self, trial: TrialContext, reports: list[Report]) -> Evaluation:
        """Run the inner evaluator, and append its reports to ``reports``."""
        with Running(self.evaluator.evaluate(trial)) as running:
            for report in running:
                reports.append(report)
                yield report
        return running.result


def _is_complete(cached: CachedResult, objectives: Sequence[str]) -> bool:
    """Whether a result has a value for every objective; if not, the core fails the trial."""
    result = cached.result
    if result is None:
        return bool(cached.reports)
    if isinstance(result, dict):
        return all(name in result for name in objectives)
    if isinstance(result, list):
        return len(result) == len(objectives) > 1
    return len(objectives) == 1
