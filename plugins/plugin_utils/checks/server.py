# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the numbers and names that shape an app's server and its health check."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, load_schema, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

_COUNT = re.compile(r"-?[0-9]+")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t -~\xa0-\xff]*")


def check_numbers(app: App) -> t.Iterator[Problem]:
    """Counts, times and ports lie within their limits."""
    for key in app.roles:
        for name, value in app.data[key].items():
            if app.usable(f"{key}.{name}"):
                yield from _check_number(app, key, name, value, app.setting(key, name))
    locations = app.data["nginx"].get("locations", {}) if app.usable("nginx.locations") else {}
    for location, values in locations.items():
        for name, value in values.items():
            setting = f"{app.setting('nginx', 'locations')}[{show(location)}].{name}"
            yield from _check_number(app, "nginx", name, value, setting)


def _check_number(app: App, key: str, name: str, value: t.Any, setting: str) -> t.Iterator[Problem]:
    role = app.roles[key]
    limited = f"{role.prefix}{name}" in role.limits
    number = int(value) if limited and isinstance(value, str) and _COUNT.fullmatch(value.strip()) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return
    least, most = role.limit(name)
    auto = ", or auto" if name == "workers" else ""
    if number < least:
        yield app.problem(f"{setting} is {number}, but the least is {least}", f"write {least} or more{auto}")
    elif most is not None and number > most:
        yield app.problem(f"{setting} is {number}, but the most is {most}", f"write {most} or less")


def check_ports(app: App) -> t.Iterator[Problem]:
    """HTTP and HTTPS cannot share a port."""
    nginx = app.data["nginx"]
    port = nginx.get("http_port")
    if port is not None and port == nginx.get("https_port"):
        yield app.problem(f"nginx_proxy_http_port and nginx_proxy_https_port are both {port}", "give each its own")


def check_web_concurrency(app: App) -> t.Iterator[Problem]:
    """The count of workers that an app's environment gives, which wins over the setting."""
    variables = app.data["env"] if app.usable("env") else {}
    value = str(variables.get("WEB_CONCURRENCY", "1")).strip()
    if not _COUNT.fullmatch(value) or int(value) < 1:
        text = f"env has WEB_CONCURRENCY {show(value)}, which is not a count of workers"
        yield app.problem(text, "write 1 or more, or remove it: the server's settings decide then")


def check_interface(app: App) -> t.Iterator[Problem]:
    """The app's server runs what the app is written for."""
    name, interface = app.data["server"], app.data["interface"]
    if not app.usable("server", "interface") or _runs(name, app):
        return
    where = "interface" if "interface" in app.given else "wsgi_interface"
    able = [other for other in load_schema().servers if _runs(other, app)]
    text = f"{where} is {interface}, and {name}, the app's server, does not run {interface.upper()} apps"
    other = "asgi" if interface == "wsgi" else "wsgi"
    yield app.problem(text, f"write interface: {other}, if the app is one, or write server: {' or '.join(able)}")


def check_listen(app: App) -> t.Iterator[Problem]:
    """What comes by the address of ``listen`` is not believed, so the server must know it from what nginx sends."""
    name, listen = app.data["server"], app.data["listen"]
    if listen and app.usable("server", "listen") and not server(name).tells_peers:
        text = f"listen is {show(listen)}, and {name}, the app's server, cannot tell it from nginx"
        able = [other for other in load_schema().servers if _runs(other, app) and server(other).tells_peers]
        yield app.problem(text, f"remove listen, or write server: {' or '.join(able)}")


def _runs(name: str, app: App) -> bool:
    return app.data["interface"] in server(name).interfaces


def check_server(app: App) -> t.Iterator[Problem]:
    """The settings of the app's server, as the server itself judges them."""
    for check in server(app.data["server"]).checks:
        yield from check(app)


def check_health(app: App) -> t.Iterator[Problem]:
    """The health check's path and statuses."""
    release = app.data["release"]
    path = release.get("health_path")
    if isinstance(path, str) and app.usable("release.health_path") and not re.fullmatch(r"/[!-~]*", path):
        text = f"{app.setting('release', 'health_path')} is {show(path)}, which is not a path"
        yield app.problem(text, "begin it with a slash and leave spaces out, such as /healthz")
    for status in release.get("health_status") or []:
        match = _STATUS.fullmatch(str(status).strip())
        if app.usable("release.health_status") and not (match and int(match[1]) <= int(match[2] or 599)):
            text = f"{app.setting('release', 'health_status')} has {show(status)}, neither a status nor a range of them"
            yield app.problem(text, 'write such as "200" or "200-399"')


def check_health_headers(app: App) -> t.Iterator[Problem]:
    """Headers of the health check's question, as HTTP has them. Values stay out of messages: some are credentials."""
    headers = app.data["release"].get("health_headers")
    if not isinstance(headers, dict) or not app.usable("release.health_headers"):
        return
    setting = app.setting("release", "health_headers")
    for name, value in headers.items():
        if not _HEADER.fullmatch(str(name)):
            text = f"{setting} has {show(name)}, which is not a valid name of a header"
            yield app.problem(text, "use letters, digits and hyphens, such as X-Health")
        elif not isinstance(value, (str, int)):
            yield app.problem(f"{setting} has {name} with no text as its value", "write a string in quotes")
        elif not _HEADER_VALUE.fullmatch(str(value)):
            text = f"{setting} has {name} with a character that a header cannot hold, such as a line break"
            yield app.problem(text, "write one line of plain letters")


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_numbers,
    check_ports,
    check_web_concurrency,
    check_interface,
    check_listen,
    check_server,
    check_health,
    check_health_headers,
)
