# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests against the schemas of the oldest and the newest Kubernetes that is supported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OLDEST, NEWEST = "1.31", "1.37"
FOREIGN = (
    "gateway.networking.k8s.io/",
    "cert-manager.io/",
)  # the cluster judges these


def faults(manifests: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong with manifests, for either version; nothing where C(kubernetes-validate) is not installed."""
    try:
        import kubernetes_validate
    except ImportError:
        return
    for manifest in manifests:
        if str(manifest["apiVersion"]).startswith(FOREIGN):
            continue
        for version in (OLDEST, NEWEST):
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(map(str, error.path))
                yield f"{_name(manifest)}: {place} is not what Kubernetes {version} takes"
            except kubernetes_validate.SchemaNotFoundError:
                yield f"{_name(manifest)}: Kubernetes {version} has no {manifest['apiVersion']}"


def _name(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"
