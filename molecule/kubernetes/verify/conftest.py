"""What the scenario's assertions look at the cluster with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kube_clients import KINDS, Load

ROOT = Path(__file__).resolve().parents[3]
STATE = ROOT / ".cache" / "lab" / "molecule-kubernetes"
RESULTS = ROOT / ".cache" / "reports" / "kubernetes.json"  # what bench/kubernetes.py draws


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

    def current(self, app: str = "probe") -> str:
        """The release that clients are led to."""
        return str(self.get("service", app, namespace=app)["metadata"]["annotations"]["webops.wsgi/release"])

    def names(self, *kinds: str) -> set[str]:
        """Names of the app's objects."""
        found = self.kubectl("-n", "probe", "get", ",".join(kinds), "-l", "app.kubernetes.io/name=probe", "-o", "name")
        return set(found.split())

    def load(self, app: str = "probe", kinds: Mapping[str, int] = KINDS, pause: float = 0.01) -> Load:
        """Clients of an app."""
        return Load(f"{app}.example.test", int(self.lab["ports"]["443"]), self.lab["ca"], kinds, pause)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The scenario's cluster."""
    return Cluster(json.loads((STATE / "lab.json").read_text(encoding="utf-8")))


@pytest.fixture
def deploy(play: Callable[..., Any]) -> Callable[..., Any]:
    """Deploy an app with this environment; other keyword arguments are variables of the inventory."""

    def run(*options: str, env: dict[str, str] | None = None, app: str = "probe", **variables: Any) -> Any:
        own = {f"{app}_env": env} if env else {}
        return play("--limit", "kubernetes", *options, playbook="kubernetes", app=app, **own, **variables)

    return run


@pytest.fixture(scope="session")
def results() -> list[dict[str, Any]]:
    """What clients lost by each change, in the order of the tests."""
    return []


@pytest.fixture
def measured(results: list[dict[str, Any]], record_property: Callable[..., None]) -> Callable[[str, str, Load], None]:
    """Note what clients lost by a change, for the summary and for the plot."""

    def note(change: str, by: str, load: Load) -> None:
        record_property("measured", f"{change}, by {by}: {load}")
        numbers = {"failed": load.failed, "requests": load.total, "seconds": round(load.seconds, 1)}
        results.append({"change": change, "by": by, **numbers, "kinds": dict(load.by_kind)})
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\n{change}, by {by}: {load}")

    return note
