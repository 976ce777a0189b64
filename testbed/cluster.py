"""A Kubernetes cluster of two nodes in containers, with Traefik as Ingress controller and Gateway, and metrics.

Every node is a systemd container with units for each program, so that it can be restarted as a machine is. There is no
registry: images are handed to the nodes' container runtimes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import labs
from .engine import CACHE, docker, ensure, installed, only_one, say, systemd_options
from .errors import TestbedError
from .images import nginx_image, node_image, write
from .labs import LABEL, PREFIX, wait_booted, wait_for
from .programs import DEFINITIONS, programs

SCENARIO = "kubernetes"
NAME = f"molecule-{SCENARIO}"
STATE = CACHE / "lab" / NAME
BUILDER = labs.lab(f"{NAME}-builder", labs.Host("builder", "13", engines=True))
NODES = {
    "cp": "10.244.0.0/24",
    "n2": "10.244.1.0/24",
}  # name to the network of its pods; the first has the control plane
SERVICES = "10.96.0.0/16"
PAUSE = "localhost/pause:1"
NGINX = "localhost/nginx:1"
ETC = "/etc/cluster"

# What a container lacks that a node needs: a writable control group tree, and rights to set kernel parameters.
SETUP = """\
#!/bin/sh
for mounted in /sys/fs/cgroup/*; do mount -o remount,rw,bind "$mounted" 2>/dev/null || true; done
mount -o remount,rw,bind /proc/sys || true
mount --make-rshared /
sysctl -qw net.ipv4.ip_forward=1 || true
ip route replace {network} via {address}
"""

CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# A container here may not lower its score with the kernel's killer.
restrict_oom_score_adj = true
disable_apparmor = true
disable_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
"""

KUBELET: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": f"{ETC}/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "failCgroupV1": False,
    "failSwapOn": False,
    "localStorageCapacityIsolation": False,
    "clusterDNS": ["10.96.0.10"],  # nobody; pods here ask for no names
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    # A node that is a container may not set all that a machine may.
    "featureGates": {"KubeletInUserNamespace": True},
    "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "50Mi"},
}

# Keys and certificates of a cluster: one authority, which all trust for everything, as no cluster of anybody's should.
KEYS = """\
set -eu
cd {etc}
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=testbed 2>/dev/null
openssl genrsa -out accounts.key 2048 2>/dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2>/dev/null
sign() {{
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
    printf 'extendedKeyUsage=clientAuth,serverAuth\\n%s' "${{3:+subjectAltName=$3}}" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 30 \\
        -extfile "$1.ext" 2>/dev/null
    rm "$1.csr" "$1.ext"
}}
sign apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes.default.svc,IP:{first},IP:127.0.0.1,IP:{address}"
sign admin /O=system:masters/CN=admin ""
sign proxy /CN=front-proxy ""
sign edge /CN=edge "DNS:*.example.test"
for node in {nodes}; do sign "node-$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node"; done
"""


@dataclass(frozen=True)
class Node:
    """A node as it runs.

    Attributes:
        name: Of the node, and of the container's host.
        container: The container.
        address: In the network of the cluster.
    """

    name: str
    container: str
    address: str


def up() -> dict[str, Any]:
    """Start the cluster, or leave it alone when it runs already; return what ``lab.json`` holds.

    Raises:
        TestbedError: something did not come up; the message says what.
    """
    ensure()
    with only_one(f"lab-{NAME}"):
        ready = STATE / "lab.json"
        recipe = _recipe()
        if ready.is_file() and _runs(recipe):
            found: dict[str, Any] = json.loads(ready.read_text(encoding="utf-8"))
            return found
        built, image, nginx = programs(), node_image(), nginx_image()
        _remove()
        STATE.mkdir(parents=True, exist_ok=True)
        say("starting a cluster of two nodes")
        try:
            facts = _start(built, image, nginx, recipe)
        except TestbedError:
            _remove()
            raise
        ready.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def down() -> None:
    """Remove the cluster."""
    with only_one(f"lab-{NAME}"):
        if installed():
            ensure()
            _remove()
        shutil.rmtree(STATE, ignore_errors=True)


def give(app: str, image: str) -> str:
    """Hand an app's image of the host that builds images to every node; return its name by digest.

    There is no registry that would know an image by its digest, so the nodes are told it as one more name.
    """
    builder = labs.describe(BUILDER)["hosts"]["builder"]["container"]
    digest = docker("exec", builder, "podman", "image", "inspect", "--format", "{{.Digest}}", image)
    name = f"localhost/{app}@{digest}"
    source = ["exec", builder, "podman", "save", "--quiet", image]
    for node in NODES:
        _give(f"{PREFIX}-{NAME}-{node}", source, image, [name])
    known = STATE / "images.json"
    images = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    known.write_text(json.dumps({**images, app: name}, indent=1) + "\n", encoding="utf-8")
    return name


# ---------------------------------------------------------------- containers


def _recipe() -> str:
    text = Path(__file__).read_text(encoding="utf-8") + Path(labs.__file__).read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _runs(recipe: str) -> bool:
    listed = docker("ps", "--filter", f"label={LABEL}.recipe={recipe}", "--format", "{{.Names}}").split()
    return {f"{PREFIX}-{NAME}-{node}" for node in NODES} <= set(listed)


def _remove() -> None:
    found = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}.lab={PREFIX}-{NAME}").split()
    if found:
        docker("rm", "--force", "--volumes", *found)
    if docker("network", "ls", "--quiet", "--filter", f"name=^{PREFIX}-{NAME}$"):
        docker("network", "rm", f"{PREFIX}-{NAME}")
    (STATE / "lab.json").unlink(missing_ok=True)


def _start(built: Path, image: str, nginx: str, recipe: str) -> dict[str, Any]:
    wanted = labs.lab(NAME)
    address = labs.make_network(wanted)
    nodes = []
    for number, name in enumerate(NODES, start=10):
        node = Node(name, f"{PREFIX}-{NAME}-{name}", address(number)[0].removeprefix("--ip="))
        nodes.append(node)
        _run(node, built, image, wanted.network, recipe, address(number))
    for node in nodes:
        wait_booted(node.container)
    first, *others = nodes
    _keys(first, others)
    for node in nodes:
        other = next(one for one in nodes if one is not node)
        _configure(node, first, other)
    _control_plane(first)
    with ThreadPoolExecutor() as pool:
        list(pool.map(_join, nodes))
    port = docker("port", first.container, "6443/tcp").splitlines()[0].rsplit(":", 1)[1]
    _kubeconfig(first, port)
    with ThreadPoolExecutor() as pool:
        images = [(node, image) for node in nodes for image in _images(built, nginx)]
        list(pool.map(lambda one: _give(one[0].container, ["save", one[1]], one[1], []), images))
    _edge(first, built)
    wait_for(lambda: _ready_nodes() == len(nodes), "both nodes to be ready")
    published = {
        inside: int(docker("port", first.container, f"{inside}/tcp").splitlines()[0].rsplit(":", 1)[1])
        for inside in ("80", "443")
    }
    return {
        "name": NAME,
        "kubeconfig": str(STATE / "kubeconfig"),
        "ports": published,
        "nodes": {node.name: {"container": node.container, "address": node.address} for node in nodes},
        "nginx": NGINX,
        "ca": str(STATE / "ca.crt"),
        "programs": str(built),
    }


def _run(node: Node, built: Path, image: str, network: str, recipe: str, address: Iterable[str]) -> None:
    options = [f"--label={LABEL}.lab={network}", f"--label={LABEL}.recipe={recipe}", *address]
    options += ["--detach", f"--name={node.container}", f"--hostname={node.name}", f"--network={network}"]
    # runc looks into the namespaces of another user's process; kubelet reads the kernel's log.
    options += [f"--cap-add={right}" for right in ("NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYSLOG")]
    options += ["--device=/dev/kmsg", f"--volume={built}:/opt/cluster:ro"]
    options += [f"--volume=/var/lib/{name}" for name in ("containerd", "kubelet", "etcd")]
    if node.name == next(iter(NODES)):
        options += [f"--publish=127.0.0.1:{labs.free_port()}:{port}" for port in (6443, 80, 443)]
    docker("run", *systemd_options(), *options, image, "/lib/systemd/systemd")


def _images(built: Path, nginx: str) -> list[str]:
    """Images that every node has: what pods begin with, and nginx."""
    with only_one("pause"):
        if not docker("images", "--quiet", PAUSE):
            archive = subprocess.Popen(["tar", "-c", "-C", str(built), "pause"], stdout=subprocess.PIPE)
            with archive:
                command = ["docker", "import", "--change", 'ENTRYPOINT ["/pause"]', "-", PAUSE]
                subprocess.run(command, stdin=archive.stdout, capture_output=True, check=True)
    docker("tag", nginx, NGINX)
    return [PAUSE, NGINX]


def _give(container: str, source: list[str], image: str, names: list[str]) -> None:
    save = subprocess.Popen(["docker", *source], stdout=subprocess.PIPE)
    runtime = ["docker", "exec", "--interactive", container, "ctr", "-n", "k8s.io", "images"]
    with save:
        done = subprocess.run([*runtime, "import", "-"], stdin=save.stdout, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"{container} does not take the image {image}: {done.stderr.strip()}")
    for name in names:
        docker("exec", container, "ctr", "-n", "k8s.io", "images", "tag", "--force", image, name)


# ---------------------------------------------------------------- what is on a node


def _keys(first: Node, others: list[Node]) -> None:
    script = KEYS.format(etc=ETC, first="10.96.0.1", address=first.address, nodes=" ".join(NODES))
    docker("exec", first.container, "mkdir", "-p", ETC)
    docker("exec", first.container, "sh", "-c", script)
    for who in ("admin", *(f"node-{name}" for name in NODES)):
        write(first.container, f"{ETC}/{who}.kubeconfig", _access(f"https://{first.address}:6443", who), mode="0600")
    for node in others:
        archive = subprocess.Popen(["docker", "cp", f"{first.container}:{ETC}", "-"], stdout=subprocess.PIPE)
        with archive:
            copied = ["docker", "cp", "-", f"{node.container}:/etc"]
            subprocess.run(copied, stdin=archive.stdout, capture_output=True, check=True)


def _access(server: str, who: str, folder: str = ETC) -> str:
    """A kubeconfig (JSON, which is YAML)."""
    user = {"client-certificate": f"{folder}/{who}.crt", "client-key": f"{folder}/{who}.key"}
    cluster = {"server": server, "certificate-authority": f"{folder}/ca.crt"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": who}}],
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": who, "user": user}],
        },
        indent=1,
    )


def _configure(node: Node, first: Node, other: Node) -> None:
    """The files of a node, and the units that need no API server."""
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": NODES[node.name]}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    write(node.container, "/etc/cni/net.d/10-pods.conflist", json.dumps(network))
    write(node.container, "/etc/containerd/config.toml", CONTAINERD.format(pause=PAUSE))
    write(node.container, f"{ETC}/kubelet.yaml", json.dumps(KUBELET))
    setup = SETUP.format(network=NODES[other.name], address=other.address)
    write(node.container, f"{ETC}/setup", setup, mode="0755")
    _unit(node, "node-setup", f"{ETC}/setup", kind="oneshot")
    docker("exec", node.container, "systemctl", "enable", "--quiet", "--now", "containerd.service")
    if node is first:
        docker("exec", node.container, "systemctl", "enable", "--quiet", "--now", "etcd.service")


def _unit(node: Node, name: str, command: str, kind: str = "exec") -> None:
    restart = "Restart=always\nRestartSec=1\n" if kind == "exec" else "RemainAfterExit=yes\n"
    after = "" if kind == "oneshot" else "After=node-setup.service containerd.service etcd.service\n"
    before = "Before=containerd.service\n" if kind == "oneshot" else ""
    text = (
        f"[Unit]\n{after}{before}StartLimitIntervalSec=0\n[Service]\nType={kind}\nExecStart={command}\n{restart}"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    write(node.container, f"/etc/systemd/system/{name}.service", text)
    docker("exec", node.container, "systemctl", "daemon-reload")
    docker("exec", node.container, "systemctl", "enable", "--quiet", "--now", f"{name}.service")


def _options(program: str, options: dict[str, str]) -> str:
    return " ".join([f"/opt/cluster/{program}", *(f"--{name}={value}" for name, value in options.items())])


def _control_plane(node: Node) -> None:
    admin = f"{ETC}/admin.kubeconfig"
    server = {
        "etcd-servers": "http://127.0.0.1:2379",
        "service-cluster-ip-range": SERVICES,
        "tls-cert-file": f"{ETC}/apiserver.crt",
        "tls-private-key-file": f"{ETC}/apiserver.key",
        "client-ca-file": f"{ETC}/ca.crt",
        "service-account-key-file": f"{ETC}/accounts.pub",
        "service-account-signing-key-file": f"{ETC}/accounts.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "advertise-address": node.address,
        "kubelet-client-certificate": f"{ETC}/admin.crt",
        "kubelet-client-key": f"{ETC}/admin.key",
        # For the metrics server, which answers in the API server's name.
        "requestheader-client-ca-file": f"{ETC}/ca.crt",
        "requestheader-allowed-names": "front-proxy",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": f"{ETC}/proxy.crt",
        "proxy-client-key-file": f"{ETC}/proxy.key",
        "enable-aggregator-routing": "true",
    }
    _unit(node, "kube-apiserver", _options("kube-apiserver", server))
    manager = {
        "kubeconfig": admin,
        "service-account-private-key-file": f"{ETC}/accounts.key",
        "root-ca-file": f"{ETC}/ca.crt",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
    }
    _unit(node, "kube-controller-manager", _options("kube-controller-manager", manager))
    _unit(node, "kube-scheduler", _options("kube-scheduler", {"kubeconfig": admin, "leader-elect": "false"}))
    wait_for(lambda: _answers(node), "the API server")


def _answers(node: Node) -> bool:
    command = ["curl", "-s", "--cacert", f"{ETC}/ca.crt", "--cert", f"{ETC}/admin.crt", "--key", f"{ETC}/admin.key"]
    asked = ["docker", "exec", node.container, *command, "https://127.0.0.1:6443/readyz"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "ok"


def _join(node: Node) -> None:
    kubelet = {
        "config": f"{ETC}/kubelet.yaml",
        "kubeconfig": f"{ETC}/node-{node.name}.kubeconfig",
        "hostname-override": node.name,
        "node-ip": node.address,
    }
    _unit(node, "kubelet", _options("kubelet", kubelet))
    proxy = {
        "kubeconfig": f"{ETC}/admin.kubeconfig",
        "proxy-mode": "nftables",
        "conntrack-max-per-core": "0",
        "conntrack-min": "0",
        "hostname-override": node.name,
    }
    _unit(node, "kube-proxy", _options("kube-proxy", proxy))


def _kubeconfig(first: Node, port: str) -> None:
    """The way in from here."""
    for name in ("ca.crt", "admin.crt", "admin.key", "edge.crt", "edge.key"):
        docker("cp", f"{first.container}:{ETC}/{name}", str(STATE / name))
    file = STATE / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(_access(f"https://127.0.0.1:{port}", "admin", str(STATE)), encoding="utf-8")


def kubectl(*args: str, stdin: str | None = None) -> str:
    """Run kubectl against the cluster.

    Raises:
        TestbedError: it failed.
    """
    command = ["kubectl", f"--kubeconfig={STATE / 'kubeconfig'}", *args]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"kubectl {' '.join(args[:3])} failed: {done.stderr.strip()}")
    return done.stdout


def _ready_nodes() -> int:
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return sum(
        condition["type"] == "Ready" and condition["status"] == "True"
        for node in nodes
        for condition in node["status"]["conditions"]
    )


# ---------------------------------------------------------------- the edge


def _edge(node: Node, built: Path) -> None:
    """Traefik and the metrics server, as programs on the first node; a Gateway for everybody.

    Of cert-manager there are its custom resources alone: they are judged, and nobody acts on them.
    """
    for name in DEFINITIONS:
        kubectl("apply", "--server-side", "-f", str(built / name))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "edge", "namespace": "edge"},
        "stringData": {f"tls.{kind}": (STATE / f"edge.{kind}").read_text(encoding="utf-8") for kind in ("crt", "key")},
    }
    listeners = [
        {"name": "web", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}},
        {
            "name": "websecure",
            "port": 443,
            "protocol": "HTTPS",
            "allowedRoutes": {"namespaces": {"from": "All"}},
            "tls": {"certificateRefs": [{"name": "edge"}]},
        },
    ]
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}},
        secret,
        _named("networking.k8s.io/v1", "IngressClass", "traefik", controller="traefik.io/ingress-controller"),
        _named(
            "gateway.networking.k8s.io/v1", "GatewayClass", "traefik", controllerName="traefik.io/gateway-controller"
        ),
        {
            **_named(
                "gateway.networking.k8s.io/v1", "Gateway", "public", gatewayClassName="traefik", listeners=listeners
            ),
            "metadata": {"name": "public", "namespace": "edge"},
        },
        *_metrics(node),
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "-f", "-", stdin=text)
    shown = {"certFile": f"{ETC}/edge.crt", "keyFile": f"{ETC}/edge.key"}
    stores = {"tls": {"stores": {"default": {"defaultCertificate": shown}}}}
    write(node.container, f"{ETC}/traefik.yaml", json.dumps(stores))
    traefik = {
        "providers.kubernetesingress": "true",
        "providers.kubernetesgateway": "true",
        "providers.file.filename": f"{ETC}/traefik.yaml",
        "entrypoints.web.address": ":80",
        "entrypoints.websecure.address": ":443",
        "entrypoints.websecure.http.tls": "true",
        "log.level": "WARN",
    }
    command = f"/usr/bin/env KUBECONFIG={ETC}/admin.kubeconfig {_options('traefik', traefik)}"
    _unit(node, "traefik", command)
    admin = f"{ETC}/admin.kubeconfig"
    metrics = {
        "kubeconfig": admin,
        "authentication-kubeconfig": admin,
        "authorization-kubeconfig": admin,
        "kubelet-insecure-tls": "true",
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "11s",
        "kubelet-request-timeout": "5s",
        "secure-port": "4443",
        "cert-dir": "/run/metrics",
    }
    _unit(node, "metrics-server", _options("metrics-server", metrics))


def _named(api: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _metrics(node: Node) -> list[dict[str, Any]]:
    """How the API server finds the metrics server, which is no pod."""
    metadata = {"name": "metrics", "namespace": "kube-system"}
    labels = {"kubernetes.io/service-name": "metrics"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": 4443}],
            "endpoints": [{"addresses": [node.address]}],
        },
        _named(
            "apiregistration.k8s.io/v1",
            "APIService",
            "v1beta1.metrics.k8s.io",
            group="metrics.k8s.io",
            version="v1beta1",
            service={"name": "metrics", "namespace": "kube-system"},
            insecureSkipTLSVerify=True,
            groupPriorityMinimum=100,
            versionPriority=100,
        ),
    ]
