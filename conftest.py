"""One Hypothesis profile for the core and all plugins.

By default the examples are the same at each run, so that a red test is red for everyone. Look for new ones
with ``pytest --hypothesis-profile=explore``.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("fixed")
