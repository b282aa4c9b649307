"""What is known of one plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["PluginInfo"]


@attrs.define
class PluginInfo:
    """What is known of one plugin.

    Attributes:
        name: Its entry point's name.
        distribution: The installed distribution that it came with; empty for one registered by a program.
        version: That distribution's version.
        problem: Why it is not in use; empty for one that is.
        components: Kind -> names of the components that it declares.
        hooks: Names of the hooks that it implements.
        collisions: What it offers that another plugin offers too, in words; such a name cannot be used.
        seconds: How long its module took to import.
    """

    name: str
    distribution: str = ""
    version: str = ""
    problem: str = ""
    components: dict[str, list[str]] = attrs.field(factory=dict)
    hooks: list[str] = attrs.field(factory=list)
    collisions: list[str] = attrs.field(factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"{self.name}{origin}"

    @property
    def not_in_use(self) -> str:
        """That it is not in use, and why, as a sentence."""
        end = "" if self.problem.endswith((".", "?")) else "."
        return f"is not in use: {self.problem}{end}"

    @classmethod
    def of(cls, point: EntryPoint) -> PluginInfo:
        """What an entry point tells before it is loaded."""
        if point.dist is None:
            return cls(point.name)
        told = point.dist.metadata  # parsed anew at each access: with a hundred plugins that is most of the start
        return cls(point.name, told["Name"], told["Version"])
