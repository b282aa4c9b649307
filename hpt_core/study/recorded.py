"""Makes the components that the definition of a recorded study names, for those who have no other source of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_core.errors import Mistake, UsageError
from hpt_core.history.definition import refuse_code

if TYPE_CHECKING:
    from hpt_core.plugins.plugins import Plugins

__all__ = ["recorded_component"]


def recorded_component(plugins: Plugins, kind: str, spec: object, path: str) -> Any:
    """Make a component of a recorded definition.

    Args:
        plugins: The plugins, which offer it by name.
        kind: One of `hpt_core.components.KINDS`.
        spec: What the definition has of it.
        path: Where the definition has it, for messages.

    Raises:
        UsageError: If it cannot be made here, or is code that the log names by an import path.
    """
    try:
        refuse_code(spec, path)
        return plugins.make(kind, spec, path)
    except UsageError as err:  # its keys are in the log, not in what the user gave
        message = f"The study's recorded {kind} cannot be created: {err}"
        raise UsageError(Mistake("", message, plugin=all(m.plugin for m in err.mistakes))) from err
