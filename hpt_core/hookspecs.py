"""When the core calls out: the hooks of pluggy project ``hpt``.

A plugin is a module (or object) named by an entry point in group ``hpt`` that implements any of these
with ``hpt_core.hookimpl``. Keep such a module thin: it names components as ``"module:Class"`` strings, and
what is named is imported when a study first uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from hpt_core.study import Study
    from hpt_core.trial import Report, Trial, TrialContext

__all__ = ["API_VERSION", "hookimpl", "hookspec"]

API_VERSION = 1
"""A plugin module may say ``hpt_api_version = 1``; one that asks for another version is not loaded."""

hookspec = pluggy.HookspecMarker("hpt")
hookimpl = pluggy.HookimplMarker("hpt")

# --- declaration: say what there is; no side effects ---------------------------------------------


@hookspec
def hpt_samplers() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the samplers of this plugin.

    Called once, when a component is first looked up or plugins are listed.

    Returns:
        Name -> class, or ``"module:Class"`` which is imported on first use.

    Example::

        @hookimpl
        def hpt_samplers():
            return {"grid": "hpt_sampler_grid.sampler:GridSampler"}
    """


@hookspec
def hpt_evaluators() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the evaluators of this plugin, as `hpt_samplers` does samplers."""


@hookspec
def hpt_stores() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the stores of this plugin, as `hpt_samplers` does samplers.

    The name is also the scheme of the store's URLs: ``sqlite:///hpt.db`` is the store ``sqlite`` with the
    option ``path = "hpt.db"``.
    """


@hookspec
def hpt_stopping_rules() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the stopping rules of this plugin, as `hpt_samplers` does samplers."""


@hookspec
def hpt_executors() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the executors of this plugin, as `hpt_samplers` does samplers."""


@hookspec(firstresult=True)
def hpt_default(kind: str) -> str | None:
    """Offer the component to use where a study names none. The first non-None result wins.

    Args:
        kind: One of `hpt_core.components.KINDS`.

    Returns:
        A component's name, or None to leave it to others.
    """


@hookspec(firstresult=True)
def hpt_compose(kind: str) -> tuple[str, str] | None:
    """Say which component a *list* of components stands for. The first non-None result wins.

    Called where a study gives a list for one component, as in ``sampler = [{use = "a"}, {use = "b"}]``.

    Args:
        kind: One of `hpt_core.components.KINDS`.

    Returns:
        A component's name and the name of its option that takes the list, or None to leave it to others.

    Example::

        @hookimpl
        def hpt_compose(kind):
            return ("sequence", "samplers") if kind == "sampler" else None
    """


@hookspec(firstresult=True)
def hpt_store_for(location: str) -> str | None:
    """Say which store keeps the file or folder at ``location``. The first non-None result wins.

    Args:
        location: A path as the user gave it, which need not exist: decide by its ending.

    Returns:
        A store's name, or None.
    """


@hookspec
def hpt_commands(cli: click.Group) -> None:
    """Add click commands to ``hpt``. Called once per start of the CLI, so import nothing heavy.

    Args:
        cli: The group to add to, as in ``cli.add_command(my_command)``.
    """


# --- action ---------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def hpt_evaluate(study: Study, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report] | None:
    """Evaluate one configuration; the first non-None result wins, and the core's runs the evaluator.

    Called in the worker, once per attempt. A plugin wraps it (``hookimpl(wrapper=True)``) for tracking or retries; one
    that may answer itself, as a cache does, comes first instead (``hookimpl(tryfirst=True)``) and returns None where it
    does not. The result is what `hpt_core.components.Evaluator.evaluate` may return.

    Args:
        study: The study; ``study.evaluator`` is what would run.
        trial: What to evaluate.
    """


# --- observation: look, do not touch; one that raises is reported once and left out from then on -----


@hookspec
def hpt_study_started(study: Study) -> None:
    """A run of the study begins, in the process that was asked for it (not in its workers)."""


@hookspec
def hpt_trial_started(study: Study, trial: Trial) -> None:
    """A trial was recorded as running."""


@hookspec
def hpt_trial_reported(study: Study, trial: Trial) -> None:
    """A trial's report was recorded; it is ``trial.reports[-1]``."""


@hookspec
def hpt_trial_finished(study: Study, trial: Trial) -> None:
    """A trial was recorded as paused, complete, stopped or failed; ``trial.state`` says which."""


@hookspec
def hpt_study_finished(study: Study, reason: str) -> None:
    """A run of the study ended, and why."""
