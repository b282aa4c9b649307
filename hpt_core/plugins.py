"""Who answers: finds plugins, loads, blocks and lists them, and makes their components.

The only module that touches pluggy's hooks; everything else calls the typed methods of `Plugins`. A plugin that is
broken costs nobody else anything: it is listed with the reason.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from hpt_core import components, hookspecs
from hpt_core.described import describe
from hpt_core.errors import EvaluationError, Mistake, PluginError, UsageError
from hpt_core.importing import import_object
from hpt_core.options import build
from hpt_core.plugin_faults import answered, misuse, offered, own_frames, raised, unmarked
from hpt_core.plugin_info import PluginInfo
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from hpt_core.study import Study
    from hpt_core.trial import Report, Trial, TrialContext

__all__ = ["PluginInfo", "Plugins", "default_plugins"]

_LOG = logging.getLogger("hpt")

_HOOK_OF = {
    "sampler": "hpt_samplers",
    "evaluator": "hpt_evaluators",
    "stopping rule": "hpt_stopping_rules",
    "store": "hpt_stores",
    "executor": "hpt_executors",
}
_KIND_OF: dict[type, str] = {
    components.Sampler: "sampler",
    components.Evaluator: "evaluator",
    components.TrialRule: "stopping rule",  # the first of those that `StoppingRule` is made of
    components.Store: "store",
    components.Executor: "executor",
}


@attrs.frozen
class _Declared:
    target: str | type
    plugin: PluginInfo


class Plugins:
    """The plugins of one process, and the components they offer.

    Args:
        disabled: Plugins to leave out, by entry-point or distribution name.
        discover: Whether to load what is installed (entry-point group ``hpt``).
    """

    def __init__(self, disabled: Iterable[str] = (), *, discover: bool = True) -> None:
        self._manager = pluggy.PluginManager("hpt")
        self._manager.add_hookspecs(hookspecs)
        self._declared: dict[str, dict[str, list[_Declared]]] | None = None
        self._silenced: set[str] = set()
        self._names: dict[int, str] = {}  # id of a plugin's info -> its name in the manager
        self.plugins: list[PluginInfo] = []
        self.disabled = frozenset(disabled)
        if discover:
            self._discover()

    # --- finding ----------------------------------------------------------------------------------------

    def register(self, plugin: object, name: str = "") -> PluginInfo:
        """Add a plugin from a program: a module or object with hook implementations.

        It is there in this process: workers in others have the plugins that are installed.

        Raises:
            PluginError: If a hook implementation does not fit its specification.
        """
        info = PluginInfo(name or getattr(plugin, "__name__", type(plugin).__name__))
        self._add(plugin, info)
        if info.problem:
            raise PluginError(f"The plugin {info} cannot be used: {info.problem}")
        return info

    def unregister(self, plugin: object) -> None:
        """Take out a plugin that was registered by `register`."""
        name = self._manager.get_name(plugin)
        self._manager.unregister(plugin)
        self.plugins = [info for info in self.plugins if info.name != name]
        self._declared = None

    def _discover(self) -> None:
        found = [(PluginInfo.of(point), point) for point in entry_points(group="hpt")]
        for info, point in sorted(found, key=lambda item: (item[0].name, item[0].distribution)):
            if self.disabled & {info.name, info.distribution}:
                if info.name == "builtin":
                    raise UsageError("The plugin 'builtin' is part of hpt-core and cannot be disabled.")
                info.problem = "disabled by the user"
                self.plugins.append(info)
                continue
            began = time.perf_counter()
            try:
                plugin = point.load()
            except (Exception, SystemExit) as err:  # noqa: BLE001 - a stranger's code may raise anything
                info.problem = f"cannot be imported: {raised(err)}"
                self.plugins.append(info)
                continue
            info.seconds = time.perf_counter() - began
            self._add(plugin, info)

    def _add(self, plugin: Any, info: PluginInfo) -> None:
        self.plugins.append(info)
        wanted = getattr(plugin, "hpt_api_version", hookspecs.API_VERSION)
        if wanted != hookspecs.API_VERSION:
            info.problem = f"asks for plugin API {wanted!r}; this hpt-core has {hookspecs.API_VERSION}"
            return
        taken = self._manager.has_plugin(info.name)
        name = f"{info.distribution}:{info.name}" if taken else info.name
        known_already = self._manager.is_registered(plugin)
        try:
            self._manager.register(plugin, name)
        except Exception as err:  # noqa: BLE001 - a stranger's object may raise anything when it is looked at
            info.problem = f"cannot be registered: {' '.join(str(err).split())}"
            if not known_already and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)  # pluggy leaves the hooks before the bad one in place
            return
        self._names[id(info)] = name
        callers = self._manager.get_hookcallers(plugin) or []
        info.hooks = sorted(caller.name for caller in callers)
        faults = (unmarked(plugin), *(misuse(plugin, caller) for caller in callers))
        info.problem = next(filter(None, faults), "")
        if info.problem:
            self._manager.unregister(plugin)
        self._declared = None

    # --- components -------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """Names of the components of a kind, sorted."""
        return sorted(self._components()[kind])

    def component(self, kind: str, name: str, path: str = "") -> type:
        """The class of a component by name or by import path ``"module:Class"``.

        Args:
            kind: One of `hpt_core.components.KINDS`.
            name: As a study names it.
            path: Key path, for messages.

        Raises:
            UsageError: If there is none of that name, or two plugins offer it.
            PluginError: If its class cannot be imported.
        """
        if ":" in name:
            found = import_object(name, path)
            if not isinstance(found, type):
                function = kind == "evaluator" and callable(found)
                hint = f' As a function: {{ use = "{self.default(kind)}", call = "{name}" }}.' if function else ""
                raise UsageError(Mistake(path, f"{name!r} is no class: give that of {components.one(kind)}.{hint}"))
            return found
        offers = self._components()[kind].get(name, [])
        if not offers:
            raise UsageError(self._unknown(kind, name, path))
        if len(offers) > 1:
            who = " and ".join(str(offer.plugin) for offer in offers)
            message = (
                f"Two plugins offer the {kind} {name!r}: {who}. Leave one out with --no-plugin or HPT_DISABLE_PLUGINS."
            )
            raise UsageError(Mistake(path, message, plugin=True))
        return self._load(kind, name, offers[0])

    def make(self, kind: str, spec: object, path: str = "") -> Any:
        """Make a component from what a user gave.

        Args:
            kind: One of `hpt_core.components.KINDS`.
            spec: A name, a mapping ``{"use": name, option: value}``, a list of those (see `hookspecs.hpt_compose`), a
                component, which is returned as it is, or, for an evaluator, a function.
            path: Key path, for messages.

        Raises:
            UsageError: With every mistake in it.
            PluginError: If its class cannot be imported.
        """
        path = path or kind
        if isinstance(spec, str):
            spec = {"use": spec}
        if isinstance(spec, (list, tuple)):
            return self._composed(kind, spec, path)
        if kind == "evaluator" and callable(spec) and not isinstance(spec, type) and not hasattr(spec, "evaluate"):
            spec = {"use": self.default(kind), "call": spec}
        if not isinstance(spec, Mapping):
            return components.checked(kind, spec, path)
        if not isinstance(spec.get("use"), str):
            installed = ", ".join(self.names(kind)) or "none, no plugin offers one"
            message = f"Must name {components.one(kind)}. Installed: {installed}."
            raise UsageError(Mistake(f"{path}.use", message, plugin=not self.names(kind)))
        cls = self.component(kind, spec["use"], f"{path}.use")
        options = {name: value for name, value in spec.items() if name != "use"}
        return components.checked(kind, build(cls, options, path, self._resolve), path)

    def _composed(self, kind: str, parts: Sequence[Any], path: str) -> Any:
        composer = self._first("hpt_compose", kind=kind)
        if composer is None:
            raise UsageError(Mistake(path, f"Must be one {kind}: no installed plugin composes several."))
        name, option = composer
        try:
            return self.make(kind, {"use": name, option: list(parts)}, path)
        except UsageError as err:  # the user wrote no such option
            own = f"{path}.{option}"
            raise UsageError(*(attrs.evolve(m, path=m.path.replace(own, path, 1)) for m in err.mistakes)) from err

    def make_store(self, spec: object, path: str = "store") -> Any:
        """Make a store from a component, a mapping, a name, a URL (``sqlite:///hpt.db``) or a file's path."""
        if not isinstance(spec, (str, os.PathLike)):
            return self.make("store", spec, path)
        text = os.fspath(spec)
        scheme, separator, rest = text.partition("://")
        if separator:
            return self.make("store", {"use": scheme, "path": rest.removeprefix("/")}, path)
        if text in self._components()["store"]:
            return self.make("store", {"use": text}, path)
        name = self._first("hpt_store_for", location=text)
        if name is None:
            message = f"No store keeps {text!r}. NAME:///PATH names one of these: {', '.join(self.names('store'))}."
            raise UsageError(Mistake(path, " ".join([message, *self._not_in_use()])))
        return self.make("store", {"use": name, "path": text}, path)

    def default(self, kind: str, path: str = "") -> str:
        """The name of the component to use where a study names none.

        Raises:
            UsageError: If no plugin offers one.
        """
        name = self._first("hpt_default", kind=kind)
        if name is None:
            message = f"No {kind} is given and no installed plugin offers a default one."
            raise UsageError(Mistake(path, " ".join([message, *self._not_in_use()]), plugin=True))
        return str(name)

    def name_of(self, cls: type) -> str | None:
        """The name under which a component class is registered, None if it is not."""
        path = f"{cls.__module__}:{cls.__qualname__}"
        for offers in self._components().values():
            for name, declared in offers.items():
                if declared[0].target in (path, cls):
                    return name
        return None

    def owner(self, kind: str, name: str) -> PluginInfo | None:
        """The plugin that offers a component, None for one that is not registered."""
        offers = self._components()[kind].get(name)
        return offers[0].plugin if offers else None

    def describe(self, component: object, *, brief: bool = False) -> dict[str, Any]:
        """A component as JSON-shaped data, see `hpt_core.described.describe`."""
        return describe(component, self.name_of, brief=brief)

    def _components(self) -> dict[str, dict[str, list[_Declared]]]:
        if self._declared is None:
            self._declared = {kind: {} for kind in components.KINDS}
            for info in self.plugins:
                info.components, info.collisions = {}, []
                for kind, hook in _HOOK_OF.items():
                    self._collect(info, kind, hook, self._declared[kind])
        return self._declared

    def _collect(self, info: PluginInfo, kind: str, hook: str, into: dict[str, list[_Declared]]) -> None:
        if info.problem or hook not in info.hooks:
            return
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            if impl.plugin_name != self._names.get(id(info)):
                continue
            try:
                named = offered(impl.function())
            except Exception as err:  # noqa: BLE001 - a stranger's code may raise anything
                info.problem = f"{hook} failed: {raised(err)}"
                return
            info.components[kind] = sorted(named)
            for name, target in named.items():
                for other in into.get(name, ()):
                    info.collisions.append(f"the {kind} {name!r} is also of {other.plugin}")
                    other.plugin.collisions.append(f"the {kind} {name!r} is also of {info}")
                into.setdefault(name, []).append(_Declared(target, info))

    def _load(self, kind: str, name: str, declared: _Declared) -> type:
        if isinstance(declared.target, type):
            return declared.target
        try:
            found = import_object(declared.target)
        except UsageError as err:
            msg = f"The {kind} {name!r} of the plugin {declared.plugin} cannot be loaded: {err}"
            raise PluginError(msg) from err.__cause__
        if not isinstance(found, type):
            raise PluginError(f"The {kind} {name!r} of the plugin {declared.plugin} is no class.")
        return found

    def _resolve(self, protocol: type, value: Any, path: str) -> Any:
        kind = _KIND_OF.get(protocol)
        return value if kind is None else self.make(kind, value, path)

    def _unknown(self, kind: str, name: str, path: str) -> Mistake:
        known = self.names(kind)
        hint = did_you_mean(name, known)
        parts = [f"There is no {kind} {name!r}.{hint}", f"Installed: {', '.join(known) or 'none'}."]
        broken = self._not_in_use()
        if name and not hint and not broken:
            parts.append(f"A distribution like hpt-{kind.split(maxsplit=1)[0]}-{name} may provide it.")
        return Mistake(path, " ".join([*parts, *broken]), plugin=True)

    def _not_in_use(self) -> list[str]:
        return [f"The plugin {info} {info.not_in_use}" for info in self.plugins if info.problem]

    # --- calling out ------------------------------------------------------------------------------------

    def commands(self, cli: click.Group) -> None:
        """`hpt_commands`, each plugin on its own: one that raises is reported and left out."""
        self._observe("hpt_commands", cli=cli)

    def evaluate(self, study: Study, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """`hpt_evaluate`."""
        result: float | Mapping[str, float] | Iterator[Report] = self._manager.hook.hpt_evaluate(
            study=study, trial=trial
        )
        around = [impl.plugin_name for impl in self._manager.hook.hpt_evaluate.get_hookimpls() if impl.wrapper]
        if result is None and around:
            cause = f"the evaluator, or a plugin around it ({', '.join(around)}), returned nothing"
            raise EvaluationError(f"There is no result: {cause}.", kind="invalid-value")
        return result

    def study_started(self, study: Study) -> None:
        """`hpt_study_started`."""
        self._observe("hpt_study_started", study=study)

    def trial_started(self, study: Study, trial: Trial) -> None:
        """`hpt_trial_started`."""
        self._observe("hpt_trial_started", study=study, trial=trial)

    def trial_reported(self, study: Study, trial: Trial) -> None:
        """`hpt_trial_reported`."""
        self._observe("hpt_trial_reported", study=study, trial=trial)

    def trial_finished(self, study: Study, trial: Trial) -> None:
        """`hpt_trial_finished`."""
        self._observe("hpt_trial_finished", study=study, trial=trial)

    def study_finished(self, study: Study, reason: str) -> None:
        """`hpt_study_finished`."""
        self._observe("hpt_study_finished", study=study, reason=reason)

    def _first(self, hook: str, **arguments: Any) -> Any:
        return next((answer for answer in self._each(hook, arguments) if answer is not None), None)

    def _observe(self, hook: str, **arguments: Any) -> None:
        for _ in self._each(hook, arguments):
            pass

    def _each(self, hook: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
        """Call one implementation after the other as pluggy would, but let none harm the others."""
        for impl in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            if impl.plugin_name in self._silenced:
                continue
            try:
                answer = answered(hook, impl.function(*(arguments[name] for name in impl.argnames)))
            except Exception as err:  # noqa: BLE001 - a stranger's code may raise anything
                told = (type(err), err, own_frames(err.__traceback__))
                text = "The plugin %s failed in %s and is left out from now on."
                _LOG.error(text, impl.plugin_name, hook, exc_info=told)
                self._silenced.add(impl.plugin_name)
            else:
                yield answer


def disabled_by_environment() -> Sequence[str]:
    """Plugins named in ``HPT_DISABLE_PLUGINS``, separated by commas."""
    return [name.strip() for name in os.environ.get("HPT_DISABLE_PLUGINS", "").split(",") if name.strip()]


@cache
def default_plugins() -> Plugins:
    """The installed plugins, without those that ``HPT_DISABLE_PLUGINS`` names; found once per process."""
    return Plugins(disabled_by_environment())
