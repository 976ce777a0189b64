# Starts a process of a release for Supervisor, written by webops.wsgi.
#
# Supervisor gives a process another user and little more. What systemd does for a unit, this does before it becomes the
# process: directories, limits, and an environment of which nothing is in a file or a command line that others can read.
# It is root's until then: the app may neither read the environment's file nor write where its socket's directory is.
from __future__ import annotations

import json
import os
import pwd
import re
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ASSIGNMENT = re.compile(rb'([^="\n]+)="((?:[^"\\]|\\.)*)"\n', re.DOTALL)  # a line as environment_file() writes it
MOUNT = "size=64k,nr_inodes=16,mode=0710,nosuid,nodev,noexec,nosymfollow"
NO_PRIVILEGES = ("--init-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
PREPARED = '"$1"; exec "$2"'


def variables(text: bytes) -> dict[bytes, bytes]:
    """The variables of an environment file as systemd reads them."""
    return {name: re.sub(rb'\\(["\\$`])', rb"\1", value) for name, value in ASSIGNMENT.findall(text)}


def environment(settings: dict[str, Any], process: dict[str, Any], release: str) -> dict[bytes, bytes]:
    """The whole environment of a process: nothing is inherited, and the app's own variables win."""
    app, folder = settings["app"], str(FOLDER)
    home = f"/var/lib/{app}"
    found = {
        "USER": app,
        "LOGNAME": app,
        "HOME": home,
        "STATE_DIRECTORY": home,
        "LANG": "C.UTF-8",
        "PATH": f"{folder}/app/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "WSGI_APP": app,
        "WSGI_RELEASE": release,
        "WSGI_RELEASE_DIR": folder,
        **({"WSGI_SOCKET": f"/run/{app}/{release}/sock"} if process["listens"] else {}),
        **({"WSGI_REPLICA": str(process["replica"])} if process["replica"] else {}),
        **{name: value.replace("{files}", f"{folder}/files") for name, value in settings["located"].items()},
    }
    own = variables((FOLDER / "etc" / "environment").read_bytes())
    return {**{os.fsencode(name): os.fsencode(value) for name, value in found.items()}, **own}


def began(pid: int) -> str:
    """When a process was started, in the kernel's clock, so that its number given to another one is no mistake."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def replace(record: Path, seconds: float) -> int:
    """Stop what a supervisord that was killed left running; returns how often this process was started before."""
    try:
        before = json.loads(record.read_text())
    except (OSError, ValueError):
        return 0
    pid = before["pid"]
    if pid != os.getpid() and before["began"] == began(pid):
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            watch = select.poll()
            watch.register(handle, select.POLLIN)
            if not watch.poll(seconds * 1000):
                os.killpg(pid, signal.SIGKILL)
                watch.poll()
    return int(before["count"])


def give_directories(settings: dict[str, Any], process: dict[str, Any], release: str) -> None:
    """The directory of the app's data, and the small file system for the socket in which nobody follows a symlink."""
    app = settings["app"]
    user, home = pwd.getpwnam(app), Path("/var/lib", app)
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != user.pw_uid:  # new, or kept of an app that was removed and comes back
        subprocess.run(["chown", "-RhP", f"{app}:{app}", str(home)], check=True)
        home.chmod(0o750)
    place = Path("/run", app, release)
    if process["listens"] and not place.is_mount():
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", MOUNT, "wsgi", str(place)], check=True)
        subprocess.run(["chown", f"{app}:{settings['proxy']}", str(place)], check=True)


def limit(settings: dict[str, Any]) -> None:
    """Limits and surroundings that a process inherits."""
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = settings["limit_nofile"]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    except (OSError, ValueError):  # more than this host allows even root
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, most), most))
    os.setpriority(os.PRIO_PROCESS, 0, settings["nice"])
    os.umask(0o077)
    # Not Supervisor's pipe.
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.chdir(FOLDER / settings["directory"])


def main(name: str) -> None:
    settings = json.loads((FOLDER / "launch.json").read_text())
    process, release, app = settings["processes"][name], FOLDER.name, settings["app"]
    record = Path("/run", app, f".{app}{f'.{name}' if name else ''}@{release}.started")
    count = replace(record, process["stop_timeout"]) + 1
    give_directories(settings, process, release)
    record.write_text(json.dumps({"pid": os.getpid(), "began": began(os.getpid()), "count": count}))
    limit(settings)
    command = [str(FOLDER / process["command"])]
    if (FOLDER / "prepare").exists():
        command = ["/bin/sh", "-ec", PREPARED, "sh", str(FOLDER / "prepare"), *command]
    user = [f"--reuid={app}", f"--regid={app}", *NO_PRIVILEGES]
    os.execve("/usr/bin/setpriv", ["setpriv", *user, "--", *command], environment(settings, process, release))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
