# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of everything the inventory says, run on the controller before any host is touched.

Types, choices and unknown keys are judged while settings are resolved (``settings``). The checks here and in
the modules beside this one go beyond that: each is a small function that yields problems, and :func:`examine` runs them
all. Values of ``secrets`` never become part of a problem.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import app as checks_app
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import (
    background,
    clients,
    files,
    image,
    manager,
    paths,
    places,
    proxy,
    runtime,
    server,
    sizes,
    source,
    tls,
    unit,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import fleet as checks_fleet
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import (
    APP_HOSTS,
    BALANCER,
    BALANCERS,
    NO_FLEET,
    Fleet,
    hosts_of,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.tiers import divide
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, Schema, kind_of, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server as server_of

CHECKS = (
    *checks_app.CHECKS,
    *source.CHECKS,
    *server.CHECKS,
    *unit.CHECKS,
    manager.check_supervisor,
    *background.CHECKS,
    *files.CHECKS,
    *image.CHECKS,
    *runtime.CHECKS,
    *clients.CHECKS,
    *proxy.CHECKS,
    *sizes.CHECKS,
    *tls.CHECKS,
    *checks_fleet.CHECKS,
)


@dataclasses.dataclass
class Findings:
    """Result of :func:`examine`: the resolved apps, what is wrong, what is only odd, what the host is to judge, and the
    names of apps that other hosts have.
    """

    apps: list[dict[str, t.Any]]
    problems: list[Problem]
    warnings: list[str]
    on_host: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    elsewhere: list[str] = dataclasses.field(default_factory=list)


def examine(
    schema: Schema,
    variables: t.Iterable[str],
    inventory: dict[str, t.Any],
    entries: t.Any,
    bases: list[str],
    defaults: dict[str, t.Any] | None = None,
    logins: t.Collection[str] = (),
    homes: t.Sequence[str] = (),
    fleet: Fleet = NO_FLEET,
    groups: t.Mapping[str, t.Collection[str]] | None = None,
    cluster: bool = False,
) -> Findings:
    """Resolve and check everything the inventory says about one host.

    :arg variables: names of all variables of the host.
    :arg inventory: templated values of the role variables that the inventory sets.
    :arg entries: templated value of ``wsgi_apps``, ``None`` when it is not defined.
    :arg bases: directories that relative paths count from.
    :arg defaults: values of role defaults that are templates.
    :arg logins: users that Ansible logs in as.
    :arg homes: directory of the file that each entry is written in, empty where that is not known.
    :arg fleet: the fleet that the host belongs to.
    :arg groups: the inventory's groups, with the names of their hosts.
    :arg cluster: whether the host stands for a cluster.
    """
    host, problems = settings.merge_host(schema, inventory, defaults)
    misspelt, warnings = check_variable_names(schema, variables)
    problems.extend(misspelt)
    problems.extend(check_any_apps(variables, entries, fleet))
    apps: list[App] = []
    if isinstance(entries, list):
        apps, found = settings.resolve(schema, host, entries, bases, homes)
        problems.extend(found)
        clients.leave_certificates(apps if cluster else [])
        problems.extend(paths.place(apps))
    for app in apps:
        problems.extend(check_app(app))
        problems.extend(checks_app.check_login(app, logins))
        if app.present:
            warnings.extend([*checks_app.open_secrets(app), *clients.unreachable_domains(app)])
    warnings.extend(manager.warnings(apps))
    problems.extend(check_duplicates(apps))
    problems.extend(background.check_shared_addresses(apps))
    problems.extend(tls.check_shared_handshake(apps))
    problems.extend(places.check_places(apps))
    placed = {app.data["name"]: hosts_of(str(app.data.get("hosts") or ""), groups or {}) for app in apps}
    problems.extend(checks_fleet.check_fleet(fleet, host.values, apps, placed))
    problems.extend(checks_fleet.check_alone(host, apps, groups or {}))
    for app in apps:
        for key in ("persistent", "persistent_files"):
            if app.usable(key):
                app.data[key] = [os.path.normpath(path) for path in app.data[key]]
        app.data["env"] = checks_app.environment(app.data["env"])
        app.data["secrets"] = checks_app.environment(app.data["secrets"])
        python = app.data["python"]
        python["build_environment"] = checks_app.environment(python.get("build_environment") or {})
    for app in apps:
        if app.present and not problems:
            app.data["server"] = server_of(app.data["server"]).facts(app.data)
    order = {app.label: number for number, app in reversed(list(enumerate(apps)))}
    problems.sort(key=lambda problem: order.get(problem.app, -1))
    if problems:
        return Findings([app.data for app in apps], problems, warnings)
    ours = divide(fleet, [app.data for app in apps], placed)
    names = {data["name"] for data in ours}
    judged_there = {} if fleet.role == BALANCER else places.on_host(app for app in apps if app.data["name"] in names)
    elsewhere = [app.data["name"] for app in apps if app.data["name"] not in names]
    return Findings(ours, problems, warnings, judged_there, elsewhere)


def check_app(app: App) -> t.Iterator[Problem]:
    """Every check of one app on its own. An app to be removed only needs its name."""
    yield from checks_app.check_name(app)
    yield from checks_app.check_state(app)
    if not app.present:
        return
    for check in CHECKS:
        yield from check(app)


def report(problems: t.Iterable[Problem]) -> str:
    """All problems as one text, a line each."""
    found = lines(problems)
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return "\n".join([f"The inventory has {count}; no host was touched.", *found])


def lines(problems: t.Iterable[Problem]) -> list[str]:
    """Each problem as one line, without repetition; apps that have the same problem share a line."""
    apps: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        labels = apps.setdefault((problem.text, problem.fix), [])
        if problem.app not in labels:
            labels.append(problem.app)
    return [f"{_who(labels)}: {text}; {fix}" for (text, fix), labels in apps.items()]


def _who(labels: list[str]) -> str:
    named = [f"{label} of wsgi_apps" if label.startswith("number ") else f'"{label}"' for label in labels if label]
    if not named:
        return "inventory"
    if len(named) == 1:
        return f"app {named[0]}"
    if len(named) <= 5:
        return f"apps {', '.join(named)}"
    return f"apps {', '.join(named[:4])} and {len(named) - 4} more"


def check_any_apps(variables: t.Iterable[str], entries: t.Any, fleet: Fleet) -> t.Iterator[Problem]:
    """There must be apps."""
    sample = "write wsgi_apps: with one entry an app: name, source, entrypoint, domains"
    if fleet.role == BALANCER:
        sample = f"write wsgi_apps for a group that {BALANCERS} and {APP_HOSTS} are both in, see inventory/cluster"
    if entries is None:
        similar = [
            name
            for name in variables
            if name in ("wsgi_app", "wsgi_applications", "wsgiapps", "apps", "webops_wsgi_apps")
        ]
        found = f", but {similar[0]} is" if similar else ""
        yield Problem(
            "", f"wsgi_apps is not defined{found}", f"rename {similar[0]} to wsgi_apps" if similar else sample
        )
    elif entries is settings.UNEVALUATED:
        return
    elif not isinstance(entries, list):
        yield Problem(
            "", f"wsgi_apps is {kind_of(entries)}, not a list", "write every app as a list item, beginning with - name:"
        )
    elif not entries:
        yield Problem(
            "",
            "wsgi_apps is [], so there are no apps",
            f"{sample}; to remove an app, keep its entry and add state: absent",
        )


def check_variable_names(schema: Schema, variables: t.Iterable[str]) -> tuple[list[Problem], list[str]]:
    """Variables that look like a role's but are none.

    One close to a real name is a problem; any other with a role's prefix might be the person's own, so it only gives
    a warning.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    for variable in variables:
        full = f"nginx_proxy_{variable[6:]}"
        if variable.startswith("nginx_") and any(full in role.options for role in schema.roles.values()):
            warnings.append(f"{variable} is not a variable of webops.wsgi; did you mean {full}?")
        if variable.startswith("wsgi_") and variable not in schema.common:
            guess = settings.nearest(variable, schema.common, 0.9)
            if guess:
                problems.append(Problem("", f"{variable} is not a variable of webops.wsgi", f"did you mean {guess}?"))
        role = next((role for role in schema.roles.values() if variable.startswith(role.prefix)), None)
        if role is None or variable in role.options:
            continue
        known = {name[len(role.prefix) :]: name for name in role.options}
        guess = settings.nearest(variable[len(role.prefix) :], known)
        if guess:
            problems.append(
                Problem("", f"{variable} is not a variable of the role {role.name}", f"did you mean {known[guess]}?")
            )
        else:
            warnings.append(
                f"{variable} is not a variable of the role webops.wsgi.{role.name}, so it has no effect there."
            )
    return problems, warnings


def check_duplicates(apps: list[App]) -> t.Iterator[Problem]:
    """Two apps cannot share a name, or a domain and a path."""
    names: dict[str, list[int]] = {}
    owners: dict[tuple[str, str], list[str]] = {}
    for number, app in enumerate(apps, start=1):
        if app.data["name"]:
            names.setdefault(app.data["name"], []).append(number)
        if app.present and app.usable("domains", "path"):
            for domain in app.data["domains"]:
                owners.setdefault((domain.lower(), app.data["path"]), []).append(app.label)
    for name, numbers in names.items():
        if len(numbers) > 1:
            listed = " and ".join(str(number) for number in numbers)
            yield Problem(
                name, f"name is {show(name)} in entries {listed} of wsgi_apps", "give each app a name of its own"
            )
    for (domain, path), labels in owners.items():
        others = [label for label in dict.fromkeys(labels) if label != labels[0]]
        if others:
            listed = " and ".join(show(label) for label in others)
            text = f"domains has {show(domain)}{_below(path)}, which app {listed} has too"
            yield Problem(labels[0], text, "keep the domain in one app, or give each a path of its own")
        elif len(labels) > 1:
            yield Problem(labels[0], f"domains has {show(domain)} twice", "remove one of them")


def _below(path: str) -> str:
    return "" if path == "/" else f" with path {show(path)}"
