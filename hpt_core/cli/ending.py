"""What ``hpt run`` says at the end: the best beside the default, why it ended, where it is, what to type next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpt_core.cli import words
from hpt_core.cli.reading import default_store
from hpt_core.cli.text import data, duration, emit_json, say
from hpt_core.components import location_of
from hpt_core.errors import HptError, NothingSucceededError
from hpt_core.export import outcome

if TYPE_CHECKING:
    from hpt_core.history import History
    from hpt_core.study import Study

__all__ = ["Ending"]


class Ending:
    """The end of a run.

    Args:
        study: It ran, to its end or until it was interrupted.
        again: The words behind ``hpt run`` that ran it.
        before: How many trials it had before this run.
        interrupted: Whether the user stopped it.
    """

    def __init__(self, study: Study, again: Sequence[str], before: int, *, interrupted: bool) -> None:
        self._study = study
        self._again = again
        self._before = before
        self._interrupted = interrupted

    @cached_property
    def _history(self) -> History:
        return self._study.history

    @cached_property
    def _about(self) -> dict[str, Any]:
        from hpt_core.export import summary

        return summary(self._history)

    def emit(self) -> None:
        """Print it as JSON."""
        head = {
            "store": location_of(self._study.store),
            "study": self._study.name,
            "reason": "interrupted" if self._interrupted else self._study.stop_reason,
            "interrupted": self._interrupted,
            "new_trials": self._history.next_number - self._before,
        }
        emit_json("run", {**head, **self._about})

    def tell(self, *, quiet: bool) -> None:
        """Print the result on stdout and, unless ``quiet``, the rest on stderr."""
        if not quiet:
            for line in self._why():
                say(line)
        for line in self._result():
            data(line)
        if not quiet:
            for line in self._next():
                say(line)

    def check(self) -> None:
        """See that the study came to something.

        Raises:
            NothingSucceededError: If no trial is complete, or none keeps the constraints.
        """
        if not self._about["states"].get("complete"):
            msg = f"No trial of the study {self._study.name!r} succeeded."
            raise NothingSucceededError(msg)
        if self._about["least_violated"]:
            msg = f"No trial of the study {self._study.name!r} keeps the constraints."
            raise NothingSucceededError(msg)

    def _why(self) -> Iterator[str]:
        about = self._about
        if self._interrupted:
            yield "Interrupted: what is done is recorded."
        elif self._history.next_number == self._before and not self._history.session:
            yield f"Nothing to do, the study is complete already: {self._study.stop_reason}."
        else:
            yield f"The study ended: {self._study.stop_reason}."
        count = "1 trial" if about["trials"] == 1 else f"{about['trials']} trials"
        yield f"{count}: {words.counts(about['states'])}; {duration(about['elapsed'])} in all."
        if words.sources(self._history):
            yield f"Suggested by {words.sources(self._history)}."
        for line in words.failures(self._history):
            yield f"failed: {line}"

    def _result(self) -> Iterator[str]:
        history = self._history
        if len(history.objectives) > 1:
            if history.front:
                yield f"front: {len(history.front)} trials that no other beats in every objective"
                yield words.front_table(history)
        elif history.best is not None:
            best = history.best
            yield f"best {outcome(history, best)} (trial {best.number})"
            yield words.params_table(best.params)
        if self._about["default"]:
            trial = history.trials[self._about["default"]["number"]]
            which = "the defaults of the space" if history.space.has_defaults else "the middle of the space"
            yield f"default {outcome(history, trial)} (trial {trial.number}, {which})"

    def _next(self) -> Iterator[str]:
        complete = self._about["states"].get("complete", 0)
        found = self._history.notes.get("conclusion", {})
        if complete and not self._about["default"] and not any(key.startswith("default") for key in found):
            yield "The default configuration was not evaluated, so there is nothing to compare with."
        if len(self._history.objectives) == 1 and complete > 1 and self._about["best"]:
            yield f"The best of {complete} was picked for its score, so that flatters it; new data will tell."
        yield from _conclusion(found)
        where = location_of(self._study.store)
        if where == "memory":
            yield 'This was kept in memory only. [store] use = "sqlite" keeps it.'
            return
        yield f"The results are in {where}. Next:"
        suffix = self._suffix(where)
        if complete:
            yield f"  hpt best{suffix}    hpt trials{suffix}    hpt show{suffix}"
        failed = next((t for t in reversed(self._history.trials) if t.failure is not None and t.failure.detail), None)
        if failed is not None:
            yield f"  hpt best --trial {failed.number}{suffix}    shows how it failed"
        stop = self._history.stop
        if self._interrupted or stop is None or stop["rule"] in ("budget", "trials", "time"):
            yield f"  {self._command()}    goes on"

    def _command(self) -> str:
        """What to type to go on: the same again, with a larger budget where that was used up."""
        typed = list(self._again)
        stop = self._history.stop
        if stop is not None and stop["rule"] in ("budget", "trials") and not self._interrupted:
            typed = [word for word in typed if not word.startswith(("trials=", "--trials="))]
            typed.append(f"trials={2 * len(self._history.trials)}")
        return shlex.join(["hpt", "run", *typed])

    def _suffix(self, where: str) -> str:
        """What the reading commands must be told to find this study."""
        found = ""
        if os.path.abspath(where) != os.path.abspath(default_store()):  # noqa: PTH100 - a URL is no path
            found += f" --store {shlex.quote(self._address(where))}"
        if len(self._study.store.studies()) > 1:
            found += f" --study {shlex.quote(self._study.name)}"
        return found

    def _address(self, where: str) -> str:
        """The store as ``--store`` takes it: as a URL where its place alone does not say which store keeps it."""
        store, plugins = self._study.store, self._study.plugins
        try:
            told = type(plugins.make_store(where)) is type(store)
        except HptError:
            told = False
        name = plugins.name_of(type(store))
        return where if told or name is None else f"{name}:///{where}"


def _conclusion(content: Mapping[str, Any]) -> Iterator[str]:
    """What the evaluator found out about the winner: its sentences, its numbers, where it is."""
    rest = {key: value for key, value in content.items() if key not in ("trial", "saved")}
    sentences = [key for key, value in rest.items() if isinstance(value, str) and value.endswith(".")]
    yield from (rest.pop(key) for key in sentences)
    if rest:
        yield f"The evaluator on the winner: {words.pairs(rest)}."
    if "saved" in content:
        yield f"The fitted model is in {content['saved']}."
