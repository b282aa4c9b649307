"""``python -m hpt_core`` runs ``hpt``."""

from __future__ import annotations

from hpt_core.cli import main

if __name__ == "__main__":
    main()
