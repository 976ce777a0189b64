"""What the scenario's assertions look at the cluster with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kube_clients import Load

ROOT = Path(__file__).resolve().parents[3]
STATE = ROOT / ".cache" / "lab" / "molecule-kubernetes"


@dataclass(frozen=True)
class Cluster:
    """The scenario's cluster."""

    lab: dict[str, Any]

    def kubectl(self, *args: str, stdin: str = "", check: bool = True) -> str:
        """Run kubectl; fail the test when it fails."""
        command = ["kubectl", f"--kubeconfig={self.lab['kubeconfig']}", *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{args}: {done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def get(self, kind: str, *args: str, namespace: str = "probe") -> Any:
        """Objects as data."""
        found = json.loads(self.kubectl("-n", namespace, "get", kind, *args, "-o", "json"))
        return found.get("items", found)

    def curl(self, url: str, *options: str) -> str:
        """What the controller answers; TLS is verified."""
        port = self.lab["ports"]["443" if url.startswith("https") else "80"]
        fixed = ["-s", "-m", "20", "--cacert", self.lab["ca"], "--connect-to", f"::127.0.0.1:{port}"]
        return subprocess.run(["curl", *fixed, *options, url], capture_output=True, text=True, check=False).stdout

    def json(self, path: str, name: str = "probe.example.test") -> Any:
        """An answer of an app."""
        return json.loads(self.curl(f"https://{name}{path}"))

    def current(self) -> str:
        """The release that clients are led to."""
        return str(self.get("service", "probe")["metadata"]["annotations"]["webops.wsgi/release"])

    def names(self, *kinds: str) -> set[str]:
        """Names of the app's objects."""
        found = self.kubectl("-n", "probe", "get", ",".join(kinds), "-l", "app.kubernetes.io/name=probe", "-o", "name")
        return set(found.split())

    def load(self, name: str = "probe.example.test") -> Load:
        """Clients of an app."""
        return Load(name, int(self.lab["ports"]["443"]), self.lab["ca"])


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The scenario's cluster."""
    return Cluster(json.loads((STATE / "lab.json").read_text(encoding="utf-8")))


@pytest.fixture
def deploy(play: Callable[..., Any]) -> Callable[..., Any]:
    """Deploy the probe with this environment; other keyword arguments are variables of the inventory."""

    def run(*options: str, env: dict[str, str] | None = None, **variables: Any) -> Any:
        limit = ("--limit", "kubernetes")
        return play(*limit, *options, playbook="kubernetes", app="probe", probe_env=env or {}, **variables)

    return run
