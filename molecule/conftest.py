"""What the assertions look at the hosts with.

Requests come from the certificate authority's container: another machine on the hosts' network, so a client with an
address of its own. Its DNS knows the domains; nothing is faked with ``--resolve``.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = os.environ.get("MOLECULE_SCENARIO_NAME", "default")
STATE = ROOT / ".cache" / "lab" / f"molecule-{SCENARIO}"
HOSTS = ("d12", "d13")
APPS = ("api", "httpbin")
LOAD = ROOT / "bench" / "load.py"
VISITORS = ROOT / "molecule" / "shared" / "visitors.py"
MOST_SECONDS = 900  # of one load
PACE = "0.3"  # of the clients' full rates: both hosts and Ansible share the machine


@dataclass(frozen=True)
class Answer:
    """What came back for one request; ``exit`` is curl's exit code, 0 when there was an answer."""

    exit: int
    status: int
    version: str
    headers: dict[str, str]
    body: str
    error: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """A machine beside the hosts that trusts the certificate authority's root."""

    container: str
    ipv4: str
    ipv6: str
    root: str

    def get(self, url: str, *options: str) -> Answer:
        """Ask for a URL; the chain and the name of the certificate are verified."""
        written = '%{stderr}{"about":%{json},"headers":%{header_json}}'
        fixed = ["-s", "--max-time", "60", "--cacert", self.root, "--write-out", written]
        asked = _run(["docker", "exec", "-i", self.container, "curl", *fixed, *options, url])
        told = json.loads(asked.stderr)
        return Answer(
            exit=asked.returncode,
            status=told["about"]["response_code"],
            version=told["about"]["http_version"],
            headers={name.lower(): ", ".join(values) for name, values in told["headers"].items()},
            body=asked.stdout,
            error=told["about"]["errormsg"] or "",
        )

    def shell(self, script: str, *arguments: str) -> str:
        """Run a shell script, the first of its arguments as ``$0``; fail the test when it fails."""
        done = _run(["docker", "exec", self.container, "sh", "-c", script, *arguments])
        assert done.returncode == 0, f"`{script}` failed ({done.returncode}): {done.stderr}{done.stdout}"
        return done.stdout.strip()

    def certificate(self, domain: str, address: str = "") -> str:
        """The certificate that the host shows for a domain: issuer, serial number and names."""
        script = 'openssl s_client -connect "$1:443" -servername "$0" </dev/null 2>/dev/null'
        script += " | openssl x509 -noout -issuer -serial -ext subjectAltName"
        return _run(["docker", "exec", self.container, "sh", "-c", script, domain, address or domain]).stdout


@dataclass(frozen=True)
class Host:
    """A host of the scenario."""

    name: str
    container: str
    ipv4: str
    ipv6: str

    def run(self, script: str) -> str:
        """Run a shell script as root and return what it printed; fail the test when it fails."""
        done = self.try_(script)
        assert done.returncode == 0, f"{self.name}: `{script}` failed ({done.returncode}): {done.stderr}{done.stdout}"
        return done.stdout.strip()

    def try_(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root."""
        return _run(["docker", "exec", self.container, "sh", "-c", script])

    def domain(self, app: str) -> str:
        """The domain of an app on this host."""
        return f"{app}.{self.name}.example.test"

    def url(self, app: str, path: str = "/", scheme: str = "https") -> str:
        """A URL of an app on this host."""
        return f"{scheme}://{self.domain(app)}{path}"

    def release(self, app: str) -> str:
        """The number of the release that serves an app."""
        return self.run(f"basename $(readlink /srv/{app}/current)")

    def history(self, app: str) -> list[dict[str, Any]]:
        """What has been deployed of an app so far."""
        return [json.loads(line) for line in self.run(f"cat /srv/{app}/history.jsonl").splitlines()]

    @property
    def supervised(self) -> bool:
        """Whether Supervisor runs the apps."""
        return self.try_("test -d /etc/supervisor").returncode == 0

    def instance(self, app: str) -> str:
        """The unit, or Supervisor's program, that runs an app now; fail the test unless it is exactly one."""
        if self.supervised:
            told = self.try_("supervisorctl status").stdout.splitlines()
            programs = [line.split()[0] for line in told if line.startswith(f"{app}@") and "RUNNING" in line]
            assert len(programs) == 1, f"{self.name}: expected one running instance of {app}, found {programs}"
            return programs[0]
        listed = self.run(f"systemctl list-units --plain --no-legend --state=active '{app}@*.service'")
        units = [line.split()[0] for line in listed.splitlines()]
        assert len(units) == 1, f"{self.name}: expected one running instance of {app}, found {units}"
        return units[0]


@dataclass(frozen=True)
class Trap:
    """Kills a module of Ansible on a host right before one of its effects, in runs with the options `interpreter`."""

    host: Host
    interpreter = ("-e", "ansible_python_interpreter=/opt/fault/python3")

    def lay(self, module: str) -> None:
        """Put the trap there, for what imports this module of the collection's; it only counts at first."""
        wrapper = '#!/bin/sh\nPYTHONPATH=/opt/fault exec /usr/bin/python3 "$@"\n'
        self.host.run(
            "mkdir -p /opt/fault /run/fault; "
            f"echo ansible_collections.webops.wsgi.plugins.module_utils.{module} >/run/fault/module; "
            f"cat >/opt/fault/python3 <<'W'\n{wrapper}W\nchmod 755 /opt/fault/python3"
        )
        fault = ROOT / "molecule" / "shared" / "fault" / "sitecustomize.py"
        done = _run(["docker", "cp", str(fault), f"{self.host.container}:/opt/fault/"])
        assert done.returncode == 0, done.stderr
        self.set(0)

    def set(self, at: int | str) -> None:
        """Kill before the effect of that number, or that a pattern fits; 0 to only count."""
        self.host.run(f"cd /run/fault; echo '{at}' >kill-at; echo 0 >seen; rm -f killed")

    @property
    def seen(self) -> int:
        """How many effects there were since the trap was set."""
        return int(self.host.run("cat /run/fault/seen"))

    @property
    def sprung(self) -> bool:
        """Whether something was killed."""
        return self.host.try_("test -e /run/fault/killed").returncode == 0


@dataclass(frozen=True)
class Playbook:
    """One run of a playbook: exit code, output, and the [host, task] pairs that changed something or failed."""

    code: int
    output: str
    changed: list[list[str]]
    failed: list[list[str]]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    asked = {"capture_output": True, "text": True, "errors": "replace", "stdin": subprocess.DEVNULL}
    return subprocess.run(command, check=False, **asked)


def _lab() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((STATE / "lab.json").read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="session")
def client() -> Client:
    """A machine beside the hosts."""
    authority = _lab()["ca"]
    return Client(authority["container"], authority["ipv4"], authority["ipv6"], authority["root"])


@pytest.fixture(scope="session")
def hosts() -> list[Host]:
    """All hosts."""
    return [Host(name, told["container"], told["ipv4"], told["ipv6"]) for name, told in _lab()["hosts"].items()]


@pytest.fixture
def traps(hosts: list[Host]) -> dict[Host, Trap]:
    """A trap for each host, not laid yet."""
    return {host: Trap(host) for host in hosts}


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, hosts: list[Host]) -> Host:
    """Each host in turn."""
    return next(host for host in hosts if host.name == request.param)


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest) -> str:
    """Each app in turn."""
    return str(request.param)


@pytest.fixture
def runs() -> list[dict[str, Any]]:
    """The scenario's playbook runs so far, oldest first."""
    lines = (STATE / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [run for run in map(json.loads, lines) if run["playbook"] in ("site.yml", "converge.yml")]


@pytest.fixture
def apps() -> dict[str, dict[str, Any]]:
    """The scenario's apps as its inventory has them, by name; a test may change its copy."""
    text = (ROOT / "molecule" / SCENARIO / "group_vars" / "wsgi" / "apps.yml").read_text(encoding="utf-8")
    return {app["name"]: app for app in yaml.safe_load(text)["wsgi_apps"]}


def _command(folder: Path) -> Callable[..., list[str]]:
    def of(*options: str, playbook: str = "site", inventory: str = "", **variables: Any) -> list[str]:
        extra = folder / f"{uuid.uuid4()}.json"
        extra.write_text(json.dumps(variables), encoding="utf-8")
        # With its group_vars and host_vars.
        inventory = inventory or str(Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent)
        book = str(ROOT / "playbooks" / f"{playbook}.yml")
        return ["ansible-playbook", "-i", inventory, "-e", f"@{extra}", *options, book]

    return of


def _play(folder: Path) -> Callable[..., Playbook]:
    def run(*options: str, playbook: str = "site", **variables: Any) -> Playbook:
        record = folder / f"{uuid.uuid4()}.jsonl"
        environment = {**os.environ, "RECORD_CHANGES_TO": str(record), "ANSIBLE_FORCE_COLOR": "0"}
        environment["MOLECULE_PROJECT_DIRECTORY"] = str(ROOT)
        asked = _command(folder)(*options, playbook=playbook, **variables)
        done = subprocess.run(asked, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        told = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"changed": [], "failed": []}
        return Playbook(done.returncode, done.stdout + done.stderr, told["changed"], told["failed"])

    return run


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., list[str]]:
    """The command of a playbook's run; keyword arguments are variables that replace the inventory's."""
    return _command(tmp_path)


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Playbook]:
    """Run a playbook against the scenario's hosts, or those of another ``inventory``; other keyword arguments are
    variables that replace the inventory's."""
    return _play(tmp_path)


@pytest.fixture(scope="session")
def play_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Playbook]:
    """As `play`, for what several tests look at."""
    return _play(tmp_path_factory.mktemp("play"))


@pytest.fixture
def repository_example() -> Path:
    """The example's source tree."""
    return ROOT / "examples" / "flask_api"


@dataclass(frozen=True)
class Serving:
    """What the hosts served when a test began."""

    before: dict[tuple[str, str], str]
    now: Callable[[], dict[tuple[str, str], str]]

    def as_before(self) -> None:
        """Fail unless every app still answers, with the release that answered when the test began."""
        assert self.now() == self.before, "a refused run changed what is served"


@pytest.fixture
def serving(hosts: list[Host], client: Client) -> Serving:
    """Remember what is served."""

    def now() -> dict[tuple[str, str], str]:
        told = {}
        for host in hosts:
            told[host.name, "api"] = client.get(host.url("api")).body
            told[host.name, "httpbin"] = str(client.get(host.url("httpbin")).status)
            told[host.name, "units"] = host.instance("api") + " " + host.instance("httpbin")
        return told

    return Serving(now(), now)


@pytest.fixture
def under_load() -> Callable[..., Any]:
    """Clients on a host that ask the app for as long as a block runs; outcomes are counted when it ends."""

    @contextmanager
    def loaded(host: Any, *options: str) -> Iterator[Counter[str]]:
        subprocess.run(["docker", "cp", str(LOAD), f"{host.container}:/root/load.py"], check=True, capture_output=True)
        subprocess.run(
            ["docker", "cp", str(STATE / "ca.pem"), f"{host.container}:/root/ca.pem"],
            check=True,
            capture_output=True,
        )
        asked = options or ("--name", host.domain("api"), "--ca", "/root/ca.pem")
        command = ["docker", "exec", "-i", host.container, "python3", "/root/load.py", "--pace", PACE]
        command += ["--seconds", str(MOST_SECONDS)]
        clients = subprocess.Popen([*command, *asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        counted: Counter[str] = Counter()
        time.sleep(1)
        try:
            yield counted
        finally:
            out, _ = clients.communicate()
            counted.update(line.split("\t")[3] for line in out.splitlines())

    return loaded


@pytest.fixture
def on_all(hosts) -> Callable[[Callable[[Any], None]], None]:
    """Do something on all hosts at the same time."""

    def do(action: Callable[[Any], None]) -> None:
        with ThreadPoolExecutor(len(hosts)) as pool:
            for done in [pool.submit(action, host) for host in hosts]:
                done.result()

    return do


@pytest.fixture
def visitors(host: Any) -> Callable[..., AbstractContextManager[dict[str, Any]]]:
    """Clients while something happens, and until they have asked often enough; what they have seen."""

    @contextmanager
    def come(port: int = 443, least: int = 0) -> Iterator[dict[str, Any]]:
        seen: dict[str, Any] = {}
        host.run("rm -f /srv/visited /srv/end")
        host.run(f"cat >/srv/visitors.py <<'V'\n{VISITORS.read_text()}\nV")
        host.run(f"nohup python3 /srv/visitors.py {host.domain('api')} /srv/end {port} {least} >/srv/visited 2>&1 &")
        try:
            yield seen
        finally:
            host.run("touch /srv/end; timeout 900 sh -c 'until grep -q good /srv/visited; do sleep 0.2; done'")
            seen.update(json.loads(host.run("cat /srv/visited")))

    return come
