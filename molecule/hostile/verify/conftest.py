"""What the attacks are made and judged with: a shell in one app, eyes on the other, root's eyes on the host."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from testbed import labs

SCENARIO = Path(__file__).parents[1]
ATTACKS: dict[str, list[dict[str, str]]] = yaml.safe_load((SCENARIO / "data/attacks.yml").read_text(encoding="utf-8"))
PATIENCE = 30  # seconds for one command of the attacker's
TOKEN = "only-its-attacker-knows"
PLANTED = re.compile(r"planted-in-[a-z]+")
WORKS_TIMEOUT = 60  # seconds for one command where it works


@dataclass(frozen=True)
class Mallory:
    """The shell in the app that was taken over."""

    host: Any
    client: Any

    def all(self, commands: Mapping[str, str], seconds: float = PATIENCE) -> dict[str, dict[str, Any]]:
        """Run commands at once; each one's exit code and output."""
        sent = json.dumps({"commands": dict(commands), "seconds": seconds, "env": self.knows})
        # Not through nginx: there are attacks on that way.
        asked = ["curl", "-s", "-m", "300", "-H", f"X-Token: {TOKEN}", "-H", "Content-Type: application/json"]
        asked += ["--data", "@-", "--unix-socket", "/srv/mallory/current/socket", "http://mallory/shell"]
        asked = ["docker", "exec", "-i", self.host.container, *asked]
        done = subprocess.run(asked, input=sent, capture_output=True, text=True, check=False)
        try:
            told: dict[str, dict[str, Any]] = json.loads(done.stdout)
        except ValueError:
            pytest.fail(f"{self.host.name}: the attacker's shell does not answer: {done.stdout[:300]}{done.stderr}")
        return told

    def run(self, command: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Run one command."""
        return self.all({"it": command}, seconds)["it"]

    def start(self, *commands: str) -> None:
        """Start commands and leave them to themselves."""
        self.all({str(n): f"setsid sh -c {shlex.quote(line)} >/dev/null 2>&1 &" for n, line in enumerate(commands)})

    def in_main_process(self, code: str) -> None:
        """Run Python where systemd believes what is said."""
        done = self.run(f"python -m tricks master {shlex.quote(code)}")
        assert done["code"] == 0, f"{self.host.name}: {done['output']}"

    @cached_property
    def knows(self) -> dict[str, str]:
        """Numbers that an attacker would guess."""
        pid = self.host.run(f"systemctl show -P MainPID {self.host.instance('victim')}")
        nginx = self.host.run("systemctl show -P MainPID nginx")
        return {"VICTIM_PID": pid, "VICTIM_RELEASE": self.host.release("victim"), "NGINX_PID": nginx}

    def answer(self, path: str = "/answer", *options: str, **told: Any) -> Any:
        """What a client gets when the app answers as its attacker wants."""
        headers = ["-H", f"X-Token: {TOKEN}", "-H", f"X-Answer: {json.dumps(told)}"]
        return self.client.get(self.host.url("mallory", path), *headers, *options)

    def serves(self) -> bool:
        """Whether it is in service again."""
        return bool(self.client.get(self.host.url("mallory", "/healthz")).status == 200)

    def afresh(self) -> None:
        """Clear away what attacks have left in its data, and start it again."""
        # That they have ended its server again and again is what a run would rightly fail for.
        self.host.run(
            "cd /var/lib/mallory && rm -rf one* two* three* four* uploads*; chmod 750 .; "
            "systemctl restart mallory.target; systemctl reset-failed 'mallory@*'"
        )

    def back(self) -> None:
        """Wait until it is in service again."""
        labs.wait_for(self.serves, f"mallory to come back on {self.host.name}")

    def die(self) -> None:
        """End the server, as an app can that is weary of it; systemd starts it again."""
        before = self.host.run("systemctl show -P NRestarts 'mallory@*'")
        self.start("python -m tricks master 'import os; os.kill(os.getpid(), 9)'")
        restarts = "systemctl show -P NRestarts 'mallory@*'"
        labs.wait_for(lambda: bool(self.host.run(restarts) != before), f"mallory's restart on {self.host.name}")
        time.sleep(2)


@dataclass(frozen=True)
class Victim:
    """The app next door, as it was when the tests began."""

    host: Any
    client: Any
    before: str
    units: str

    def unharmed(self) -> None:
        """Fail unless it serves, refuses what is not for all, runs undisturbed, and no file of it has changed."""
        name = f"{self.host.name}: victim"
        home = self.client.get(self.host.url("victim"))
        assert home.status == 200, f"{name} answers {home.status} {home.error}"
        told = {key: home.json[key] for key in ("app", "diary", "secret", "credential")}
        assert told == {"app": "victim", "diary": 16, "secret": 18, "credential": 22}, f"{name} lost something: {told}"
        wanted = {"/private/x": 401, "/inside/x": 403, "/cached/private/x": 403, "/uploads/hello.txt": 200}
        given = {path: self.client.get(self.host.url("victim", path)).status for path in wanted}
        assert given == wanted, f"{name} answers otherwise than it should: {given}"
        assert victim_units(self.host) == self.units, f"{name} was disturbed"
        changed = set(self.before.splitlines()) ^ set(victim_files(self.host).splitlines())
        assert not changed, f"{name}: files changed:\n" + "\n".join(sorted(changed))

    def bystanders(self) -> None:
        """Fail when something of the host's has another owner, or is open to others."""
        loose = self.host.run("find /etc /srv /opt /usr/local /root ! -user root -print -quit")
        assert loose == "", f"{self.host.name}: {loose} does not belong to root any more"
        listed = self.host.run("ls -ld /opt/bystander /opt/bystander/below /srv /etc /root | cut -d' ' -f1")
        assert "+" not in listed, f"{self.host.name}: somebody has been let into a directory of root's: {listed}"


def victim_units(host: Any) -> str:
    """Which processes serve the app next door, and how often they were started."""
    unit = host.instance("victim")
    return str(unit + host.run(f"systemctl show -p MainPID,NRestarts,ActiveState,SubState {unit}"))


def victim_files(host: Any) -> str:
    """Everything of the app next door on the disk, with owners, modes and contents."""
    places = "/srv/victim /var/lib/victim /opt/bystander /etc/sudoers"
    listed = host.run(f"find {places} -printf '%p %y %u:%g %m %l\\n'")
    sums = host.run(f"find {places} -type f -exec sha256sum {{}} +")
    return f"{listed}\n{sums}"


def what_it_reached(row: Mapping[str, str], done: Mapping[str, Any], host: Any) -> str:
    """What an attack reached, for the message; empty for one that did not."""
    planted = PLANTED.search(done["output"])
    if planted:
        return f"{row['attack']}: reached {row['reach']}: {planted[0]}"
    if "watched" in row:
        return ""
    if "seen" in row:
        found = host.try_(row["seen"])
        return f"{row['attack']}: reached {row['reach']}: {found.stdout.strip()}" if found.returncode == 0 else ""
    return f"{row['attack']}: reached {row['reach']}: {done['output'].strip()[:80]!r}" if done["code"] == 0 else ""


@pytest.fixture(scope="session")
def attacks() -> dict[str, list[dict[str, str]]]:
    """All attacks, by group."""
    return ATTACKS


@pytest.fixture(scope="session")
def reached() -> Callable[..., str]:
    """What an attack reached, for the message; empty for one that did not."""
    return what_it_reached


@pytest.fixture(scope="session")
def held() -> Callable[..., None]:
    """Fails a test when attacks of a list reached something; each gets a line."""

    def judge(rows: list[dict[str, str]], done: Mapping[str, Any], host: Any) -> None:
        found = [line for row in rows if (line := what_it_reached(row, done[row["attack"]], host))]
        assert not found, f"{host.name}: {len(found)} of {len(rows)} attacks got there:\n" + "\n".join(found)

    return judge


@pytest.fixture(scope="session")
def on_all(hosts) -> Callable[[Callable[[Any], Any]], dict[str, Any]]:
    """Do something on all hosts at the same time; what came of it, by host."""

    def do(action: Callable[[Any], Any]) -> dict[str, Any]:
        with ThreadPoolExecutor(len(hosts)) as pool:
            return dict(zip([host.name for host in hosts], pool.map(action, hosts), strict=True))

    return do


@pytest.fixture(scope="session")
def mallories(hosts, client) -> dict[str, Mallory]:
    """The attacker's shell on each host."""
    return {host.name: Mallory(host, client) for host in hosts}


@pytest.fixture(scope="session")
def victims(hosts, client) -> dict[str, Victim]:
    """The app next door on each host, remembered as it is before the first attack."""
    for host in hosts:
        client.get(host.url("victim", "/cached/open/x"))
        client.get(host.url("victim", "/?token=planted-in-url"))
    return {host.name: Victim(host, client, victim_files(host), victim_units(host)) for host in hosts}


@pytest.fixture
def mallory(host, mallories) -> Mallory:
    """The attacker's shell."""
    return mallories[host.name]


@pytest.fixture
def victim(host, victims) -> Victim:
    """The app next door."""
    return victims[host.name]


@pytest.fixture(scope="session", autouse=True)
def _remembered(victims) -> None:
    """Before the first attack of all, whichever test is run alone."""
    assert victims


@pytest.fixture(scope="session")
def owners(hosts) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a command on a host as somebody outside every sandbox, with mallory's surroundings."""
    tricks = SCENARIO / "apps/mallory/tricks.py"
    for host in hosts:
        host.run(
            "mkdir -p /opt/control/bin /run/control /opt/control/home; ln -sfn /usr/bin/python3 /opt/control/bin/python"
        )
        subprocess.run(
            ["docker", "cp", str(tricks), f"{host.container}:/opt/control/"], check=True, capture_output=True
        )

    def run(host: Any, user: str, command: str, known: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        variables = {**known, "PYTHONPATH": "/opt/control", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/opt/control/home"}
        variables |= {"PATH": f"/opt/control/bin:{os.defpath}:/usr/sbin:/sbin:/usr/local/bin"}
        variables |= {"WSGI_RELEASE": "1", "WSGI_SOCKET": "/run/control/sock"}
        words = [f"{name}={value}" for name, value in variables.items()]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user != "root" else []
        line = shlex.join(["env", *words, "timeout", str(WORKS_TIMEOUT), *become, "sh", "-c", command])
        return host.try_(f"cd /opt/control && {line}")

    yield run
    for host in hosts:
        host.run("rm -rf /opt/control /run/control; systemctl start bystander.service")


@dataclass(frozen=True)
class Truth:
    """Judges runs: one that reports ok has looked."""

    hosts: list[Any]
    client: Any

    def of(self, run: Any) -> None:
        """Fail when a run reports ok though mallory does not serve, or fails without naming it."""
        serving = {host.name: self.client.get(host.url("mallory", "/healthz")).status for host in self.hosts}
        if run.code == 0:
            assert set(serving.values()) == {200}, f"the run reports ok, but mallory answers {serving}"
        else:
            assert "mallory" in run.output, f"the run does not say whose fault it is:\n{run.output[-3000:]}"


@pytest.fixture
def truth(hosts, client) -> Truth:
    """Judges runs."""
    return Truth(hosts, client)
