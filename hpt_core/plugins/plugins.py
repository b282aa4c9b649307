"""The plugins in use: the components they offer, and a typed method for each hook."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.components import KINDS
from hpt_core.errors import Mistake, PluginError, UnknownComponentError, UsageError
from hpt_core.importing import error_with_place, import_object
from hpt_core.mistakes import without_key
from hpt_core.options import build, option_fields
from hpt_core.plugins.checks import check_component, with_article
from hpt_core.plugins.description import describe
from hpt_core.plugins.distributions import DEFAULTS, STORES, provider, store_provider
from hpt_core.plugins.faults import checked_components
from hpt_core.plugins.info import PluginInfo
from hpt_core.plugins.manager import PluginManager
from hpt_core.spelling import did_you_mean
from hpt_core.values import shown, without_passwords

if TYPE_CHECKING:
    import click

    from hpt_core.history.trial import Report, Trial, TrialContext
    from hpt_core.study.study import Study

__all__ = ["PluginInfo", "Plugins", "default_plugins"]

_KIND_OF = {contract: name for name, kind in KINDS.items() for contract in kind.contracts}


@attrs.frozen
class _Offer:
    target: str | type
    plugin: PluginInfo


class Plugins:
    """The plugins of one process, and the components they offer.

    Args:
        disabled: Plugins to leave out, by entry-point or distribution name.
        discover: Whether to load the installed plugins (entry-point group ``hpt``).
    """

    def __init__(self, disabled: Iterable[str] = (), *, discover: bool = True) -> None:
        self._manager = PluginManager(disabled)
        self.disabled: frozenset[str] = self._manager.disabled
        self._offers: dict[str, dict[str, list[_Offer]]] | None = None  # kind -> name -> offers
        if discover:
            self._manager.discover()

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """All plugins found or registered, those not in use included, with the components that they declare."""
        self._components()
        return self._manager.plugins

    def register(self, plugin: object, name: str = "") -> PluginInfo:
        """Add a plugin from a program: a module or object with hook implementations.

        It is added in this process only: workers in other processes have the installed plugins.

        Raises:
            PluginError: If a hook implementation does not match its specification, or there is none.
        """
        self._offers = None
        return self._manager.register(plugin, name)

    def unregister(self, plugin: object) -> None:
        """Remove a plugin that was added by `register`.

        Raises:
            UsageError: If it is not registered.
        """
        self._offers = None
        self._manager.unregister(plugin)

    # --- components -------------------------------------------------------------------------------------

    def names(self, kind: str) -> list[str]:
        """The names of the components of a kind, sorted."""
        return sorted(self._components()[kind])

    def component(self, kind: str, name: str, path: str = "") -> type:
        """The class of a component by name or by import path ``"module:Class"``.

        Args:
            kind: One of `hpt_core.components.KINDS`.
            name: A name or import path, as in a study.
            path: Key path, for messages.

        Raises:
            UsageError: If no plugin offers the name, or two do.
            PluginError: If its class cannot be imported.
        """
        if ":" in name:
            found = import_object(name, path)
            if not isinstance(found, type):
                hint = ""
                if kind == "evaluator" and callable(found):
                    hint = f' To use a function, write {{ use = "{self.default(kind)}", call = "{name}" }}.'
                message = f"{name!r} is not a class: give the class of {with_article(kind)}.{hint}"
                raise UsageError(Mistake(path, message))
            return found
        offers = self._components()[kind].get(name, [])
        if not offers:
            raise UnknownComponentError(self._unknown(kind, name, path))
        if len(offers) > 1:
            who = " and ".join(str(offer.plugin) for offer in offers)
            remedy = "Disable one with --no-plugin or HPT_DISABLE_PLUGINS."
            message = f"Two plugins offer the {kind} {name!r}: {who}. {remedy}"
            raise UsageError(Mistake(path, message, plugin=True))
        return self._load(kind, name, offers[0])

    def make(self, kind: str, spec: object, path: str = "") -> Any:
        """Make a component from user input.

        Args:
            kind: One of `hpt_core.components.KINDS`.
            spec: A name; a mapping ``{"use": name, option: value}``; a list of these (see `hookspecs.hpt_compose`); a
                component, which is returned unchanged; for an evaluator, also a function.
            path: Key path, for messages.

        Raises:
            UsageError: With every mistake found.
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
            return check_component(kind, spec, path)
        if not isinstance(spec.get("use"), str):
            installed = ", ".join(self.names(kind)) or "none, no plugin offers one"
            message = f"Must name {with_article(kind)}. Installed: {installed}."
            raise UsageError(Mistake(f"{path}.use", message, plugin=not self.names(kind)))
        if kind == "store" and "://" in spec["use"]:
            url = without_passwords(spec["use"])
            parts = " and ".join(f'{key} = "{value}"' for key, value in self._parts_of(url, f"{path}.use").items())
            raise UsageError(Mistake(f"{path}.use", f'Must be a name, not a URL: write {path} = "{url}", or {parts}.'))
        cls = self.component(kind, spec["use"], f"{path}.use")
        options = {name: value for name, value in spec.items() if name != "use"}
        return check_component(kind, build(cls, options, path, self._resolve), path)

    def _composed(self, kind: str, parts: Sequence[Any], path: str) -> Any:
        composer = self._manager.first("hpt_compose", kind=kind)
        if composer is None:
            raise UsageError(Mistake(path, f"Must be one {kind}: no installed plugin composes several."))
        name, option = composer
        try:
            return self.make(kind, {"use": name, option: list(parts)}, path)
        except UsageError as err:  # the user did not write the option
            raise UsageError(*without_key(path, option, err.mistakes)) from err

    def make_store(self, spec: object, path: str = "store") -> Any:
        """Make a store from a component, a mapping, a name, a URL (``sqlite:///hpt.db``) or the path of a file."""
        if not isinstance(spec, (str, os.PathLike)):
            return self.make("store", spec, path)
        text = os.fspath(spec)
        if "://" in text:
            return self.make("store", self._parts_of(text, path), path)
        if text in self._components()["store"]:
            return self.make("store", {"use": text}, path)
        name = self._manager.first("hpt_store_for", location=text)
        if name is None:
            raise UsageError(Mistake(path, self._no_store_for(text)))
        kind, separator, _ = text.partition(":")
        if separator and kind in self._components()["store"] and not os.path.exists(text):  # noqa: PTH110 - a long name
            message = f"To choose a store, write {kind}:///PATH. Got {shown(without_passwords(text))}."
            raise UsageError(Mistake(path, message))
        return self.make("store", {"use": name, "path": text}, path)

    def _parts_of(self, url: str, path: str) -> dict[str, str]:
        """The URL of a store as a mapping."""
        scheme, _, rest = url.partition("://")
        options = {field.name for field in option_fields(self.component("store", scheme, path))}
        return {"use": scheme, **({"url": url} if "url" in options else {"path": rest.removeprefix("/")})}

    def default(self, kind: str, path: str = "") -> str:
        """The name of the component to use if a study names none.

        Raises:
            UsageError: If no plugin offers one.
        """
        name = self._manager.first("hpt_default", kind=kind)
        if name is None:
            broken = self._not_in_use()
            hint = [f"Install {DEFAULTS[kind]}, which does."] if kind in DEFAULTS and not broken else []
            message = f"No {kind} is given and no installed plugin offers a default."
            raise UsageError(Mistake(path, " ".join([message, *hint, *broken]), plugin=True))
        return str(name)

    def name_of(self, cls: type) -> str | None:
        """The name that a plugin offers a component class under; None if no plugin does."""
        path = f"{cls.__module__}:{cls.__qualname__}"
        for offers in self._components().values():
            for name, same_name in offers.items():
                if same_name[0].target in (path, cls):
                    return name
        return None

    def owner(self, kind: str, name: str) -> PluginInfo | None:
        """The plugin that offers a component; None if no plugin does."""
        offers = self._components()[kind].get(name)
        return offers[0].plugin if offers else None

    def describe(self, component: object, *, brief: bool = False, effective: bool = False) -> dict[str, Any]:
        """A component as JSON-shaped data, see `hpt_core.plugins.description.describe`."""
        return describe(component, self.name_of, brief=brief, effective=effective)

    def _components(self) -> dict[str, dict[str, list[_Offer]]]:
        if self._offers is None:
            self._offers = {kind: {} for kind in KINDS}
            for info in self._manager.plugins:
                info.collisions, declared = [], self._declared(info)
                info.components = {kind: sorted(named) for kind, named in declared.items()}
                for kind, named in declared.items():
                    _add(self._offers[kind], kind, named, info)
        return self._offers

    def _declared(self, info: PluginInfo) -> dict[str, dict[str, str | type]]:
        """The components that a plugin declares, by kind: all of them, or none and ``info.problem``."""
        found: dict[str, dict[str, str | type]] = {}
        for kind, about in KINDS.items():
            if info.problem or about.hook not in info.hooks:
                continue
            try:
                answers = [checked_components(answer) for answer in self._manager.declarations(info, about.hook)]
            except Exception as err:  # noqa: BLE001 - a plugin's code may raise anything
                info.problem = f"{about.hook} failed: {error_with_place(err)}"
                return {}
            found[kind] = {name: target for answer in answers for name, target in answer.items()}
        return found

    def _load(self, kind: str, name: str, offer: _Offer) -> type:
        if isinstance(offer.target, type):
            return offer.target
        try:
            found = import_object(offer.target)
        except UsageError as err:
            msg = f"The {kind} {name!r} of the plugin {offer.plugin} cannot be loaded: {err}"
            raise PluginError(msg) from err.__cause__
        if not isinstance(found, type):
            raise PluginError(f"The {kind} {name!r} of the plugin {offer.plugin} is not a class.")
        return found

    def _resolve(self, protocol: type, value: Any, path: str) -> Any:
        kind = _KIND_OF.get(protocol)
        return value if kind is None else self.make(kind, value, path)

    def _unknown(self, kind: str, name: str, path: str) -> Mistake:
        known, home = self.names(kind), provider(kind, name)
        broken = self._not_in_use(home)
        own = next((i.components.get(kind) for i in self.plugins if name in (i.name, i.distribution)), None)
        hint = did_you_mean(name, known)
        if home:  # it is a name of hpt's own, so it is not a typing error
            hint = "" if broken else f" Install {home}, which provides it."
        if own and not hint:
            hint = f" The plugin of that name offers {', '.join(own)}."
        parts = [f"There is no {kind} {shown(name)}.{hint}", f"Installed: {', '.join(known) or 'none'}."]
        if re.fullmatch(r"[\w-]{1,40}", name, re.ASCII) and not hint and not broken:
            parts.append(f"A distribution like hpt-{kind.split(maxsplit=1)[0]}-{name} may provide it.")
        return Mistake(path, " ".join([*parts, *broken]), plugin=True)

    def _no_store_for(self, location: str) -> str:
        own, parts = store_provider(location), [f"No store handles {shown(without_passwords(location))}."]
        if own:
            parts.append(f"Install {own}, which does.")
        else:
            handled = [ending for ending in STORES if self._manager.first("hpt_store_for", location=f"study{ending}")]
            parts[0] += did_you_mean(Path(location).suffix, handled)
            parts.append("To choose a store, write NAME:///PATH.")
            parts += [f"Known endings: {', '.join(handled)}."] * bool(handled)
        return " ".join([*parts, f"Installed: {', '.join(self.names('store'))}.", *self._not_in_use()])

    def _not_in_use(self, distribution: str = "") -> list[str]:
        """A sentence for each plugin that is not in use; of one distribution only, if it is named."""
        of_it = [info for info in self.plugins if not distribution or info.distribution == distribution]
        return [f"The plugin {info} {info.not_in_use}" for info in of_it if info.problem]

    # --- hooks ------------------------------------------------------------------------------------------

    def commands(self, cli: click.Group) -> None:
        """`hpt_commands`. A plugin that raises is reported, and the others still add their commands."""
        self._manager.call("hpt_commands", cli=cli)

    def evaluate(self, study: Study, trial: TrialContext) -> float | Mapping[str, float] | Iterator[Report]:
        """`hpt_evaluate`."""
        return self._manager.evaluate(study, trial)

    def study_started(self, study: Study) -> None:
        """`hpt_study_started`."""
        self._manager.call("hpt_study_started", study=study)

    def trial_started(self, study: Study, trial: Trial) -> None:
        """`hpt_trial_started`."""
        self._manager.call("hpt_trial_started", study=study, trial=trial)

    def trial_reported(self, study: Study, trial: Trial) -> None:
        """`hpt_trial_reported`."""
        self._manager.call("hpt_trial_reported", study=study, trial=trial)

    def trial_finished(self, study: Study, trial: Trial) -> None:
        """`hpt_trial_finished`."""
        self._manager.call("hpt_trial_finished", study=study, trial=trial)

    def study_finished(self, study: Study, reason: str) -> None:
        """`hpt_study_finished`."""
        self._manager.call("hpt_study_finished", study=study, reason=reason)


def _add(offers: dict[str, list[_Offer]], kind: str, declared: Mapping[str, str | type], info: PluginInfo) -> None:
    """Add components of a plugin to the offers of their kind, and tell which names collide."""
    for name, target in declared.items():
        for other in offers.get(name, ()):
            info.collisions.append(f"the {kind} {name!r} is also offered by {other.plugin}")
            other.plugin.collisions.append(f"the {kind} {name!r} is also offered by {info}")
        offers.setdefault(name, []).append(_Offer(target, info))


@cache
def default_plugins() -> Plugins:
    """The installed plugins except those that ``HPT_DISABLE_PLUGINS`` names; discovered once per process."""
    disabled = os.environ.get("HPT_DISABLE_PLUGINS", "").split(",")
    return Plugins(filter(None, map(str.strip, disabled)))
