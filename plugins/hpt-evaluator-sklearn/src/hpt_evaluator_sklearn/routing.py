"""Which of the given arguments go to fit, to score and to split.

Without metadata routing as `sklearn.model_selection.cross_validate` does it: all to fit, the groups to split.
With it (``sklearn.set_config(enable_metadata_routing=True)``) each goes where it was requested.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs
import sklearn
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)

from hpt_core import Mistake, UsageError

__all__ = ["Routes", "route", "routing_context", "routing_enabled", "split_params"]


@attrs.frozen(eq=False)
class Routes:
    """Arguments by where they go.

    Attributes:
        fit: For the estimator's ``fit``.
        score: For the scorers.
    """

    fit: Mapping[str, Any] = attrs.field(factory=dict)
    score: Mapping[str, Any] = attrs.field(factory=dict)


def routing_enabled() -> bool:
    """Whether scikit-learn's metadata routing is switched on in this thread."""
    return bool(sklearn.get_config().get("enable_metadata_routing", False))


def routing_context(enabled: bool) -> AbstractContextManager[object]:
    """Switch metadata routing on for a while, or leave it as it is."""
    return sklearn.config_context(enable_metadata_routing=True) if enabled else nullcontext()


def split_params(splitter: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a splitter gets.

    Args:
        splitter: Has ``split``.
        params: Name -> argument, ``groups`` included where there are groups.
    """
    if not routing_enabled():
        return {"groups": params.get("groups")}
    wanted = get_routing_for_object(splitter).consumes("split", params.keys())
    routed = _routed({"split": splitter}, {name: value for name, value in params.items() if name in wanted})
    return dict(routed.split.split)


def route(estimator: Any, scorer: Any, splitter: Any, params: Mapping[str, Any]) -> Routes:
    """Route arguments by the requests of those who may take them.

    Args:
        estimator: Unfitted.
        scorer: A scorer.
        splitter: A splitter; what it alone takes is not missed elsewhere.
        params: Name -> argument, ``groups`` included where there are groups.

    Raises:
        UsageError: If nobody said whether an argument is wanted, with scikit-learn's own words.
    """
    try:
        routed = _routed({"fit": estimator, "score": scorer, "split": splitter}, params)
    except (TypeError, ValueError) as err:  # UnsetMetadataPassedError is a ValueError
        raise UsageError(Mistake("evaluator.fit_params", f"{err}")) from err
    return Routes(dict(routed.fit.fit), dict(routed.score.score))


def _routed(takers: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    """The arguments that each of the takers is given, under the name that it has for them; by the method that takes."""
    router = MetadataRouter(owner="hpt")
    for method, taker in takers.items():
        router.add(**{method: taker}, method_mapping=MethodMapping().add(caller="fit", callee=method))
    return process_routing(router, "fit", **params)
