"""hpt plugin: general-purpose stopping rules for trials and studies, and rules that combine other rules."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_stopping_rules() -> dict[str, str]:
    """Name the rules of this plugin."""
    return {
        "after": "hpt_stopping_basic.combine:After",
        "all": "hpt_stopping_basic.combine:AllOf",
        "any": "hpt_stopping_basic.combine:AnyOf",
        "deadline": "hpt_stopping_basic.study:Deadline",
        "median": "hpt_stopping_basic.ranked:Median",
        "not": "hpt_stopping_basic.combine:Not",
        "patience": "hpt_stopping_basic.alone:Patience",
        "percentile": "hpt_stopping_basic.ranked:Percentile",
        "plateau": "hpt_stopping_basic.study:Plateau",
        "target": "hpt_stopping_basic.study:Target",
        "threshold": "hpt_stopping_basic.alone:Threshold",
        "time": "hpt_stopping_basic.study:TimeBudget",
        "trials": "hpt_stopping_basic.study:TrialBudget",
    }
