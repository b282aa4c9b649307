"""A stranger that cannot be imported."""

from __future__ import annotations

raise ImportError("libcudart.so.11: cannot open shared object file")
