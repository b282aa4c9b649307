"""What is reported on: a study, or its history."""

from __future__ import annotations

from hpt_core import History, Study, UsageError

__all__ = ["history_of"]


def history_of(study: Study | History) -> History:
    """The history of a study, or the history itself.

    Raises:
        UsageError: If it is neither.
    """
    history = study.history if isinstance(study, Study) else study
    if not isinstance(history, History):
        raise UsageError(f"The study must be a Study, or a history from load_history(). Got {study!r:.80}.")
    return history
