# SPDX-License-Identifier: GPL-3.0-or-later
"""Effective settings of every app: role defaults, inventory variables and the app's own overrides, one key at a time.

Plain functions without any connection to a host. Types, choices and required keys come from the roles'
``meta/argument_specs.yml``, what that cannot say from their ``meta/settings.yml``; nothing about a setting is written
down here a second time. What is wrong with the input is returned as a list of :class:`Problem`, never raised.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import json
import math
import os
import re
import typing as t
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.yaml import yaml_load

# Keys of an app that share their name with a setting which a person may have meant: what to write for that.
ALSO_A_SETTING = {
    "workers": "for the server's own write workers: {} below the server's name; here is a list, of name and command",
}

# Stands for a value whose template could not be evaluated; that has been reported already.
UNEVALUATED: t.Any = object()

SOURCE_KINDS = ("path", "git", "archive", "package", "image")

# Words of a key whose value is not repeated in a message, because people keep passwords under such keys.
_SENSITIVE = re.compile(
    r"secret|passw|token|credential|private|basic_auth|fallbacks|(?<!limit)(?<!cache)(^|_)key$", re.IGNORECASE
)
_URL_USER = re.compile(r"://[^/\s]*@")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input.

    ``app`` is the label of the app (``api``; ``number 2`` for an entry without a usable name), empty for the inventory
    as a whole. ``text`` names the key and the value and says what is wrong; ``fix`` says what to write instead.
    """

    app: str
    text: str
    fix: str


@dataclasses.dataclass(frozen=True)
class Role:
    """One role's settings: its argument spec without ``wsgi_apps``, and its defaults, both by full variable name.

    The rest is what its ``meta/settings.yml`` says, by full variable name too: ``host_wide`` variables cannot be
    overridden in an app, ``per_location`` ones can in an entry of ``nginx_proxy_locations``; ``limits`` are the least
    and the most of numbers; ``removed`` has values that used to be right, ``words`` variables that are a text only
    because they may be a word or a number, both with what is wrong then, and what to write.
    """

    name: str
    key: str
    options: dict[str, dict[str, t.Any]]
    defaults: dict[str, t.Any]
    server: bool = False
    host_wide: frozenset[str] = frozenset()
    per_location: frozenset[str] = frozenset()
    limits: dict[str, tuple[float, float | None]] = dataclasses.field(default_factory=dict)
    removed: dict[tuple[str, str], tuple[str, str]] = dataclasses.field(default_factory=dict)
    words: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Prefix of the role's variables, with the underscore."""
        return f"{self.name}_"

    def limit(self, short: str) -> tuple[float, float | None]:
        """The least and the most that a number may be."""
        return self.limits.get(f"{self.prefix}{short}", (0, None))

    def short(self) -> list[str]:
        """Names of the variables that an app may override, without the prefix."""
        return [name[len(self.prefix) :] for name in self.options if name not in self.host_wide]


@dataclasses.dataclass(frozen=True)
class Schema:
    """What may be written: the options of an app entry, every role by the key that overrides it, and other variables.

    ``common`` has variables that are no role's own, such as ``wsgi_server``, with their defaults.
    """

    app: dict[str, dict[str, t.Any]]
    roles: dict[str, Role]
    common: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)

    @property
    def servers(self) -> list[str]:
        """The servers that may run an app, each the name of its role and of its key."""
        return [key for key, role in self.roles.items() if role.server]

    def variables(self) -> t.Iterator[tuple[str, dict[str, t.Any], t.Any, Role | None]]:
        """Every variable with its spec, its default and its role."""
        for role in self.roles.values():
            for name, spec in role.options.items():
                yield name, spec, role.defaults.get(name, spec.get("default")), role
        for name, spec in self.common.items():
            yield name, spec, spec.get("default"), None


@dataclasses.dataclass
class HostSettings:
    """Values of all role variables for one host, by full variable name, and which of them are no defaults."""

    values: dict[str, t.Any]
    altered: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class App:
    """One entry of ``wsgi_apps`` with its resolved form.

    ``raw`` is what the person wrote, ``data`` the resolved entry, ``given`` the dotted keys that the entry sets itself
    (``nginx.retries``), ``broken`` the dotted keys whose values are unusable, so that later checks leave them alone,
    ``meant`` the keys that a misspelt key stands for, ``roles`` those whose settings it has, by key.
    """

    label: str
    raw: dict[str, t.Any]
    data: dict[str, t.Any]
    given: set[str] = dataclasses.field(default_factory=set)
    broken: set[str] = dataclasses.field(default_factory=set)
    meant: set[str] = dataclasses.field(default_factory=set)
    roles: dict[str, Role] = dataclasses.field(default_factory=dict)

    def problem(self, text: str, fix: str) -> Problem:
        """A problem of this app."""
        return Problem(self.label, text, fix)

    @property
    def present(self) -> bool:
        """Whether the app is to run on the host."""
        return self.data.get("state") != "absent"

    def usable(self, *keys: str) -> bool:
        """Whether the values of all these dotted keys passed the checks of type and choice."""
        return not any(key in self.broken or key.split(".", maxsplit=1)[0] in self.broken for key in keys)

    def setting(self, key: str, name: str) -> str:
        """Where the setting comes from: ``nginx.retries`` in the app, or ``nginx_proxy_retries`` for every app."""
        if f"{key}.{name}" in self.given:
            return f"{key}.{name}"
        return f"{self.roles[key].prefix}{name}"


_PLAIN = {str, int, bool, float, type(None)}


def plain(value: t.Any) -> t.Any:
    """Copy of ``value`` made of ordinary dicts, lists and scalars, without Ansible's tags and lazy containers."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    return str(value)


def show(value: t.Any, key: str = "") -> str:
    """``value`` as it stands in a message: short, strings in double quotes, without the user part of a URL.

    The value is left out (``(hidden)``) when the last part of ``key`` sounds like that of a password.
    """
    if key and _SENSITIVE.search(key.rsplit(".", maxsplit=1)[-1]):
        return "(hidden)"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = f"<{type(value).__name__}>"
    text = _URL_USER.sub("://***@", text)
    return text if len(text) <= 100 else f"{text[:97]}..."


def kind_of(value: t.Any) -> str:
    """The kind of a value in words."""
    return {dict: "a dictionary", str: "a string", int: "a number", bool: "a boolean"}.get(
        type(value), f"a {type(value).__name__}"
    )


def nearest(name: str, known: t.Iterable[str], cutoff: float = 0.6) -> str:
    """The known name most like ``name``, or an empty string."""
    found = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1, cutoff=cutoff)
    return found[0] if found else ""


def collection_root() -> str:
    """Directory of the installed collection."""
    return str(Path(__file__).absolute().parents[3])


def _read_yaml(path: str) -> dict[str, t.Any]:
    if not os.path.isfile(path):
        return {}
    with open(path, "rb") as stream:
        return yaml_load(stream) or {}


def load_schema(root: str = "") -> Schema:
    """Read what the roles below ``root`` (the collection itself when empty) say of their settings.

    Variables of roles with a ``meta/settings.yml`` can be overridden in apps. Servers come last.
    """
    root = root or collection_root()
    app_options: dict[str, dict[str, t.Any]] = {}
    common: dict[str, dict[str, t.Any]] = {}
    roles: dict[str, Role] = {}
    for specs in sorted(Path(root, "roles").glob("*/meta/argument_specs.yml")):
        folder, spec = specs.parents[1], _read_yaml(str(specs))
        options = dict(spec.get("argument_specs", {}).get("main", {}).get("options", {}))
        app_options = options.get("wsgi_apps", {}).get("options", app_options)
        common |= {name: option for name, option in options.items() if name.startswith("wsgi_") and name != "wsgi_apps"}
        facts = _read_yaml(str(folder / "meta" / "settings.yml"))
        if not facts:
            continue
        own = {name: option for name, option in options.items() if name.startswith(f"{folder.name}_")}
        role = _role(folder.name, facts, own, _read_yaml(str(folder / "defaults" / "main.yml")))
        roles[role.key] = role
    order = [*app_options]
    app_options |= {key: {"type": "dict", "default": {}} for key, role in roles.items() if role.server}
    by_place = sorted(roles, key=lambda key: order.index(key) if key in order else len(order))
    return Schema(app_options, {key: roles[key] for key in by_place}, common)


def _role(name: str, facts: dict[str, t.Any], options: dict[str, t.Any], defaults: dict[str, t.Any]) -> Role:
    """A role with what its ``meta/settings.yml`` says, by full names."""
    return Role(
        name,
        facts["key"],
        options,
        defaults,
        server=bool(facts.get("server")),
        host_wide=frozenset(f"{name}_{short}" for short in facts.get("host_wide", [])),
        per_location=frozenset(f"{name}_{short}" for short in facts.get("per_location", [])),
        limits={
            f"{name}_{short}": (limit["least"], limit.get("most")) for short, limit in facts.get("limits", {}).items()
        },
        removed={
            (f"{name}_{short}", value): (what["text"], what["fix"])
            for short, values in facts.get("removed", {}).items()
            for value, what in values.items()
        },
        words={f"{name}_{short}": (what["text"], what["fix"]) for short, what in facts.get("words", {}).items()},
    )


@functools.cache
def per_location() -> frozenset[str]:
    """Names, without prefix, of nginx_proxy's variables that an entry of its locations may override."""
    facts = _read_yaml(os.path.join(collection_root(), "roles", "nginx_proxy", "meta", "settings.yml"))
    return frozenset(facts["per_location"])


def coerce(name: str, spec: dict[str, t.Any], value: t.Any) -> tuple[t.Any, str]:
    """Convert ``value`` to the type of ``spec`` with Ansible's own validator.

    Returns the converted value and an empty string, or the value as it was and what is wrong with it, without repeating
    it. Stricter than Ansible where YAML plays tricks: a number with a decimal point is no text, a boolean no number.
    """
    wrong = _yaml_trap(spec, value)
    if wrong:
        return value, wrong
    lenient = {key: item for key, item in spec.items() if key not in ("required", "default")}
    result = ArgumentSpecValidator({name: lenient}).validate({name: value})
    if not result.error_messages:
        return result.validated_parameters[name], ""
    return value, _reason(name, spec, value, result.error_messages[0])


def _yaml_trap(spec: dict[str, t.Any], value: t.Any) -> str:
    """What is wrong with a value that Ansible would convert silently into something the person did not mean."""
    kind = spec.get("type", "str")
    if value is None:
        return "" if spec.get("default", "") is None else "empty"
    if kind in ("str", "path"):
        return _text_trap(value, bool(spec.get("choices")))
    if kind in ("int", "float"):
        return _number_trap(kind, value)
    if kind == "dict" and not isinstance(value, dict):
        return "not a dictionary"
    return _list_trap(spec, value) if kind == "list" else ""


def _text_trap(value: t.Any, choices: bool) -> str:
    if isinstance(value, (dict, list)):
        return "not a string"
    if isinstance(value, float):
        return "a number and not a string"
    # Among choices Ansible finds the way from the boolean back to "off" or "no".
    return "a boolean and not a string" if isinstance(value, bool) and not choices else ""


def _number_trap(kind: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return "a boolean and not a number"
    if isinstance(value, float) and (not math.isfinite(value) or (kind == "int" and value != int(value))):
        return "not a whole number" if kind == "int" else "not a number"
    return ""


def _list_trap(spec: dict[str, t.Any], value: t.Any) -> str:
    if not isinstance(value, list):
        return "not a list"
    for item in value:
        wrong = _yaml_trap({"type": spec.get("elements", "raw")}, item)
        if wrong:
            return f"a list with the item {show(item)}, {wrong}"
    return ""


def _reason(name: str, spec: dict[str, t.Any], value: t.Any, message: str) -> str:
    kinds = {
        "int": "a whole number",
        "float": "a number",
        "bool": "a boolean",
        "dict": "a dictionary",
        "list": "a list",
        "str": "a string",
    }
    if spec.get("choices") and not isinstance(value, (dict, list)):
        return "not one of its choices"
    kind = str(spec.get("type", "str"))
    if kind in kinds and not spec.get("options") and not spec.get("elements"):
        return f"not {kinds[kind]}"
    message = message.replace(f"argument '{name}' is", "").strip()
    return f"wrong: {message.splitlines()[0]}"


def fix_for(spec: dict[str, t.Any], wrong: str) -> str:
    """What to write for an option that :func:`coerce` refused."""
    if spec.get("choices"):
        return "write one of " + ", ".join(str(choice) for choice in spec["choices"])
    if wrong == "empty":
        return "give it a value, or remove the line"
    if "not a string" in wrong:
        return "put the value in quotes"
    samples = {
        "int": "write a whole number",
        "float": "write a number",
        "bool": "write true or false",
        "list": "write a list, one item a line, each after a hyphen",
        "dict": "write a dictionary, one key: value a line",
    }
    return samples.get(str(spec.get("type", "str")), "write a string")


def check_value(
    app: str, path: str, spec: dict[str, t.Any], value: t.Any, variable: str = "", role: Role | None = None
) -> tuple[t.Any, list[Problem]]:
    """Convert a value to the type of its spec, options inside it included, and say all that is wrong with it.

    ``path`` is the key as the person wrote it (``nginx.retries``), ``variable`` the role's variable it stands for.
    """
    options = spec.get("options")
    problems: list[Problem] = []
    if options and isinstance(value, dict):
        problems = list(_inside(app, path, options, value))
    elif options and isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                problems.extend(_inside(app, f"{path}[{index}]", options, item))
    if problems:
        return value, problems
    converted, wrong = coerce(path, spec, value)
    return converted, [_refusal(app, path, spec, value, wrong, variable, role)] if wrong else []


def _inside(app: str, path: str, options: dict[str, t.Any], value: dict[str, t.Any]) -> t.Iterator[Problem]:
    for unknown in unknown_keys(options, value):
        guess = nearest(unknown, options)
        fix = f"did you mean {guess}?" if guess else "known keys are " + ", ".join(options)
        yield Problem(app, f"{path}.{unknown} is not a known key", fix)
    if path == "source":
        kinds = [kind for kind in SOURCE_KINDS if kind in value]
        if len(kinds) > 1:
            yield Problem(app, f"source has {' and '.join(kinds)} at once", "keep one of them, an app has one source")
    for name, option in options.items():
        if name in value:
            yield from check_value(app, f"{path}.{name}", option, value[name])[1]


def _refusal(
    app: str, path: str, spec: dict[str, t.Any], value: t.Any, wrong: str, variable: str, role: Role | None
) -> Problem:
    removed = role.removed.get((variable, value)) if role and isinstance(value, str) else None
    if removed:
        return Problem(app, f"{path} is {show(value)}, {removed[0]}", removed[1])
    if role and variable in role.words and value is not None:
        wrong, fix = role.words[variable]
        return Problem(app, f"{path} is {show(value)}, {wrong}", fix)
    # The values of whole environments stay out of messages: some of them are secret.
    shown = "" if path in ("secrets", "env") else f"{show(value, path)}, "
    fix = ALSO_A_SETTING[path].format(show(value)) if path in ALSO_A_SETTING else fix_for(spec, wrong)
    return Problem(app, f"{path} is {shown}{wrong}", fix)


def unknown_keys(options: dict[str, dict[str, t.Any]], value: dict[str, t.Any]) -> list[str]:
    """Keys of ``value`` that ``options`` does not know, aliases included, in the order they were written."""
    known = set(options)
    for spec in options.values():
        known.update(spec.get("aliases") or [])
    return [str(key) for key in value if str(key) not in known]


def merge_host(
    schema: Schema, inventory: dict[str, t.Any], defaults: dict[str, t.Any] | None = None
) -> tuple[HostSettings, list[Problem]]:
    """Role defaults overlaid with the inventory's variables, converted to the types of their argument specs.

    ``inventory`` holds values, not templates; ``defaults`` replaces role defaults that are templates by their values.
    """
    problems: list[Problem] = []
    settings = HostSettings({})
    for name, spec, own, role in schema.variables():
        default = copy.deepcopy(own)
        if defaults and name in defaults:
            default = coerce(name, spec, defaults[name])[0]
        settings.values[name] = default
        if name not in inventory:
            continue
        value, found = check_value("", name, spec, inventory[name], name, role)
        settings.values[name] = default if found else value
        if settings.values[name] != default:
            settings.altered.add(name)
        problems.extend(found)
    return settings, problems


def resolve(
    schema: Schema, host: HostSettings, entries: list[t.Any], bases: list[str], homes: t.Sequence[str] = ()
) -> tuple[list[App], list[Problem]]:
    """Resolve the entries of ``wsgi_apps`` (already templated) for one host.

    Relative paths count from the directory of ``homes`` that an entry has there, else from the first of ``bases`` that
    has the file. An entry that is no dictionary gives a problem
    and no app; every other entry gives an app, with defaults in place of unusable values.
    """
    apps: list[App] = []
    problems: list[Problem] = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            text = f"wsgi_apps is a list of dictionaries, and this entry is {show(entry)}"
            problems.append(Problem(f"number {number}", text, "write - name: ..., then the app's other keys below it"))
            continue
        name = entry.get("name")
        label = name if isinstance(name, str) and name else f"number {number}"
        app = App(label, {str(key): value for key, value in entry.items()}, {})
        problems.extend(_resolve_keys(schema, app))
        problems.extend(_resolve_server(schema, host, app))
        problems.extend(_resolve_overrides(host, app))
        places = [*filter(None, homes[number - 1 : number]), *bases]
        app.data["source"] = _resolve_source(app.data["source"], places)
        app.data["certbot"]["dns_credentials"] = find_path(app.data["certbot"].get("dns_credentials"), places)
        app.data["nginx"]["client_ca"] = find_path(app.data["nginx"].get("client_ca"), places)
        app.data["files"] = [_resolve_file(entry, places) for entry in app.data.get("files", [])]
        app.data["certificate"] = {key: find_path(path, places) for key, path in app.data["certificate"].items()}
        _resolve_tls(app)
        apps.append(app)
    return apps, problems


def _resolve_keys(schema: Schema, app: App) -> t.Iterator[Problem]:
    """Fill in the entry's own keys; overrides of role variables are left to :func:`_resolve_overrides`."""
    yield from _unknown_app_keys(schema, app)
    empty = {"dict": {}, "list": [], "bool": False}
    for key, spec in schema.app.items():
        if key in schema.roles:
            continue
        app.data[key] = copy.deepcopy(spec.get("default", empty.get(spec.get("type", "str"), "")))
        if key not in app.raw:
            continue
        app.given.add(key)
        if app.raw[key] is UNEVALUATED:
            app.broken.add(key)
            continue
        value, found = check_value(app.label, key, spec, app.raw[key])
        yield from found
        if found:
            app.broken.add(key)
        else:
            app.data[key] = value


def _unknown_app_keys(schema: Schema, app: App) -> t.Iterator[Problem]:
    for key in unknown_keys(schema.app, app.raw):
        app.meant.add(nearest(key, schema.app))
        yield app.problem(f"{key} is not a key of an app", _guess_app_key(schema, key, app.raw[key]))


def _guess_app_key(schema: Schema, key: str, value: t.Any) -> str:
    """The fix for an unknown key of an app: a role's name or variable, misspelt or in the wrong place."""
    shown = "..." if isinstance(value, (dict, list)) or value is UNEVALUATED else show(value, key)
    named = next((role for role in schema.roles.values() if key in (role.name, role.key)), None)
    if named:
        return f"write {named.key}: instead, the key that overrides {key}_* variables"
    variables = {name: role for role in schema.roles.values() for name in role.options}
    variable = key if key in variables else nearest(key, variables, 0.9)
    if variable and variable in variables[variable].host_wide:
        return f"{variable} is one for the whole host: set it in the inventory, outside wsgi_apps"
    if variable:
        role = variables[variable]
        return f"write {role.key}: {{{variable[len(role.prefix) :]}: {shown}}}"
    owners = [role.key for role in schema.roles.values() if key in role.short()]
    guess = nearest(key, schema.app)
    if owners or guess:
        return f"write {owners[0]}: {{{key}: {shown}}}" if owners else f"did you mean {guess}?"
    if key in SOURCE_KINDS or key == "sha256":
        return f"write source: {{{key}: {shown}}}"
    return "known keys are " + ", ".join(schema.app)


def _resolve_server(schema: Schema, host: HostSettings, app: App) -> t.Iterator[Problem]:
    """Choose the server that runs the app; of all servers, the app has the settings of this one alone."""
    app.data["interface"] = app.data.get("interface") or host.values.get("wsgi_interface")
    chosen, where = app.data.get("server"), "server"
    if not chosen:
        chosen, where = host.values.get("wsgi_server"), "wsgi_server"
    if chosen not in schema.servers:
        if app.usable("server"):
            text = f"{where} is {show(chosen)}, which is not a server"
            yield app.problem(text, f"write one of {', '.join(schema.servers)}")
        app.broken.add("server")
        chosen = schema.servers[0]
    others = [key for key in schema.servers if key in app.raw and key != chosen]
    if app.usable("server"):
        for key in others:
            text = f"{key} has settings, but the app's server is {chosen}"
            yield app.problem(text, f"remove {key}:, or write server: {key}")
    app.data["server"] = chosen
    app.roles = {key: role for key, role in schema.roles.items() if not role.server or key == chosen}


def _resolve_overrides(host: HostSettings, app: App) -> t.Iterator[Problem]:
    """Merge the app's overrides over the host's values, one key at a time, and convert them."""
    for key, role in app.roles.items():
        app.data[key] = {name[len(role.prefix) :]: copy.deepcopy(host.values[name]) for name in role.options}
        override = app.raw.get(key, {})
        if override is UNEVALUATED:
            app.broken.add(key)
            continue
        if override is None or not isinstance(override, dict):
            app.broken.add(key)
            sample = next(iter(role.short()), "key")
            yield app.problem(f"{key} is {show(override)}, not a dictionary", f"write {key}: {{{sample}: ...}}")
            continue
        yield from _merge_override(role, app, override)
        if "locations" in app.data[key]:
            yield from _resolve_locations(role, app)


def _merge_override(role: Role, app: App, override: dict[str, t.Any]) -> t.Iterator[Problem]:
    for name, value in override.items():
        name = str(name)
        full = f"{role.prefix}{name}"
        path = f"{role.key}.{name}"
        if full not in role.options:
            yield _unknown_override(role, app, name, value)
            continue
        if full in role.host_wide:
            yield app.problem(f"{path} is one for the whole host", f"set {full} in the inventory, outside wsgi_apps")
            continue
        app.given.add(path)
        converted, found = check_value(app.label, path, role.options[full], value, full, role)
        yield from found
        if found:
            app.broken.add(path)
        else:
            app.data[role.key][name] = converted


def _resolve_locations(role: Role, app: App) -> t.Iterator[Problem]:
    """Convert the settings of every location; one that is unusable is left out."""
    short = {name[len(role.prefix) :]: name for name in role.options if name in role.per_location}
    where = app.setting(role.key, "locations")
    for location, override in app.data[role.key]["locations"].items():
        path = f"{where}[{show(location)}]"
        if not isinstance(override, dict):
            yield app.problem(
                f"{path} is {show(override)}, not a dictionary", "write settings, such as {buffering: false}"
            )
            app.broken.add(f"{role.key}.locations")
            continue
        for name, value in list(override.items()):
            full = short.get(name)
            if full:
                override[name], found = check_value(app.label, f"{path}.{name}", role.options[full], value, full, role)
            else:
                found = [_unknown_location_setting(role, app, path, name, list(short))]
            yield from found
            if found:
                app.broken.add(f"{role.key}.locations")


def _unknown_location_setting(role: Role, app: App, path: str, name: str, known: list[str]) -> Problem:
    if name in role.short():
        return app.problem(
            f"{path}.{name} is not a setting of a location", f"set it for the app, as {role.key}: {{{name}: ...}}"
        )
    guess = nearest(name, known)
    fix = f"did you mean {guess}?" if guess else "known settings are " + ", ".join(known)
    return app.problem(f"{path}.{name} is not a setting", fix)


def _unknown_override(role: Role, app: App, name: str, value: t.Any) -> Problem:
    short = role.short()
    path = f"{role.key}.{name}"
    shown = f" (set to {show(value, name)})" if isinstance(value, (bool, int, float, str)) else ""
    text = f"{path}{shown} is not a setting"
    if name.startswith(role.prefix) and name[len(role.prefix) :] in short:
        return app.problem(text, f"leave out the prefix here: {name[len(role.prefix) :]}")
    guess = nearest(name, short)
    fix = f"did you mean {guess}?" if guess else "known settings are " + ", ".join(short)
    return app.problem(text, fix)


def _resolve_source(source: dict[str, t.Any], bases: list[str]) -> dict[str, t.Any]:
    """The source with its ``kind``, absolute paths, and nothing that has no value."""
    given = {key: value for key, value in source.items() if value is not None}
    kinds = [kind for kind in SOURCE_KINDS if kind in given]
    if len(kinds) != 1:
        return given
    resolved = {"kind": kinds[0], **given}
    if kinds[0] == "path" or (kinds[0] == "archive" and not is_url(given["archive"])):
        resolved[kinds[0]] = find_path(given[kinds[0]], bases)
    if kinds[0] == "git" and given["git"].startswith(("./", "../", "~")):
        resolved["git"] = find_path(given["git"], bases)
    if given.get("subdirectory"):
        resolved["subdirectory"] = os.path.normpath(given["subdirectory"])
    if "sha256" in resolved:
        resolved["sha256"] = resolved["sha256"].lower()
    return resolved


def _resolve_file(entry: dict[str, t.Any], bases: list[str]) -> dict[str, t.Any]:
    """A configuration file with an absolute path, of itself or of its template."""
    found = {key: find_path(entry[key], bases) for key in ("path", "template") if entry.get(key)}
    return {**entry, **found}


def is_url(text: str) -> bool:
    """Whether the text begins like a URL."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def find_path(path: t.Any, bases: list[str]) -> str:
    """Absolute form of a path on the controller, counted from the first of ``bases`` that has it."""
    if not isinstance(path, str) or not path:
        return ""
    path = os.path.expanduser(path)
    candidates = [os.path.normpath(os.path.join(base, path)) for base in bases]
    return next(
        (found for found in candidates if os.path.exists(found)), candidates[0] if candidates else os.path.abspath(path)
    )


def _resolve_tls(app: App) -> None:
    """One value for ``tls`` and ``nginx.tls``: the app's own, then its override, then the host's."""
    nginx = app.data.get("nginx", {})
    if "tls" in app.given and app.usable("tls"):
        nginx["tls"] = app.data["tls"]
    app.data["tls"] = nginx.get("tls") or "letsencrypt"
