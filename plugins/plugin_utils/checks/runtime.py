# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what an instance is: a process of a build, or a container of an image."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.manager import supervised
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import state_folders

CONTAINER = "container"
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9.:/_-]*/[a-z0-9/._-]+(:[A-Za-z0-9_.-]+)?@sha256:[0-9a-f]{64}")

# What says how a build is made, which an image has behind it.
OF_BUILDS = ("build", "build_packages", "system_packages")
# Of systemd's sandbox; the engine's own is as closed without a setting.
OF_SANDBOX = ("address_families", "memory_deny_write_execute", "private_users", "protect_proc", "system_call_filter")


def check_image(app: App) -> t.Iterator[Problem]:
    """A container comes from an image, and an image runs as a container; a tag would be another image tomorrow."""
    if not app.usable("source", "runtime"):
        return
    image, contained = app.data["source"].get("image"), app.data["runtime"] == CONTAINER
    if contained and image is None:
        fix = "have webops.wsgi.image build it and push it, and write source: {image: ...} with what that tells"
        yield app.problem('runtime is "container", and source names no image', fix)
    elif image is not None and not contained:
        yield app.problem(f"source.image is {show(image)}, and runtime is not container", "write runtime: container")
    elif image is not None and not _IMAGE.fullmatch(image):
        text = f"source.image is {show(image)}, which does not name one image for good"
        fix = "write registry, name and digest, such as registry.example.com/api@sha256:... of 64 hexadecimal digits"
        yield app.problem(text, fix)


def check_without_effect(app: App) -> t.Iterator[Problem]:
    """What would have no effect in a container, or would need a process of the host's."""
    if not contained(app):
        return
    for key in OF_BUILDS:
        if app.usable(key) and app.data[key]:
            yield app.problem(f"{key} is set, and an image is built elsewhere", f"set {key} where it is built")
    for name in OF_SANDBOX:
        if app.usable(f"release.{name}") and f"release.{name}" in app.given:
            yield app.problem(f"release.{name} is set, and containers have the engine's own sandbox", f"remove {name}")
    if supervised(app):
        text = f'runtime is "container", and {app.setting("release", "manager")} is "supervisor", which cannot run one'
        yield app.problem(text, "write runtime: process, or let systemd manage the app")


def check_limits(app: App) -> t.Iterator[Problem]:
    """Docker sets limits itself, and knows fewer than a unit has."""
    if not contained(app) or not app.usable("image.engine", "release.memory_max", "release.memory_high"):
        return
    if app.data["image"]["engine"] != "docker":
        return
    most, release = app.data["release"]["memory_max"], app.data["release"]
    if no_size(most):
        text = f"{app.setting('release', 'memory_max')} is {show(most)}, and Docker takes a size alone"
        yield app.problem(
            text, "write such as 512M, or image: {engine: podman}, whose containers have the unit's limits"
        )
    if release["memory_high"]:
        text = f"{app.setting('release', 'memory_high')} is set, and Docker has no such limit"
        yield app.problem(text, "write memory_max, or image: {engine: podman}")


def no_size(memory: str) -> bool:
    """Whether a limit of memory is one that only systemd understands."""
    return memory.endswith("%") or memory == "infinity"


def check_state_files(app: App) -> t.Iterator[Problem]:
    """nginx is let into a directory of an app by a program that a container does not have."""
    if not contained(app) or not app.usable("persistent", "nginx.static", "nginx.locations", "source"):
        return
    for folder in state_folders(app.data):
        text = f"nginx serves {show(folder['path'])}, where the app writes, and its instance is a container"
        yield app.problem(text, "let the app send these files, or write runtime: process")


def contained(app: App) -> bool:
    """Whether the app's instances are containers."""
    return app.usable("runtime") and app.data.get("runtime") == CONTAINER


CHECKS = (check_image, check_without_effect, check_limits, check_state_files)
