"""Labs: a network of its own, a certificate authority, and hosts running Debian under systemd."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from . import machine
from .engine import CACHE, ROOT, docker, ensure, installed, need, only_one, say, systemd_options
from .errors import TestbedError
from .images import (
    SUITES,
    ca_image,
    engines_image,
    fleet_image,
    host_image,
    prepared_image,
    python_image,
    write,
)

LABEL = "webops.testbed"
PREFIX = os.environ.get("TESTBED_PREFIX", "webops")  # of names in the engine: one a clone lets clones run side by side
USER = "deploy"  # may use sudo; Ansible logs in as this user over SSH
CA_NAME = "ca.example.test"
ACME_DIRECTORY = f"https://{CA_NAME}:14000/dir"
ACME_BUNDLE = "/etc/ssl/acme-ca.pem"  # on hosts: the certificate of the ACME server's own HTTPS
CA_ROOT = "/etc/pebble/root.pem"  # in the authority's container: the root of all certificates it issues
HOST_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
MANY = 10  # hosts, beyond which a lab takes more of the kernel than other programs leave it
FLOATING = 100  # number, in a lab's network, of the address that none of its hosts has at first
PYTHON_BASE = "python-base:13"  # for hosts with engines: what images of apps are made on
NETWORK_TRIES = 10
BOOT_TIMEOUT = 90  # seconds
PATIENCE = 120  # seconds for what takes one or two on a machine that is not busy


@dataclass(frozen=True)
class Host:
    """A Debian host to start.

    Attributes:
        name: host name, and part of the container's name.
        release: Debian release, "12" or "13".
        domains: names that lead to the host: in its lab's network and for the certificate authority.
        publish: ports published on 127.0.0.1, container port to port here (0: any free one). SSH always is.
        prepared: whether it has the packages of the roles already.
        engines: whether it has container engines of its own, and those packages.
        fleet: whether it has what hosts of a fleet need beside those, and may set addresses and packet filters.
    """

    name: str
    release: str
    domains: tuple[str, ...] = ()
    publish: dict[int, int] = field(default_factory=dict)
    prepared: bool = False
    engines: bool = False
    fleet: bool = False

    def image(self) -> str:
        """Name of its image, built where missing."""
        if self.engines:
            return engines_image(self.release)
        if self.fleet:
            return fleet_image(self.release)
        return prepared_image(self.release) if self.prepared else host_image(self.release)


@dataclass(frozen=True)
class Lab:
    """Hosts that see each other and one certificate authority.

    Attributes:
        name: part of the names of its containers and its network.
        hosts: the hosts.
        state: directory for what the controller needs: SSH key, known hosts, CA certificates, lab.json.
        floating: names that lead to an address that none of the hosts has at first.
    """

    name: str
    hosts: tuple[Host, ...]
    state: Path
    floating: tuple[str, ...] = ()

    @property
    def network(self) -> str:
        """Name of the lab's network."""
        return f"{PREFIX}-{self.name}"

    @property
    def ca(self) -> str:
        """Name of the container of the certificate authority; it also serves as a client that is not a host."""
        return f"{PREFIX}-{self.name}-ca"

    def container(self, host: Host) -> str:
        """Name of a host's container."""
        return f"{PREFIX}-{self.name}-{host.name}"


def lab(name: str, *hosts: Host, floating: tuple[str, ...] = ()) -> Lab:
    """A lab whose state lies under ``.cache/``, or in ``.demo`` for the demo."""
    return Lab(name, hosts, ROOT / ".demo" if name == "demo" else CACHE / "lab" / name, floating)


def up(wanted: Lab) -> dict[str, Any]:
    """Start a lab, or leave it alone when it runs as wanted already; return what ``lab.json`` holds.

    Raises:
        TestbedError: the engine, an image or a host did not come up; the message says which and why.
    """
    ensure()
    need("ssh", "openssh-client")
    with only_one(f"lab-{wanted.name}"):
        images = _images(wanted)
        recipe = _recipe(wanted, images)
        if not _runs(wanted, recipe):
            _remove(wanted)
            try:
                _create(wanted, images, recipe)
            except TestbedError:
                _remove(wanted)
                raise
        facts = describe(wanted)
        (wanted.state / "lab.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (wanted.state / "inventory.yml").write_text(_inventory(facts), encoding="utf-8")
    return facts


def down(wanted: Lab) -> None:
    """Remove a lab: containers, network and state."""
    with only_one(f"lab-{wanted.name}"):
        if installed():
            ensure()
            _remove(wanted)
        shutil.rmtree(wanted.state, ignore_errors=True)


def describe(wanted: Lab) -> dict[str, Any]:
    """Addresses, ports and files of a running lab, as plain data."""
    hosts: dict[str, Any] = {}
    for host in wanted.hosts:
        container = wanted.container(host)
        state = json.loads(docker("inspect", container))[0]
        ports = {
            inside.split("/")[0]: int(outside[0]["HostPort"])
            for inside, outside in state["NetworkSettings"]["Ports"].items()
            if outside
        }
        hosts[host.name] = {
            "container": container,
            "release": host.release,
            "domains": list(host.domains),
            **_addresses(state, wanted.network),
            "ports": ports,
        }
    authority = json.loads(docker("inspect", wanted.ca))[0]
    return {
        "name": wanted.name,
        "network": wanted.network,
        "ca": {
            "container": wanted.ca,
            **_addresses(authority, wanted.network),
            "acme_directory": ACME_DIRECTORY,
            "acme_bundle": ACME_BUNDLE,
            "root": CA_ROOT,
        },
        "ca_bundle": HOST_CA_BUNDLE,
        "user": USER,
        "key": str(wanted.state / "id_ed25519"),
        "known_hosts": str(wanted.state / "known_hosts"),
        "root": str(wanted.state / "ca.pem"),
        "hosts": hosts,
        "floating": _floating(
            json.loads(docker("network", "inspect", wanted.network))[0]["IPAM"]["Config"][0]["Subnet"]
        ),
    }


def _floating(subnet: str) -> str:
    """The address in a lab's network that none of its hosts has, with the length of the network's prefix."""
    network = IPv4Network(subnet)
    return f"{network.network_address + FLOATING}/{network.prefixlen}"


def _addresses(state: dict[str, Any], network: str) -> dict[str, str]:
    """Addresses of an inspected container in a network."""
    joined = state["NetworkSettings"]["Networks"][network]
    return {"ipv4": joined["IPAddress"], "ipv6": joined["GlobalIPv6Address"]}


def _images(wanted: Lab) -> dict[str, str]:
    """Image of each host and of the certificate authority ("ca"); what is missing is built side by side."""
    with ThreadPoolExecutor() as pool:
        authority = pool.submit(ca_image)
        releases = {host.name: pool.submit(host.image) for host in wanted.hosts}
        return {"ca": authority.result(), **{name: image.result() for name, image in releases.items()}}


def _recipe(wanted: Lab, images: dict[str, str]) -> str:
    """Digest of everything a running lab must have been started with."""
    code = Path(__file__).read_text(encoding="utf-8")
    shape = [asdict(host) for host in wanted.hosts], images, systemd_options(), str(wanted.state), code
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


def _runs(wanted: Lab, recipe: str) -> bool:
    """Tell whether all containers run, made by this recipe. The CA forgets its keys when stopped: then start over."""
    listed = docker("ps", "--filter", f"label={LABEL}.recipe={recipe}", "--format", "{{.Names}}")
    names = {wanted.ca, *(wanted.container(host) for host in wanted.hosts)}
    ready = wanted.state / "ready"
    return names <= set(listed.split()) and ready.is_file() and ready.read_text(encoding="utf-8") == recipe


def _remove(wanted: Lab) -> None:
    containers = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}.lab={wanted.network}").split()
    if containers:
        docker("rm", "--force", "--volumes", *containers)
    if docker("network", "ls", "--quiet", "--filter", f"name=^{wanted.network}$"):
        docker("network", "rm", wanted.network)


def _create(wanted: Lab, images: dict[str, str], recipe: str) -> None:
    say(f"starting lab {wanted.name}: {', '.join(f'{h.name} (Debian {h.release})' for h in wanted.hosts)}")
    if len(wanted.hosts) > MANY:
        machine.allow_watchers(len(wanted.hosts))
    wanted.state.mkdir(parents=True, exist_ok=True)
    key = wanted.state / "id_ed25519"
    if not key.exists():
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"webops {wanted.name}", "-f", str(key)]
        subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
    address = make_network(wanted)
    labels = [f"--label={LABEL}.lab={wanted.network}", f"--label={LABEL}.recipe={recipe}"]
    _run_ca(wanted, images["ca"], [*labels, *address(2)])
    for number, host in enumerate(wanted.hosts, start=10):
        _run_host(wanted, host, images[host.name], [*labels, *address(number)])
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _settle(wanted, host), wanted.hosts))
    _trust(wanted)
    (wanted.state / "ready").write_text(recipe, encoding="utf-8")


def make_network(wanted: Lab) -> Callable[[int], list[str]]:
    """Make the lab's network and return a function from a host's number to the options that fix its addresses."""
    if sys.platform == "linux" and not Path("/proc/sys/net/ipv6").exists():
        ipv4 = _fixed_network(wanted.network)
        return lambda number: [f"--ip={ipv4 + number}"]
    unique = hashlib.sha256(f"{ROOT}{wanted.name}".encode()).hexdigest()
    ipv6 = f"fd{unique[:2]}:{unique[2:6]}:{unique[6:10]}::"
    ipv4 = _fixed_network(wanted.network, "--ipv6", f"--subnet={ipv6}/64")
    return lambda number: [f"--ip={ipv4 + number}", f"--ip6={ipv6}{number:x}"]


def _fixed_network(name: str, *options: str) -> IPv4Address:
    """Make a network of the range that the engine picks; fixed, it lets hosts have addresses that survive a restart."""
    for left in reversed(range(NETWORK_TRIES)):
        docker("network", "create", name)
        picked = json.loads(docker("network", "inspect", name))[0]["IPAM"]["Config"][0]["Subnet"]
        docker("network", "rm", name)
        try:
            docker("network", "create", f"--subnet={picked}", *options, name)
        except TestbedError as error:
            # Another lab, started at the same time, was given the range in between.
            if "overlaps" not in str(error) or not left:
                raise
            continue
        break
    return IPv4Network(picked).network_address


def _run_ca(wanted: Lab, image: str, options: list[str]) -> None:
    common = ["--detach", "--init", f"--name={wanted.ca}", "--hostname=ca", f"--network={wanted.network}"]
    docker("run", *common, f"--network-alias={CA_NAME}", *options, image, "acme-ca", CA_NAME)


def _run_host(wanted: Lab, host: Host, image: str, options: list[str]) -> None:
    options = [*options, "--detach", f"--name={wanted.container(host)}", f"--hostname={host.name}"]
    options += [f"--network={wanted.network}", *(f"--network-alias={domain}" for domain in host.domains)]
    for inside, outside in {22: 0, **host.publish}.items():
        options.append(f"--publish=127.0.0.1:{outside or free_port()}:{inside}")
    if host.fleet:
        options += ["--cap-add=NET_ADMIN", "--cap-add=NET_RAW"]
        options.append("--restart=unless-stopped")  # a reboot ends the container
    bundle = machine.ca_bundle()
    if bundle is not None:
        options.append(f"--volume={bundle}:{HOST_CA_BUNDLE}:ro")
    if host.engines:
        # Their storage cannot be stacked on the storage of the engine here.
        options += ["--cap-add=NET_ADMIN", "--cap-add=SYS_PTRACE"]
        options += ["--volume=/var/lib/docker", "--volume=/var/lib/containers"]
    docker("run", *systemd_options(), *options, image, "/lib/systemd/systemd")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on. Left to the engine, it would change when a host restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settle(wanted: Lab, host: Host) -> None:
    """Wait until a host has booted, and let the controller in."""
    container = wanted.container(host)
    wait_booted(container)
    if host.engines:
        _give_base(container, python_image("13"))
    public = (wanted.state / "id_ed25519.pub").read_text(encoding="utf-8")
    write(container, f"/home/{USER}/.ssh/authorized_keys", public, mode="0600", owner=USER)


def _give_base(container: str, image: str) -> None:
    """Let the engines of a host have an image, as C(python-base), since no registry may be reachable."""
    docker("tag", image, PYTHON_BASE)
    which = "for name in docker podman; do command -v $name; done; true"
    for engine in docker("exec", container, "sh", "-c", which).split():
        save = subprocess.Popen(["docker", "save", PYTHON_BASE], stdout=subprocess.PIPE)
        with save:
            subprocess.run(
                ["docker", "exec", "--interactive", container, engine, "load", "--quiet"],
                stdin=save.stdout,
                capture_output=True,
                check=True,
            )


def wait_booted(container: str) -> None:
    """Wait until systemd in a container says that the host runs.

    Raises:
        TestbedError: it did not within ``BOOT_TIMEOUT`` seconds, or a unit failed; the message names the units.
    """
    state = ""

    def asked() -> bool:
        nonlocal state
        done = subprocess.run(
            ["docker", "exec", container, "systemctl", "is-system-running"], capture_output=True, text=True, check=False
        )
        state = done.stdout.strip()
        return state in ("running", "degraded")

    wait_for(asked, f"{container} to boot", BOOT_TIMEOUT)
    if state == "degraded":
        failed = docker("exec", container, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
        raise TestbedError(f"{container} booted with failed units:\n{failed}")


def wait_for(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Wait until ``condition`` holds.

    Raises:
        TestbedError: it did not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TestbedError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(0.2)


def _trust(wanted: Lab) -> None:
    """Tell hosts, DNS and the controller about each other."""

    def ready() -> bool:
        asked = ["docker", "exec", wanted.ca, "curl", "-sf", "--cacert", "/etc/pebble/acme.pem"]
        done = subprocess.run([*asked, "https://localhost:14000/dir"], capture_output=True, check=False)
        return done.returncode == 0

    wait_for(ready, f"{wanted.ca} to serve ACME", BOOT_TIMEOUT)
    acme = docker("exec", wanted.ca, "cat", "/etc/pebble/acme.pem")
    fetch = f"curl -sSf --cacert /etc/pebble/acme.pem https://localhost:15000/roots/0 | tee {CA_ROOT}"
    root = docker("exec", wanted.ca, "sh", "-c", fetch)
    (wanted.state / "ca.pem").write_text(root + "\n", encoding="utf-8")
    (wanted.state / "acme-ca.pem").write_text(acme + "\n", encoding="utf-8")
    known = []
    facts = describe(wanted)
    if wanted.floating:
        address = facts["floating"].partition("/")[0]
        point(wanted.ca, address, *wanted.floating)
        line = f"{address} {' '.join(wanted.floating)}"
        docker("exec", wanted.ca, "sh", "-c", 'echo "$0" >>/etc/hosts', line)
    for name, host in facts["hosts"].items():
        write(host["container"], ACME_BUNDLE, acme + "\n")
        point(wanted.ca, host["ipv4"], *host["domains"])
        public = docker("exec", host["container"], "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
        known.append(f"[127.0.0.1]:{host['ports']['22']} {public[0]} {public[1]} {name}\n")
    (wanted.state / "known_hosts").write_text("".join(known), encoding="utf-8")


def point(ca: str, address: str, *domains: str) -> None:
    """Make domains resolve to ``address`` in the DNS that the certificate authority asks."""
    for domain in domains:
        record = json.dumps({"host": f"{domain}.", "addresses": [address]})
        docker("exec", ca, "curl", "-sSf", "--data", record, "http://127.0.0.1:8055/add-a")


def _inventory(facts: dict[str, Any]) -> str:
    """A ready inventory of the lab's hosts over SSH (JSON, which is YAML)."""
    hosts = {
        name: {"ansible_port": host["ports"]["22"], "ansible_python_interpreter": "/usr/bin/python3"}
        for name, host in facts["hosts"].items()
    }
    shared = {
        "ansible_host": "127.0.0.1",
        "ansible_user": facts["user"],
        "ansible_ssh_private_key_file": facts["key"],
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={facts['known_hosts']} -o IdentitiesOnly=yes",
        "ansible_ssh_pipelining": True,
        "certbot_acme_directory": facts["ca"]["acme_directory"],
        "certbot_ca_bundle": facts["ca"]["acme_bundle"],
        "python_app_ca_bundle": facts["ca_bundle"],
    }
    return json.dumps({"wsgi": {"hosts": hosts, "vars": shared}}, indent=2) + "\n"


def _scenario(name: str, *apps: str, prepared: bool = True, more: tuple[str, ...] = ()) -> Lab:
    """The lab of a Molecule scenario: hosts of each Debian release, and domains for its apps on all of them."""

    def host(name: str) -> Host:
        return Host(name, name[1:], tuple(f"{app}.{name}.example.test" for app in apps), prepared=prepared)

    return lab(f"molecule-{name}", *map(host, [*(f"d{release}" for release in SUITES), *more]))


DEMO = lab(
    "demo",
    Host(
        "demo",
        "13",
        domains=("api.example.test", "httpbin.example.test"),
        publish={22: 8022, 80: 8080, 443: 8443},
    ),
)
CONTAINERS = lab(
    "molecule-containers",
    Host("d13", "13", domains=("api.d13.example.test",), engines=True),
    Host("d12", "12", domains=("api.d12.example.test",), engines=True),
)
ADOPTED = ("shop", "ledger", "blog", "polls", "first", "notes", "hello", "journal")
COMPOSE = lab("molecule-compose", Host("d13", "13", domains=("api.d13.example.test",), engines=True))
PUBLISHED = ("httpbin", "radicale", "dav", "isso", "index", "pastes", "trac", "kinto")
SCENARIOS = {
    "compose": COMPOSE,
    "containers": CONTAINERS,
    "adopt": lab(
        "molecule-adopt", Host("d13", "13", tuple(f"{app}.d13.example.test" for app in ADOPTED), prepared=True)
    ),
    "apps": _scenario("apps", "packages", "notes", "shop", "compiled", "another", *PUBLISHED),
    "default": _scenario("default", "api", "httpbin", "packed", prepared=False),
    "deploy": _scenario("deploy", "api", "beta", "gamma"),
    "edge": _scenario("edge", "probe", "second"),
    "hosts": _scenario("hosts", "some", more=("e13",)),
    "fleet": lab(
        "molecule-fleet",
        Host("lb1", "13", fleet=True),
        Host("lb2", "12", fleet=True),
        *(Host(f"web{number}", release, fleet=True) for number, release in ((1, "13"), (2, "13"), (3, "12"))),
        floating=("api.example.test", "also.example.test", "once.example.test"),
    ),
    "explain": _scenario("explain", "api"),
    "hostile": _scenario("hostile", "victim", "mallory", "poison"),
    "servers": _scenario("servers", "front", more=(os.environ.get("SUPERVISED") or "s13",)),
    "tls": _scenario("tls", "grow", "www.grow", "keyed", "moved", "own"),
}
