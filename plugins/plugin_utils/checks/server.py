# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the numbers and names that shape an app's server and its health check."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers import gunicorn_settings

_PORT = (1, 65535)

# Smallest and largest sensible value of a number, by app key and setting; every other number must not be negative.
LIMITS: dict[tuple[str, str], tuple[float, float | None]] = {
    ("gunicorn", "workers"): (1, None),
    ("gunicorn", "threads"): (1, None),
    ("gunicorn", "timeout"): (1, None),
    ("gunicorn", "backlog"): (1, None),
    ("gunicorn", "worker_connections"): (1, None),
    ("gunicorn", "limit_request_line"): (0, 8190),
    ("gunicorn", "limit_request_field_size"): (1, None),
    ("gunicorn", "limit_request_fields"): (1, 32768),
    ("nginx", "connect_timeout"): (1, None),
    ("nginx", "send_timeout"): (1, None),
    ("nginx", "read_timeout"): (1, None),
    ("nginx", "client_header_timeout"): (1, None),
    ("nginx", "client_body_timeout"): (1, None),
    ("nginx", "client_send_timeout"): (1, None),
    ("nginx", "brotli_level"): (0, 11),
    ("nginx", "gzip_level"): (1, 9),
    ("nginx", "worker_connections"): (16, None),
    ("nginx", "max_requests_per_connection"): (1, None),
    ("nginx", "retries"): (0, 5),
    ("nginx", "http_port"): _PORT,
    ("nginx", "https_port"): _PORT,
    ("certbot", "renew_left"): (10, 90),
    ("certbot", "watch_left"): (1, 90),
    ("release", "keep"): (1, None),
    ("release", "start_timeout"): (1, None),
    ("release", "health_timeout"): (1, None),
    ("release", "health_interval"): (0.01, None),
    ("release", "health_successes"): (1, None),
    ("release", "bake_error_percent"): (0, 100),
    ("release", "tasks_max"): (1, None),
    ("release", "limit_nofile"): (1, None),
    ("release", "nice"): (-20, 19),
}

_COUNT = re.compile(r"-?[0-9]+")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc|\.post|\.dev)[0-9]+)?")
_SETTING = re.compile(r"[a-z][a-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t -~\xa0-\xff]*")

# Settings of gunicorn on which the release depends.
_MANAGED = frozenset(
    {"bind", "chdir", "control_socket", "control_socket_disable", "daemon", "group", "pidfile", "proc_name"}
    | {"pythonpath", "reuse_port", "umask", "user", "raw_env", "wsgi_app", "certfile", "keyfile"}
)
# gunicorn's own names of settings that have another one here.
_RENAMED = {"preload_app": "preload", "loglevel": "log_level", "accesslog": "access_log"}


def check_numbers(app: App) -> t.Iterator[Problem]:
    """Counts, times and ports lie within their limits."""
    for key in settings.ROLE_KEYS.values():
        for name, value in app.data[key].items():
            if app.usable(f"{key}.{name}"):
                yield from _check_number(app, key, name, value, app.setting(key, name))
    locations = app.data["nginx"].get("locations", {}) if app.usable("nginx.locations") else {}
    for location, values in locations.items():
        for name, value in values.items():
            setting = f"{app.setting('nginx', 'locations')}[{show(location)}].{name}"
            yield from _check_number(app, "nginx", name, value, setting)


def _check_number(app: App, key: str, name: str, value: t.Any, setting: str) -> t.Iterator[Problem]:
    limited = (key, name) in LIMITS
    number = int(value) if limited and isinstance(value, str) and _COUNT.fullmatch(value.strip()) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return
    least, most = LIMITS.get((key, name), (0, None))
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


def check_workers(app: App) -> t.Iterator[Problem]:
    """``auto`` or a count."""
    value = app.data["gunicorn"].get("workers")
    if isinstance(value, str) and app.usable("gunicorn.workers") and value != "auto" and not _COUNT.fullmatch(value):
        wrong, mend = settings.WORD_OR_NUMBER["gunicorn_workers"]
        yield app.problem(f"{app.setting('gunicorn', 'workers')} is {show(value)}, {wrong}", mend)


def check_web_concurrency(app: App) -> t.Iterator[Problem]:
    """The count of workers that an app's environment gives, which wins over the setting."""
    variables = app.data["env"] if app.usable("env") else {}
    value = str(variables.get("WEB_CONCURRENCY", "1")).strip()
    if not _COUNT.fullmatch(value) or int(value) < 1:
        text = f"env has WEB_CONCURRENCY {show(value)}, which is no count of workers"
        yield app.problem(text, "write 1 or more, or remove it: gunicorn.workers decides then")


def check_worker_class(app: App) -> t.Iterator[Problem]:
    """The worker class exists in gunicorn."""
    value = app.data["gunicorn"].get("worker_class")
    removed = settings.REMOVED.get(("gunicorn_worker_class", str(value)))
    if removed and app.usable("gunicorn.worker_class"):
        yield app.problem(f"{app.setting('gunicorn', 'worker_class')} is {show(value)}, {removed[0]}", removed[1])


def check_version(app: App) -> t.Iterator[Problem]:
    """gunicorn is pinned to one version."""
    value = app.data["gunicorn"].get("version")
    if isinstance(value, str) and app.usable("gunicorn.version") and not _VERSION.fullmatch(value):
        text = f"{app.setting('gunicorn', 'version')} is {show(value)}, which does not pin gunicorn"
        yield app.problem(text, 'write one exact version, such as "27.0.1"')


def check_extra(app: App) -> t.Iterator[Problem]:
    """Free settings of gunicorn that have a variable, or that belong to the release."""
    gunicorn = app.data["gunicorn"]
    extra = gunicorn.get("extra")
    if not isinstance(extra, dict) or not app.usable("gunicorn.extra"):
        return
    setting = app.setting("gunicorn", "extra")
    for name in map(str, extra):
        own = _RENAMED.get(name, name)
        if own in gunicorn and own != "extra":
            yield app.problem(f"{setting} has {name}, which has a variable", f"write gunicorn: {{{own}: ...}}")
        elif name in _MANAGED:
            yield app.problem(f"{setting} has {name}, which the release sets itself", f"remove {name}")
        elif not _SETTING.fullmatch(name):
            text = f"{setting} has {show(name)}, which is no name of a setting of gunicorn"
            yield app.problem(text, "write the name as in a gunicorn.conf.py, such as statsd_host")
        elif name not in gunicorn_settings.NAMES and gunicorn.get("version") == gunicorn_settings.VERSION:
            text = f"{setting} has {name}, which gunicorn {gunicorn_settings.VERSION} does not know"
            guess = settings.nearest(name, gunicorn_settings.NAMES)
            yield app.problem(text, f"write {guess}" if guess else "remove it")


def check_health(app: App) -> t.Iterator[Problem]:
    """The health check's path and statuses."""
    release = app.data["release"]
    path = release.get("health_path")
    if isinstance(path, str) and app.usable("release.health_path") and not re.fullmatch(r"/[!-~]*", path):
        text = f"{app.setting('release', 'health_path')} is {show(path)}, which is no path"
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
            text = f"{setting} has {show(name)}, which is no name of a header"
            yield app.problem(text, "use letters, digits and hyphens, such as X-Health")
        elif not isinstance(value, (str, int)):
            yield app.problem(f"{setting} has {name} with no text as its value", "write a text in quotes")
        elif not _HEADER_VALUE.fullmatch(str(value)):
            text = f"{setting} has {name} with a character that a header cannot hold, such as a line break"
            yield app.problem(text, "write one line of plain letters")


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_numbers,
    check_ports,
    check_workers,
    check_web_concurrency,
    check_worker_class,
    check_version,
    check_extra,
    check_health,
    check_health_headers,
)
