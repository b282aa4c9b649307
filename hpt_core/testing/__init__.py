"""What plugin authors test with: histories made to measure, Hypothesis strategies, conformance kits.

Needs pytest and Hypothesis where the kits and strategies are used (``pip install hpt-core[test]``).
"""

from __future__ import annotations

from hpt_core.testing.histories import make_history

__all__ = ["make_history"]
