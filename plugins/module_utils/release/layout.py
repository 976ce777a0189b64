# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where releases lie on a host, and what their directories say."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import FOLDER
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import (
    HOOK,
    JOB,
    TIMER,
    WORKER,
    Process,
)

START = "start"  # what starts the server
PREPARE = "prepare"  # what runs before each program of the app, as its user; makes the directories that it writes to
SETTINGS = "settings.conf"  # what its manager reads of the server, kept with the release for the day it is gone back to
UNITS = "units"  # the same of what runs beside the server: <kind>/<app>.<name>@.service
LAUNCH = "launch"  # what starts its processes for a manager that only starts programs; what it needs to know is in JSON
COMMANDS = "commands"  # what runs there
FILES = "files"  # the app's configuration files, which its group reads
CREDENTIALS = "credentials"  # files that only root reads and systemd hands to the app
PROVED = "proved"  # marks a release that has passed every check of its deployment
FAILED = "failed"  # marks one that has not, and says why
WITHDRAWN = "withdrawn"  # marks one that a person has rolled back from

KINDS = (WORKER, TIMER, JOB, HOOK)  # of what a release has beside its server
DEFAULT_MANAGER = "systemd"


@dataclass(frozen=True)
class Part:
    """What a release's manager reads of a process beside its server.

    Attributes:
        name: File name without a release, such as C(api.celery@.service).
        kind: C(worker), C(timer), C(job) (what a timer starts) or C(hook).
        text: What is in it; C(%i) stands for the release.
    """

    name: str
    kind: str
    text: str


@dataclass(frozen=True)
class Paths:
    """Where things lie; tests point them elsewhere."""

    root: Path = Path("/srv")
    run: Path = Path("/run")
    config: Path = Path("/etc/wsgi")
    units: Path = Path("/etc/systemd/system")
    runtime: Path = Path("/etc/tmpfiles.d")
    state: Path = Path("/var/lib")
    sites: Path = Path("/etc/nginx/wsgi/sites")
    logs: Path = Path("/var/log/nginx")
    caches: Path = Path("/var/cache")
    maintenance: Path = Path("/etc/nginx/maintenance")
    mounts: Path = Path("/etc/nginx/wsgi/mounts")

    @property
    def progress(self) -> Path:
        """Where it is noted what a run waits for."""
        return self.run / FOLDER.name

    def current(self, app: str) -> Path:
        return self.root / app / "current"

    def release(self, app: str, number: str) -> Path:
        return self.root / app / "releases" / number

    def instance(self, app: str, number: str) -> Path:
        """The instance's own directory, a small file system that its unit mounts: all it may write to in C(/run)."""
        return self.run / app / number

    def socket(self, app: str, number: str) -> Path:
        return self.instance(app, number) / "sock"

    def current_socket(self, app: str) -> Path:
        """Where the proxy connects; root's, as is the directory it is in."""
        return self.run / app / "current.sock"

    def cache(self, app: str) -> Path:
        """Where the proxy keeps the app's answers."""
        return self.caches / f"nginx-{app}"

    def access_logs(self, app: str) -> list[Path]:
        """What the proxy has logged of the app, with what was rotated."""
        return sorted(self.logs.glob(f"{app}.access.log*"))

    def workshops(self, app: str) -> list[Path]:
        """Where the app's builds work, see C(build.sandbox): the directory, and systemd's link to it."""
        return [self.caches / "private" / "wsgi-build" / app, self.caches / "wsgi-build" / app]

    def wants(self, app: str) -> Path:
        return self.units / f"{app}.target.wants"

    def previous_socket(self, app: str) -> Path:
        """Where the proxy turns while the current instance accepts no connection; leads nowhere most of the time."""
        return self.run / app / "previous.sock"

    def runtime_file(self, app: str) -> Path:
        """What makes the app's directory in C(/run) at boot."""
        return self.runtime / f"wsgi-{app}.conf"

    def previous_instance(self, app: str) -> Path:
        """The same for a further socket of an instance, which lies beside the one for HTTP."""
        return self.run / app / "previous"

    def settings(self, app: str, number: str) -> Path:
        return self.units / f"{app}@{number}.service.d" / "release.conf"


def current_release(paths: Paths, app: str) -> str:
    """The number of the release that serves; empty when there is none."""
    link = paths.current(app)
    return os.path.basename(os.readlink(link)) if link.is_symlink() else ""


def description(paths: Paths, app: str, number: str) -> dict[str, Any]:
    """What a release says of itself; empty when it says nothing."""
    try:
        found: dict[str, Any] = json.loads((paths.release(app, number) / "release.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def instances(paths: Paths, app: str) -> list[str]:
    """The releases that have a directory for an instance."""
    return [name for name in names_in(paths.run / app) if name.isdigit()]


def release_numbers(paths: Paths, app: str) -> list[str]:
    """The releases on disk, oldest first."""
    return sorted((name for name in names_in(paths.root / app / "releases") if name.isdigit()), key=int)


def has_proved(paths: Paths, app: str, number: str) -> bool:
    """Whether a release has passed every check of its deployment and has not failed one since."""
    folder = paths.release(app, number)
    return (folder / PROVED).exists() and not (folder / FAILED).exists()


def manager_of(paths: Paths, app: str, number: str) -> str:
    """The process manager that a release was made for."""
    return str(description(paths, app, number).get("manager", DEFAULT_MANAGER))


def parts(paths: Paths, app: str, number: str, *kinds: str) -> list[Part]:
    """What a release has beside its server, of the given kinds or all."""
    folder = paths.release(app, number) / UNITS
    return [
        Part(name, kind, (folder / kind / name).read_text())
        for kind in kinds or KINDS
        for name in sorted(names_in(folder / kind))
    ]


def processes(paths: Paths, app: str, number: str, *kinds: str) -> list[Process]:
    """The processes that a release has beside its server, of the given kinds or all."""
    return [
        Process(app, number, part.name.removeprefix(f"{app}.").partition("@")[0], part.kind)
        for part in parts(paths, app, number, *kinds)
    ]


def lasting(paths: Paths, app: str, number: str) -> list[Process]:
    """What is up while a release serves: its server, its workers and its timers."""
    return [Process(app, number), *processes(paths, app, number, WORKER, TIMER)]


def names_in(folder: Path) -> list[str]:
    """The names in a directory; none where it does not exist."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def read_text(path: Path) -> str | None:
    """The text of a file; None where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return None
