# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether we may do what a deployment takes, and what gives the right to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes import view
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import KINDS, Cluster

VERBS: tuple[str, ...] = ("get", "list", "create", "patch", "delete")


def missing(cluster: Cluster, namespace: str, kinds: Collection[str]) -> list[Mapping[str, Any]]:
    """The rules that we lack, as a Role has them.

    Args:
        cluster: The cluster.
        namespace: Where the app is.
        kinds: Those of its manifests.
    """
    ours = [kind for kind in view.KINDS if kind in kinds or kind not in view.FOREIGN]
    wanted = [(kind, "", VERBS) for kind in (*ours, "Lease")]
    wanted += [("Pod", "", ("list", "patch")), ("Pod", "log", ("get",)), ("EndpointSlice", "", ("list",))]
    wanted += [("ReplicaSet", "", ("list",)), ("Event", "", ("list",))]
    if "Namespace" in kinds:
        wanted.append(("Namespace", "", ("get", "patch", "create")))
    found: list[Mapping[str, Any]] = []
    for kind, subresource, verbs in wanted:
        lacking = [verb for verb in verbs if not cluster.allowed(verb, kind, namespace, subresource)]
        if lacking:
            resource = f"{KINDS[kind].plural}{f'/{subresource}' if subresource else ''}"
            found.append({"apiGroups": [KINDS[kind].group], "resources": [resource], "verbs": lacking})
    return found


def told(user: str, namespace: str, rules: list[Mapping[str, Any]]) -> str:
    """Which rights are missing, and what somebody applies who may give them.

    Args:
        user: Who we are.
        namespace: Where the app is.
        rules: What we lack there.
    """
    inside = [rule for rule in rules if rule["resources"] != ["namespaces"]]
    said = f"the kubeconfig's user, {user}, lacks rights in namespace {namespace}"
    if len(inside) < len(rules):
        # No Role gives that.
        said += "; namespaces are made by others, so have it made, and write kubernetes_create_namespace: false"
    return f"{said}; have this applied:\n{_role(user, namespace, inside)}" if inside else said


def _role(user: str, namespace: str, rules: list[Mapping[str, Any]]) -> str:
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        f"metadata: {{name: webops-wsgi, namespace: {namespace}}}",
        "rules:",
    ]
    for rule in rules:
        groups = ", ".join(f'"{group}"' for group in rule["apiGroups"])
        resources, verbs = ", ".join(rule["resources"]), ", ".join(rule["verbs"])
        lines.append(f"  - {{apiGroups: [{groups}], resources: [{resources}], verbs: [{verbs}]}}")
    return "\n".join(
        [
            *lines,
            "---",
            "apiVersion: rbac.authorization.k8s.io/v1",
            "kind: RoleBinding",
            f"metadata: {{name: webops-wsgi, namespace: {namespace}}}",
            "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: webops-wsgi}",
            f'subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: "{user}"}}]',
        ]
    )
