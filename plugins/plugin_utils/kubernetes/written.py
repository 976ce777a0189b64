# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as files, for C(kubectl apply -k) and for what applies files from git."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.objects import Manifest, Rendered

KUSTOMIZATION = "kustomization.yaml"
HEAD = "# Written by Ansible (webops.wsgi.kubernetes). Edits are undone by the next run.\n"


def files(rendered: list[Rendered]) -> dict[str, str]:
    """The files of a directory, by name: one for each object of each app, and one that lists them."""
    found: dict[str, str] = {}
    for one in rendered:
        for manifest in [*one.manifests(), *one.hooks.values()]:
            name = f"{one.app}/{manifest['kind'].lower()}-{manifest['metadata']['name']}.yaml"
            found[name] = _text(_with_replicas(manifest, one.replicas))
    listed: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(found),
    }
    return {**found, KUSTOMIZATION: _text(listed)}


def _with_replicas(manifest: Manifest, replicas: Mapping[str, int]) -> Manifest:
    """A Deployment with the number of its pods, but for one that a HorizontalPodAutoscaler counts."""
    wanted = replicas.get(manifest["metadata"]["name"], 0)
    if manifest["kind"] != "Deployment" or not wanted:
        return manifest
    return {**manifest, "spec": {"replicas": wanted, **manifest["spec"]}}


def _text(manifest: Mapping[str, Any]) -> str:
    return HEAD + yaml.safe_dump(manifest, sort_keys=False, width=120)


def differences(folder: Path, wanted: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The files that are not as they should be, by name: what is in them, and what is to be; empty for none."""
    there = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.yaml"))
        if path.is_file() and path.read_text(encoding="utf-8").startswith(HEAD)
    }
    names = sorted({*there, *wanted})
    return {
        name: (there.get(name, ""), wanted.get(name, ""))
        for name in names
        if there.get(name, "") != wanted.get(name, "")
    }


def write(folder: Path, changes: Mapping[str, tuple[str, str]]) -> None:
    """Write what differs; Secrets are for the owner alone."""
    for name, (_before, text) in changes.items():
        path = folder / name
        if not text:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if Path(name).name.startswith("secret-") else 0o644)
        path.write_text(text, encoding="utf-8")
