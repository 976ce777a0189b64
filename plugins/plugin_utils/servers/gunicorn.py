# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gunicorn, as the rest of the collection must know it."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.declared import declared
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import Server, check_pinned, check_workers

_SETTING = re.compile(r"[a-z][a-z0-9_]*")

# Settings of gunicorn on which the release depends.
_MANAGED = frozenset(
    {"bind", "chdir", "control_socket", "control_socket_disable", "daemon", "group", "pidfile", "proc_name"}
    | {"pythonpath", "reuse_port", "umask", "user", "raw_env", "wsgi_app", "certfile", "keyfile"}
)
# gunicorn's own names of settings that have another one here.
_RENAMED = {"preload_app": "preload", "loglevel": "log_level", "accesslog": "access_log"}

# The worker classes that have a setting, the usual one first, and what the others do instead.
_OF_CLASSES = {"threads": ("gthread",), "worker_connections": ("gthread", "gevent", "asgi")}
_WITHOUT = {
    "threads": "a worker of another class serves its requests in one thread",
    "worker_connections": "a sync worker serves one connection at a time",
}

# gunicorn passes over a name that it does not know in its configuration file; these are its KNOWN_SETTINGS.
_NAMES_OF = "27.0.1"  # that has these in gunicorn.config.KNOWN_SETTINGS
_NAMES = frozenset(
    {
        "access_log_format",
        "accesslog",
        "asgi_disconnect_grace_period",
        "asgi_lifespan",
        "asgi_loop",
        "backlog",
        "bind",
        "ca_certs",
        "capture_output",
        "casefold_http_method",
        "cert_reqs",
        "certfile",
        "chdir",
        "check_config",
        "child_exit",
        "ciphers",
        "config",
        "control_socket",
        "control_socket_disable",
        "control_socket_mode",
        "daemon",
        "default_proc_name",
        "dirty_apps",
        "dirty_graceful_timeout",
        "dirty_post_fork",
        "dirty_threads",
        "dirty_timeout",
        "dirty_worker_exit",
        "dirty_worker_init",
        "dirty_workers",
        "disable_redirect_access_to_syslog",
        "do_handshake_on_connect",
        "dogstatsd_tags",
        "enable_backlog_metric",
        "enable_stdio_inheritance",
        "errorlog",
        "forwarded_allow_ips",
        "forwarder_headers",
        "graceful_timeout",
        "group",
        "header_map",
        "http2_cleartext",
        "http2_initial_window_size",
        "http2_max_concurrent_streams",
        "http2_max_frame_size",
        "http2_max_header_list_size",
        "http_parser",
        "http_protocols",
        "initgroups",
        "keepalive",
        "keyfile",
        "limit_request_field_size",
        "limit_request_fields",
        "limit_request_line",
        "logconfig",
        "logconfig_dict",
        "logconfig_json",
        "logger_class",
        "loglevel",
        "max_requests",
        "max_requests_jitter",
        "nworkers_changed",
        "on_dirty_starting",
        "on_exit",
        "on_reload",
        "on_starting",
        "paste",
        "permit_obsolete_folding",
        "permit_unconventional_http_method",
        "permit_unconventional_http_version",
        "pidfile",
        "post_fork",
        "post_request",
        "post_worker_init",
        "pre_exec",
        "pre_fork",
        "pre_request",
        "preload_app",
        "print_config",
        "proc_name",
        "protocol",
        "proxy_allow_ips",
        "proxy_protocol",
        "pythonpath",
        "raw_env",
        "raw_paste_global_conf",
        "reload",
        "reload_engine",
        "reload_extra_files",
        "reuse_port",
        "root_path",
        "secure_scheme_headers",
        "sendfile",
        "spew",
        "ssl_context",
        "ssl_version",
        "statsd_host",
        "statsd_prefix",
        "strip_header_spaces",
        "suppress_ragged_eofs",
        "syslog",
        "syslog_addr",
        "syslog_facility",
        "syslog_prefix",
        "threads",
        "timeout",
        "tmp_upload_dir",
        "umask",
        "user",
        "uwsgi_allow_ips",
        "websocket_max_message_size",
        "when_ready",
        "worker_abort",
        "worker_class",
        "worker_connections",
        "worker_exit",
        "worker_int",
        "worker_tmp_dir",
        "workers",
        "wsgi_app",
    }
)


def check_worker_class(app: App) -> t.Iterator[Problem]:
    """The worker class exists in gunicorn."""
    value = app.data["gunicorn"].get("worker_class")
    removed = app.roles["gunicorn"].removed.get(("gunicorn_worker_class", str(value)))
    if removed and app.usable("gunicorn.worker_class"):
        yield app.problem(f"{app.setting('gunicorn', 'worker_class')} is {show(value)}, {removed[0]}", removed[1])


def check_interface(app: App) -> t.Iterator[Problem]:
    """One worker class runs ASGI apps, and no others."""
    value, interface = app.data["gunicorn"].get("worker_class"), app.data["interface"]
    if not app.usable("gunicorn.worker_class", "interface") or (value == "asgi") == (interface == "asgi"):
        return
    setting = app.setting("gunicorn", "worker_class")
    if interface == "asgi":
        fix = "write gunicorn: {worker_class: asgi}, or another server that runs ASGI apps"
    else:
        fix = "write interface: asgi, or gunicorn: {worker_class: gthread}"
    yield app.problem(f"{setting} is {show(value)}, which does not run {interface.upper()} apps", fix)


def check_without_effect(app: App) -> t.Iterator[Problem]:
    """An app's own settings that its worker class does not have."""
    value = app.data["gunicorn"].get("worker_class")
    for name, classes in _OF_CLASSES.items():
        if f"gunicorn.{name}" in app.given and app.usable("gunicorn.worker_class") and value not in classes:
            text = f"gunicorn.{name} has no effect with {app.setting('gunicorn', 'worker_class')} {show(value)}"
            yield app.problem(f"{text}: {_WITHOUT[name]}", f"remove {name}, or write worker_class: {classes[0]}")


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
            text = f"{setting} has {show(name)}, which is not a valid name of a setting of gunicorn"
            yield app.problem(text, "write the name as in a gunicorn.conf.py, such as statsd_host")
        elif name not in _NAMES and gunicorn.get("version") == _NAMES_OF:
            text = f"{setting} has {name}, which gunicorn {_NAMES_OF} does not know"
            guess = settings.nearest(name, _NAMES)
            yield app.problem(text, f"write {guess}" if guess else "remove it")


def check_gevent(app: App) -> t.Iterator[Problem]:
    """Its gevent worker imports gevent and packaging."""
    if app.data["gunicorn"].get("worker_class") != "gevent" or not app.usable("gunicorn.worker_class"):
        return
    known = declared(app)
    if not known:
        return
    packages, where = known
    packages |= {"packaging"} if "gunicorn[gevent]" in packages else set()
    missing = [name for name in ("gevent", "packaging") if name not in packages]
    if missing:
        listed = " and ".join(missing)
        pins = ", ".join(f'"{name}==..."' for name in missing)
        fix = f"add {listed} to its requirements, or write python: {{packages: [{pins}]}} with the versions you want"
        setting = app.setting("gunicorn", "worker_class")
        yield app.problem(f'{setting} is "gevent", but {where} does not bring {listed}', fix)


SERVER = Server(
    name="gunicorn",
    requirement=lambda settings: f"gunicorn=={settings['version']}",
    oldest_python=10,
    files={"gunicorn.conf.py": "gunicorn.conf.py.j2", "start": "start.j2"},
    # What is not done within the graceful timeout gunicorn ends itself.
    stop_timeout=lambda settings: settings["graceful_timeout"] + 10,
    backlog="backlog",
    interfaces=("wsgi", "asgi"),
    answer_timeout="timeout",
    request_line="limit_request_line",
    request_header="limit_request_field_size",
    # It changes the owner of its socket.
    system_calls=("@chown",),
    overriding={"GUNICORN_CMD_ARGS": "write the settings below gunicorn:, such as gunicorn: {timeout: 60}"},
    checks=(
        check_workers("gunicorn"),
        check_worker_class,
        check_without_effect,
        check_interface,
        check_pinned("gunicorn", "27.0.1"),
        check_extra,
        check_gevent,
    ),
    log=ServerLog(
        package="gunicorn",
        line=r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[(?P<level>[A-Z]+)\] (?P<text>.*)",
        routine=r"Exception in worker process|Error handling request|Error in ASGI application"
        r"|ASGI lifespan startup failed|Shutting down: Master|Reason: Worker ",
        ending=r"gunicorn\.errors\.HaltServer\b",
        worker_ended=r"Worker \(pid:(?P<pid>\d+)\) was sent (?P<signal>SIG[A-Z0-9]+)!",
        worker_late=r"WORKER TIMEOUT \(pid:(?P<pid>\d+)\)",
        late_fix="raise gunicorn_timeout, or answer sooner",
        worker_exited="Worker exited with code ",
    ),
)
