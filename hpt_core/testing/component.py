"""Checks that hold for a component of any kind."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

from hpt_core.described import describe
from hpt_core.options import option_fields
from hpt_core.testing.checks import check

__all__ = ["ComponentKit", "travelled"]


def travelled(component: Any) -> Any:
    """A component as it arrives in another process."""
    return pickle.loads(pickle.dumps(component))  # noqa: S301 - its own words


class ComponentKit:
    """The checks that all kits share; inherit the kit of your kind instead, whose ``make_component`` they take."""

    @check
    def test_options_have_help(self, make_component: Callable[[], Any]) -> None:
        """The class has a docstring, and each option a type and a help text.

        Why: `hpt plugins show` prints them; it is all that a user of the component sees of it. An option without a type
            takes anything.
        """
        component = make_component()
        cls = type(component)
        assert inspect.getdoc(cls), f"{cls.__name__} has no docstring"
        untyped = [field.name for field in option_fields(cls) if field.type is None]
        assert not untyped, f"options without a type: {', '.join(untyped)}; annotate them, as in `n: int = option(...)`"
        bare = [field.name for field in option_fields(cls) if not field.metadata.get("help")]
        assert not bare, f"options without help: {', '.join(bare)}; declare them with option(..., help='...')"

    @check
    def test_description_is_stable(self, make_component: Callable[[], Any]) -> None:
        """Two components made in the same way are described by the same JSON-shaped data.

        Why: a study compares the recorded description with the one at hand; if it differs by itself (a time, an
            address), no study can be resumed.
        """
        first, second = (json.dumps(describe(make_component()), allow_nan=False) for _ in range(2))
        assert first == second

    @check
    def test_travels_to_workers(self, make_component: Callable[[], Any]) -> None:
        """A component can be pickled, and arrives with the same options.

        Why: with several workers it travels to their processes; a lambda, an open file or a lock cannot.
        """
        component = make_component()
        copy = travelled(component)
        assert json.dumps(describe(copy)) == json.dumps(describe(component))
