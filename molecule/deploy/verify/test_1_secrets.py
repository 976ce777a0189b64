"""Secrets of every kind are planted; a run that ends well and one that fails must show them nowhere."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

APPS = Path(__file__).resolve().parents[1] / "group_vars" / "wsgi" / "apps.yml"
OUTCOMES = {"a run that ends well": 0, "a run that fails": 2}

# Each has "plntd" and its kind in every line, so that any part of it that shows is recognised.
SECRETS = {
    "QUOTES": 'plntd-quotes it\'s "quoted" plntd-quotes',
    "BACKSLASH": "plntd-backslash\\plntd-backslash\\n",
    "TAB": "plntd-tab\tplntd-tab",
    "LINES": "plntd-lines one\nplntd-lines two\n\nplntd-lines three",
    "UNICODE": "plntd-unicode-пароль-plntd-unicode",
    "PERCENT": "plntd-percent%s%-100%plntd-percent",
    "DOLLAR": "plntd-dollar$HOME`id`plntd-dollar",
    "LONG": "plntd-long-" * 900,
    "URL": "postgres://user:plntd-url%40@db.example.test/plntd-url",
    "NUMBER": "60719283746500",
}
CREDENTIALS = {
    "planted.pem": rsa.generate_private_key(65537, 2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode(),
    "quoted": 'plntd-credential it\'s "quoted"\\',
}
HEADER = "Bearer plntd-header it's"  # of the health check; nobody has said that it is one
MARKS = {
    **{f"secret {name}": f"plntd-{name.lower()}" for name in SECRETS if name != "NUMBER"},
    "secret NUMBER": SECRETS["NUMBER"],
    "credential quoted": "plntd-credential",
    "health header": "plntd-header",
    **{
        f"credential planted.pem, line {number}": line
        for number, line in enumerate(CREDENTIALS["planted.pem"].splitlines(), start=1)
        if not line.startswith("-----")
    },
}
ENCODED = {
    f"{name}, {how}": encode(value)
    for name, value in {**SECRETS, **CREDENTIALS}.items()
    for how, encode in {
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
        "as JSON": lambda text: json.dumps(text)[1:-1],
        "as Python": lambda text: repr(text)[1:-1],
        "in a shell": shlex.quote,
        "in a URL": lambda text: quote(text, safe=""),
    }.items()
}
TELL_ALL = """python3 - <<'P'
import base64, json, os
told = {name: os.environ[name] for name in NAMES}
told["pem"] = open(os.environ["CREDENTIALS_DIRECTORY"] + "/planted.pem").read()
for value in told.values():
    print(value, repr(value), json.dumps(value), base64.b64encode(value.encode()).decode(), sep="\\n")
print(told)
P
echo the hook has told all
exit 3
""".replace("NAMES", repr([name for name in SECRETS if name != "LONG"]))

# As root or as nobody: every file with a mark in it, and its mode.
FILES = """
import json, os, stat, sys
marks = {name: mark.encode() for name, mark in json.load(sys.stdin).items()}
left_out = {"/proc", "/sys", "/usr", "/dev/pts", "/dev/mqueue", "/var/log/journal", "/run/log/journal"}
for top, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(top, name) not in left_out]
    for path in (os.path.join(top, name) for name in names):
        try:
            about = os.lstat(path)
            if not stat.S_ISREG(about.st_mode) or about.st_size > 5_000_000:
                continue
            with open(path, "rb") as stream:
                text = stream.read()
        except OSError:
            continue
        kinds = [name for name, mark in marks.items() if mark in text]
        if kinds:
            print(json.dumps([path, stat.S_IMODE(about.st_mode), kinds]))
"""
# As nobody, for as long as standard input is open: what /proc shows of the processes of others.
PROCESSES = """
import glob, select, sys
seen = set()
while not select.select([sys.stdin], [], [], 0.1)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as stream:
                seen.add(stream.read())
        except OSError:
            pass
sys.stdout.buffer.write(b"\\n".join(seen))
"""


@dataclass
class Evidence:
    """What two runs left on a host.

    Attributes:
        texts: By the run's outcome and the place: what could be read there.
        files: By the reader: path, mode and kinds of the files that hold a secret.
        message: Of the run that failed.
        app_told: What the app itself has written into its journal.
    """

    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[str, list[tuple[str, int, list[str]]]] = field(default_factory=dict)
    message: str = ""
    app_told: str = ""


PLACES = ("the output of -vvvv --diff", "the journal", "systemctl", "processes", "the app's history")
READERS = {"root": "root", "other users": "nobody"}


@pytest.fixture(scope="module", autouse=True)
def log(tmp_path_factory) -> Iterator[Path]:
    """The log of Ansible on the controller."""
    path = tmp_path_factory.mktemp("log") / "ansible.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_LOG_PATH", str(path))
        yield path


@pytest.fixture(scope="module")
def evidence(hosts, play_once) -> dict[str, Evidence]:
    """What is found on each host after a run that ends well and one that fails."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        found = list(pool.map(lambda host: _look(host, play_once), hosts))
    return {host.name: told for host, told in zip(hosts, found, strict=True)}


def _look(host: Any, play: Any) -> Evidence:
    evidence = Evidence()
    for outcome, code in OUTCOMES.items():
        since = int(time.time())
        with _watched(host) as seen:
            run = play("-vvvv", "--diff", "--limit", host.name, playbook="deploy", wsgi_apps=[_app(bool(code))])
        assert run.code == code, run.output
        evidence.message = run.output
        journal, evidence.app_told = _journal(host, since)
        told = (
            run.output,
            journal,
            host.run("systemctl show --all 'api@*' 'api.*'; systemctl cat 'api@*' 'api.*'"),
            seen[0],
            host.run("cat /srv/api/history.jsonl /srv/api/releases/*/release.json"),
        )
        evidence.texts |= {(outcome, place): text for place, text in zip(PLACES, told, strict=True)}
    evidence.files = {reader: _files(host, user) for reader, user in READERS.items()}
    return evidence


def _app(failing: bool) -> dict[str, Any]:
    """The inventory's app with everything planted."""
    apps = yaml.safe_load(APPS.read_text(encoding="utf-8"))["wsgi_apps"]
    api = next(app for app in apps if app["name"] == "api")
    release = {**api["release"], "health_headers": {"Authorization": HEADER}}
    if failing:
        release["before_activate"] = TELL_ALL
    return {**api, "secrets": SECRETS, "credentials": CREDENTIALS, "release": release}


def _docker(host: Any, user: str, *command: str) -> list[str]:
    return ["docker", "exec", "--interactive", "--user", user, host.container, *command]


@contextmanager
def _watched(host: Any) -> Iterator[list[str]]:
    """What other users see of the host's processes while the block runs."""
    seen: list[str] = []
    asked = _docker(host, "nobody", "python3", "-c", PROCESSES)
    watcher = subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        yield seen
    finally:
        seen.append(watcher.communicate()[0])


def _journal(host: Any, since: int) -> tuple[str, str]:
    """What others than the app have written into the journal, and what the app has."""
    user = host.run("id -u api")
    entries = [json.loads(line) for line in host.run(f"journalctl --all -o json --since @{since}").splitlines()]
    texts = {True: [""], False: [""]}
    for entry in entries:
        texts[entry.get("_UID") == user].append(json.dumps(entry, ensure_ascii=False))
        texts[entry.get("_UID") == user].append(str(entry.get("MESSAGE")))
    return "\n".join(texts[False]), "\n".join(texts[True])


def _files(host: Any, user: str) -> list[tuple[str, int, list[str]]]:
    """Path, mode and kinds of the files with secrets that a user can read."""
    asked = _docker(host, user, "python3", "-c", FILES)
    done = subprocess.run(asked, input=json.dumps({**MARKS, **ENCODED}), capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def _shown(text: str) -> list[str]:
    """Names of the secrets that a text shows."""
    return sorted({name.split(", line")[0] for name, mark in {**MARKS, **ENCODED}.items() if mark in text})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_no_secret_shows(evidence, host, outcome, place):
    text = evidence[host.name].texts[outcome, place]
    assert text.strip(), f"nothing was found in {place}"
    assert _shown(text) == [], f"{host.name}: after {outcome}, {place} shows {', '.join(_shown(text))}"


@pytest.mark.usefixtures("evidence")
def test_no_secret_shows_in_the_log_of_ansible(log):
    text = log.read_text(encoding="utf-8")
    assert "Activate the releases" in text
    assert _shown(text) == []


def test_other_users_read_no_file_with_a_secret(evidence, host):
    assert evidence[host.name].files["other users"] == []


def test_secrets_are_in_the_files_of_releases_and_nowhere_else(evidence, host):
    """Rule 5 of docs/architecture.md; the last two releases are here, and systemd's copies for what runs."""
    expected = re.compile(r"/srv/api/releases/\d+/(etc/environment|credentials/[^/]+)|/run/credentials/api[^/]+/[^/]+")
    for path, mode, kinds in evidence[host.name].files["root"]:
        assert expected.fullmatch(path), f"{host.name}: {path} holds {', '.join(kinds)}"
        assert mode & 0o077 & ~(0o040 if path.startswith("/run/credentials/") else 0) == 0, f"{path} is {mode:o}"


def test_the_app_got_its_secrets_and_the_failure_is_told(evidence, host):
    """Or the tests above would pass for want of secrets."""
    told = _shown(evidence[host.name].app_told)
    assert {"credential planted.pem", *(f"secret {name}" for name in SECRETS if name != "LONG")} <= set(told)
    message = evidence[host.name].message
    assert "before_activate failed" in message
    assert "the hook has told all" in message
    assert "********" in message


@pytest.mark.usefixtures("evidence")
def test_the_controller_keeps_no_secret():
    """Temporary files and retry files: the inventory is the only place."""
    folders = [Path.home() / ".ansible", Path.home() / ".cache" / "webops.wsgi", APPS.parents[4] / "playbooks"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 1e6]
    showing = [str(path) for path in files if b"plntd" in path.read_bytes()]
    assert showing == []
