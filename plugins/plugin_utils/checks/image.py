# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the images of apps."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show

# https://github.com/distribution/reference: what engines take as names, tags and digests.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_REGISTRY = re.compile(rf"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/{_PART})*/?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/v[0-9]+)?")


def _set(app: App, name: str) -> t.Any:
    """The value of a setting; None when it is unusable."""
    return app.data["image"].get(name) if app.usable(f"image.{name}") else None


def check_base(app: App) -> t.Iterator[Problem]:
    """A pinned base has a digest, and a digest is a whole one."""
    base = _set(app, "base")
    if not isinstance(base, str):
        return
    where = app.setting("image", "base")
    if not base or re.search(r"\s", base):
        yield app.problem(f"{where} is {show(base)}, which names no image", "write one, such as debian:trixie-slim")
    elif "@" in base and not _PINNED.fullmatch(base):
        yield app.problem(
            f"{where} is {show(base)}, whose digest is none", "write it as sha256: and 64 hexadecimal digits"
        )
    elif _set(app, "pin") and "@" not in base:
        fix = f"write {base}@sha256:... with the digest that the engine prints when it has pulled it"
        yield app.problem(
            f"{where} is {show(base)}, which has no digest, and {app.setting('image', 'pin')} is true", fix
        )


def check_names(app: App) -> t.Iterator[Problem]:
    """What a registry takes."""
    for name, form, sample in (("registry", _REGISTRY, "registry.example.com/web"), ("name", _NAME, "api")):
        value = _set(app, name)
        if isinstance(value, str) and value and not form.fullmatch(value):
            text = f"{app.setting('image', name)} is {show(value)}, which is not part of an image's name"
            yield app.problem(text, f"write it as in {sample}, without a scheme and a tag")
    for name, form, sample in (("tags", _TAG, "latest"), ("platforms", _PLATFORM, "linux/arm64")):
        for value in _set(app, name) or []:
            if not form.fullmatch(str(value)):
                text = f"{app.setting('image', name)} has {show(value)}, which engines do not take"
                yield app.problem(text, f"write it as in {sample}")


def check_push(app: App) -> t.Iterator[Problem]:
    """A push needs a registry, several platforms need a push, and a user comes with a password."""
    if _set(app, "push") and _set(app, "registry") == "":
        text = f"{app.setting('image', 'push')} is true, and image_registry names no registry"
        yield app.problem(text, "write image_registry: registry.example.com")
    if len(_set(app, "platforms") or []) > 1 and not _set(app, "push"):
        text = f"{app.setting('image', 'platforms')} names several, which engines keep in a registry alone"
        yield app.problem(text, "write image_push: true, or one platform")
    user, password = _set(app, "registry_user"), _set(app, "registry_password")
    if user is not None and password is not None and bool(user) != bool(password):
        has, lacks = ("user", "password") if user else ("password", "user")
        yield app.problem(
            f"{app.setting('image', f'registry_{has}')} is set, and image_registry_{lacks} is empty",
            "write both, or none",
        )


def check_containerfile(app: App) -> t.Iterator[Problem]:
    """A file of a source that has files, in it."""
    own = _set(app, "containerfile")
    if not isinstance(own, str) or not own or not app.usable("source"):
        return
    where = f"{app.setting('image', 'containerfile')} is {show(own)}"
    if own.startswith("/") or ".." in own.split("/") or re.search(r"[\s,]", own):
        yield app.problem(f"{where}, which is not a path in the source", "write it as in docker/Dockerfile")
    elif "package" in app.data["source"]:
        text = f"{where}, and source names a package, which has no such file"
        yield app.problem(text, "write source: {path: ...} or {git: ...}, or remove it")


CHECKS = (check_base, check_names, check_push, check_containerfile)
