"""What pytest collects for ``hpt plugins test``: the command puts the kit of the component in place of this class."""

from __future__ import annotations

__all__ = ["Installed"]


class Installed:
    """Stands for the kit on an installed component."""
