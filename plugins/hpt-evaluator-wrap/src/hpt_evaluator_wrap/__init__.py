"""hpt plugin: evaluators that wrap another evaluator, to cache, isolate, repeat or retry it."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Name the evaluators of this plugin."""
    return {
        "cache": "hpt_evaluator_wrap.cache:CacheEvaluator",
        "isolate": "hpt_evaluator_wrap.isolate:IsolateEvaluator",
        "repeat": "hpt_evaluator_wrap.repeat:RepeatEvaluator",
        "retry": "hpt_evaluator_wrap.retry:RetryEvaluator",
    }
