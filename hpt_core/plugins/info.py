"""The description of one plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["DISABLED", "PluginInfo"]

DISABLED = "disabled by the user"
"""The problem of a plugin that is not in use because the user said so."""


@attrs.define
class PluginInfo:
    """The description of one plugin.

    Attributes:
        name: The name of its entry point.
        distribution: The installed distribution that provides it; empty if a program registered it.
        version: The version of that distribution.
        problem: Why it is not in use; empty if it is.
        components: Kind -> names of the components that it declares.
        hooks: Names of the hooks that it implements.
        collisions: Descriptions of its components whose names another plugin offers too; such a name cannot be used.
        seconds: Import time of its module.
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
    def status(self) -> str:
        """``ok``, ``collides`` (another plugin offers one of its names too), ``disabled`` or ``broken``."""
        if self.problem:
            return "disabled" if self.problem == DISABLED else "broken"
        return "collides" if self.collisions else "ok"

    @property
    def not_in_use(self) -> str:
        """Why it is not in use, as the rest of a sentence that begins with the plugin."""
        end = "" if self.problem.endswith((".", "?")) else "."
        return f"is not in use: {self.problem}{end}"

    @classmethod
    def of(cls, point: EntryPoint) -> PluginInfo:
        """The description of an entry point that has not been loaded."""
        if point.dist is None:
            return cls(point.name)
        metadata = point.dist.metadata  # each access parses it again, which dominates the start with 100 plugins
        return cls(point.name, metadata["Name"], metadata["Version"])
