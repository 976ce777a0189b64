#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_kubernetes
short_description: Apps on a Kubernetes cluster
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - Applies the objects that the action plugin of the same name makes of apps, by server-side apply; starts a new
    release beside the one that serves, proves it, and leads everybody to it by one change of a Service.
  - What fails is found in seconds and told by its reason and the last lines of its log; the release before serves on.
options:
  apps:
    description: The resolved apps; the action plugin makes of them what is sent.
    type: list
    elements: dict
    required: true
  only:
    description: Name of the one app that is meant; empty for all of them.
    type: str
    default: ""
  task:
    description: What to do with them.
    type: str
    choices: [deploy, rollback, maintenance, status]
    default: deploy
  target:
    description: The release to go back to, C(previous), a number or a name.
    type: str
    default: previous
  closed:
    description: Whether clients are to get 503, for the task C(maintenance).
    type: bool
    default: false
  kubeconfig:
    description: File that says how the API server is reached; empty for the usual places.
    type: str
    default: ""
  context:
    description: Context of that file; empty for its current one.
    type: str
    default: ""
  format:
    description: How the action plugin shows what was found, C(table) or C(json); empty for not at all.
    type: str
    default: ""
  output:
    description: Directory that manifests are written to, by the action plugin, instead of being applied.
    type: str
    default: ""
attributes:
  check_mode:
    description: Asks the API server what would change, by its dry run.
    support: full
  diff_mode:
    description: Shows every object that changes, Secrets without what is in them.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
  platform:
    description: Where the API server is asked from.
    support: full
    platforms: posix
requirements:
  - kubernetes (Python package)
seealso:
  - module: webops.wsgi.app_image
"""

EXAMPLES = r"""
- name: Deploy the apps
  webops.wsgi.app_kubernetes:
    apps: "{{ __wsgi_apps }}"
    context: production
  delegate_to: localhost
"""

RETURN = r"""
apps:
  description: What became of each app.
  returned: success
  type: list
  elements: dict
  sample: [{name: api, release: 1a2b3c4d5e, number: 3, did: ["release 3 (1a2b3c4d5e) serves"]}]
"""

import base64
from collections.abc import Iterator
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.deploy import Deploy
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.outcome import DeployError, Outcome
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule

TEXT: dict[str, Any] = {"type": "str", "default": ""}


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "only": TEXT,
            "task": {"type": "str", "choices": ["deploy", "rollback", "maintenance", "status"], "default": "deploy"},
            "target": {"type": "str", "default": "previous"},
            "closed": {"type": "bool", "default": False},
            "kubeconfig": TEXT,
            "context": TEXT,
            "output": TEXT,
            "format": TEXT,
        },
        supports_check_mode=True,
    )
    asked = module.params
    module.mask(secret for app in asked["apps"] for secret in _secrets(app))
    try:
        cluster = Cluster(asked["kubeconfig"], asked["context"])
    except ClusterError as error:
        module.fail_json(msg=str(error))
    if asked["task"] == "status":
        _status(module, cluster)
    done: list[dict[str, Any]] = []
    failures: list[str] = []
    outcomes: list[Outcome] = []
    for app in asked["apps"]:
        try:
            outcome = _brought(module, Deploy(cluster, app, module.check_mode), app)
        except DeployError as error:
            failures.append(str(error))
            continue
        outcomes.append(outcome)
        told = {"release": outcome.release, "number": outcome.number, "did": outcome.did, "changed": outcome.changed}
        done.append({"name": app["name"], "namespace": app["namespace"], **told})
    result = {
        "changed": any(outcome.changed for outcome in outcomes),
        "apps": done,
        "diff": [diff for outcome in outcomes for diff in outcome.diff],
    }
    if failures:
        module.fail_json(msg="\n".join(failures), failures=failures, **result)
    module.exit_json(**result)


def _brought(module: QuietModule, deploy: Deploy, app: dict[str, Any]) -> Outcome:
    if module.params["task"] == "rollback":
        return deploy.rollback(module.params["target"])
    if module.params["task"] == "maintenance":
        return deploy.maintenance(module.params["closed"])
    return deploy.present() if app["objects"] else deploy.absent()


def _status(module: QuietModule, cluster: Cluster) -> None:
    try:
        found = [Deploy(cluster, app, check=True).status() for app in module.params["apps"]]
    except DeployError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, apps=found)


def _secrets(app: dict[str, Any]) -> Iterator[str]:
    """What no result may show."""
    for item in app["objects"].get("release_objects", []):
        if item["kind"] == "Secret":
            yield from (base64.b64decode(text).decode() for text in item["data"].values())


if __name__ == "__main__":
    main()
