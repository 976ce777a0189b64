# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd and programs of Supervisor, as their files say."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ansible_collections.webops.wsgi.plugins.module_utils.adopt.model import Program

# What the collection does in its own way, or what says nothing of the app.
_OURS = {
    *("Type", "Restart", "RestartSec", "KillMode", "KillSignal", "PIDFile", "ExecReload", "ExecStop", "TimeoutStopSec"),
    *("Group", "RuntimeDirectory", "RuntimeDirectoryMode", "NotifyAccess", "StandardOutput", "StandardError"),
    *("SyslogIdentifier", "PrivateTmp", "UMask", "TimeoutStartSec", "StartLimitBurst", "NoNewPrivileges"),
}
_THEIRS = {
    *("autostart", "autorestart", "startsecs", "startretries", "stopsignal", "stopwaitsecs", "stopasgroup"),
    *("killasgroup", "stdout_logfile", "stderr_logfile", "redirect_stderr", "priority", "numprocs", "process_name"),
    *("stdout_logfile_maxbytes", "stderr_logfile_maxbytes", "stdout_logfile_backups", "stderr_logfile_backups"),
}


def unit(name: str, where: str, texts: Iterable[str]) -> Program:
    """A service of systemd.

    Args:
        name: Its name, without C(.service).
        where: Its file.
        texts: What is in that, and in files that add to it, in their order.
    """
    found = Program(name, where, "")
    for section, key, value in _settings("\n".join(texts)):
        if section != "Service":
            continue
        if key == "ExecStart":
            found.command = value.lstrip("@-:+!") or found.command
        elif key == "WorkingDirectory":
            found.directory = value.lstrip("-")
        elif key == "User":
            found.user = value
        elif key == "Environment":
            found.environment.update(_pairs(value))
        elif key == "EnvironmentFile":
            found.files.append(value.lstrip("-"))
        elif key not in _OURS:
            found.left.append(f"{key}={value}")
    return found


def instance(template: Program, name: str) -> Program:
    """An instance of a unit that is a template, such as C(gunicorn@shop)."""

    def filled(text: str) -> str:
        return re.sub("%[iI]", name, text)

    return replace(
        template,
        name=f"{template.name}{name}",
        command=filled(template.command),
        directory=filled(template.directory),
        environment={key: filled(value) for key, value in template.environment.items()},
        files=[filled(path) for path in template.files],
        left=list(template.left),
    )


def _settings(text: str) -> Iterator[tuple[str, str, str]]:
    section = ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith(("#", ";")):
            key, _equals, value = line.partition("=")
            yield section, key.strip(), value.strip()


def _pairs(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def supervised(where: str, text: str) -> list[Program]:
    """The programs of a file of Supervisor."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    found = []
    for section in parser.sections():
        if not section.startswith("program:"):
            continue
        values = dict(parser.items(section))
        found.append(
            Program(
                section.removeprefix("program:").strip(),
                where,
                values.pop("command", ""),
                directory=values.pop("directory", ""),
                user=values.pop("user", ""),
                environment=_comma_pairs(values.pop("environment", "")),
                manager="supervisor",
                left=[f"{key}={value}" for key, value in values.items() if key not in _THEIRS],
            )
        )
    return found


def _comma_pairs(text: str) -> dict[str, str]:
    """Variables as Supervisor has them: C(KEY="value",OTHER=value)."""
    found = re.findall(r"""\s*([A-Za-z_]\w*)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^,]*)\s*(?:,|$)""", text)
    return {name: value.strip().strip("\"'").replace("%%", "%") for name, value in found}
