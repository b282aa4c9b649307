"""Checks for components of every kind."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

from hpt_core.options import option_fields
from hpt_core.plugins.description import describe
from hpt_core.testing.checks import check

__all__ = ["ComponentKit", "pickled"]


def pickled(component: Any) -> Any:
    """A copy of a component as another process receives it."""
    return pickle.loads(pickle.dumps(component))  # noqa: S301 - pickled in the same line


class ComponentKit:
    """The checks that all kits share. Inherit the kit of your kind of component instead."""

    @check
    def test_options_have_help(self, make_component: Callable[[], Any]) -> None:
        """The class has a docstring, its parameters are options, and every option has a type and a help text.

        Why: `hpt plugins show` prints them, and users see nothing else of the component. They cannot set a parameter
            that is no option. An option without a type accepts any value.
        """
        component = make_component()
        cls = type(component)
        assert inspect.getdoc(cls), f"{cls.__name__} has no docstring"
        hidden = _parameters(cls) - {field.alias for field in option_fields(cls)}
        assert not hidden, (
            f"parameters of {cls.__name__} that are no options: {', '.join(sorted(hidden))}; "
            "make it an attrs class with fields as `n: int = option(...)`"
        )
        untyped = [field.name for field in option_fields(cls) if field.type is None]
        assert not untyped, f"options without a type: {', '.join(untyped)}; annotate them as in `n: int = option(...)`"
        bare = [field.name for field in option_fields(cls) if not field.metadata.get("help")]
        assert not bare, f"options without help: {', '.join(bare)}; declare them with option(..., help='...')"

    @check
    def test_description_is_stable(self, make_component: Callable[[], Any]) -> None:
        """Two components made with the same options have the same JSON-shaped description.

        Why: on resume, a study compares the recorded description with the current one. If the description varies by
            itself (a time, an address), no study can be resumed.
        """
        first, second = (json.dumps(describe(make_component()), allow_nan=False) for _ in range(2))
        assert first == second, f"expected equal descriptions, got {first} and {second}"

    @check
    def test_travels_to_workers(self, make_component: Callable[[], Any]) -> None:
        """A component can be pickled, and the copy has the same options.

        Why: several workers each get a pickled copy. A lambda, an open file or a lock cannot be pickled.
        """
        component = make_component()
        copied, original = json.dumps(describe(pickled(component))), json.dumps(describe(component))
        assert copied == original, f"the copy is described as {copied}, the original as {original}"


def _parameters(cls: type) -> set[str]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name for name, one in inspect.signature(cls).parameters.items() if one.kind in named}
