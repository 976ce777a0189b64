# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uWSGI, as the rest of the collection must know it."""

from __future__ import annotations

import functools
import re
import typing as t
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.failures.server_log import ServerLog
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import (
    App,
    Problem,
    collection_root,
    nearest,
    show,
)
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import Server, check_pinned, check_workers

# The version of each package with which this collection is tested.
TESTED = {"pyuwsgi": "2.0.30.post1", "uwsgi": "2.0.31"}

# Options that have a variable.
_OWN = {
    "workers": "workers",
    "processes": "workers",
    "listen": "backlog",
    "logformat": "log_format",
    "disable-logging": "log_requests",
    "log-4xx": "log_requests",
    "log-5xx": "log_requests",
    "worker-reload-mercy": "graceful_timeout",
    **{
        name: name.replace("-", "_")
        for name in (
            *("threads", "cheaper", "lazy-apps", "harakiri", "socket-timeout", "max-requests", "max-requests-delta"),
            *("buffer-size", "log-format"),
        )
    },
}

# Options on which the release depends: addresses, the app, users, places, what is written where, how it ends.
_MANAGED = re.compile(
    r"(.+-)?socket|https?|httprouter|(fast|raw|ssl)router|(add-)?[ug]id|chroot|chdir2?|force-cwd|umask|chmod|chown-socket"
    r"|module|wsgi|wsgi-file|file|mount|callable|home|pyhome|virtualenv|venv|paste|ini-paste(-logged)?|pecan"
    r"|daemonize2?|(safe-)?pidfile2?|logto2?|master|emperor.*|vassals?-.*|strict|need-app|vacuum|single-interpreter"
    r"|enable-threads|py-call-.*|hook-(asap|post-fork|master-start)|exit-on-reload|die-on-term|reload-mercy|no-orphans"
    r"|lazy|ini|yaml|json|xml|xmlconfig|config|config-py|include|inherit|if-.*|for|for-.*|end-?(if|for|blacklist|whitelist)"
)
_NAME = re.compile(r"[a-z0-9][a-zA-Z0-9._-]*")
# uWSGI puts the environment's variable, or the file's text, in the place of these, and has no way to write them.
_MAGIC = re.compile(r"[$@]\(")


@functools.cache
def options() -> frozenset[str]:
    """The names that uWSGI takes, of the versions that are tested; ``strict`` makes any other an error."""
    file = Path(collection_root(), "roles", "uwsgi", "files", "options.txt")
    return frozenset(file.read_text(encoding="utf-8").split())


def check_version(app: App) -> t.Iterator[Problem]:
    """One version, or the one that is tested."""
    if app.data["uwsgi"].get("version") != "":
        yield from check_pinned("uwsgi", TESTED["pyuwsgi"])(app)


def check_cheaper(app: App) -> t.Iterator[Problem]:
    """Fewer processes are kept than there may be."""
    uwsgi = app.data["uwsgi"]
    kept, most = uwsgi.get("cheaper"), str(uwsgi.get("workers"))
    if app.usable("uwsgi.cheaper", "uwsgi.workers") and kept and most.isdecimal() and kept >= int(most):
        text = f"{app.setting('uwsgi', 'cheaper')} is {kept}, no less than {app.setting('uwsgi', 'workers')} ({most})"
        yield app.problem(text, f"write {int(most) - 1} or less, or 0 to keep all")


def check_extra(app: App) -> t.Iterator[Problem]:
    """Free options of uWSGI that have a variable, that belong to the release, or that it does not know."""
    uwsgi = app.data["uwsgi"]
    extra = uwsgi.get("extra")
    if not isinstance(extra, dict) or not app.usable("uwsgi.extra"):
        return
    setting = app.setting("uwsgi", "extra")
    for name, value in extra.items():
        name = str(name)
        if name in _OWN:
            yield app.problem(f"{setting} has {name}, which has a variable", f"write uwsgi: {{{_OWN[name]}: ...}}")
        elif _MANAGED.fullmatch(name):
            yield app.problem(f"{setting} has {name}, which the release sets itself", f"remove {name}")
        elif not _NAME.fullmatch(name) or (name not in options() and uwsgi.get("version") in ("", *TESTED.values())):
            guess = nearest(name.replace("_", "-"), options())
            text = f"{setting} has {show(name)}, which is not an option of uWSGI"
            yield app.problem(text, f"write {guess}" if guess else "remove it")
        else:
            yield from _check_value(app, f"{setting}[{show(name)}]", value)


def check_log_format(app: App) -> t.Iterator[Problem]:
    """One line that uWSGI takes as it is."""
    if app.usable("uwsgi.log_format"):
        yield from _check_value(app, app.setting("uwsgi", "log_format"), app.data["uwsgi"].get("log_format"))


def check_environment(app: App) -> t.Iterator[Problem]:
    """Variables that uWSGI takes for its options."""
    for key in ("env", "secrets"):
        for name in app.data[key] if app.usable(key) else ():
            if str(name).startswith("UWSGI_"):
                text = f"{key}.{name} is given, which uWSGI takes for an option of its own"
                yield app.problem(text, "write it below uwsgi:, such as uwsgi: {threads: 4}")


def _check_value(app: App, setting: str, value: t.Any) -> t.Iterator[Problem]:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (str, int, float)):
            text = f"{setting} is neither a string nor a number nor a boolean"
            yield app.problem(text, "write one value, or a list of them for an option that is given several times")
        elif "\n" in str(item):
            yield app.problem(f"{setting} has a line break", "write it in one line")
        elif _MAGIC.search(str(item)):
            text = f"{setting} has $( or @(, in whose place uWSGI would put a variable of the environment or a file"
            yield app.problem(text, "write what is to stand there; Ansible's own templates are evaluated before")


# How the lines begin that uWSGI writes when all goes well, or beside a traceback.
_ROUTINE = (
    *(r"\[uWSGI\] getting", 'running "', r"\*\*\* ", "compiled with version: ", "os: Linux", "nodename: ", "machine: "),
    *(
        "clock source: ",
        "pcre jit ",
        "detected ",
        "current working directory: ",
        "your ",
        "lock engine: ",
        "thunder lock: ",
    ),
    *(r"uwsgi socket \d", "uWSGI running as", "Python version: ", "--- Python VM", "Python main ", "python threads"),
    *(
        r"mapped \d",
        "setting ",
        r"WSGI app \d",
        "unable to load app",
        "spawned uWSGI",
        "Respawned uWSGI",
        "OOPS ! failed",
    ),
    *(
        "need-app requested",
        "SIGINT/SIGTERM received",
        "goodbye to uWSGI",
        "VACUUM: ",
        r"worker \d+ ",
        r"\.\.\.",
        "HARAKIRI",
    ),
    *(
        "Gracefully killing",
        "DAMN ! ",
        "!!! uWSGI process",
        r"/\S+\(.*\) \[0x",
        r"\[deadlock-detector\]",
        "uWSGI: GAME OVER",
    ),
)

SERVER = Server(
    name="uwsgi",
    requirement=lambda settings: f"{settings['package']}=={settings['version'] or TESTED[settings['package']]}",
    packages=tuple(TESTED),
    oldest_python=8,
    files={"application.py": "application.py.j2", "start": "start.j2", "uwsgi.ini": "uwsgi.ini.j2"},
    protocol=lambda settings: settings["protocol"],
    # What is not done within the graceful timeout uWSGI ends itself.
    stop_timeout=lambda settings: settings["graceful_timeout"] + 10,
    backlog="backlog",
    answer_timeout="harakiri",
    request_header="buffer_size",
    checks=(check_workers("uwsgi"), check_version, check_cheaper, check_extra, check_log_format, check_environment),
    log=ServerLog(
        package="uwsgi",
        line=rf"(?P<text>(?P<level>)(?:\w{{3}} \w{{3}} [ \d]\d [\d:]{{8}} \d{{4}} - )?(?:{'|'.join(_ROUTINE)}).*)",
        worker_ended=r"worker \d+ \(pid: (?P<pid>\d+)\) died, killed by signal (?P<signal>\d+)",
        worker_late=r"HARAKIRI ON WORKER \d+ \(pid: (?P<pid>\d+)",
        late_fix="raise uwsgi_harakiri, or answer sooner",
    ),
)
