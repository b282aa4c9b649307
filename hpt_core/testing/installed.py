"""The module that pytest collects for ``hpt plugins test``, which replaces the class by the component's kit."""

from __future__ import annotations

__all__ = ["Installed"]


class Installed:
    """Placeholder for the kit of an installed component."""
