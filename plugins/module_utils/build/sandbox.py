# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where programs run that root must not run: transient units of systemd with a user that exists as long as they do.

A program is the text of a few modules, sent over standard input with its job. Nothing of it is on the disk, on a
command line or among the settings of a unit, which every user of the host can read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Protocol

from ansible_collections.webops.wsgi.plugins.module_utils.build.program import CACHE
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree

WORKSHOPS = "wsgi-build"  # below /var/cache, see CacheDirectory in systemd.exec(5)
PATIENCE = 30  # seconds that systemd may take beyond a unit's time limit
LEFT_OPEN = 2  # seconds to wait for the rest of an output whose other end somebody still holds
OUTPUT_KEPT = 64_000  # bytes of the end of an output
LINE_KEPT = 64_000  # bytes of its first line

# Reads the modules and the job from the first line; the rest of standard input is the program's. The modules import
# each other by full name, C(from ansible_collections... import x), since there is no package they could be in.
BOOTSTRAP = """\
import json, sys, types
sent = json.loads(sys.stdin.buffer.readline())
for name, text in sent["modules"].items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name.rpartition(".")[2] + ".py", "exec"), module.__dict__)
module.main(sent["job"], sys.stdin.buffer)
"""

# No capability, no new privilege, nothing of the host to write to.
CLOSED = (
    "DynamicUser=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "ProtectProc=invisible",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0022",
    # Names and outputs are UTF-8, whatever the host's own are.
    "Environment=LANG=C.UTF-8",
    "UnsetEnvironment=LC_ALL LC_CTYPE LANGUAGE",
    # Not ProtectHome=tmpfs, which anybody may write to on Debian 12.
    "TemporaryFileSystem=/home:ro /root:ro /srv:ro /var/lib:ro /var/log:ro /var/spool:ro /dev/shm:mode=1777",
    # The host's secrets and its services. /run as a whole has what name resolution needs.
    "InaccessiblePaths=-/etc/letsencrypt -/etc/nginx -/etc/wsgi -/run/dbus -/run/lock -/run/user -/run/systemd/journal",
    "KillMode=control-group",
    "TimeoutStopSec=5",
    # When the host runs out of memory, this goes first.
    "OOMScoreAdjust=800",
    "MemoryMax=75%",
    # The user is this unit's alone, so the second holds where the first does not, without the kernel's controller.
    "TasksMax=1024",
    "LimitNPROC=1024",
)


class SandboxError(Exception):
    """A program could not be run; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        code: Its exit code, 0 when all went well.
        told: The first line of its output, written before anything foreign ran.
        errors: The end of what it wrote to standard error.
        seconds: How long it took.
    """

    code: int
    told: str
    errors: str
    seconds: float


class Sandbox(Protocol):
    """Runs programs with as few rights as they can do with."""

    def workshop(self, app: str, /) -> Path:
        """The directory, as root sees it, in which an app's builds work."""

    def seen(self, app: str, here: Path, /) -> Path:
        """The directory as a build sees it that works for a place."""

    def clear(self, app: str, cache: bool = False) -> None:
        """End what is left of an earlier build, and remove all of it, the cache only when asked to."""

    def build(self, app: str, here: Path, limit: int, readable: Sequence[Path], /) -> list[str]:
        """The command that runs a build, which sees its workshop at a path."""

    def service(self, app: str, limit: int, kind: str = "index", /) -> list[str]:
        """The command that runs a program with no place to write to, beside a build; one of each kind."""


class SystemdSandbox:
    """Runs programs in transient units."""

    def __init__(self, caches: Path = Path("/var/cache")) -> None:
        self._caches = caches

    def workshop(self, app: str) -> Path:
        """The directory of systemd's in which an app's builds work; no other user reaches it."""
        return self._caches / "private" / WORKSHOPS / app

    def seen(self, _app: str, here: Path) -> Path:
        """The place itself: a virtual environment knows where it lies."""
        return here

    def clear(self, app: str, cache: bool = False) -> None:
        """End what is left of an earlier build, whose run was killed, and remove all of it, or all but the cache."""
        units = [_unit(kind, app) for kind in ("build", "index", "proxy")]
        subprocess.run(["systemctl", "stop", *units], capture_output=True, check=False)
        clear_workshop(self.workshop(app), cache)

    def build(self, app: str, here: Path, limit: int, readable: Sequence[Path]) -> list[str]:
        """The command that runs a build, with the workshop in the place of the finished builds.

        All of it is one mount: an installer can link files from its cache.
        """
        return _command(
            _unit("build", app),
            f"User={_user('build', app)}",
            f"CacheDirectory={WORKSHOPS}/{app}",
            "CacheDirectoryMode=0700",
            f"BindPaths={self.workshop(app)}:{here}",
            *(f"BindReadOnlyPaths={path}" for path in readable),
            f"RuntimeMaxSec={limit}",
        )

    def service(self, app: str, limit: int, kind: str = "index") -> list[str]:
        """The command that runs a program beside a build, as another user."""
        return _command(_unit(kind, app), f"User={_user(kind, app)}", f"RuntimeMaxSec={limit + PATIENCE}")


def clear_workshop(workshop: Path, cache: bool = False) -> None:
    """Remove what builds have left in a workshop, the cache only when asked to."""
    for path in list(workshop.iterdir()) if workshop.is_dir() else []:
        if path.name == CACHE and not cache:
            continue
        remove_tree(path)


def _unit(kind: str, app: str) -> str:
    return f"wsgi-{kind}-{app}.service"


def _user(kind: str, app: str) -> str:
    """The name of a user who exists while a unit runs.

    It has an underscore, which no app's name has: systemd would take a user of that name who is there already.
    """
    return f"_wsgi_{hashlib.sha256(f'{kind} {app}'.encode()).hexdigest()[:16]}"


def _command(unit: str, *properties: str) -> list[str]:
    run = ["systemd-run", "--pipe", "--wait", "--collect", "--quiet", "--service-type=exec", f"--unit={unit}"]
    settings = [f"--property={line}" for line in (*CLOSED, *properties)]
    return [*run, *settings, "--", *interpreter("/usr/bin/python3")]


def interpreter(python: str) -> list[str]:
    """The command that runs what is sent to it."""
    return [python, "-I", "-c", BOOTSTRAP]


def parcel(modules: Sequence[ModuleType], job: Mapping[str, Any]) -> bytes:
    """What is sent to a program: modules, of which the last has C(main), and its job."""
    texts = {module.__name__: _source(module) for module in modules}
    return json.dumps({"modules": texts, "job": job}).encode() + b"\n"


def _source(module: ModuleType) -> str:
    """The text of a module: C(inspect) keeps a cache for it, which builds side by side spoil for each other."""
    file, spec = Path(str(module.__file__)), module.__spec__
    if file.is_file():
        return file.read_text(encoding="utf-8")
    loader: Any = spec.loader if spec else None  # Ansible sends modules to hosts in an archive
    return bytes(loader.get_data(str(file))).decode()


def run(command: list[str], parcel_: bytes, archive: Path | None, limit: int) -> Outcome:
    """Run a program to its end, and all that it has started.

    Args:
        command: As a sandbox gives it.
        parcel_: What is sent first.
        archive: A file that is sent after it.
        limit: Seconds that it gets.

    Raises:
        SandboxError: The command cannot be run.
    """
    started = time.monotonic()
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env={"PATH": os.defpath})
    except FileNotFoundError:
        raise SandboxError(f"{command[0]} does not exist on this host, which must run systemd") from None
    assert process.stdin
    assert process.stdout
    assert process.stderr
    output, errors = _Reader(process.stdout), _Reader(process.stderr)
    feeder = threading.Thread(target=_feed, args=(process.stdin, parcel_, archive), daemon=True)
    feeder.start()
    try:
        code = process.wait(limit + PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    # Whoever was given the other end of a pipe may hold it for ever.
    for thread in (output, errors):
        thread.join(LEFT_OPEN)
    return Outcome(code, output.first, errors.end, time.monotonic() - started)


def _feed(stream: IO[bytes], head: bytes, archive: Path | None) -> None:
    try:
        with stream:
            stream.write(head)
            if archive:
                with archive.open("rb") as content:
                    shutil.copyfileobj(content, stream)
    except OSError:  # it ended before it had read all of it, and says why
        return


class _Reader(threading.Thread):
    """Reads an output to its end, and keeps its first line and its last bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = stream  # or it would be closed, and its number another file's, while this reads on
        self._stream, self._first, self._end = io.BufferedReader(io.FileIO(stream.fileno(), closefd=False)), b"", b""
        self.start()

    def run(self) -> None:
        """Read on whatever comes, or the program would wait; keep little of it."""
        self._first = self._end = self._stream.readline(LINE_KEPT)
        while block := self._stream.read1(1 << 16):
            self._end = (self._end + block)[-OUTPUT_KEPT:]

    @property
    def first(self) -> str:
        """The first line."""
        return self._first.decode(errors="replace")

    @property
    def end(self) -> str:
        """The last bytes."""
        return self._end.decode(errors="replace").strip()
