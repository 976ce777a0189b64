# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a move: what served before is stopped, once its successor serves; nothing of it is removed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme.renewal import by_webroot
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import Answer, Health, ask_through_proxy

KEPT = ".by-hand"  # of the name of a file's copy; no program reads files with that ending
PAUSE = 0.5  # seconds between two looks at nginx
PATIENCE = 10.0  # seconds that nginx may take to answer well

Run = Callable[[Sequence[str]], str]


class FinishError(Exception):
    """What served before goes on to do so, and why."""


@dataclass(frozen=True)
class Old:
    """A program that a person had started; see C(adopt.model.Program)."""

    name: str
    where: str
    manager: str
    sockets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """What clients must get of an app."""

    app: str
    domain: str
    path: str
    statuses: list[str]
    tls: bool


@dataclass
class Done:
    """What was done, or would be."""

    stopped: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    changed: bool = False
    busy: bool = False


def run(command: Sequence[str]) -> str:
    """What a program prints; a failure is one of the finish."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=300)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise FinishError(f"{' '.join(command)} failed: {said[0]}")
    return done.stdout


def ask(question: Question, ports: tuple[int, int]) -> Answer:
    """What a client gets of an app."""
    health = Health(question.path, tuple(question.statuses), scheme="https" if question.tls else "http")
    return ask_through_proxy(ports[question.tls], question.domain, health)


@dataclass(frozen=True)
class Host:
    """Where things lie on the host, and how its programs are called."""

    webroot: str = "/var/www/acme"
    ports: tuple[int, int] = (80, 443)
    root: Path = Path("/")
    run: Run = run
    ask: Callable[[Question, tuple[int, int]], Answer] = ask

    def at(self, path: str) -> Path:
        """A path of the host."""
        return self.root / path.lstrip("/")


def finish(
    host: Host,
    programs: Iterable[Old],
    questions: Iterable[Question],
    lineages: Iterable[str],
    wait: float,
    check: bool,
) -> Done:
    """Stop what served before.

    Raises:
        FinishError: An app does not answer through nginx, which has its old configuration back; nothing is stopped.
    """
    done = Done()
    running = [program for program in programs if _is_running(host, program)]
    if not running:
        return done
    if not check:
        _see_that_all_answer(host, questions)
        done.busy = not _is_drained(host, wait)
        if done.busy:
            return done
    done.changed = True
    for program in running:
        done.stopped.append(f"{program.manager}: {program.name}")
        done.back += _back(program)
        if not check:
            _stop(host, program)
    done.back += _back_to_nginx(host)
    for name in lineages:
        done.back += _renew_by_webroot(host, name, check)
    return done


def _is_running(host: Host, program: Old) -> bool:
    """Whether a program runs, or would after the next boot."""
    if program.manager == "emperor":
        return host.at(program.where).exists()
    if program.manager == "supervisor":
        return _autostart(host.at(program.where).read_text(errors="replace"), program.name) != "false"
    shown = host.run(["systemctl", "show", "--property=ActiveState,UnitFileState", *_units(program)])
    return bool(re.search(r"^ActiveState=(?!inactive|failed)|^UnitFileState=enabled", shown, re.MULTILINE))


def _units(program: Old) -> list[str]:
    return [*program.sockets, f"{program.name}.service"]


def _see_that_all_answer(host: Host, questions: Iterable[Question]) -> None:
    deadline = time.monotonic() + PATIENCE
    for question in questions:
        answer = host.ask(question, host.ports)
        while answer.fault and not 0 < answer.status < 500:
            if time.monotonic() > deadline:
                ending = _have_nginx_back(host)
                raise FinishError(
                    f'app "{question.app}": clients of {question.domain} would not be served: {answer.fault}; '
                    f"{ending}, and what served before was not stopped"
                )
            time.sleep(PAUSE)
            answer = host.ask(question, host.ports)


def _kept_main(host: Host) -> Path:
    """nginx' own main file, which the role nginx_proxy has set aside."""
    return host.at("/etc/nginx/wsgi.d/replaced/etc/nginx/nginx.conf")


def _have_nginx_back(host: Host) -> str:
    kept, main = _kept_main(host), host.at("/etc/nginx/nginx.conf")
    if not kept.is_file():
        return "nginx was not changed"
    write_file(main, kept.read_text(errors="surrogateescape"))
    host.run(["systemctl", "reload", "nginx.service"])
    return "nginx has its old configuration back"


def _is_drained(host: Host, wait: float) -> bool:
    """Wait until every process of nginx that was told to end at the reload has ended."""
    deadline = time.monotonic() + wait
    while _old_workers(host):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _old_workers(host: Host) -> list[str]:
    found = []
    for path in host.at("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:  # it has ended
            continue
        if text.startswith(b"nginx: worker process is shutting down"):
            found.append(path.parent.name)
    return found


def _stop(host: Host, program: Old) -> None:
    path = host.at(program.where)
    if program.manager == "systemd":
        host.run(["systemctl", "disable", "--now", "--quiet", *_units(program)])
    elif program.manager == "supervisor":
        text = path.read_text(errors="surrogateescape")
        kept = path.with_name(f"{path.name}{KEPT}")
        if not kept.exists():
            write_file(kept, text, 0o600)
        write_file(path, without_autostart(text, program.name), path.stat().st_mode & 0o777)
        host.run(["supervisorctl", "stop", f"{program.name}:*"])
    else:
        os.rename(path, path.with_name(f"{path.name}{KEPT}"))


def _back(program: Old) -> list[str]:
    kept = f"{program.where}{KEPT}"
    if program.manager == "systemd":
        return [f"systemctl enable --now {' '.join(_units(program))}"]
    if program.manager == "supervisor":
        return [f"mv {kept} {program.where}", f"supervisorctl start {program.name}:*"]
    return [f"mv {kept} {program.where}"]


def _back_to_nginx(host: Host) -> list[str]:
    if not _kept_main(host).exists():
        return []
    return [
        "cp -a --remove-destination /etc/nginx/wsgi.d/replaced/etc/nginx/nginx.conf /etc/nginx/nginx.conf",
        "systemctl reload nginx",
    ]


def _renew_by_webroot(host: Host, name: str, check: bool) -> list[str]:
    """Have an old certificate renewed by what nginx serves now: its old way would stop nginx, or change its files."""
    path = host.at(f"/etc/letsencrypt/renewal/{name}.conf")
    kept = path.with_name(f"{path.name}{KEPT}")
    if path.is_file() and not kept.exists():
        text = path.read_text(errors="surrogateescape")
        if re.search(r"^authenticator *= *dns", text, re.MULTILINE):
            return []
        if not check:
            write_file(kept, text)
            write_file(path, by_webroot(text, host.webroot))
    return [f"mv /etc/letsencrypt/renewal/{name}.conf{KEPT} /etc/letsencrypt/renewal/{name}.conf"]


_SECTION = r"^\[program:{}\][^\n]*\n"


def _autostart(text: str, name: str) -> str:
    found = re.search(
        _SECTION.format(re.escape(name)) + r"(?:(?!\[).*\n)*?autostart *= *(\w+)", f"{text}\n", re.MULTILINE
    )
    return found[1].lower() if found else "true"


def without_autostart(text: str, name: str) -> str:
    """A file of Supervisor in which a program is not started any more."""
    head = _SECTION.format(re.escape(name))
    section = re.search(head + r"(?:(?!\[).*(?:\n|$))*", text, re.MULTILINE)
    if not section:
        return text
    kept = re.sub(r"^autostart *=.*\n?", "", section[0], flags=re.MULTILINE)
    changed = re.sub(head, lambda found: f"{found[0]}autostart=false\n", kept, flags=re.MULTILINE)
    return text[: section.start()] + changed + text[section.end() :]
