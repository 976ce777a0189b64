#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_project
short_description: Bring a Compose project to what the inventory says
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - Writes the directory of a Compose project, and deploys what is new of it without losing a request. A release of an
    app is a service of its own; it is proved before nginx finds it by one rename.
  - The action plugin of the same name makes everything that is written.
options:
  apps:
    description: The resolved apps; without it, those of the play.
    type: list
    elements: raw
    default: []
  settings:
    description: Variables of the role compose, without its prefix.
    type: dict
    required: true
  packages:
    description: Debian packages of nginx's image.
    type: list
    elements: str
    default: []
  ports:
    description: The ports that nginx listens on, for HTTP and for HTTPS.
    type: list
    elements: int
    default: [80, 443]
  http3:
    description: Whether it listens for HTTP/3 as well.
    type: bool
    default: false
  acme:
    description: How authorities are asked for certificates.
    type: dict
    default: {}
    suboptions:
      webroot:
        description: Where nginx looks for the answer to an authority's challenge.
        type: path
        default: /var/www/acme
      agree_tos:
        description: Whether the terms of authorities are agreed to.
        type: bool
        default: true
      ca_bundle:
        description: File of the host with the authorities that certbot trusts; empty for Debian's.
        type: str
        default: ""
  rollback:
    description: App to the release that it goes back to, or to C(previous); nothing else is done then.
    type: dict
    default: {}
  wanted:
    description: What the action has made; not for people.
    type: raw
attributes:
  check_mode:
    description: Says what differs.
    support: full
  diff_mode:
    description: Lists what differs.
    support: full
  idempotent:
    description: What runs as it should is left alone.
    support: full
  platform:
    description: Target systems.
    support: full
    platforms: posix
seealso:
  - module: webops.wsgi.app_image
"""

EXAMPLES = r"""
- name: Bring the project to what the inventory says
  webops.wsgi.compose_project:
    settings: {directory: /srv/compose, project: wsgi, start: true}
"""

RETURN = r"""
releases:
  description: The release that serves each app.
  returned: success
  type: dict
reasons:
  description: What was not as it should be.
  returned: success
  type: list
  elements: str
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.compose.deploy import Deployment
from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError, Engine
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import Paths
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import App, Report, Wanted
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import LockedError, lock
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Health, ask_through_proxy

EVERYWHERE = ("0.0.0.0", "::")  # addresses at which everybody is let in
LOOPBACK = "127.0.0.1"


def main() -> None:
    module = QuietModule(
        # What the action makes of the apps.
        argument_spec={
            "apps": {"type": "list", "elements": "raw", "default": []},
            "settings": {"type": "dict", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": [80, 443]},
            "http3": {"type": "bool", "default": False},
            "acme": {
                "type": "dict",
                "default": {},
                "options": {
                    "webroot": {"type": "path", "default": "/var/www/acme"},
                    "agree_tos": {"type": "bool", "default": True},
                    "ca_bundle": {"type": "str", "default": ""},
                },
            },
            "rollback": {"type": "dict", "default": {}},
            "wanted": {"type": "raw"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # containers read, under numbers of their own, what is in the project's directory
    given, settings = module.params["wanted"], module.params["settings"]
    module.mask(given["masked"])
    paths = Paths(Path(settings["directory"]))
    try:
        report = _report(module, Deployment(paths, _wanted(given, settings), Engine(paths.root, settings["project"])))
    except (ComposeError, LockedError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    told = {"changed": bool(report.reasons), "reasons": report.reasons, "releases": report.releases}
    told["diff"] = {"prepared": "".join(f"{reason}\n" for reason in report.reasons)}
    if report.failures:
        module.fail_json(msg="\n".join(report.failures.values()), **told)
    module.exit_json(**told)


def _report(module: QuietModule, deployment: Deployment) -> Report:
    rollback = module.params["rollback"]
    if module.check_mode and not rollback:
        return Report(reasons=deployment.plan())
    if module.check_mode:
        return Report(reasons=[f"app {app}: back to release {target}" for app, target in rollback.items()])
    deployment.paths.root.parent.mkdir(parents=True, exist_ok=True)
    # What is below may be read by the numbers that containers run as.
    with lock(deployment.paths.root, deployment.wanted.who, 0o700, f"project {deployment.paths.root}"):
        if not rollback:
            return deployment.run()
        [(name, target)] = rollback.items()
        app = next(app for app in deployment.wanted.apps if app.name == name)
        return deployment.roll_back(app, target)


def _wanted(given: dict[str, Any], settings: dict[str, Any]) -> Wanted:
    address = LOOPBACK if settings["publish"] in EVERYWHERE else settings["publish"]
    apps = []
    for told in given["apps"]:
        asked = told.pop("asked")
        bundle = told["indexes"].pop("ca_bundle", "")
        if told["build"]:
            told["indexes"]["authorities"] = Path(bundle).read_text(encoding="utf-8") if bundle else ""
        apps.append(App(**told, through=partial(_through, asked, address)))
    return Wanted(**{**given["project"], "apps": apps, "start": settings["start"]})


def _through(asked: dict[str, Any], address: str) -> str:
    """What is wrong with an app's answer through nginx; empty when nothing is, or it has no name to be asked by.

    What nginx refuses by its own rules, such as a login it asks for, is as it should be.
    """
    if not asked["domain"]:
        return ""
    health = Health(**{**asked["health"], "statuses": tuple(asked["health"]["statuses"])})
    answer = ask_through_proxy(asked["port"], asked["domain"], health, address)
    return "" if answer.maintenance or 0 < answer.status < 500 else answer.fault


if __name__ == "__main__":
    main()
