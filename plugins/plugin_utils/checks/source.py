# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of an app's source: its kind and pin, what it must bring, and directories inside it."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build.program import installer_environment
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.app import check_assignment
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.declared import tree_at_hand
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.directory import left_out
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git_program import GIT_PROTOCOLS, git_protocol
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import SourceError

_EXACT_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,\s-]*\])?")
_GROUP = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PINNED = re.compile(rf"\s*{_PACKAGE.pattern}\s*(===?\s*[^\s*;,]+|@\s*\S+)\s*(;.*)?")
_PYTHON = re.compile(r"3\.([0-9]+)")
_DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_PACKAGE_FOLDER = re.compile(r"package:[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z0-9_.-]+)+/?")
# Ends of names that data of an app has in a file.
_FILE = re.compile(r"\.(csv|db|db3|dbm|json|log|pid|pickle|pkl|sqlite|sqlite3|toml|txt|xml|ya?ml)$", re.IGNORECASE)
_DIRECTORY = re.compile(r"[A-Za-z0-9._/-]+")
_PREFIX = re.compile(r"/[A-Za-z0-9._~/-]*")
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
_FOLDER = re.compile(r"""[^"$\\\x00-\x1f\x7f]*""")
_PROXY = re.compile(r"https?://([^@/\s]+@)?[^@/:\s]+(:[0-9]{1,5})?/?")
_INDEX = re.compile(
    r"https?://([^\s/?#]*@)?([\w.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?([/?#]\S*)?|file://(localhost)?/\S+", re.IGNORECASE
)
_OF_THE_BUILD = {*installer_environment(Path("/"), ["x", "x"], "", {}), "SSL_CERT_FILE", "PIP_CERT"}
_URL_USER = re.compile(r"(?s)^([A-Za-z][A-Za-z0-9+.-]*://)?.*@")


def check_source(app: App) -> t.Iterator[Problem]:
    """Exactly one kind of source, complete, and pinned where it is fetched from elsewhere."""
    source = app.data["source"]
    if not source or not app.usable("source"):
        return
    kinds = [kind for kind in settings.SOURCE_KINDS if source.get(kind) is not None]
    if len(kinds) > 1:
        yield app.problem(f"source has {' and '.join(kinds)} at once", "keep one of them, an app has one source")
    elif not kinds:
        yield app.problem(
            "source has none of path, git, archive, package and image", "add one of them, such as path: ../api"
        )
    else:
        yield from _SOURCE_CHECKS[kinds[0]](app, source)
        yield from _check_source_extras(app, source)


def _check_source_extras(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    kind = source["kind"]
    if "version" in source and kind in ("path", "archive"):
        yield app.problem(
            f"source.version is {show(source['version'])}, but source.{kind} has no version",
            "remove version",
        )
    if "sha256" in source and kind != "archive":
        yield app.problem(f"source.sha256 is {show(source['sha256'])}, but only an archive has one", "remove sha256")
    if source.get("submodules") and kind != "git":
        yield app.problem(f"source.submodules is true, but source.{kind} is no git repository", "remove submodules")
    if source.get("subdirectory") is not None:
        yield from _check_subdirectory(app, source)


def _check_subdirectory(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    written = app.raw["source"]["subdirectory"]
    said = f"source.subdirectory is {show(written)}"
    wrong = _outside(written or ".")
    if source["kind"] == "package":
        yield app.problem(f"{said}, but a package has no source tree", "remove subdirectory")
    elif wrong:
        yield app.problem(f"{said}, {wrong}", "write a directory inside the source tree, such as services/api")
    elif not _DIRECTORY.fullmatch(source["subdirectory"]):
        fix = "use letters, digits, hyphens, underscores and dots"
        yield app.problem(f"{said}, with a character that a unit file does not take", fix)
    elif source["kind"] == "path" and os.path.isdir(source["path"]) and not tree_at_hand(app):
        yield app.problem(f"{said}, which is not a directory in {source['path']}", "correct its name")


def _check_path(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    written = app.raw["source"]["path"]
    path = source["path"]
    if not path:
        yield app.problem('source.path is ""', "write the directory of the app on the controller")
    elif not os.path.exists(path):
        yield app.problem(
            f"source.path is {show(written)}, and {path} does not exist",
            "write a directory relative to the file that has this app, or an absolute one",
        )
    elif not os.path.isdir(path):
        yield app.problem(
            f"source.path is {show(written)}, and {path} is a file", "write the directory that holds the app"
        )
    elif not os.access(path, os.R_OK | os.X_OK):
        yield app.problem(f"source.path is {show(written)}, and {path} cannot be read", "give yourself access to it")
    elif not os.listdir(path):
        yield app.problem(f"source.path is {show(written)}, and {path} is empty", "write the directory with the code")


def _check_git(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    protocol = git_protocol(source["git"])
    if not source["git"] or source["git"].startswith("-"):
        yield app.problem(f"source.git is {show(source['git'])}, not a valid URL", "write the repository's URL")
    elif protocol not in GIT_PROTOCOLS:
        yield app.problem(
            f"source.git is {show(source['git'])}, and the protocol {show(protocol)} is not allowed",
            f"use one of {', '.join(GIT_PROTOCOLS)}",
        )
    version = source.get("version")
    if not version:
        yield app.problem(
            f"source.git is {show(source['git'])} without a version",
            "add version: with a tag, branch or commit",
        )
    elif version.startswith("-") or re.search(r"\s|\.\.|[~^:?*\[\\]", version):
        yield app.problem(
            f"source.version is {show(version)}, which cannot be the name of a git version",
            "write a tag, branch or commit",
        )


def _check_archive(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    archive = source["archive"]
    written = app.raw["source"]["archive"]
    digest = source.get("sha256")
    if not archive:
        yield app.problem('source.archive is ""', "write the archive's URL or its path on the controller")
    elif not settings.is_url(archive) and not os.path.isfile(archive):
        found = "is a directory" if os.path.isdir(archive) else "does not exist"
        yield app.problem(f"source.archive is {show(written)}, and {archive} {found}", "write an archive's path or URL")
    if not digest:
        yield app.problem(
            f"source.archive is {show(written)} without sha256",
            "add sha256: with the output of sha256sum for that file",
        )
    elif not re.fullmatch(r"[0-9a-f]{64}", digest):
        written = show(app.raw["source"]["sha256"])
        text = f"source.sha256 is {written}, {len(digest)} characters, and not 64 hexadecimal digits"
        yield app.problem(text, "write the output of sha256sum for that file")


def _check_package(app: App, source: dict[str, t.Any]) -> t.Iterator[Problem]:
    package = source["package"]
    version = source.get("version")
    name, _comparison, pin = re.sub(r"\s", "", package).partition("==")
    if pin:
        yield app.problem(
            f"source.package is {show(package)}",
            f'write the version by itself: package: {name}, version: "{pin}"',
        )
        return
    if not _PACKAGE.fullmatch(package):
        yield app.problem(
            f"source.package is {show(package)}, which is not a package name",
            "write the name on the package index, such as httpbin",
        )
    if not version:
        yield app.problem(
            f"source.package is {show(package)} and not pinned",
            'add version: with the exact version, such as "0.10.4"',
        )
    elif not _EXACT_VERSION.fullmatch(version):
        yield app.problem(
            f"source.version is {show(version)}, which does not pin the package",
            'write one exact version, such as "0.10.4"',
        )


_SOURCE_CHECKS: dict[str, t.Callable[[App, dict[str, t.Any]], t.Iterator[Problem]]] = {
    "path": _check_path,
    "git": _check_git,
    "archive": _check_archive,
    "package": _check_package,
    "image": lambda _app, _source: iter(()),  # see checks.runtime
}


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
    """What is kept lies in the source tree, none of it in another, under names that systemd takes."""
    seen: list[str] = []
    for key, sample in (("persistent", "instance"), ("persistent_files", "db.sqlite3")):
        for path in app.data[key] if app.usable(key) else ():
            wrong, fix = _wrong_to_keep(path, sample) or _clash(path, seen) or _wrong_kind(app, key, path)
            if wrong:
                yield app.problem(f"{key} has {show(path)}{wrong}", fix)
            else:
                seen.append(os.path.normpath(path))


def _wrong_to_keep(path: str, sample: str) -> tuple[str, str] | None:
    outside = _outside(path)
    if outside:
        return f", {outside}", f"write a path relative to the source tree, such as {sample}"
    if not _DIRECTORY.fullmatch(os.path.normpath(path)):
        return ", with a character that a unit file does not take", "use letters, digits, hyphens, underscores and dots"
    if any(part.startswith("..") for part in path.split("/")):
        return ", a name that begins with two dots", f"write a name without them, such as {sample}"
    return None


def _clash(path: str, seen: t.Iterable[str]) -> tuple[str, str] | None:
    clash = next((other for other in seen if _nested(os.path.normpath(path), other)), "")
    return (f" and {show(clash)}, one inside the other", "keep the outer one") if clash else None


def _wrong_kind(app: App, key: str, path: str) -> tuple[str, str]:
    """Why a directory is none, or a file."""
    tree = tree_at_hand(app)
    there = os.path.join(tree, os.path.normpath(path)) if tree else ""
    if key == "persistent_files":
        if path.endswith("/") or os.path.isdir(there):
            return ", which is a directory", f"write persistent: [{os.path.normpath(path)}]"
        return "", ""
    fix = f"write persistent_files: [{os.path.normpath(path)}]"
    if os.path.isfile(there):
        return f", which is a file in {tree}", f"{fix} if the app writes to it, or the directory where data alone is"
    if _FILE.search(path) and not os.path.isdir(there):
        return ", which looks like a file, and a directory would be made", f"{fix}, or {path}/ if it is a directory"
    return "", ""


def _nested(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def check_static(app: App) -> t.Iterator[Problem]:
    """Directories that nginx serves itself lie in the source tree, and exist where the tree is at hand."""
    static = app.data["nginx"].get("static")
    if not isinstance(static, dict) or not app.usable("nginx.static"):
        return
    setting = app.setting("nginx", "static")
    tree = tree_at_hand(app)
    seen: dict[str, str] = {}
    for prefix, folder in ((str(key), value) for key, value in static.items()):
        wrong, fix = _prefix_problem(prefix)
        same = seen.setdefault(re.sub(r"/+", "/", f"/{prefix}/"), prefix)
        if wrong:
            yield app.problem(f"{setting} has the URL prefix {show(prefix)}, {wrong}", fix)
        elif same != prefix:
            text = f"{setting} has the URL prefixes {show(same)} and {show(prefix)}, which are the same to nginx"
            yield app.problem(text, "keep one of them")
        wrong, fix = _static_problem(app, folder, tree)
        if wrong:
            yield app.problem(f"{setting} maps {show(prefix)} to {show(folder)}, {wrong}", fix)


def _prefix_problem(prefix: str) -> tuple[str, str]:
    """What is wrong with a URL prefix of static files, and the fix; two empty strings when nothing is."""
    parts = prefix.strip("/").split("/")
    if not _PREFIX.fullmatch(f"/{prefix}"):
        fix = "use letters, digits, hyphens, underscores, dots, tildes and slashes, such as /static/"
        return "with a character that such a prefix may not have", fix
    if parts == [""]:
        return "which takes every request away from the app", "write one of its own, such as /static/"
    if not prefix.startswith("/"):
        return "which does not begin with a slash", f"begin it with a slash: /{prefix}"
    if parts[0] == ".well-known":
        return "where the certificate authority asks", "write another, such as /static/"
    if f"/{parts[0]}/" == site.INTERNAL:
        return "which nginx needs itself", "write another, such as /static/"
    if any(part.startswith(".") for part in parts):
        return "with a part that begins with a dot, below which nginx serves nothing", "write it without that dot"
    return "", ""


def _static_problem(app: App, folder: t.Any, tree: str) -> tuple[str, str]:
    """What is wrong with a directory of static files, and the fix; two empty strings when nothing is."""
    if not isinstance(folder, str):
        return folder_problem(folder, tree)
    if folder.startswith("package:"):
        wrong = not _PACKAGE_FOLDER.fullmatch(folder) or ".." in folder.split("/")
        fix = (
            "write package:, the name by which Python imports it and a directory in it, such as package:pgadmin4/static"
        )
        return ("which is not a directory of a package", fix) if wrong else ("", "")
    place = site.outside(app.data, folder) if app.usable("persistent") else ""
    if place.startswith(f"/var/lib/{app.data['name']}/") and not _PLAIN.fullmatch(place):
        return "with a character that systemd does not take", "use letters, digits, hyphens, underscores and dots"
    if folder.startswith("/"):
        return _elsewhere_problem(folder, app.data["name"])
    if place or (app.data["build"] and not os.path.lexists(os.path.join(tree, folder))):
        return folder_problem(folder, "")
    problem = folder_problem(folder, tree)
    # What is left out of the upload may be made by the app's build commands.
    return problem if problem[0] or app.data["build"] else left_out_problem(app, folder)


def left_out_problem(app: App, name: str) -> tuple[str, str]:
    """What is wrong with a directory or file of which nothing is uploaded, and the fix; else two empty strings."""
    if not tree_at_hand(app):
        return "", ""
    source = app.data["source"]
    try:
        rule = left_out(Path(source["path"]), os.path.normpath(os.path.join(source.get("subdirectory") or "", name)))
    except SourceError:  # which is told of the whole source
        return "", ""
    return (
        (
            f"which is not uploaded: {rule} leaves it out",
            "take it out of that file, have it made by a command of build, or deploy an archive that has it",
        )
        if rule
        else ("", "")
    )


def _elsewhere_problem(folder: str, name: str) -> tuple[str, str]:
    """What is wrong with a directory outside the source tree, and the fix; two empty strings when nothing is."""
    if os.path.normpath(folder) != (folder.rstrip("/") or "/") or not _FOLDER.fullmatch(folder):
        return "which is not a plain path", "write it without dots, quotes, dollar signs and backslashes"
    if folder.rstrip("/") == f"/var/lib/{name}":
        return "all that the app keeps", f"write a directory in it, such as {folder.rstrip('/')}/uploads"
    return "", ""


def folder_problem(folder: t.Any, tree: str) -> tuple[str, str]:
    """What is wrong with a directory of static files, and the fix; two empty strings when nothing is."""
    if not isinstance(folder, str):
        return "not a directory", "write a directory relative to the source tree"
    outside = _outside(folder)
    if outside:
        return outside, "write a directory inside the source tree, such as static"
    if not _FOLDER.fullmatch(folder):
        return "with a character that nginx does not take", "rename it, without quotes, dollar signs and backslashes"
    if tree and not os.path.isdir(os.path.join(tree, folder)):
        return f"which is not a directory in {tree}", "create it there, or correct its name"
    if tree and not f"{os.path.realpath(os.path.join(tree, folder))}/".startswith(f"{os.path.realpath(tree)}/"):
        return (
            "a link that leads out of the source tree",
            "copy its files into the tree; links out of it are not uploaded",
        )
    return "", ""


def check_python(app: App) -> t.Iterator[Problem]:
    """Form of the Python version, and where requirements come from."""
    python = app.data["python"]
    for name in ("extras", "groups"):
        for value in python.get(name) or [] if app.usable(f"python.{name}") else []:
            if not _GROUP.fullmatch(str(value)):
                text = f"{app.setting('python', name)} has {show(value)}, which cannot be such a name"
                yield app.problem(text, "use letters, digits, hyphens, underscores and dots, such as postgres")
    version = python.get("version")
    if version and app.usable("python.version"):
        yield from _check_python_version(app, str(version))
    requirements = python.get("requirements")
    tree = tree_at_hand(app)
    if not requirements or not app.usable("python.requirements"):
        return
    setting = app.setting("python", "requirements")
    wrong = _outside(requirements)
    if wrong:
        yield app.problem(f"{setting} is {show(requirements)}, {wrong}", "write a file relative to the source tree")
    elif tree and not os.path.isfile(os.path.join(tree, requirements)):
        text = f"{setting} is {show(requirements)}, which is not a file in {tree}"
        yield app.problem(text, "create it there, or correct its name")
    elif tree:
        wrong, fix = left_out_problem(app, requirements)
        if wrong:
            yield app.problem(f"{setting} is {show(requirements)}, {wrong}", fix)


def _check_python_version(app: App, version: str) -> t.Iterator[Problem]:
    setting = app.setting("python", "version")
    match = _PYTHON.fullmatch(version)
    if not match:
        found = re.search(r"3\.[0-9]+", version)
        fix = f'write the major and minor version, "{found.group() if found else "3.13"}"'
        yield app.problem(f"{setting} is {show(version)}, which names no Python", fix)
    elif int(match.group(1)) < (oldest := server(app.data["server"]).oldest_python):
        text = f"{setting} is {show(version)}, too old: {app.data['server']} needs 3.{oldest}"
        yield app.problem(text, 'write a version the host has, such as "3.13" on Debian 13, or "" for its own')


def check_packages(app: App) -> t.Iterator[Problem]:
    """Packages beside the app's own are pinned, or the same inputs would not give the same build."""
    if not app.usable("python.packages"):
        return
    for package in app.data["python"].get("packages") or []:
        if not _PINNED.fullmatch(str(package)):
            name = re.match(r"[A-Za-z0-9._-]*", str(package))
            text = f"{app.setting('python', 'packages')} has {show(package)}, which is not pinned"
            yield app.problem(
                text,
                f'write its exact version, such as "{name.group() if name and name.group() else "gevent"}==1.2.3"',
            )


def check_build_environment(app: App) -> t.Iterator[Problem]:
    """Variables of a build are such, and none that the build sets itself."""
    if not app.usable("python.build_environment"):
        return
    setting = app.setting("python", "build_environment")
    for name, value in (app.data["python"].get("build_environment") or {}).items():
        yield from check_assignment(app, setting, str(name), value)
        if name in _OF_THE_BUILD:
            fix = "remove it; indexes, authorities and the interpreter have settings of their own"
            yield app.problem(f"{setting}.{name} is given, but the build sets {name} itself", fix)


def check_indexes(app: App) -> t.Iterator[Problem]:
    """Package indexes are URLs. Messages leave out all that might be a password in one."""
    python = app.data["python"]
    found = [("index_url", python.get("index_url"))]
    found.extend(("extra_index_urls", url) for url in python.get("extra_index_urls") or [])
    for name, url in found:
        empty = name == "index_url" and not url
        if app.usable(f"python.{name}") and not empty and not _INDEX.fullmatch(str(url)):
            verb = "is" if name == "index_url" else "has"
            shown = show(_URL_USER.sub(r"\1***@", str(url)))
            text = f"{app.setting('python', name)} {verb} {shown}, which is not a URL of a package index"
            yield app.problem(text, "write an http, https or file URL, such as https://packages.example.com/simple")


def check_way_out(app: App) -> t.Iterator[Problem]:
    """The HTTP proxy of the host is a URL; one that takes a password is spoken to without TLS."""
    proxy = str(app.data["python"].get("proxy") or "none")
    if not app.usable("python.proxy") or proxy == "none":
        return
    shown = show(_URL_USER.sub(r"\1***@", proxy))
    if not _PROXY.fullmatch(proxy):
        text = f"python_app_proxy is {shown}, which is not a URL of an HTTP proxy"
        yield app.problem(text, "write such as http://proxy.example.com:3128, or none")
    elif proxy.startswith("https:") and "@" in proxy:
        text = f"python_app_proxy is {shown}, a password over TLS, which builds cannot use"
        yield app.problem(text, "write an address that begins with http://")


def check_debian_packages(app: App) -> t.Iterator[Problem]:
    """Packages of the host have names that Debian's policy allows, and no version."""
    for key in ("system_packages", "build_packages"):
        for name in app.data[key] if app.usable(key) else ():
            if not _DEBIAN_PACKAGE.fullmatch(name):
                fix = "write its name alone, such as libpq-dev"
                yield app.problem(f"{key} has {show(name)}, which is not a valid name of a Debian package", fix)


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_source,
    check_persistent,
    check_static,
    check_python,
    check_build_environment,
    check_indexes,
    check_way_out,
    check_packages,
    check_debian_packages,
)
