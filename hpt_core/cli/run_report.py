"""What ``hpt run`` prints at the end: why the run ended, the best and the default result, what to type next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpt_core.cli import render
from hpt_core.cli.reading import default_store
from hpt_core.cli.text import data, duration, emit_json, say
from hpt_core.components import location_of
from hpt_core.errors import HptError, NothingSucceededError
from hpt_core.history.export import outcome, summary
from hpt_core.liveness import owner_of, this_process
from hpt_core.values import counted, without_passwords

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.study.study import Study

__all__ = ["RunReport"]


class RunReport:
    """The report on a run that has ended.

    Args:
        study: The study, which ran to its end or until it was interrupted.
        arguments: The arguments of ``hpt run`` that ran it.
        before: How many trials the study had before this run.
        interrupted: Whether the user interrupted the run.
    """

    def __init__(self, study: Study, arguments: Sequence[str], before: int, *, interrupted: bool) -> None:
        self._study = study
        self._arguments = arguments
        self._before = before
        self._interrupted = interrupted

    @cached_property
    def _history(self) -> History:
        return self._study.history

    @cached_property
    def _summary(self) -> dict[str, Any]:
        return summary(self._history)

    @cached_property
    def _states(self) -> Mapping[str, int]:
        return render.states(self._history)

    def emit_json(self) -> None:
        """Print the report as JSON."""
        me = this_process()  # other processes may have added trials at the same time
        head = {
            "store": location_of(self._study.store),
            "study": self._study.name,
            "reason": "interrupted" if self._interrupted else self._study.stop_reason,
            "interrupted": self._interrupted,
            "new_trials": sum(owner_of(trial.worker) == me for trial in self._history.trials[self._before :]),
        }
        emit_json("run", {**head, **self._summary})

    def print(self, *, quiet: bool) -> None:
        """Print the result on stdout and, unless ``quiet``, everything else on stderr."""
        if not quiet:
            for line in self._reason():
                say(line)
        for line in self._result():
            data(line)
        if not quiet:
            for line in self._advice():
                say(line)

    def check(self, *, quiet: bool) -> None:
        """Check that the study has a result.

        Raises:
            NothingSucceededError: If no trial is complete, or none satisfies the constraints. If ``quiet``, it says
                how they failed, as nothing else has.
        """
        if not self._states["complete"]:
            failures = [f"\n  failed: {line}" for line in render.failures(self._history)] if quiet else []
            msg = f"No trial of the study {self._study.name!r} succeeded."
            raise NothingSucceededError("".join([msg, *failures]))
        if self._summary["least_violated"]:
            msg = f"No trial of the study {self._study.name!r} satisfies the constraints."
            raise NothingSucceededError(msg)

    def _reason(self) -> Iterator[str]:
        summary = self._summary
        if self._interrupted:
            yield "Interrupted. All results so far are recorded."
        elif self._history.next_number == self._before and not self._history.session:
            yield f"Nothing to do: the study has already ended ({self._study.stop_reason})."
        else:
            yield f"The study ended: {self._study.stop_reason}."
        count = counted(summary["trials"], "trial")
        yield f"{count}: {render.counts(self._states)}; {duration(summary['elapsed'])} in total."
        if render.sources(self._history):
            yield f"Suggested: {render.sources(self._history)}."
        for line in render.failures(self._history):
            yield f"failed: {line}"

    def _result(self) -> Iterator[str]:
        history = self._history
        if len(history.objectives) > 1:
            if self._summary["front"]:
                count, rows = render.front_summary(history)
                yield f"Pareto front: {count}"
                yield rows
        elif history.best is not None:
            best = history.best
            yield f"best {outcome(history, best)} (trial {best.number})"
            yield render.params_table(best.params)
        if self._summary["default"]:
            trial = history.trials[self._summary["default"]["number"]]
            which = "the defaults of the space" if history.space.has_defaults else "middle values and first choices"
            point = history.space.default()  # not that of the trial, in which the sampler may have rounded
            exact = all(history.space[name].start() == value for name, value in point.items())
            yield f"default {outcome(history, trial)} (trial {trial.number}, {'' if exact else 'near '}{which})"

    def _advice(self) -> Iterator[str]:
        complete = self._states["complete"]
        conclusion, best = self._history.notes.get("conclusion", {}), self._history.best
        if best is None or conclusion.get("trial") != best.number:  # interrupted before the new best was concluded
            conclusion = {}
        if complete and not self._summary["default"] and not any(key.startswith("default") for key in conclusion):
            yield "The default configuration was not fully evaluated, so there is no baseline to compare with."
        if len(self._history.objectives) == 1 and complete > 1 and self._summary["best"]:
            yield f"The best of {complete} scores is optimistic, because it was selected. Confirm it on new data."
        yield from _conclusion(conclusion)
        if not render.is_kept(self._study):
            yield 'The study was kept in memory only. To keep it, set use = "sqlite" in [store].'
            return
        where = location_of(self._study.store)
        commands, stop = [*self._reading_commands(where)], self._history.stop
        if self._interrupted or stop is None or stop["rule"] == "budget":
            commands.append(f"  {self._resume_command()}    continues the study")
        yield f"The results are in {where}.{' Next:' * bool(commands)}"
        yield from commands

    def _reading_commands(self, where: str) -> Iterator[str]:
        """The commands that show this study; none if its store was named by an import path: they open no such store."""
        address = self._address(where)
        if address is None:
            return
        options = self._options(where, address)
        if self._states["complete"]:
            names = ("trials", "show") if self._summary["least_violated"] else ("best", "trials", "show")
            yield "  " + "    ".join(f"hpt {name}{options}" for name in names)
        valid = (trial for trial in reversed(self._history.trials) if trial.invalid is None)
        failed = next((trial for trial in valid if trial.failure is not None and trial.failure.detail), None)
        if failed is not None:
            yield f"  hpt best --trial {failed.number}{options}    shows its error"

    def _resume_command(self) -> str:
        """The command that continues the study: the same one, with a larger budget if that was used up."""
        arguments = list(self._arguments)
        stop = self._history.stop
        if stop is not None and stop["rule"] == "budget" and not self._interrupted:
            arguments = [word for word in arguments if not word.startswith(("trials=", "--trials="))]
            arguments.append(f"trials={2 * (len(self._history.trials) - self._history.invalid_count)}")
        return without_passwords(shlex.join(["hpt", "run", *arguments]))

    def _options(self, where: str, address: str) -> str:
        """The options with which the reading commands find this study."""
        found = ""
        if os.path.abspath(where) != os.path.abspath(default_store()):  # noqa: PTH100 - may be a URL
            found += f" --store {shlex.quote(address)}"
        if len(self._study.store.studies()) > 1:
            found += f" --study {shlex.quote(self._study.name)}"
        return found

    def _address(self, where: str) -> str | None:
        """The store as ``--store`` accepts it: a URL if the location alone does not identify the kind of store.

        None if ``--store`` cannot name it, as no installed plugin has it.
        """
        store, plugins = self._study.store, self._study.plugins
        try:
            identified = type(plugins.make_store(where)) is type(store)
        except HptError:
            identified = False
        name = plugins.name_of(type(store))
        if identified:
            return where
        return None if name is None else f"{name}:///{where}"


def _conclusion(content: Mapping[str, Any]) -> Iterator[str]:
    """What the evaluator found out about the best trial: its sentences, its numbers, where the model is saved."""
    rest = {key: value for key, value in content.items() if key not in ("trial", "saved")}
    sentences, facts = render.sentences_and_facts(rest)
    yield from sentences
    if facts:
        yield f"From the evaluator, on the best trial: {render.pairs(facts)}."
    if "saved" in content:
        yield f"The fitted model is saved in {content['saved']}."
