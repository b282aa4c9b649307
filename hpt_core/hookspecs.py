"""The hooks that plugins implement, of the pluggy project ``hpt``.

A plugin is a module (or object) named by an entry point in the group ``hpt``. It implements any of these hooks, each
marked with ``hpt_core.hookimpl``. Keep the module small: it names components as ``"module:Class"`` strings, which are
imported when a study first uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from hpt_core.history.trial import Report, Trial, TrialContext
    from hpt_core.study.study import Study

__all__ = ["API_VERSION", "hookimpl", "hookspec"]

API_VERSION = 1
"""A plugin module may set ``hpt_api_version = 1``. A plugin that sets another version is not used."""

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker("hpt")
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker("hpt")

# --- declaration: return what the plugin offers; no side effects ---------------------------------


@hookspec
def hpt_samplers() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the samplers of this plugin.

    Called when a component is first looked up or the plugins are listed, and again after a program has registered or
    unregistered a plugin.

    Returns:
        Name -> class, or ``"module:Class"``, which is imported on first use.

    Example::

        @hookimpl
        def hpt_samplers():
            return {"grid": "hpt_sampler_grid.sampler:GridSampler"}
    """


@hookspec
def hpt_evaluators() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the evaluators of this plugin, in the form of `hpt_samplers`."""


@hookspec
def hpt_stores() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the stores of this plugin, in the form of `hpt_samplers`.

    The name is also the scheme of the store's URLs: ``sqlite:///hpt.db`` is the store ``sqlite`` with the option
    ``path = "hpt.db"``. A store with the option ``url`` gets the whole URL.
    """


@hookspec
def hpt_stopping_rules() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the stopping rules of this plugin, in the form of `hpt_samplers`."""


@hookspec
def hpt_executors() -> Mapping[str, str | type]:  # type: ignore[empty-body]
    """Name the executors of this plugin, in the form of `hpt_samplers`."""


@hookspec(firstresult=True)
def hpt_default(kind: str) -> str | None:
    """Name the component to use if a study names none. The first non-None result wins.

    Args:
        kind: One of `hpt_core.components.KINDS`.

    Returns:
        A component's name, or None to leave the decision to other plugins.
    """


@hookspec(firstresult=True)
def hpt_compose(kind: str) -> tuple[str, str] | None:
    """Name the component that a *list* of components stands for. The first non-None result wins.

    Called if a study has a list in place of one component, as in ``sampler = [{use = "a"}, {use = "b"}]``.

    Args:
        kind: One of `hpt_core.components.KINDS`.

    Returns:
        A component's name and the name of its option that takes the list, or None to leave the
            decision to other plugins.

    Example::

        @hookimpl
        def hpt_compose(kind):
            return ("sequence", "samplers") if kind == "sampler" else None
    """


@hookspec(firstresult=True)
def hpt_store_for(location: str) -> str | None:
    """Name the store for the file or folder at ``location``. The first non-None result wins.

    Args:
        location: A path as given by the user. It need not exist, so decide by its suffix.

    Returns:
        A store's name, or None to leave the decision to other plugins.
    """


@hookspec
def hpt_commands(cli: click.Group) -> None:
    """Add click commands to ``hpt``.

    Called when it lists its commands, and for a command that is not in the core, so do not import anything heavy.

    Args:
        cli: The group to add to, as in ``cli.add_command(my_command)``.
    """


# --- action ---------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def hpt_evaluate(study: Study, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report] | None:
    """Evaluate one configuration. The first non-None result wins; the core's implementation runs the evaluator.

    Called in the worker, once per attempt. A plugin wraps the hook (``hookimpl(wrapper=True)``) for tracking or
    retries. A plugin that may provide the result itself, such as a cache, is called first instead
    (``hookimpl(tryfirst=True)``) and returns None if it has no result. The result is of any form that
    `hpt_core.components.Evaluator.evaluate` may return.

    Args:
        study: The study; the core would run ``study.evaluator``.
        trial: The trial to evaluate.
    """


# --- observation: change nothing; a plugin that raises is reported once and not called again ---------


@hookspec
def hpt_study_started(study: Study) -> None:
    """A run of the study begins. Called in the process that runs the study, not in its workers."""


@hookspec
def hpt_trial_started(study: Study, trial: Trial) -> None:
    """A trial was recorded as running."""


@hookspec
def hpt_trial_reported(study: Study, trial: Trial) -> None:
    """A report of a trial was recorded; it is ``trial.reports[-1]``."""


@hookspec
def hpt_trial_finished(study: Study, trial: Trial) -> None:
    """A trial was recorded as paused, complete, stopped or failed; see ``trial.state``."""


@hookspec
def hpt_study_finished(study: Study, reason: str) -> None:
    """A run of the study ended; ``reason`` says why."""
