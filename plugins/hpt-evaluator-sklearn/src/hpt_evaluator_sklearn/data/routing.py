"""Decide which arguments go to fit, to score and to split.

Without metadata routing, as in `sklearn.model_selection.cross_validate`: all arguments go to fit, and the groups to
split. With metadata routing (``sklearn.set_config(enable_metadata_routing=True)``), each goes where it was requested.
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
    """Arguments by destination.

    Attributes:
        fit: Arguments of the estimator's ``fit``.
        score: Arguments of the scorers.
    """

    fit: Mapping[str, Any] = attrs.field(factory=dict)
    score: Mapping[str, Any] = attrs.field(factory=dict)


def routing_enabled() -> bool:
    """Whether scikit-learn's metadata routing is enabled in this thread."""
    return bool(sklearn.get_config()["enable_metadata_routing"])


def routing_context(enabled: bool) -> AbstractContextManager[object]:
    """A context in which metadata routing is enabled, or left as it is."""
    return sklearn.config_context(enable_metadata_routing=True) if enabled else nullcontext()


def split_params(splitter: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a splitter's ``split``.

    Args:
        splitter: A splitter.
        params: Name -> argument, including ``groups`` if there are groups.
    """
    if not routing_enabled():
        return {"groups": params.get("groups")}
    wanted = get_routing_for_object(splitter).consumes("split", params.keys())
    routed = _routed({"split": splitter}, {name: value for name, value in params.items() if name in wanted})
    return dict(routed.split.split)


def route(estimator: Any, scorer: Any, splitter: Any, params: Mapping[str, Any]) -> Routes:
    """Route arguments according to the metadata requests of estimator, scorer and splitter.

    Args:
        estimator: Unfitted.
        scorer: A scorer.
        splitter: A splitter; an argument that only the splitter requests is accepted.
        params: Name -> argument, including ``groups`` if there are groups.

    Raises:
        UsageError: If an argument is neither requested nor declined by any of them, with scikit-learn's message.
    """
    try:
        routed = _routed({"fit": estimator, "score": scorer, "split": splitter}, params)
    except (TypeError, ValueError) as err:  # UnsetMetadataPassedError is a ValueError
        raise UsageError(Mistake("evaluator.fit_params", f"{err}")) from err
    return Routes(dict(routed.fit.fit), dict(routed.score.score))


def _routed(consumers: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    """The arguments for each method of ``consumers`` (method -> object), under the names that the object uses."""
    router = MetadataRouter(owner="hpt")
    for method, consumer in consumers.items():
        router.add(**{method: consumer}, method_mapping=MethodMapping().add(caller="fit", callee=method))
    return process_routing(router, "fit", **params)
