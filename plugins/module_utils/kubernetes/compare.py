# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an object differs from what it is to be, as a person reads it; Secrets are told by their names."""

from __future__ import annotations

import copy
from typing import Any

Manifest = dict[str, Any]

_OF_THE_SERVER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")


def title(manifest: Manifest) -> str:
    """What a person calls an object."""
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def same(before: Manifest | None, after: Manifest) -> bool:
    """Whether applying has changed nothing."""
    return before is not None and _plain(before) == _plain(after)


def difference(before: Manifest | None, after: Manifest | None) -> dict[str, str]:
    """A diff as Ansible shows it."""
    name = title(after or before or {})
    return {"before_header": name, "after_header": name, "before": _text(before), "after": _text(after)}


def _plain(manifest: Manifest) -> Manifest:
    found = copy.deepcopy(manifest)
    found.pop("status", None)
    for key in _OF_THE_SERVER:
        found["metadata"].pop(key, None)
    # The controller of Deployments counts in it.
    (found["metadata"].get("annotations") or {}).pop("deployment.kubernetes.io/revision", None)
    if not found["metadata"].get("annotations"):
        found["metadata"].pop("annotations", None)
    return found


def _text(manifest: Manifest | None) -> str:
    if manifest is None:
        return ""
    import yaml  # which the package kubernetes needs as well

    shown = _plain(manifest)
    if shown["kind"] == "Secret":
        for key in ("data", "stringData"):
            if key in shown:
                shown[key] = dict.fromkeys(shown[key], "(hidden)")
    text: str = yaml.safe_dump(shown, sort_keys=True, width=120)
    return text
