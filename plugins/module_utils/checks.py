# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the whole inventory that no single type or choice can express, run on the controller before any host is touched.

Each check is a small function over resolved apps that yields :class:`~.settings.Problem`; :func:`examine` runs them all. Values of ``secrets``
never become part of a problem.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils import settings
from ansible_collections.webops.wsgi.plugins.module_utils.settings import App, HostSettings, Problem, Schema, show

_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_ENTRYPOINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\(\))?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+")
_EXACT_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,\s-]*\])?")
_PINNED = re.compile(rf"\s*{_PACKAGE.pattern}\s*(===?\s*[^\s*;,]+|@\s*\S+)\s*(;.*)?")
_SIZE = re.compile(r"[0-9]+[kKmMgG]?")
_TIME = re.compile(r"([0-9]+)(ms|s|m|h)?")
_PYTHON = re.compile(r"3\.[0-9]+")

# Users of a Debian host, and names that systemd, /run and /var/lib already use: an app of that name would clash with them.
RESERVED = frozenset(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody sshd messagebus polkitd syslog ntp
    postfix mysql postgres redis mongodb memcache rabbitmq nginx apache apache2 haproxy caddy docker certbot letsencrypt acme uuidd tss tcpdump
    adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff users nogroup input
    sgx kvm render crontab netdev ssh
    basic bluetooth boot-complete cryptsetup default emergency exit final first-boot-complete getty graphical halt hibernate initrd kexec
    local-fs machines multi-user network network-online nss-lookup nss-user-lookup paths poweroff printer reboot remote-fs rescue rpcbind
    shutdown sigpwr sleep slices smartcard sockets sound suspend swap sysinit system-update time-set time-sync timers umount user
    user-runtime-dir systemd dbus lock log mount udev apt dpkg pam python python3 cron console-getty serial-getty container-getty modprobe
    private misc ucf wsgi gunicorn uwsgi
    """.split()
)

# Smallest sensible value of a number, by app key and setting; every other number must not be negative.
MINIMUM = {
    ("gunicorn", "workers"): 1,
    ("gunicorn", "threads"): 1,
    ("gunicorn", "timeout"): 1,
    ("nginx", "read_timeout"): 1,
    ("nginx", "http_port"): 1,
    ("nginx", "https_port"): 1,
    ("release", "keep"): 1,
    ("release", "health_timeout"): 1,
}


@dataclasses.dataclass
class Findings:
    """Result of :func:`examine`: the resolved apps, what is wrong, and what is only odd."""

    apps: list[dict[str, t.Any]]
    problems: list[Problem]
    warnings: list[str]


def examine(
    schema: Schema,
    variables: t.Iterable[str],
    inventory: dict[str, t.Any],
    entries: t.Any,
    bases: list[str],
    defaults: dict[str, t.Any] | None = None,
) -> Findings:
    """Resolve and check everything the inventory says about one host.

    :arg variables: names of all variables of the host.
    :arg inventory: templated values of the role variables that the inventory sets.
    :arg entries: templated value of ``wsgi_apps``, ``None`` when it is not defined.
    :arg bases: directories that relative paths count from.
    :arg defaults: values of role defaults that are templates.
    """
    host, problems = settings.merge_host(schema, inventory, defaults)
    misspelt, warnings = check_variable_names(schema, variables)
    problems.extend(misspelt)
    problems.extend(check_any_apps(variables, entries))
    apps: list[App] = []
    if isinstance(entries, list):
        apps, found = settings.resolve(schema, host, entries, bases)
        problems.extend(found)
    for app in apps:
        problems.extend(check_app(app))
    problems.extend(check_duplicates(apps))
    for app in apps:
        app.data["env"] = environment(app.data["env"])
        app.data["secrets"] = environment(app.data["secrets"])
    order = {app.label: number for number, app in reversed(list(enumerate(apps)))}
    problems.sort(key=lambda problem: order.get(problem.app, -1))
    return Findings([app.data for app in apps], problems, warnings)


def check_app(app: App) -> t.Iterator[Problem]:
    """Every check of one app on its own. An app to be removed only needs its name."""
    yield from check_name(app)
    yield from check_state(app)
    if not app.present:
        return
    for check in APP_CHECKS:
        yield from check(app)


def report(problems: t.Iterable[Problem]) -> str:
    """All problems as one text, a line each."""
    found = lines(problems)
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return "\n".join([f"The inventory has {count}; no host was touched.", *found])


def lines(problems: t.Iterable[Problem]) -> list[str]:
    """Each problem as one line, without repetition; apps that have the same problem share a line."""
    apps: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        labels = apps.setdefault((problem.text, problem.mend), [])
        if problem.app not in labels:
            labels.append(problem.app)
    return [f"{_who(labels)}: {text}; {mend}" for (text, mend), labels in apps.items()]


def _who(labels: list[str]) -> str:
    named = [f"{label} of wsgi_apps" if label.startswith("number ") else f'"{label}"' for label in labels if label]
    if not named:
        return "inventory"
    if len(named) == 1:
        return f"app {named[0]}"
    if len(named) <= 5:
        return f"apps {', '.join(named)}"
    return f"apps {', '.join(named[:4])} and {len(named) - 4} more"


def environment(variables: dict[str, t.Any]) -> dict[str, str]:
    """Environment variables as text, the way they are written in YAML: ``true`` stays ``true``."""
    return {str(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in variables.items()}


# The inventory as a whole


def check_any_apps(variables: t.Iterable[str], entries: t.Any) -> t.Iterator[Problem]:
    """There must be apps."""
    sample = "write wsgi_apps: with one entry an app: name, source, entrypoint, domains"
    if entries is None:
        similar = [name for name in variables if name in ("wsgi_app", "wsgi_applications", "wsgiapps", "apps", "webops_wsgi_apps")]
        found = f", but {similar[0]} is" if similar else ""
        yield Problem("", f"wsgi_apps is not defined{found}", f"rename {similar[0]} to wsgi_apps" if similar else sample)
    elif not isinstance(entries, list):
        yield Problem("", f"wsgi_apps is {_kind(entries)}, not a list", "write every app as a list item, beginning with - name:")
    elif not entries:
        yield Problem("", "wsgi_apps is [], so there are no apps", f"{sample}; to remove an app, keep its entry and add state: absent")


def _kind(value: t.Any) -> str:
    return {dict: "a dictionary", str: "a text", int: "a number", bool: "a boolean"}.get(type(value), f"a {type(value).__name__}")


def check_variable_names(schema: Schema, variables: t.Iterable[str]) -> tuple[list[Problem], list[str]]:
    """Variables that look like a role's but are none.

    One close to a real name is a problem; any other with a role's prefix might be the person's own, so it is only a warning.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    for variable in variables:
        role = next((role for role in schema.roles.values() if variable.startswith(role.prefix)), None)
        if role is None or variable in role.options:
            continue
        known = {name[len(role.prefix) :]: name for name in role.options}
        guess = settings.nearest(variable[len(role.prefix) :], known)
        if guess:
            problems.append(Problem("", f"{variable} is not a variable of the role {role.name}", f"did you mean {known[guess]}?"))
        else:
            warnings.append(f"{variable} is not a variable of the role webops.wsgi.{role.name}, so it has no effect there.")
    return problems, warnings


def check_duplicates(apps: list[App]) -> t.Iterator[Problem]:
    """Two apps cannot share a name or a domain."""
    names: dict[str, list[int]] = {}
    owners: dict[str, list[str]] = {}
    for number, app in enumerate(apps, start=1):
        if app.data["name"]:
            names.setdefault(app.data["name"], []).append(number)
        if app.present and app.usable("domains"):
            for domain in app.data["domains"]:
                owners.setdefault(domain.lower(), []).append(app.label)
    for name, numbers in names.items():
        if len(numbers) > 1:
            listed = " and ".join(str(number) for number in numbers)
            yield Problem(name, f"name is {show(name)} in entries {listed} of wsgi_apps", "give each app a name of its own")
    for domain, labels in owners.items():
        others = [label for label in dict.fromkeys(labels) if label != labels[0]]
        if others:
            listed = " and ".join(show(label) for label in others)
            yield Problem(labels[0], f"domains has {show(domain)}, which app {listed} has too", "keep the domain in one app")
        elif len(labels) > 1:
            yield Problem(labels[0], f"domains has {show(domain)} twice", "remove one of them")


# One app


def check_name(app: App) -> t.Iterator[Problem]:
    """The name becomes that of a system user, units and directories."""
    if not app.usable("name"):
        return
    name = app.data["name"]
    rule = "write lower-case letters, digits and hyphens, a letter first, at most 30 characters"
    if not name:
        yield Problem(app.label, "name is missing", "write name: with the app's name, such as name: api")
    elif len(name) > 30:
        yield Problem(app.label, f"name is {show(name)}, {len(name)} characters long, too long for a user or a unit", rule)
    elif not _NAME.fullmatch(name):
        guess = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        yield Problem(app.label, f"name is {show(name)}, which has illegal characters", f"{rule}, such as {guess or 'api'}")
    elif name in RESERVED or name.startswith("systemd-"):
        yield Problem(app.label, f"name is {show(name)}, which Debian, systemd or this collection uses itself", f"choose another, such as {name}-app")


def check_state(app: App) -> t.Iterator[Problem]:
    """``purge`` destroys data, so it must be unmistakable."""
    if app.present and app.usable("state", "purge") and app.data["purge"]:
        yield Problem(app.label, "purge is true, but state is present", "add state: absent to remove the app and its data, or remove purge")


def check_required(app: App) -> t.Iterator[Problem]:
    """Keys without which an app cannot run."""
    samples = {
        "source": "write source: {path: ...}, {git: ..., version: ...}, {archive: ..., sha256: ...} or {package: ..., version: ...}",
        "entrypoint": "write entrypoint: module:callable or module:factory()",
        "domains": "write domains: with the app's host names, such as [api.example.com]",
    }
    for key, mend in samples.items():
        if app.usable(key) and not app.data[key]:
            yield Problem(app.label, f"{key} is {'empty' if key in app.given else 'missing'}", mend)


def check_entrypoint(app: App) -> t.Iterator[Problem]:
    """``module:callable`` or ``module:factory()``, as gunicorn takes it."""
    entrypoint = app.data["entrypoint"]
    if not entrypoint or not app.usable("entrypoint") or _ENTRYPOINT.fullmatch(entrypoint):
        return
    module, colon, attribute = entrypoint.partition(":")
    module = re.sub(r"\.py$", "", module).strip("./").replace("/", ".")
    attribute = re.sub(r"\(.*\)$", "()", attribute)
    guess = f"{module}:{attribute}" if colon and attribute else f"{module}:app"
    hint = f", such as {guess}" if _ENTRYPOINT.fullmatch(guess) else ""
    text = f"entrypoint is {show(entrypoint)}, which is neither module:callable nor module:factory()"
    yield Problem(app.label, text, f"write the module's dotted name, a colon and the callable in it{hint}")


def check_source(app: App) -> t.Iterator[Problem]:
    """Exactly one kind of source, complete, and pinned where it is fetched from elsewhere."""
    source = app.data["source"]
    if not source or not app.usable("source"):
        return
    kinds = [kind for kind in settings.SOURCE_KINDS if source.get(kind) is not None]
    if len(kinds) > 1:
        yield Problem(app.label, f"source has {' and '.join(kinds)} at once", "keep one of them, an app has one source")
    elif not kinds:
        yield Problem(app.label, "source has none of path, git, archive and package", "add one of them, such as path: ../api")
    else:
        yield from _SOURCE_CHECKS[kinds[0]](app, source)
        yield from _check_source_extras(app, source)


def _check_source_extras(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    kind = source["kind"]
    if "version" in source and kind in ("path", "archive"):
        yield Problem(app.label, f"source.version is {show(source['version'])}, but source.{kind} has no version", "remove version")
    if "sha256" in source and kind != "archive":
        yield Problem(app.label, f"source.sha256 is {show(source['sha256'])}, but only an archive has one", "remove sha256")


def _check_path(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    written = app.raw["source"]["path"]
    path = source["path"]
    if not path:
        yield Problem(app.label, 'source.path is ""', "write the directory of the app on the controller")
    elif not os.path.exists(path):
        yield Problem(app.label, f"source.path is {show(written)}, and {path} does not exist", "write a directory relative to the inventory file, or an absolute one")
    elif not os.path.isdir(path):
        yield Problem(app.label, f"source.path is {show(written)}, and {path} is a file", "write the directory that holds the app")


def _check_git(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    if not source["git"] or source["git"].startswith("-"):
        yield Problem(app.label, f"source.git is {show(source['git'])}, which is no URL", "write the repository's URL")
    version = source.get("version")
    if not version:
        yield Problem(app.label, f"source.git is {show(source['git'])} without a version", "add version: with a tag, branch or commit")
    elif version.startswith("-") or re.search(r"\s|\.\.|[~^:?*\[\\]", version):
        yield Problem(app.label, f"source.version is {show(version)}, which cannot be the name of a git version", "write a tag, branch or commit")


def _check_archive(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    archive = source["archive"]
    written = app.raw["source"]["archive"]
    digest = source.get("sha256")
    if not archive:
        yield Problem(app.label, 'source.archive is ""', "write the archive's URL or its path on the controller")
    elif not settings.is_url(archive) and not os.path.isfile(archive):
        found = "is a directory" if os.path.isdir(archive) else "does not exist"
        yield Problem(app.label, f"source.archive is {show(written)}, and {archive} {found}", "write an archive's path or URL")
    if not digest:
        yield Problem(app.label, f"source.archive is {show(written)} without sha256", "add sha256: with the output of sha256sum for that file")
    elif not re.fullmatch(r"[0-9a-f]{64}", digest):
        text = f"source.sha256 is {show(app.raw['source']['sha256'])}, {len(digest)} characters, and not 64 hexadecimal digits"
        yield Problem(app.label, text, "write the output of sha256sum for that file")


def _check_package(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    package = source["package"]
    version = source.get("version")
    name, _comparison, pin = re.sub(r"\s", "", package).partition("==")
    if pin:
        yield Problem(app.label, f"source.package is {show(package)}", f'write the version by itself: package: {name}, version: "{pin}"')
        return
    if not _PACKAGE.fullmatch(package):
        yield Problem(app.label, f"source.package is {show(package)}, which is no package name", "write the name on the package index, such as httpbin")
    if not version:
        yield Problem(app.label, f"source.package is {show(package)} and not pinned", 'add version: with the exact version, such as "0.10.4"')
    elif not _EXACT_VERSION.fullmatch(version):
        yield Problem(app.label, f"source.version is {show(version)}, which does not pin the package", 'write one exact version, such as "0.10.4"')


_SOURCE_CHECKS: dict[str, t.Callable[[App, dict[str, t.Any]], t.Iterator[Problem]]] = {
    "path": _check_path,
    "git": _check_git,
    "archive": _check_archive,
    "package": _check_package,
}


def check_domains(app: App) -> t.Iterator[Problem]:
    """Host names as nginx and the certificate authority take them."""
    if not app.usable("domains"):
        return
    for domain in app.data["domains"]:
        wrong, mend = _domain_problem(domain, app.data["tls"])
        if wrong:
            yield Problem(app.label, f"domains has {show(domain)}, {wrong}", mend)


def _domain_problem(domain: str, tls: str) -> tuple[str, str]:
    """What is wrong with a domain under one kind of certificate, and the mend; two empty strings when nothing is."""
    for check in (_domain_punctuation, _domain_labels):
        wrong, mend = check(domain)
        if wrong:
            return wrong, mend
    if tls != "letsencrypt":
        return "", ""
    if domain.startswith("*."):
        mend = "name each domain, or write tls: provided with a wildcard certificate of your own"
        return "a wildcard, which letsencrypt over http-01 cannot certify", mend
    if re.fullmatch(r"[0-9.]+", domain):
        return "an address, which letsencrypt does not certify here", "write a host name, or tls: selfsigned"
    if "." not in domain:
        return "a name without a dot, which letsencrypt cannot certify", "write the full name, or tls: selfsigned"
    return "", ""


def _domain_punctuation(domain: str) -> tuple[str, str]:
    host = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", domain).strip()
    bare = re.split(r"[/:?#\s]", host, maxsplit=1)[0].rstrip(".").lower()
    mend = f"write {bare}" if bare else "write a host name, such as api.example.com"
    if not domain:
        return "an empty name", mend
    if "://" in domain:
        return "which has a scheme", mend
    if re.search(r"\s", domain):
        return "which has a space", mend if not re.search(r"\s", domain.strip()) else "write one host name an item"
    if re.search(r"[/?#]", domain):
        return "which has a path", mend
    if ":" in domain:
        return "which has a port", f"{mend}; the port is nginx_proxy_https_port"
    if domain.endswith("."):
        return "which ends with a dot", mend
    if domain != domain.lower():
        return "which has upper-case letters", mend
    return "", ""


def _domain_labels(domain: str) -> tuple[str, str]:
    if not domain.isascii():
        return "which is not ASCII", f"write {_punycode(domain)}"
    if len(domain) > 253:
        return f"{len(domain)} characters long", "write a name of at most 253 characters"
    for label in domain[2:].split(".") if domain.startswith("*.") else domain.split("."):
        if len(label) > 63:
            return f"whose part {show(label)} is {len(label)} characters long", "keep each part between dots at 63 characters or fewer"
        if not label:
            return "which has an empty part", "write one dot between parts"
        if "*" in label:
            return "which has an asterisk inside", "a wildcard is *. in front of a domain and nothing else"
        if not _LABEL.fullmatch(label):
            return f"whose part {show(label)} is no host name", "use letters, digits and inner hyphens"
    return "", ""


def _punycode(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return "its ASCII form, which begins with xn--"


def check_certificate(app: App) -> t.Iterator[Problem]:
    """``tls: provided`` needs both files; any other kind needs none."""
    if not app.usable("tls", "certificate", "nginx.tls"):
        return
    certificate = app.data["certificate"]
    tls = app.setting("nginx", "tls") if "tls" not in app.given else "tls"
    if app.data["tls"] != "provided":
        if "certificate" in app.given:
            yield Problem(app.label, f"certificate is given, but {tls} is {show(app.data['tls'])}", "write tls: provided, or remove certificate")
        return
    for key, what in (("cert", "certificate chain"), ("key", "private key")):
        path = certificate.get(key, "")
        if not path:
            yield Problem(app.label, f"{tls} is \"provided\", but certificate.{key} is missing", f"write certificate: {{{key}: PEM file of the {what}}}")
        elif not os.path.isfile(path):
            found = "is a directory" if os.path.isdir(path) else "does not exist"
            written = app.raw["certificate"][key]
            yield Problem(app.label, f"certificate.{key} is a path, \"{written}\", and {path} {found}", f"write the PEM file of the {what}, relative to the inventory file")


def check_env(app: App) -> t.Iterator[Problem]:
    """Names that a shell and systemd take, and values that are text. The values of ``secrets`` are looked at, never shown."""
    for key in ("env", "secrets"):
        if not app.usable(key):
            continue
        for name, value in app.data[key].items():
            yield from _check_variable(app, key, str(name), value)
    if app.usable("env", "secrets"):
        for name in sorted(set(map(str, app.data["env"])) & set(map(str, app.data["secrets"]))):
            yield Problem(app.label, f"{name} is in env and in secrets", "keep it in one of them, in secrets if nobody may see it")


def _check_variable(app: App, key: str, name: str, value: t.Any) -> t.Iterator[Problem]:
    if not _ENV_NAME.fullmatch(name):
        guess = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "NAME"
        guess = f"_{guess}" if guess[0].isdigit() else guess
        yield Problem(app.label, f"{key} has {show(name)}, which is no name of an environment variable", f"use letters, digits and underscores, such as {guess}")
    if value is None:
        yield Problem(app.label, f"{key}.{name} is empty", 'give it a value, "" for an empty text, or remove the line')
    elif isinstance(value, (dict, list)):
        yield Problem(app.label, f"{key}.{name} is {_kind(value)}, not a text", "write a text; for structured data, its JSON form in quotes")
    elif "\0" in str(value):
        yield Problem(app.label, f"{key}.{name} has a NUL character, which an environment cannot hold", "remove it, or encode the value, in base64 say")


def _outside(path: str) -> str:
    """Why a directory is not inside the source tree, empty when it is."""
    if os.path.isabs(path) or path.startswith("~"):
        return "an absolute path"
    if ".." in path.split("/"):
        return "which leads out of the source tree"
    if os.path.normpath(path) == ".":
        return "the source tree as a whole"
    return ""


def check_persistent(app: App) -> t.Iterator[Problem]:
    """Directories to keep lie in the source tree, and none of them in another."""
    if not app.usable("persistent"):
        return
    seen: list[str] = []
    for path in app.data["persistent"]:
        wrong = _outside(path)
        if wrong:
            yield Problem(app.label, f"persistent has {show(path)}, {wrong}", "write a directory relative to the source tree, such as instance")
            continue
        normal = os.path.normpath(path)
        clash = next((other for other in seen if f"{normal}/".startswith(f"{other}/") or f"{other}/".startswith(f"{normal}/")), "")
        if clash:
            yield Problem(app.label, f"persistent has {show(path)} and {show(clash)}, one inside the other", "keep the outer one")
        seen.append(normal)


def check_static(app: App) -> t.Iterator[Problem]:
    """Directories that nginx serves itself lie in the source tree, and exist where the tree is at hand."""
    static = app.data["nginx"].get("static")
    if not isinstance(static, dict) or not app.usable("nginx.static"):
        return
    setting = app.setting("nginx", "static")
    source = app.data["source"]
    for prefix, folder in static.items():
        if not str(prefix).startswith("/"):
            yield Problem(app.label, f"{setting} has the URL prefix {show(prefix)}", f"begin it with a slash: /{prefix}")
        if not isinstance(folder, str):
            yield Problem(app.label, f"{setting} maps {prefix} to {show(folder)}, not a directory", "write a directory relative to the source tree")
            continue
        wrong = _outside(folder)
        if wrong:
            mend = "write a directory inside the source tree, such as static"
            yield Problem(app.label, f"{setting} maps {prefix} to {show(folder)}, {wrong}", mend)
        elif app.usable("source") and source.get("kind") == "path" and os.path.isdir(source["path"]):
            if not os.path.isdir(os.path.join(source["path"], folder)):
                text = f"{setting} maps {prefix} to {show(folder)}, which is no directory in {source['path']}"
                yield Problem(app.label, text, "create it there, or correct its name")


def check_numbers(app: App) -> t.Iterator[Problem]:
    """Counts and times that make no sense below a limit."""
    for key in settings.ROLE_KEYS.values():
        for name, value in app.data[key].items():
            if not app.usable(f"{key}.{name}"):
                continue
            number = _number(value) if (key, name) in MINIMUM else value
            least = MINIMUM.get((key, name), 0)
            if isinstance(number, (int, float)) and not isinstance(number, bool) and number < least:
                setting = app.setting(key, name)
                mend = f"write {least} or more" + (", or auto" if name in ("workers", "threads") else "")
                yield Problem(app.label, f"{setting} is {show(value)}, but the least is {least}", mend)
            elif name.endswith("_port") and isinstance(number, int) and number > 65535:
                yield Problem(app.label, f"{app.setting(key, name)} is {number}, but ports end at 65535", "write a smaller number")


def _number(value: t.Any) -> t.Any:
    """The number in a text, such as the workers in ``"4"``; anything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value.strip()):
        return int(value)
    return value


def check_workers(app: App) -> t.Iterator[Problem]:
    """``auto`` or a count."""
    for name in ("workers", "threads"):
        value = app.data["gunicorn"].get(name)
        if value is None or not app.usable(f"gunicorn.{name}") or isinstance(_number(value), int) or value == "auto":
            continue
        yield Problem(app.label, f"{app.setting('gunicorn', name)} is {show(value)}, neither auto nor a whole number", "write auto, or a number from 1 up")


def check_worker_class(app: App) -> t.Iterator[Problem]:
    """The worker class exists in gunicorn, and what it needs is installed with the app."""
    value = app.data["gunicorn"].get("worker_class")
    if not isinstance(value, str) or not app.usable("gunicorn.worker_class"):
        return
    setting = app.setting("gunicorn", "worker_class")
    removed = settings.REMOVED.get(("gunicorn_worker_class", value))
    if removed:
        yield Problem(app.label, f"{setting} is {show(value)}, {removed[0]}", removed[1])
    elif value == "gevent":
        yield from _check_gevent(app, setting)


def _check_gevent(app: App, setting: str) -> t.Iterator[Problem]:
    """gunicorn's gevent worker imports gevent and packaging. What a git repository or an archive holds is not known yet."""
    source = app.data["source"]
    python = app.data["python"]
    if not app.usable("source", "python.packages", "python.requirements") or source.get("kind") not in ("path", "package"):
        return
    declared = requirement_names(python.get("packages") or [])
    where = "the app"
    if source["kind"] == "path":
        if not os.path.isdir(source["path"]):
            return
        found, where = declared_packages(source["path"], python.get("requirements") or "requirements.txt")
        declared |= found
    else:
        declared |= requirement_names([source["package"]])
        where = f"package {source['package']}"
    missing = [name for name in ("gevent", "packaging") if name not in declared]
    if missing:
        listed = " and ".join(missing)
        pins = ", ".join(f'"{name}==..."' for name in missing)
        mend = f"add {listed} to its requirements, or write python: {{packages: [{pins}]}} with the versions you want"
        yield Problem(app.label, f'{setting} is "gevent", but {where} does not bring {listed}', mend)


def requirement_names(requirements: t.Iterable[str]) -> set[str]:
    """Normalised names of the packages, and extras of them, that requirement lines ask for (``gunicorn[gevent]`` gives both)."""
    names: set[str] = set()
    for line in requirements:
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?", str(line))
        if match:
            for name in [match.group(1), *(match.group(2) or "").split(",")]:
                names.add(re.sub(r"[-_.]+", "-", name.strip()).lower())
    return names - {""}


def declared_packages(tree: str, requirements: str) -> tuple[set[str], str]:
    """Packages that the requirements file or the ``pyproject.toml`` of a source tree asks for, and the file that says so."""
    path = os.path.join(tree, requirements)
    if os.path.isfile(path):
        return requirement_names(_requirement_lines(path, set())), requirements
    path = os.path.join(tree, "pyproject.toml")
    if os.path.isfile(path):
        return requirement_names(_pyproject_dependencies(path)), "pyproject.toml"
    return set(), tree


def _requirement_lines(path: str, seen: set[str]) -> list[str]:
    """Requirement lines of a file and of the files it includes with ``-r``; options and comments are left out."""
    real = os.path.realpath(path)
    if real in seen or not os.path.isfile(real):
        return []
    seen.add(real)
    with open(real, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    lines: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        include = re.match(r"(?:-r|--requirement)[\s=]*(\S+)", line)
        if include:
            lines.extend(_requirement_lines(os.path.join(os.path.dirname(path), include.group(1)), seen))
        elif line and not line.startswith("-"):
            lines.append(line)
    return lines


def _pyproject_dependencies(path: str) -> list[str]:
    import tomllib

    try:
        with open(path, "rb") as stream:
            project = tomllib.load(stream).get("project", {})
    except (OSError, ValueError):
        return []
    found = project.get("dependencies", []) if isinstance(project, dict) else []
    return [str(item) for item in found] if isinstance(found, list) else []


def check_python(app: App) -> t.Iterator[Problem]:
    """Form of the Python version, and where requirements come from."""
    python = app.data["python"]
    version = python.get("version")
    if version and app.usable("python.version") and not _PYTHON.fullmatch(str(version)):
        match = re.search(r"3\.[0-9]+", str(version))
        yield Problem(app.label, f"{app.setting('python', 'version')} is {show(version)}", f'write the major and minor version, "{match.group() if match else "3.13"}"')
    requirements = python.get("requirements")
    source = app.data["source"]
    if not requirements or not app.usable("python.requirements", "source"):
        return
    setting = app.setting("python", "requirements")
    wrong = _outside(requirements)
    if wrong:
        yield Problem(app.label, f"{setting} is {show(requirements)}, {wrong}", "write a file relative to the source tree")
    elif setting == "python.requirements" and source.get("kind") == "path" and os.path.isdir(source["path"]):
        if not os.path.isfile(os.path.join(source["path"], requirements)):
            yield Problem(app.label, f"{setting} is {show(requirements)}, which is no file in {source['path']}", "create it there, or correct its name")


def check_packages(app: App) -> t.Iterator[Problem]:
    """Packages beside the app's own are pinned, or the same inputs would not give the same build."""
    if not app.usable("python.packages"):
        return
    for package in app.data["python"].get("packages") or []:
        if not _PINNED.fullmatch(str(package)):
            name = re.match(r"[A-Za-z0-9._-]*", str(package))
            text = f"{app.setting('python', 'packages')} has {show(package)}, which is not pinned"
            yield Problem(app.label, text, f'write its exact version, such as "{name.group() if name and name.group() else "gevent"}==1.2.3"')


def seconds(value: t.Any) -> float | None:
    """Length of a time in seconds, written as a number or as nginx writes it (``90s``, ``2m``); ``None`` when it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    return int(match.group(1)) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(match.group(2), 1.0) if match else None


# The party named first must wait at least as long as the one named second, or it gives up on an answer that is still coming.
TIME_ORDER = (
    (("nginx", "read_timeout"), ("gunicorn", "timeout"), "nginx"),
    (("nginx", "client_timeout"), ("nginx", "read_timeout"), "the client's side"),
)


def check_times(app: App) -> t.Iterator[Problem]:
    """client >= nginx >= gunicorn."""
    for outer, inner, who in TIME_ORDER:
        longer = seconds(app.data[outer[0]].get(outer[1]))
        shorter = seconds(app.data[inner[0]].get(inner[1]))
        if longer is None or shorter is None or longer >= shorter or not app.usable(".".join(outer), ".".join(inner)):
            continue
        first, second = app.setting(*outer), app.setting(*inner)
        text = f"{second} is {_time(shorter)}, longer than {first} ({_time(longer)}), so {who} would give up first"
        yield Problem(app.label, text, f"write {outer[0]}: {{{outer[1]}: {math.ceil(shorter)}}} or more, or lower {second}")


def _time(value: float) -> str:
    return f"{value:g} s"


def check_sizes(app: App) -> t.Iterator[Problem]:
    """Sizes as nginx reads them."""
    for name, value in app.data["nginx"].items():
        if name.endswith("_size") and isinstance(value, str) and app.usable(f"nginx.{name}") and not _SIZE.fullmatch(value):
            yield Problem(app.label, f"{app.setting('nginx', name)} is {show(value)}, which is no size", "write a number and k, m or g, such as 16m")


def check_email(app: App) -> t.Iterator[Problem]:
    """The address the certificate authority writes to; it may be empty."""
    email = app.data["certbot"].get("email")
    if isinstance(email, str) and email and app.usable("certbot.email") and not _EMAIL.fullmatch(email):
        yield Problem(app.label, f"{app.setting('certbot', 'email')} is {show(email)}, which is no e-mail address", "write one address, such as ops@example.com")


APP_CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_required,
    check_entrypoint,
    check_source,
    check_domains,
    check_certificate,
    check_env,
    check_persistent,
    check_static,
    check_numbers,
    check_workers,
    check_worker_class,
    check_python,
    check_packages,
    check_times,
    check_sizes,
    check_email,
)
