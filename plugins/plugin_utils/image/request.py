# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module is told that makes or fetches an app's image, and how it gets the source."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.context import SOURCE
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import cache
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.model import Source
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources.repositories import bring


def registry(app: Mapping[str, Any]) -> dict[str, Any]:
    """How its registry is talked to."""
    return {name: app["image"][f"registry_{name}"] for name in ("user", "password", "insecure")}


def indexes(app: Mapping[str, Any]) -> dict[str, Any]:
    """Where its packages come from."""
    return {name: app["python"][name] for name in ("index_url", "extra_index_urls", "ca_bundle", "proxy", "no_proxy")}


def send_source(action: ActionBase, app: Mapping[str, Any], source: Source, remote_tmp: str) -> str:
    """The source's archive, where the image is built; empty for a package, which has none."""
    if source.write is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="webops.wsgi.") as local_tmp:
        local = Path(local_tmp) / SOURCE
        source.write(local)
        python = app["python"]
        for left in bring(local, python["requirements"], python["packages"], cache.directory()):
            action._display.warning(f'app "{app["name"]}": {left}; the build stage is left to fetch it')
        sent = action._transfer_file(str(local), action._connection._shell.join_path(remote_tmp, local.name))
        action._fixup_perms2([remote_tmp, sent])
        return str(sent)
