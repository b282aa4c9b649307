"""One Hypothesis profile for the core and all plugins, and Ctrl-C that tests may send.

By default the examples are the same at each run, so that a red test is red for everyone. Look for new ones
with ``pytest --hypothesis-profile=explore``.
"""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("fixed")

# A shell's `pytest &` ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
