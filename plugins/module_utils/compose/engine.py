# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Compose, as the deployment of a project asks for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import Engine as Docker
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import EngineError, Registry

OLDEST = (2, 20)  # of Compose: its files may say what ours say
LINES = 15  # of what a program printed, in a message
CAUSES = ("Domain:", "Type:", "Detail:")  # of what certbot prints, the lines that say why
LABEL = "com.docker.compose"


class ComposeError(Exception):
    """Docker, or Compose, refused; the message is what it said."""


@dataclass(frozen=True)
class Container:
    """A container of the project.

    Attributes:
        service: Its service.
        id: By which the engine knows it.
        state: In the engine's word, such as C(running).
        code: With which it has ended.
        restarts: How often the engine has started it again.
        since: When it was started.
        config: What tells services of other settings apart.
        pid: Its first process, as the host has it; 0 where it has none.
    """

    service: str
    id: str
    state: str
    code: int = 0
    restarts: int = 0
    since: str = ""
    config: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Engine:
    """Docker and its Compose, for one project.

    Attributes:
        root: The project's directory.
        project: Its name.
        timeout: Seconds that a build may take.
    """

    root: Path
    project: str
    timeout: int = 3600

    def check(self) -> None:
        """See that both are there, and that no other project has the name.

        Raises:
            ComposeError: One is not, or is too old.
        """
        if not shutil.which("docker"):
            raise ComposeError(
                "docker is not installed here; install docker.io, docker-cli, docker-buildx and docker-compose of "
                "Debian 13, or Docker's own packages, or write compose_start: false to have the directory alone"
            )
        done = self._run(["docker", "compose", "version", "--short"])
        found = tuple(map(int, re.findall(r"\d+", done.stdout)[:2]))
        if done.returncode or found < OLDEST:
            raise ComposeError(
                f"docker compose is {done.stdout.strip() or 'missing'}, and the project needs "
                f"{'.'.join(map(str, OLDEST))} or newer; install docker-compose of Debian 13, or Docker's own "
                "docker-compose-plugin"
            )
        if self._run(["docker", "version"]).returncode:
            raise ComposeError("docker does not answer; start it, and see journalctl -u docker")
        others = self._directories() - {os.path.realpath(self.root)}
        if others:
            raise ComposeError(
                f'compose_project is "{self.project}", and a project of that name runs from {others.pop()}: Compose '
                "would replace its containers; write another name, or remove that one by docker compose down"
            )

    def _directories(self) -> set[str]:
        """Where the containers come from that Compose takes for the project's."""
        told = self._run(
            [
                *("docker", "ps", "--all", f"--filter=label={LABEL}.project={self.project}"),
                f'--format={{{{.Label "{LABEL}.project.working_dir"}}}}',
            ]
        )
        return {os.path.realpath(line) for line in told.stdout.splitlines() if line}

    def has_image(self, name: str) -> bool:
        """Whether the engine has an image."""
        return self._run(["docker", "image", "inspect", name]).returncode == 0

    def build(self, service: str) -> None:
        """Build the image of a service."""
        self._compose("build", "--quiet", service, timeout=self.timeout)

    def pull(self, image: str, registry: Mapping[str, Any]) -> None:
        """Fetch an image, with a password that the engine does not keep."""
        try:
            Docker("docker", self.timeout).pull(image, Registry(**registry))
        except EngineError as error:
            raise ComposeError(str(error)) from None

    def forget_image(self, name: str) -> None:
        """Remove an image, unless something still needs it."""
        self._run(["docker", "rmi", name])

    def up(self, services: Iterable[str], recreate: bool = False, orphans: bool = False) -> None:
        """Have services run; one that does is left alone, or with C(recreate) replaced where its settings differ."""
        options = [*([] if recreate else ["--no-recreate"]), *(["--remove-orphans"] if orphans else [])]
        self._compose("up", "--detach", "--quiet-pull", *options, *services, timeout=self.timeout)

    def remove(self, services: Iterable[str]) -> None:
        """Stop services, in the time that each may take, and remove their containers."""
        self._compose("rm", "--stop", "--force", *services)

    def once(self, service: str, command: str, seconds: int) -> None:
        """Run a command in a container of its own, with all that the service has."""
        self._compose("run", "--rm", "--no-deps", "-T", "--quiet-pull", service, command, timeout=seconds)

    def ask(self, service: str) -> str:
        """What is wrong with the answer of a server to its health check; empty when nothing is."""
        done = self._run(
            [*self._command(), "exec", "-T", service, "/wsgi/app/venv/bin/python", "-I", "/wsgi/check/healthy.py"], 60
        )
        return (_end(done, 1) or "it could not be asked") if done.returncode else ""

    def edge(self, *arguments: str) -> str:
        """What nginx's container does as root; returns what it printed."""
        return self._compose("exec", "-T", "nginx", "edge", *arguments).stdout.strip()

    def issued(self) -> dict[str, str]:
        """By app, with which settings an authority has given the certificate that certbot has."""
        done = self._run([*self._command(), "exec", "-T", "certbot", "certificates", "issued"])
        return dict(line.split(maxsplit=1) for line in done.stdout.splitlines()) if done.returncode == 0 else {}

    def certify(self, app: str) -> None:
        """Have certbot ask for an app's certificate.

        Raises:
            ComposeError: There is none; the message is certbot's.
        """
        done = self._run([*self._command(), "exec", "-T", "certbot", "certificates", "once", app])
        if done.returncode:
            told = [line.strip() for line in done.stdout.splitlines()]
            causes = [line for line in told if line.startswith(CAUSES)] or [_end(done, LINES)]
            raise ComposeError(
                "has no certificate of an authority for its domains, and nginx goes on with the one that it has:\n"
                + "\n".join(causes)
            )

    def volume(self, name: str) -> Path:
        """Where a volume of the project lies on the host."""
        done = self._run(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{self.project}_{name}"])
        return Path(done.stdout.strip() or "/nonexistent")

    def try_tree(self, tree: str) -> None:
        """See that nginx takes a tree, in a container of its own.

        Raises:
            ComposeError: It does not; the message is nginx's.
        """
        self._compose("run", "--rm", "--no-deps", "-T", "nginx", "test", tree)

    def tree_in_service(self) -> str:
        """The tree that nginx has read; empty when nobody can say."""
        done = self._run([*self._command(), "exec", "-T", "nginx", "cat", "/run/tree"])
        return done.stdout.strip() if done.returncode == 0 else ""

    def hashes(self) -> dict[str, str]:
        """What tells services of other settings apart, as the file has them now."""
        done = self._compose("config", "--hash=*")
        return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())

    def containers(self) -> list[Container]:
        """What the engine has of the project, running or not."""
        listed = self._run(
            ["docker", "ps", "--all", "--quiet", "--no-trunc", f"--filter=label={LABEL}.project={self.project}"]
        )
        ids = listed.stdout.split()
        if not ids:
            return []
        told = json.loads(self._run(["docker", "inspect", *ids]).stdout or "[]")
        return [_container(one) for one in told if one["Config"]["Labels"].get(f"{LABEL}.oneoff") != "True"]

    def log(self, service: str) -> str:
        """The last lines that a service printed."""
        done = self._run([*self._command(), "logs", "--no-color", "--no-log-prefix", f"--tail={LINES}", service])
        return done.stdout.strip()

    def _command(self) -> list[str]:
        return ["docker", "compose", "--project-directory", str(self.root), "--file", str(self.root / "compose.yaml")]

    def _compose(self, *arguments: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
        done = self._run([*self._command(), *arguments], timeout)
        if done.returncode:
            raise ComposeError(f"docker compose {arguments[0]}: {_end(done, LINES)}")
        return done

    def _run(self, command: list[str], timeout: int = 600) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                cwd=self.root if self.root.is_dir() else "/",
                stdin=subprocess.DEVNULL,  # compose exec would read it
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ComposeError(f"{' '.join(command[:2])} took longer than {timeout} s") from None


def _container(told: dict[str, Any]) -> Container:
    labels, state = told["Config"]["Labels"], told["State"]
    return Container(
        labels[f"{LABEL}.service"],
        told["Id"],
        state["Status"],
        state["ExitCode"],
        told.get("RestartCount", 0),
        state["StartedAt"],
        labels.get(f"{LABEL}.config-hash", ""),
        state["Pid"],
    )


def _end(done: subprocess.CompletedProcess[str], lines: int) -> str:
    told = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return "\n".join(told[-lines:])
