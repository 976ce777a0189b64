# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's half of app_release: render the units of every app, then one remote process does the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import caller
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import JOB, SUPERVISOR, TIMER
from ansible_collections.webops.wsgi.plugins.module_utils.managers.systemd import environment_file
from ansible_collections.webops.wsgi.plugins.module_utils.release.asked import lasting
from ansible_collections.webops.wsgi.plugins.plugin_utils import progress
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import (
    ReportedError,
    by_app,
    earlier_failures,
    settle,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.runtime import CONTAINER
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import APP_HOST
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers import supervisor
from ansible_collections.webops.wsgi.plugins.plugin_utils.managers.processes import Process, processes
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.site import asked_name, names, state_folders
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from ansible_collections.webops.wsgi.plugins.plugin_utils.resolved_apps import resolved_apps
from ansible_collections.webops.wsgi.plugins.plugin_utils.rollout import (
    ACTIVATED,
    BATCHES,
    BEFORE,
    FOLLOWS,
    PRESENT,
    TURNS,
    batches,
    leaders,
    size_of,
    to_finish,
    to_take_back,
    turn_of,
    withheld,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

MASKED_LENGTH = 6  # characters; masking a shorter secret would hide every other word of a message
NO_BUILD = {"digest": "", "source": ""}  # a rollback has nothing to build


def environment(app: Mapping[str, Any]) -> str:
    """The environment file of an app: what anyone may see and what nobody may, in one file that only root reads."""
    if app["runtime"] == CONTAINER:
        return environment_file({**app["env"], **env_places.in_container(app), **app["secrets"]})
    in_units = env_places.located(app)
    fixed = {name: value for name, value in app["env"].items() if name not in in_units}
    return environment_file({**fixed, **app["secrets"]})


def health_options(app: Mapping[str, Any]) -> dict[str, Any]:
    """What a healthy instance of the app answers."""
    settings = app["release"]
    return {
        "path": settings["health_path"],
        "statuses": [str(status) for status in settings["health_status"]],
        "host": asked_name(app),
        "scheme": app["scheme"],
        "timeout": settings["health_timeout"],
        "interval": settings["health_interval"],
        "body": settings["health_body"],
        "headers": settings["health_headers"],
        "successes": settings["health_successes"],
    }


class Order:
    """Whose turn it is in a play, as one of its hosts sees it."""

    def __init__(self, variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        self.host: str = variables.get("inventory_hostname", "")
        self.hosts: list[str] = list(variables.get("ansible_play_hosts") or [self.host])
        self._all: list[str] = list(variables.get("ansible_play_hosts_all") or self.hosts)
        self._batch = str(arguments.get("batch", "100%"))
        self._number = int(arguments.get("number", 1))
        self._variables = variables

    def facts_of(self, host: str) -> Mapping[str, Any]:
        """The facts of a host of the play."""
        return self._variables["hostvars"][host].get("ansible_facts") or {}

    def _present_on(self, host: str) -> list[str]:
        names: list[str] = self.facts_of(host).get(PRESENT) or []
        return names

    def follows(self, names: list[str]) -> dict[str, str]:
        """The apps that another host activates first, and that host."""
        first = leaders(self.host, self.hosts, self._present_on, names)
        return {name: leader for name, leader in first.items() if leader != self.host}

    def batches(self) -> int:
        """How many turns the hosts take that follow."""
        return batches(self._batch, len(self._all) - 1)

    def turns(self, names: list[str]) -> dict[str, int]:
        """The host's turn with each app, 0 for the first. It stays, also when hosts before it leave the play."""
        size = size_of(self._batch, len(self._all) - 1)
        return {name: turn_of(self.host, name, self.hosts, self._present_on, size) for name in names}

    def _turns_of(self, host: str) -> Mapping[str, int]:
        return self.facts_of(host).get(TURNS) or {}

    def withheld(self, follows: Mapping[str, str]) -> dict[str, str]:
        """Apps of a batch that failed before, and why they are not activated."""
        mine = {name: follows[name] for name in self.of_batch(follows)}
        earlier = {
            name: [one for one in self.hosts if 0 < self._turns_of(one).get(name, 0) < self._number] for name in mine
        }
        return withheld(self.host, mine, self.facts_of, earlier)

    def of_batch(self, follows: Mapping[str, str]) -> set[str]:
        """Apps whose turn it is on this host."""
        turns = self._turns_of(self.host)
        return {name for name in follows if turns[name] == self._number}

    def finished(self, names: list[str], follows: Collection[str]) -> list[str]:
        """Apps with which this host goes first, and whose rollout is over."""
        app_hosts = self._variables["groups"]["wsgi"]
        return to_finish(names, follows, self.hosts, app_hosts, self.facts_of)

    def taken_back(self, names: list[str]) -> dict[str, str]:
        """Apps that this host goes back with, and why."""
        lost = [host for host in self._all if host not in self.hosts]
        return to_take_back(self.host, names, self.hosts, self.facts_of, lost)


@dataclass
class Part:
    """What a task of a play does on a host: all that it is given, or what it is this host's turn with.

    Attributes:
        apps: Apps that are activated.
        facts: Facts of the host from then on.
        failures: What keeps apps from it, a message by app.
        rollback: App to the release that it goes back to.
        finish: Apps whose rollout is over.
    """

    apps: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    rollback: dict[str, str] = field(default_factory=dict)
    finish: list[str] = field(default_factory=list)


def _first(apps: list[dict[str, Any]], order: Order) -> Part:
    names = [app["name"] for app in apps]
    follows = order.follows(names)
    facts = {FOLLOWS: follows, BATCHES: order.batches(), TURNS: order.turns(names)}
    return Part([app for app in apps if app["name"] not in follows], facts)


def _others(apps: list[dict[str, Any]], order: Order) -> Part:
    follows = order.facts_of(order.host)[FOLLOWS]
    failures = order.withheld(follows)
    mine = order.of_batch(follows) - set(failures)
    return Part([app for app in apps if app["name"] in mine], failures=failures)


def _back(apps: list[dict[str, Any]], order: Order) -> Part:
    failures = order.taken_back([app["name"] for app in apps if app["release"]["all_or_nothing"]])
    before = order.facts_of(order.host)[BEFORE]
    rollback = {name: before[name] for name in failures}
    # One that has no release to go back to stays.
    return Part([app for app in apps if rollback.get(app["name"])], failures=failures, rollback=rollback)


def _last(apps: list[dict[str, Any]], order: Order) -> Part:
    names = [app["name"] for app in apps if app["release"]["after_rollout"]]
    return Part([], finish=order.finished(names, order.facts_of(order.host)[FOLLOWS]))


PARTS = {"first": _first, "others": _others, "back": _back, "last": _last}


def _signature(options: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(lasting(options), sort_keys=True).encode()).hexdigest()


def _as_they_are(asked: list[dict[str, Any]], in_place: Mapping[str, Any]) -> dict[str, Any]:
    """The releases in service, as the module tells of them, when all are what is asked for; empty otherwise."""
    known = {options["name"]: in_place.get(options["name"]) or {} for options in asked}
    if any(known[options["name"]].get("signature") != options["signature"] for options in asked):
        return {}
    return {
        name: {"release": seen["release"], "previous": seen["release"], "action": "none", "reasons": []}
        for name, seen in known.items()
    }


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments, variables = plain(self._task.args), task_vars or {}
        apps = resolved_apps(arguments, variables)
        present = [app for app in apps if app["state"] == "present"]
        turn = arguments.get("turn", "")
        if turn:
            part = PARTS[turn](present, Order(variables, arguments))
            if not part.apps and not part.finish:
                result.update(changed=False, ansible_facts=part.facts)
                return settle(self, result, part.failures, variables)
        else:
            part = Part(present)
        part.rollback |= arguments.get("rollback", {})
        facts, failures, present = part.facts, part.failures, part.apps
        asked = self._asked(present, arguments, variables)
        as_they_are = _as_they_are(asked, arguments.get("in_place") or {})
        if as_they_are and turn and not part.finish and not part.rollback:
            result.update(changed=False, releases=as_they_are)
        else:
            absent = [app for app in apps if "apps" in arguments and app["state"] == "absent"]
            options = {
                "releases": asked,
                "absent": [{"name": app["name"], "purge": app["purge"]} for app in absent],
                "rollback": part.rollback,
                "finish": part.finish,
                "activated": arguments.get("activated"),
                "who": caller(),
            }
            with progress.shown(self, variables):
                result.update(
                    self._execute_module(
                        module_name="webops.wsgi.app_release", module_args=options, task_vars=variables
                    )
                )
        releases = result.get("releases") or {}
        activated = {name: done["action"] for name, done in releases.items() if done["action"] != "none"}
        if turn:
            earlier = variables["ansible_facts"].get(ACTIVATED) or {}
            before = variables["ansible_facts"].get(BEFORE) or {}
            new = {name: done.get("previous") or "" for name, done in releases.items() if done["action"] == "deploy"}
            result["ansible_facts"] = {**facts, ACTIVATED: {**earlier, **activated}, BEFORE: {**before, **new}}
        failures |= by_app(result.pop("failures", []))
        if failures and arguments.get("activated") is not None:  # nothing comes after it that would report them
            earlier = earlier_failures(variables)
            raise ReportedError("\n".join([*earlier.values(), *failures.values()]), result=result)
        settle(self, result, failures, variables)
        if result.get("failed") and 'app "' in str(result.get("msg")):
            raise ReportedError(result.pop("msg"), result=result)
        return result

    def _asked(
        self, apps: list[dict[str, Any]], arguments: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What is asked of each release."""
        builds, configs = arguments.get("builds", {}), arguments.get("configs", {})
        units = Units(Renderer(self, variables), apps)
        asked = [
            {
                **units.of(app),
                **self._facts(app),
                "build": builds.get(app["name"], NO_BUILD)["digest"],
                "source": builds.get(app["name"], NO_BUILD)["source"],
                "config": configs.get(app["name"], ""),
            }
            for app in apps
        ]
        return [{**options, "signature": _signature(options)} for options in asked]

    def _facts(self, app: Mapping[str, Any]) -> dict[str, Any]:
        settings = app["release"]
        return {
            "name": app["name"],
            "listen": app["listen"],
            "environment": environment(app),
            "credentials": app["credentials"],
            "config_files": app["files"],
            "masked": [value for value in app["secrets"].values() if len(value) >= MASKED_LENGTH],
            "run_hooks": self._task.args.get("turn") not in ("others", "back"),
            "health": health_options(app),
            "proxy": {
                "domains": names(app) if app["domains"] else [],
                "site": app["site"],
                "path": app["path"],
                "http_port": app["nginx"]["http_port"],
                "https_port": app["nginx"]["https_port"],
                "behind": app.get("tier") == APP_HOST,
                "required": bool(self._task.args.get("proxy_required", False)),
            },
            "bake": {
                "seconds": settings["bake"],
                "error_percent": settings["bake_error_percent"],
                "log_sample": app["nginx"]["access_log_sample"],
            },
            "log": asdict(server(app["server"]["name"]).log),
            "start_timeout": settings["start_timeout"],
            "settle": settings["worker_settle"],
            "look_after": settings["look_after"],
            "drain": settings["drain"],
            "keep": settings["keep"],
        }


# Templates of the role that every app has
SETTINGS, RUNTIME = "release.conf.j2", "tmpfiles.conf.j2"
# Suffix of a unit -> template of the role
FILES = {
    "@.service": "app@.service.j2",
    ".instance@.service": "instance@.service.j2",
    ".target": "app.target.j2",
}
LISTENER = {".listen.socket": "listen.socket.j2", ".listen.service": "listen.service.j2"}


def _described(app: dict[str, Any]) -> dict[str, Any]:
    """An app as the templates see it."""
    return {**app, "state_folders": state_folders(app), "env_lines": env_places.lines(app)}


class Units:
    """What the process manager reads of apps."""

    def __init__(self, renderer: Renderer, apps: list[dict[str, Any]]) -> None:
        self._renderer = renderer
        self._apps = {app["name"]: _described(app) for app in apps}

    def of(self, app: Mapping[str, Any]) -> dict[str, Any]:
        """The module's options that hold an app's texts."""
        name = app["name"]
        listener = LISTENER if app["listen"] else {}
        files = {f"{name}{suffix}": self._render(template, app) for suffix, template in {**FILES, **listener}.items()}
        beside = list(processes(app))
        writes = app["persistent"] or app["persistent_files"] or self._apps[name]["state_folders"]
        found = {
            "settings": self._render(SETTINGS, app),
            "runtime": self._render(RUNTIME, app),
            "prepare": self._render("prepare.j2", app) if writes else "",
            "files": files,  # under another manager too, for releases of systemd's that are gone back to
            "commands": {process.name: self._render("command.j2", app, process) for process in beside},
        }
        if app["release"]["manager"] == SUPERVISOR:
            return {**found, **supervisor.options(app, beside)}
        return {**found, "units": [unit for process in beside for unit in self._units(app, process)]}

    def _units(self, app: Mapping[str, Any], process: Process) -> Iterator[dict[str, str]]:
        name = f"{app['name']}.{process.unit}@"
        yield {
            "name": f"{name}.service",
            "kind": process.kind,
            "text": self._render("process.service.j2", app, process),
        }
        if process.kind == JOB:
            text = self._render("process.timer.j2", app, process)
            yield {"name": f"{name}.timer", "kind": TIMER, "text": text}

    def _render(self, template: str, app: Mapping[str, Any], process: Process | None = None) -> str:
        described = {**asdict(process), "title": process.title} if process else {}
        return self._renderer.render(template, {"app": self._apps[app["name"]], "process": described})
