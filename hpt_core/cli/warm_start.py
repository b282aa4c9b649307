"""``hpt run --warm-start``: find the earlier study, and begin with its best configurations."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from hpt_core.cli.reading import open_store

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.history import History
    from hpt_core.study import Study

__all__ = ["begin_with", "earlier_study"]

_TOP = 5


def earlier_study(session: Session, study: Study, wanted: str) -> tuple[str, History]:
    """The study ``NAME[@STORE]``, without a store in that of ``study``."""
    from hpt_core.stored import find_study

    name, _, location = wanted.partition("@")
    with open_store(session, location) if location else nullcontext(study.store) as store:
        return find_study(store, name)


def begin_with(study: Study, name: str, earlier: History) -> str:
    """Enqueue the best configurations of an earlier study; returns what was done, in words."""
    from hpt_core.warm_start import warm_start

    found = warm_start(study.space, earlier, name=name, top=_TOP, enqueue=study.decisions.enqueue)
    return f"Warm start from {name!r}: {found}"
