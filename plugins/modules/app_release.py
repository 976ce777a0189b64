#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release
short_description: Activate releases of applications without losing a request
version_added: 0.1.0
description:
  - A release joins a build with its configuration. It is started beside the release that serves, asked over its own
    socket whether it is healthy, made current by one rename, and only then is the old one stopped.
  - A release that does not answer well is stopped and marked; the old one never stopped serving.
  - What runs is compared with what is wanted on every run, so that an instance that died, or work that an interrupted
    run left undone, is brought in line.
  - All apps of a host are handled by one remote process, which may be killed at any instant.
author: webops.wsgi contributors (@webops)
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed, or would change, when in diff mode.
    support: full
    details: Shows which release would replace which and why, never the environment.
options:
  apps:
    description:
      - The apps as the action M(webops.wsgi.app_settings) resolves them.
      - Without it those of the fact C(__wsgi_apps), which Ansible then need not evaluate again.
    type: list
    elements: dict
  builds:
    description: The builds as M(webops.wsgi.app_build) returns them.
    type: dict
  configs:
    description: Digest of each app's configuration directory, as M(webops.wsgi.config_tree) returns them.
    type: dict
  releases:
    description: The releases that should serve; the action plugin makes this from O(apps).
    type: list
    elements: dict
    suboptions:
      name:
        description: The app's name.
        type: str
        required: true
      build:
        description: Digest of its build.
        type: str
        required: true
      source:
        description: The build's source in a person's words.
        type: str
        required: true
      config:
        description: Digest of its configuration directory.
        type: str
        required: true
      settings:
        description: What the process manager reads of the server.
        type: str
        required: true
      manager:
        description: The process manager.
        type: str
        default: systemd
        choices: [systemd, supervisor]
      launch:
        description: What O(releases[].launcher) needs to know, as JSON; empty where the process manager needs none.
        type: str
        default: ""
      launcher:
        description: Text of the program that becomes each process of a release.
        type: str
        default: ""
      prepare:
        description: Text of what runs before each program of the app, as its user; empty for nothing.
        type: str
        default: ""
      listen:
        description: Address on the host itself that the app is reached at; empty for none.
        type: str
        default: ""
      files:
        description: Texts of the units that belong to no release, by name.
        type: dict
        required: true
      runtime:
        description: Text of the tmpfiles.d file.
        type: str
        required: true
      environment:
        description: Text of the environment file.
        type: str
        required: true
      credentials:
        description: Files that systemd hands to the app, by name.
        type: dict
        default: {}
      config_files:
        description: Configuration files that the app reads in the release, by name.
        type: dict
        default: {}
      signature:
        description: What two requests have in common that ask for the same; the action plugin sets this.
        type: str
        default: ""
      masked:
        description: Values that must not show in messages, such as one that quotes the journal.
        type: list
        elements: str
        default: []
      units:
        description: The units beside the server's.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: File name, without a release.
            type: str
            required: true
          kind:
            description: What it is for.
            type: str
            choices: [worker, timer, job, hook]
            required: true
          text:
            description: Its text.
            type: str
            required: true
      commands:
        description: Texts of the scripts that those units run, by name.
        type: dict
        default: {}
      run_hooks:
        description: Whether this host runs the hook before the activation.
        type: bool
        default: true
      health:
        description: What a healthy instance answers.
        type: dict
        required: true
        suboptions:
          path:
            description: Path to ask for.
            type: str
            default: /
          statuses:
            description: Statuses or ranges of them that are accepted.
            type: list
            elements: str
            default: ["200-499"]
          host:
            description: Host header.
            type: str
            default: localhost
          scheme:
            description: Scheme that the proxy would name.
            type: str
            default: https
          timeout:
            description: Seconds until an instance is given up.
            type: float
            default: 30
          interval:
            description: Seconds between two questions.
            type: float
            default: 0.2
          body:
            description: Text that the answer must hold.
            type: str
            default: ""
          headers:
            description: Further request headers.
            type: dict
            default: {}
          successes:
            description: Good answers in a row that it takes.
            type: int
            default: 1
      proxy:
        description: How clients reach the app.
        type: dict
        default: {}
        suboptions:
          domains:
            description: The names it answers to.
            type: list
            elements: str
            default: []
          site:
            description: App whose server block it is in; empty for its own.
            type: str
            default: ""
          path:
            description: Path below which it is served.
            type: str
            default: /
          http_port:
            description: The proxy's port for HTTP.
            type: int
            default: 80
          behind:
            description: Whether a balancer ends TLS, so that the proxy of this host speaks HTTP whatever clients speak.
            type: bool
            default: false
          https_port:
            description: The proxy's port for HTTPS.
            type: int
            default: 443
          required:
            description: As O(proxy_required).
            type: bool
            default: false
      bake:
        description: How long the old instance stays up beside the new one.
        type: dict
        default: {}
        suboptions:
          seconds:
            description: Length of the window.
            type: float
            default: 0
          error_percent:
            description: Percentage of server errors that ends it in going back.
            type: float
            default: 5
          log_sample:
            description: Share of the answers without an error that the proxy logs.
            type: float
            default: 1
      log:
        description: How the app's server writes to the journal, in regular expressions.
        type: dict
        default: {}
        suboptions:
          package:
            description: The package whose frames in a traceback are the server's own.
            type: str
            default: ""
          line:
            description: A line of the server's, with its C(level) and C(text).
            type: str
            default: ""
          routine:
            description: The beginning of a text that tells nothing of a failure.
            type: str
            default: ""
          ending:
            description: The beginning of the names of exceptions by which the server ends itself.
            type: str
            default: ""
          worker_ended:
            description: A worker was ended by a C(signal).
            type: str
            default: ""
          worker_exited:
            description: The beginning of a C(text) that says that a worker has ended by itself, and another is started.
            type: str
            default: ""
          worker_late:
            description: The server ended a worker that took too long.
            type: str
            default: ""
          late_fix:
            description: What to do about that.
            type: str
            default: ""
      start_timeout:
        description: Seconds until the server of a new instance listens on its socket.
        type: float
        default: 60
      settle:
        description: Seconds a worker must run without ending.
        type: float
        default: 3
      look_after:
        description: Seconds for which a new release must have served when the run looks at it once more.
        type: float
        default: 6
      drain:
        description: Most seconds to wait, after the switch, until nobody is connected to the old instance.
        type: float
        default: 30
      keep:
        description: How many releases stay on disk.
        type: int
        default: 5
  proxy_required:
    description:
      - Whether the run must end with an answer through nginx. Without it, an nginx that did not work before the run is
        left to the role nginx_proxy.
      - Only asked for apps that nginx serves already.
    type: bool
    default: false
  rollback:
    description:
      - Go back to an earlier release, by app, instead of deploying.
      - V(previous) is the last good one before the current.
      - Nothing is built or written again. The release is started, checked and made current as a new one is.
    type: dict
    default: {}
  activated:
    description:
      - What this run has done, by app, as RV(releases) says it. Instead of deploying, see that it still
        runs and answers, over its own socket and through the proxy.
      - A new release that does not is followed by the one before, and the task fails.
    type: dict
  in_place:
    description:
      - RV(webops.wsgi.host_state#module:releases_in_place). Where all releases are as they are asked for, the host is
        not asked again. The action plugin reads this.
    type: dict
    default: {}
  turn:
    description:
      - V(first) does the apps of which this is the first host of the play that has them, V(others) those that another
        host did first and that have not failed there. V(back) goes back with those that are to be the same on all hosts
        and failed on some, V(last) runs the hook after a rollout that is over. Without it all of them are done. The
        action plugin reads this.
    type: str
    choices: [first, others, back, last]
  batch:
    description: How many of the others go at once, a number or a share. The action plugin reads this.
    type: str
    default: 100%
  finish:
    description:
      - Apps whose hook after a rollout runs, unless it has run for the release in service. The action plugin sets this.
    type: list
    elements: str
    default: []
  number:
    description: Which batch of the others goes now, counted from one. The action plugin reads this.
    type: int
    default: 1
  who:
    description: The person and machine that asked for it; the action plugin sets this.
    type: str
    default: unknown
  absent:
    description: Apps to remove; the action plugin makes this from O(apps).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The app's name.
        type: str
        required: true
      purge:
        description: Whether its data goes too.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Activate the releases
  webops.wsgi.app_release:
    apps: "{{ __wsgi_apps }}"
    builds: "{{ __python_app_builds.builds }}"
    configs: "{{ __server_config.digests }}"

- name: Go back to the release before
  webops.wsgi.app_release:
    apps: "{{ __wsgi_apps | selectattr('name', 'eq', 'api') }}"
    rollback: {api: previous}
"""

RETURN = r"""
releases:
  description: What serves each app after the run.
  returned: success
  type: dict
  sample:
    api: {release: "5", previous: "4", action: deploy, reasons: [build]}
failures:
  description: What failed, a message for each app; the action plugin makes it a fact of the host or fails the task.
  returned: failure
  type: list
  elements: str
removed:
  description: Apps that were removed.
  returned: success
  type: list
  elements: str
"""

import os
from dataclasses import fields
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.module_utils.host import pythons
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import LockedError
from ansible_collections.webops.wsgi.plugins.module_utils.managers.host import Managers
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import SUPERVISOR, ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule
from ansible_collections.webops.wsgi.plugins.module_utils.release import asked, finish, look, removal, run
from ansible_collections.webops.wsgi.plugins.module_utils.release import plan as release
from ansible_collections.webops.wsgi.plugins.module_utils.release.layout import DEFAULT_MANAGER, KINDS, Paths

HEALTH_OPTIONS: dict[str, Any] = {
    "path": {"type": "str", "default": "/"},
    "statuses": {"type": "list", "elements": "str", "default": ["200-499"]},
    "host": {"type": "str", "default": "localhost"},
    "scheme": {"type": "str", "default": "https"},
    "timeout": {"type": "float", "default": 30},
    "interval": {"type": "float", "default": 0.2},
    "body": {"type": "str", "default": ""},
    "headers": {"type": "dict", "default": {}},
    "successes": {"type": "int", "default": 1},
}
UNIT_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True, "choices": list(KINDS)},
    "text": {"type": "str", "required": True},
}
PROXY_OPTIONS: dict[str, Any] = {
    "domains": {"type": "list", "elements": "str", "default": []},
    "site": {"type": "str", "default": ""},
    "path": {"type": "str", "default": "/"},
    "http_port": {"type": "int", "default": 80},
    "https_port": {"type": "int", "default": 443},
    "behind": {"type": "bool", "default": False},
    "required": {"type": "bool", "default": False},
}
LOG_OPTIONS: dict[str, Any] = {field.name: {"type": "str", "default": ""} for field in fields(ServerLog)}
BAKE_OPTIONS: dict[str, Any] = {
    "seconds": {"type": "float", "default": 0},
    "error_percent": {"type": "float", "default": 5},
    "log_sample": {"type": "float", "default": 1},
}
RELEASE_OPTIONS: dict[str, Any] = {
    **{
        name: {"type": "str", "required": True} for name in ("name", "build", "source", "config", "settings", "runtime")
    },
    "manager": {"type": "str", "default": DEFAULT_MANAGER, "choices": [DEFAULT_MANAGER, SUPERVISOR]},
    "launch": {"type": "str", "default": ""},
    "launcher": {"type": "str", "default": ""},
    "prepare": {"type": "str", "default": ""},
    "listen": {"type": "str", "default": ""},
    "files": {"type": "dict", "required": True},
    "environment": {"type": "str", "required": True, "no_log": True},
    "credentials": {"type": "dict", "default": {}, "no_log": True},
    "config_files": {"type": "dict", "default": {}, "no_log": True},
    "signature": {"type": "str", "default": ""},
    "masked": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "units": {"type": "list", "elements": "dict", "default": [], "options": UNIT_OPTIONS},
    "commands": {"type": "dict", "default": {}},
    "run_hooks": {"type": "bool", "default": True},
    "health": {"type": "dict", "required": True, "options": HEALTH_OPTIONS},
    "proxy": {"type": "dict", "default": {}, "options": PROXY_OPTIONS},
    "bake": {"type": "dict", "default": {}, "options": BAKE_OPTIONS},
    "log": {"type": "dict", "default": {}, "options": LOG_OPTIONS},
    "start_timeout": {"type": "float", "default": 60},
    "settle": {"type": "float", "default": 3},
    "look_after": {"type": "float", "default": 6},
    "drain": {"type": "float", "default": 30},
    "keep": {"type": "int", "default": 5},
}
ABSENT_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "purge": {"type": "bool", "default": False},
}


def diff(step: release.Step) -> dict[str, str]:
    """Which release replaces which, and why."""
    why = ", ".join(step.reasons)
    before = f"release {step.previous}\n" if step.previous else ""
    after = f"release {step.number or 'new'} ({step.kind}: {why})\n"
    return {"before_header": step.desired.name, "after_header": step.desired.name, "before": before, "after": after}


def _look_again(module: QuietModule, paths: Paths, wanted: list[release.Desired], manager: Managers) -> None:
    """End the module with what there is to say of releases that the run has activated."""
    failures = []
    if not module.check_mode:
        failures = look.look_again(paths, wanted, module.params["activated"], manager, module.params["who"])
    if failures:
        module.fail_json(msg="\n".join(failures), failures=failures)
    module.exit_json(changed=False)


def _note(paths: Paths, steps: list[release.Step], asked_for: list[dict[str, Any]]) -> None:
    options = {each["name"]: each for each in asked_for}
    for step in steps:
        if step.number and not step.failed:
            asked.note(paths, step.number, options[step.app])


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict"},
            "builds": {"type": "dict"},
            "configs": {"type": "dict"},
            "releases": {"type": "list", "elements": "dict", "options": RELEASE_OPTIONS},
            "rollback": {"type": "dict", "default": {}},
            "activated": {"type": "dict"},
            "in_place": {"type": "dict", "default": {}},
            "turn": {"type": "str", "choices": ["first", "others", "back", "last"]},
            "batch": {"type": "str", "default": "100%"},
            "number": {"type": "int", "default": 1},
            "finish": {"type": "list", "elements": "str", "default": []},
            "proxy_required": {"type": "bool", "default": False},
            "who": {"type": "str", "default": "unknown"},
            "absent": {"type": "list", "elements": "dict", "default": [], "options": ABSENT_OPTIONS},
        },
        supports_check_mode=True,
    )
    paths = Paths()
    manager = Managers(paths)
    wanted = [asked.desired_release(options) for options in module.params["releases"] or []]
    going = [app for app in module.params["absent"] if removal.leftovers(paths, app["name"], app["purge"], manager)]
    try:
        back = module.params["rollback"]
        if module.params["activated"] is not None:
            _look_again(module, paths, wanted, manager)
        finishing = finish.due(paths, module.params["finish"])
        steps = release.plan_rollback(paths, wanted, back) if back else release.plan(paths, wanted, manager)
        failures = []
        if not module.check_mode:
            failures = run.carry_out(paths, steps, manager, os.cpu_count() or 1, module.params["who"])
            failures += finish.finish(paths, finishing, manager)
            for app in going:
                removal.remove(paths, app["name"], app["purge"], manager)
            if not back:
                _note(paths, steps, module.params["releases"] or [])
            if going or any(step.kind != "none" for step in steps):
                pythons.remove_unused(paths.root)
    except (ManagerError, release.ReleaseError, LockedError) as error:
        module.fail_json(msg=str(error))
    changes = [step for step in steps if step.kind != "none"]
    result = {
        "changed": bool(changes or going or finishing),
        "releases": {
            step.desired.name: {
                "release": step.number,
                "previous": step.previous,
                "action": "none" if step.failed else step.kind,
                "reasons": step.reasons,
            }
            for step in steps
        },
        "removed": [app["name"] for app in going],
        "diff": [diff(step) for step in changes],
    }
    if failures:
        module.fail_json(msg="\n".join(failures), failures=failures, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
