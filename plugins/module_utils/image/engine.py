# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building and pushing an image by Podman or Docker, whose own programs do it: no library is needed on a host."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.image.layers import LASTING_TIME, time_of

PACKAGES = {"podman": "podman", "docker": "docker.io, docker-cli and docker-buildx"}  # Debian's, with all it takes
LINES = 25  # of the end of what an engine printed


class EngineError(Exception):
    """An engine is not there or has failed; the message says which, why and what to do."""


@dataclass(frozen=True)
class Registry:
    """How a registry is reached.

    Attributes:
        user: The user there; empty for what the engine knows itself.
        password: Its password or token.
        insecure: Whether it may be spoken to without a certificate that somebody vouches for.
    """

    user: str = ""
    password: str = ""
    insecure: bool = False


@dataclass(frozen=True)
class Build:
    """What to build.

    Attributes:
        folder: The context.
        containerfile: The recipe's name in it.
        references: Names that the image gets.
        labels: Its labels.
        stamp: Its time, in seconds since the epoch.
        platforms: What it is for; empty for this machine.
        secret: A file that the build may read and no layer holds.
        beside: Further contexts by name.
    """

    folder: Path
    containerfile: str
    references: list[str]
    labels: Mapping[str, str]
    stamp: int
    secret: Path
    platforms: list[str] = field(default_factory=list)
    beside: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """One of the engines.

    Attributes:
        name: C(podman) or C(docker).
        timeout: Seconds that one of its commands may take.
    """

    name: str
    timeout: int = 3600

    def check(self) -> None:
        """See that it is there and answers.

        Raises:
            EngineError: It does not.
        """
        if not shutil.which(self.name):
            raise EngineError(
                f"{self.name} is not installed here; install {PACKAGES[self.name]}, or name another engine"
            )
        done = self._run("version", "--format", "{{.Server.Version}}" if self.name == "docker" else "{{.Version}}")
        if done.returncode:
            raise EngineError(f"{self.name} does not answer: {_end(done)}")

    def inspect(self, reference: str) -> dict[str, Any]:
        """What it knows of an image; empty when it has none of that name."""
        if not shutil.which(self.name):
            return {}
        done = self._run("image", "inspect", reference)
        return dict(json.loads(done.stdout)[0]) if done.returncode == 0 else {}

    def build_command(self, wanted: Build) -> list[str]:
        """The arguments that build an image."""
        command = ["build", "--file", str(wanted.folder / wanted.containerfile)]
        command += [part for reference in wanted.references for part in ("--tag", reference)]
        command += [f"--label={key}={value}" for key, value in sorted(wanted.labels.items())]
        command += [f"--secret=id=wsgi,src={wanted.secret}"]
        command += [f"--build-context={name}={folder}" for name, folder in wanted.beside.items()]
        command += [f"--platform={','.join(wanted.platforms)}"] if wanted.platforms else []
        if self.name == "docker":
            # An attestation has the time of the build in it.
            command += [f"--build-arg=SOURCE_DATE_EPOCH={wanted.stamp}", "--provenance=false", "--progress=plain"]
        else:
            # All layers get that time. In Docker's format the image would have the name of a container in it.
            command += [f"--timestamp={LASTING_TIME}", "--format=oci", "--layers"]
        return [*command, str(wanted.folder)]

    def build(self, wanted: Build) -> None:
        """Build an image.

        Raises:
            EngineError: It failed; the message has the end of what was printed.
        """
        done = self._run(*self.build_command(wanted), environment={"DOCKER_BUILDKIT": "1"})
        if done.returncode:
            raise EngineError(f"{self.name} could not build the image:\n{_end(done)}")

    def tag(self, reference: str, other: str) -> None:
        """Give an image another name.

        Raises:
            EngineError: It could not.
        """
        done = self._run("tag", reference, other)
        if done.returncode:
            raise EngineError(f"{self.name} could not name the image {other}: {_end(done)}")

    def pushed(self, reference: str, registry: Registry) -> str:
        """The digest of the manifest that a registry has under a name; empty when there is none, or of several."""
        with self._credentials(reference, registry) as (options, environment):
            if self.name == "podman":
                return self._pushed_by_podman(reference, options)
            insecure = ["--insecure"] if registry.insecure else []
            done = self._run("manifest", "inspect", "--verbose", *insecure, reference, environment=environment)
        told = json.loads(done.stdout) if done.returncode == 0 else {}
        return str(told["Descriptor"]["digest"]) if "Descriptor" in told else ""

    def _pushed_by_podman(self, reference: str, options: list[str]) -> str:
        """Its C(manifest inspect) refuses an image, and C(manifest add) asks for the digest of one."""
        name = f"localhost/webops-wsgi-asks-{os.getpid()}"
        self._run("manifest", "create", name)
        try:
            if self._run("manifest", "add", *options, name, f"docker://{reference}").returncode:
                return ""
            found = json.loads(self._run("manifest", "inspect", name).stdout)["manifests"]
            return str(found[0]["digest"]) if len(found) == 1 else ""
        finally:
            self._run("manifest", "rm", name)

    def push(self, reference: str, registry: Registry) -> str:
        """Push an image; returns the digest by which the registry knows it.

        Raises:
            EngineError: The registry refused it, or was not reached.
        """
        with self._credentials(reference, registry) as (options, environment), _scratch() as folder:
            file = folder / "digest"
            told = [f"--digestfile={file}"] if self.name == "podman" else []
            done = self._run("push", *options, *told, reference, environment=environment)
            if done.returncode:
                raise EngineError(
                    f"{reference} could not be pushed: {_end(done)}; see image_registry, image_registry_user and "
                    "image_registry_password"
                )
            return file.read_text().strip() if told else self._repository_digest(reference)

    def pull(self, image: str, registry: Registry) -> None:
        """Fetch an image, unless it is there.

        Raises:
            EngineError: The registry refused it, or was not reached.
        """
        if self.inspect(image):
            return
        with self._credentials(image, registry) as (options, environment):
            done = self._run("pull", "--quiet", *options, image, environment=environment)
        if done.returncode:
            raise EngineError(
                f"{image} could not be pulled: {_end(done)}; see source.image, image_registry_user and "
                "image_registry_password"
            )

    @contextmanager
    def laid_out(self, image: str, name: str) -> Iterator[str]:
        """A container of an image that never runs, to read its files.

        Raises:
            EngineError: It cannot be made.
        """
        self._run("rm", "--force", name)
        done = self._run("create", "--name", name, "--network", "none", image)
        if done.returncode:
            raise EngineError(f"{image} cannot be read: {_end(done)}")
        try:
            yield name
        finally:
            self._run("rm", "--force", name)

    def export(self, container: str, path: str, archive: Path) -> bool:
        """Write a directory of a container to a compressed archive; whether there is one."""
        with subprocess.Popen(
            [self.name, "cp", f"{container}:{path}", "-"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as copying:
            assert copying.stdout
            with gzip.open(archive, "wb", compresslevel=1) as packed:
                shutil.copyfileobj(copying.stdout, packed)
        return copying.returncode == 0

    def read(self, container: str, path: str) -> str:
        """The text of a file of a container; empty when there is none."""
        with _scratch() as folder:
            done = self._run("cp", f"{container}:{path}", str(folder / "file"))
            return (folder / "file").read_text(errors="replace") if done.returncode == 0 else ""

    def _repository_digest(self, reference: str) -> str:
        name = reference.rpartition(":")[0]
        found = [text for text in self.inspect(reference).get("RepoDigests") or [] if text.startswith(f"{name}@")]
        return found[0].partition("@")[2] if found else ""

    @contextmanager
    def _credentials(self, reference: str, registry: Registry) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Options and variables by which the engine knows a password, from a file that is gone afterwards."""
        verify = ["--tls-verify=false"] if registry.insecure and self.name == "podman" else []
        if not registry.user:
            yield verify, {}
            return
        token = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
        text = json.dumps({"auths": {reference.partition("/")[0]: {"auth": token}}})
        with _scratch() as folder:
            write_secret(folder / "config.json", text)
            if self.name == "podman":
                yield [*verify, f"--authfile={folder / 'config.json'}"], {}
            else:
                yield verify, {"DOCKER_CONFIG": str(folder)}

    def _run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.name, *arguments],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(
                f"{self.name} {arguments[0]} took longer than {self.timeout} s (image_build_timeout)"
            ) from None


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="webops.wsgi.") as folder:
        yield Path(folder)


def write_secret(path: Path, text: str) -> None:
    """Write a file that nobody else may read, at any time."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def write_context(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the files of a context, with the times and permissions that layers are made of.

    Each has a time of its content: BuildKit sends no file again whose time and size are those of the last build.
    """
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["text"], encoding="utf-8")
        path.chmod(int(file["mode"]))
    for place, folders, names in os.walk(folder, topdown=False):
        for path in (Path(place, name) for name in names):
            stamp = time_of(path.read_bytes())
            os.utime(path, (stamp, stamp))
        for path in (Path(place, name) for name in folders):
            path.chmod(0o755)
            os.utime(path, (LASTING_TIME, LASTING_TIME))


def _end(done: subprocess.CompletedProcess[str]) -> str:
    lines: Sequence[str] = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return "\n".join(lines[-LINES:])
