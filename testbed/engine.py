"""Find a container engine, or install and start one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from .errors import TestbedError

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
START_TIMEOUT = 60  # seconds until a started engine must answer
ENGINE_LOG = Path("/var/log/webops-testbed-dockerd.log")


def say(message: str) -> None:
    """Tell the person what takes time right now."""
    print(f"testbed: {message}", flush=True)


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold a lock between processes, so that two runs do not build one image twice."""
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"testbed-{name}.lock", "w", encoding="utf-8") as handle:
        flock(handle, LOCK_EX)
        yield


def docker(*args: str, stdin: str | None = None, timeout: float | None = None) -> str:
    """Run docker and return what it printed.

    Raises:
        TestbedError: docker failed or took longer than ``timeout`` seconds; the message holds its stderr.
    """
    try:
        done = subprocess.run(
            ["docker", *args], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TestbedError(f"docker {args[0]} did not finish within {timeout} s") from error
    if done.returncode != 0:
        raise TestbedError(f"docker {' '.join(args)} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout.strip()


def answers() -> bool:
    """Tell whether a container engine answers."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return asked.returncode == 0


def ensure() -> None:
    """Reuse a running engine, or install and start Debian's.

    Raises:
        TestbedError: none runs and this user cannot start one.
    """
    if answers():
        return
    with only_one("engine"):
        if answers():
            return
        if os.geteuid() != 0:
            raise TestbedError(
                "no container engine answers `docker info`. Start Docker, or add yourself to the group `docker`, "
                "or run as root so that Debian's docker.io can be installed."
            )
        missing = {"dockerd": "docker.io", "iptables": "iptables"}
        packages = [package for program, package in missing.items() if shutil.which(program) is None]
        if packages:
            install(packages)
        _start()


def installed() -> bool:
    """Tell whether this machine has an engine, running or not."""
    return shutil.which("dockerd") is not None or answers()


def need(program: str, package: str) -> None:
    """Install a Debian package unless the program it brings is there."""
    with only_one("packages"):  # images are built side by side, and apt waits for nobody
        if shutil.which(program) is None:
            install([package])


def install(packages: list[str]) -> None:
    """Install Debian packages on this machine.

    Raises:
        TestbedError: this is no Debian, or apt failed.
    """
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise TestbedError(f"please install {' '.join(packages)} (needs root on Debian, or another system's packages)")
    say(f"installing {' '.join(packages)}")
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True, check=False)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def _start() -> None:
    """Start the engine: by systemd where that is PID 1, else in a session of its own that outlives this shell."""
    if answers():
        return
    say("starting the container engine")
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False)
    else:
        with open(ENGINE_LOG, "ab") as log:
            subprocess.Popen(
                ["dockerd", "--log-level", "warn"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    deadline = time.monotonic() + START_TIMEOUT
    while not answers():
        if time.monotonic() > deadline:
            raise TestbedError(f"the container engine did not answer within {START_TIMEOUT} s; see {ENGINE_LOG}")
        time.sleep(0.2)


def systemd_options() -> list[str]:
    """Options of ``docker run`` under which systemd boots, which depend on the machine's cgroup version.

    On pure cgroup v2, systemd needs the machine's own (writable) hierarchy. On v1 or hybrid, it needs a namespace of
    its own: sharing there would make all containers fight over one cgroup root.
    """
    options = ["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"]
    options += ["--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp", "--stop-signal=SIGRTMIN+3"]
    if docker("info", "--format", "{{.CgroupVersion}}") == "2":
        return [*options, "--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"]
    return [*options, "--cgroupns=private"]
