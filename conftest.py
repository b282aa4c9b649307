"""One Hypothesis profile for the core and all plugins, Ctrl-C that tests may send, where their files are, and garbage.

By default the examples are the same at each run, so that a red test is red for everyone. Look for new ones
with ``pytest --hypothesis-profile=explore``.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("fixed")

# A shell's `pytest &` ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A store waits for the disk at each record. What is killed here are processes and not machines, so memory will do,
# where there is enough of it and programs may be run from it.
_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes folders of its own there
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK):
    _found = os.statvfs(_MEMORY)
    if _found.f_bavail * _found.f_frsize > 2**30 and not _found.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without garbage collections, and keep what there is afterwards out of those that follow.

    Each would visit half a million objects, for about 0.3 s, and some tests and libraries call for one.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
