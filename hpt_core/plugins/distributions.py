"""Which of hpt's own distributions provides a command, a component, a default or a store for a file, for messages."""

from __future__ import annotations

__all__ = ["COMMANDS", "DEFAULTS", "STORES", "provider", "store_provider"]

COMMANDS = {
    "dashboard": "hpt-report-html",
    "import": "hpt-sampler-optuna",
    "importance": "hpt-report-html",
    "report": "hpt-report-html",
}
"""Command -> the distribution that provides it."""
DEFAULTS = {"sampler": "hpt-sampler-bayes"}
"""Kind -> a distribution that provides a default, for a kind without one in the core."""
STORES = {".csv": "hpt-store-csv", **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "hpt-store-sqlite")}
"""Ending of a file -> the distribution whose store keeps studies in such files."""

_PROVIDES = {
    "hpt-evaluator-wrap": ("cache", "isolate", "repeat", "retry"),
    "hpt-sampler-compose": ("auto", "defaults", "portfolio", "sequence"),
    "hpt-stopping-basic": (
        *("after", "all", "any", "deadline", "median", "not", "patience", "percentile", "plateau", "target"),
        *("threshold", "time", "trials"),
    ),
    "hpt-stopping-curve": ("divergence", "extrapolation"),
    "hpt-stopping-folds": ("folds", "race"),
    "hpt-stopping-halving": ("asha", "halving", "hyperband", "pasha"),
    "hpt-stopping-regret": ("improvement", "regret"),
    "hpt-store-postgres": ("postgres", "postgresql"),
}
_OF_THEIR_NAME = {
    "evaluator": ("command", "sklearn", "torch"),
    "executor": ("dask",),
    "sampler": ("bayes", "cmaes", "forest", "grid", "optuna", "random", "tpe"),
    "store": ("csv", "sqlite"),
}


def provider(kind: str, name: str) -> str:
    """The distribution that provides the component ``name`` of a kind; empty if none of hpt's own does."""
    kind = kind.split(maxsplit=1)[0]
    if name in _OF_THEIR_NAME.get(kind, ()):
        return f"hpt-{kind}-{name}"
    return next((own for own, names in _PROVIDES.items() if name in names and own.startswith(f"hpt-{kind}-")), "")


def store_provider(path: str) -> str:
    """The distribution whose store keeps studies in a file of this name; empty if none of hpt's own does."""
    return next((own for ending, own in STORES.items() if path.lower().endswith(ending)), "")
