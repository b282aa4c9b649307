"""Which frames of a traceback are not shown: those of hpt itself, which precede those of a plugin or of the user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CORE_FOLDER", "without_leading"]

CORE_FOLDER = f"{Path(__file__).parent}{os.sep}"
"""The files of the core begin with it, and no others: the separator keeps out a folder whose name begins alike."""


def without_leading(trace: TracebackType | None, folders: tuple[str, ...]) -> TracebackType | None:
    """A traceback without its leading frames in these folders; None if it has no others."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(folders):
        trace = trace.tb_next
    return trace
