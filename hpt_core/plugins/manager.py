"""Finds, registers and calls plugins: the only module that uses pluggy's manager.

A broken plugin affects no other: it is listed with the reason, and one that raises in a hook is not called again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import pluggy

from hpt_core import hookspecs
from hpt_core.errors import EvaluationError, PluginError, UsageError
from hpt_core.importing import error_with_place
from hpt_core.plugins.faults import checked_answer, hook_fault, unmarked_hooks
from hpt_core.plugins.info import DISABLED, PluginInfo
from hpt_core.tracebacks import CORE_FOLDER, without_leading

if TYPE_CHECKING:
    from hpt_core.history.trial import Report, TrialContext
    from hpt_core.study.study import Study

__all__ = ["PluginManager"]

_LOG = logging.getLogger("hpt")


class PluginManager:
    """The plugins of one process and their hooks.

    Attributes:
        plugins: All plugins found or registered, those not in use included.
        disabled: Plugins to leave out, by entry-point or distribution name.
    """

    def __init__(self, disabled: Iterable[str] = ()) -> None:
        self.plugins: list[PluginInfo] = []
        self.disabled: frozenset[str] = frozenset(disabled)
        self._manager = pluggy.PluginManager("hpt")
        self._manager.add_hookspecs(hookspecs)
        self._in_use: dict[str, PluginInfo] = {}  # by the plugin's name in pluggy's manager
        self._silenced: set[str] = set()  # names in pluggy's manager of plugins that raised in a hook

    def discover(self) -> None:
        """Load the installed plugins (entry-point group ``hpt``).

        Raises:
            UsageError: If the built-in plugin is disabled.
        """
        found = [(PluginInfo.of(point), point) for point in entry_points(group="hpt")]
        for info, point in sorted(found, key=lambda item: (item[0].name, item[0].distribution)):
            if self.disabled & {info.name, info.distribution}:
                if info.name == "builtin":
                    raise UsageError("The plugin 'builtin' is part of hpt-core and cannot be disabled.")
                info.problem = DISABLED
                self.plugins.append(info)
                continue
            began = time.perf_counter()
            try:
                plugin = point.load()
            except (Exception, SystemExit) as err:  # noqa: BLE001 - a plugin's code may raise anything
                info.problem = f"cannot be imported: {error_with_place(err)}"
                self.plugins.append(info)
                continue
            info.seconds = time.perf_counter() - began
            self._add(plugin, info)

    def register(self, plugin: object, name: str = "") -> PluginInfo:
        """Add a plugin from a program; see `hpt_core.Plugins.register`."""
        info = PluginInfo(name or getattr(plugin, "__name__", type(plugin).__name__))
        self._add(plugin, info)
        if not (info.hooks or info.problem):  # an installed plugin may offer other things than hooks
            self.unregister(plugin)
            info.problem = "it implements no hook of hpt"
        if info.problem:
            raise PluginError(f"The plugin {info} cannot be used: {info.problem}")
        return info

    def unregister(self, plugin: object) -> None:
        """Remove a plugin that was added by `register`; see `hpt_core.Plugins.unregister`."""
        name = self._manager.get_name(plugin)
        if name is None:
            raise UsageError(f"The plugin {plugin!r:.80} is not registered.")
        self._manager.unregister(plugin)
        removed = self._in_use.pop(name)
        self.plugins[:] = [info for info in self.plugins if info is not removed]
        self._silenced.discard(name)

    def _add(self, plugin: Any, info: PluginInfo) -> None:
        """Register a plugin with pluggy, or set ``info.problem``."""
        self.plugins.append(info)
        wanted = getattr(plugin, "hpt_api_version", hookspecs.API_VERSION)
        if wanted != hookspecs.API_VERSION:
            info.problem = f"requires plugin API {wanted!r}; this hpt-core has {hookspecs.API_VERSION}"
            return
        names = chain((info.name, str(info)), (f"{info.name} {number}" for number in count(2)))
        name = next(name for name in names if not self._manager.has_plugin(name))
        known_already = self._manager.is_registered(plugin)
        try:
            self._manager.register(plugin, name)
        except Exception as err:  # noqa: BLE001 - the attributes of a plugin may raise anything
            info.problem = f"cannot be registered: {' '.join(str(err).split())}"
            if not known_already and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)  # pluggy leaves the hooks before the bad one in place
            return
        callers = self._manager.get_hookcallers(plugin) or []
        info.hooks = sorted(caller.name for caller in callers)
        faults = (unmarked_hooks(plugin), *(hook_fault(plugin, caller) for caller in callers))
        info.problem = next(filter(None, faults), "")
        if info.problem:
            self._manager.unregister(plugin)
        else:
            self._in_use[name] = info

    def declarations(self, info: PluginInfo, hook: str) -> Iterator[Any]:
        """What the implementations of a declaring hook in one plugin return. Their errors are raised."""
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            if self._in_use.get(impl.plugin_name) is info:
                yield impl.function()

    def evaluate(self, study: Study, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """Call `hpt_evaluate` with its wrappers.

        Raises:
            EvaluationError: If there is no result because of a plugin that wraps the evaluation.
        """
        hook = self._manager.hook.hpt_evaluate
        result: float | Mapping[str, float] | Iterator[Report] = hook(study=study, trial=trial)
        wrappers = [impl.plugin_name for impl in hook.get_hookimpls() if impl.wrapper]
        if result is None and wrappers:
            cause = f"the evaluator, or a plugin that wraps it ({', '.join(wrappers)}), returned None"
            raise EvaluationError(f"There is no result: {cause}.", kind="invalid-value")
        return result

    def first(self, hook: str, **arguments: Any) -> Any:
        """The first answer to a hook that is not None; None if there is none."""
        return next((answer for answer in self._answers(hook, arguments) if answer is not None), None)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call all implementations of a hook."""
        for _ in self._answers(hook, arguments):
            pass

    def _answers(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
        """Call the implementations one by one in pluggy's order, so that one that raises does not affect the others."""
        for impl in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            if impl.plugin_name in self._silenced:
                continue
            try:
                answer = checked_answer(hook, impl.function(*(arguments[name] for name in impl.argnames)))
            except Exception as err:  # noqa: BLE001 - a plugin's code may raise anything
                exc_info = (type(err), err, without_leading(err.__traceback__, (CORE_FOLDER,)))
                text = "The plugin %s failed in %s and is not called again."
                _LOG.error(text, impl.plugin_name, hook, exc_info=exc_info)
                self._silenced.add(impl.plugin_name)
            else:
                yield answer
