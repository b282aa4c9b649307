"""``hpt run --warm-start``: find the earlier study and enqueue its best configurations."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from hpt_core.cli.reading import open_store

if TYPE_CHECKING:
    from hpt_core.cli.session import Session
    from hpt_core.history.history import History
    from hpt_core.study.study import Study

__all__ = ["earlier_study", "enqueue_best"]

_TOP = 5


def earlier_study(session: Session, study: Study, wanted: str) -> tuple[str, History]:
    """Read the study ``NAME[@STORE]``; without a store, from the store of ``study``."""
    from hpt_core.study.loading import find_study

    name, _, location = wanted.partition("@")
    with open_store(session, location) if location else nullcontext(study.store) as store:
        return find_study(store, name)


def enqueue_best(study: Study, name: str, earlier: History) -> str:
    """Enqueue the best configurations of an earlier study; return a message that says what was enqueued."""
    from hpt_core.loop.changes import enqueue
    from hpt_core.study.warm_start import warm_start

    found = warm_start(study.space, earlier, name=name, top=_TOP, enqueue=partial(enqueue, study.decisions.ledger))
    return f"Warm start from {name!r}: {found}"
