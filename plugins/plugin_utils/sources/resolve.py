# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an application's code comes from, seen from the controller.

Every kind of source becomes the same thing: an identity that changes when and only when the code does, and one
canonical tar archive of the tree. Sources are fetched once by the controller, so hosts need neither git nor the
credentials of a private repository, and all hosts of a run get the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.archive import resolve_archive
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.directory import resolve_directory
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.git import resolve_git
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source


def resolve(source: Mapping[str, Any], cache: Path) -> Source:
    """Resolve a C(source) entry of an app to its exact state, fetching as little as that takes.

    Args:
        source: The entry with its C(kind), as the app_settings action returns it.
        cache: The controller's directory for git mirrors and archives.

    Raises:
        SourceError: The source does not exist or does not match what was promised.
    """
    resolvers: dict[str, Callable[[], Source]] = {
        "path": lambda: resolve_directory(Path(source["path"])),
        "git": lambda: resolve_git(source["git"], source["version"], cache, bool(source.get("submodules"))),
        "archive": lambda: resolve_archive(source["archive"], source["sha256"], cache),
        "image": lambda: Source({"image": source["image"]}, source["image"], None),
        "package": lambda: _resolve_package(source["package"], source["version"]),
    }
    return resolvers[source["kind"]]()


def _resolve_package(package: str, version: str) -> Source:
    requirement = f"{package}=={version}"
    return Source({"package": requirement}, requirement, None)
