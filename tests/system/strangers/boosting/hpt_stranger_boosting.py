"""A stranger's evaluator: boosted trees, leaf by leaf as LightGBM grows them, which reports while they become more."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Offer the evaluator; scikit-learn is imported when a study uses it."""
    return {"boosting": "hpt_stranger_boosting_model:Boosting"}
