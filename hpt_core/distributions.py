"""Which of hpt's own distributions provides a command, or a component whose name does not tell. For messages only."""

from __future__ import annotations

__all__ = ["COMMANDS", "provider"]

COMMANDS = {"import": "hpt-sampler-optuna", "importance": "hpt-report-html", "report": "hpt-report-html"}
"""Command -> the distribution that provides it."""

_PROVIDES = {
    "hpt-evaluator-wrap": ("cache", "isolate", "repeat", "retry"),
    "hpt-sampler-compose": ("auto", "defaults", "portfolio", "sequence"),
    "hpt-stopping-basic": (
        *("after", "all", "any", "median", "not", "patience", "percentile", "plateau", "target", "threshold"),
        *("time", "trials"),
    ),
    "hpt-stopping-curve": ("divergence", "extrapolation"),
    "hpt-stopping-folds": ("folds", "race"),
    "hpt-stopping-halving": ("asha", "halving", "hyperband", "pasha"),
    "hpt-stopping-regret": ("improvement", "regret"),
}


def provider(kind: str, name: str) -> str:
    """The distribution that provides the component ``name`` of a kind; empty if none of hpt's own is known to."""
    start = f"hpt-{kind.split(maxsplit=1)[0]}-"
    return next((own for own, names in _PROVIDES.items() if name in names and own.startswith(start)), "")
