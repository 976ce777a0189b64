"""A cluster that cannot be asked, or does not know us: what is said of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.webops.wsgi.plugins.module_utils.kubernetes.kubeconfig import ClusterError

ANONYMOUS = 'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces"'


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """An address where every request has this answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def written(folder: Path, address: str = "http://127.0.0.1:9") -> str:
    """A kubeconfig."""
    file = folder / "config"
    known = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": address}}],
        "users": [{"name": "a", "user": {"token": "planted-token"}}],
    }
    file.write_text(json.dumps(known))
    return str(file)


def test_a_kubeconfig_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"there is no /nowhere/config.*write kubernetes_kubeconfig"):
        Cluster("/nowhere/config")
    monkeypatch.setenv("KUBECONFIG", f"/nowhere/a:{tmp_path}/b")
    with pytest.raises(ClusterError, match="there is no /nowhere/a"):
        Cluster()


@pytest.mark.parametrize("text", ["this: is: not", "[]", "text", "", "clusters: 7", "current-context: b"])
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ClusterError, match=str(file)):
        Cluster(str(file))


def test_a_context_that_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"production.*kubectl config get-contexts tells what it has"):
        Cluster(written(tmp_path), "production")


def test_nobody_answers(tmp_path: Path) -> None:
    cluster = Cluster(written(tmp_path))
    with pytest.raises(ClusterError, match=r"http://127.0.0.1:9 does not answer: .*Connection refused"):
        cluster.version()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, json.dumps({"message": "Unauthorized"}), "does not know who asks.*kubectl auth whoami"),
        (403, json.dumps({"message": ANONYMOUS}), "does not know who asks.*kubectl auth whoami"),
        (200, "<html>a router's login page</html>", "not as the API server of a cluster does; correct server"),
        (403, json.dumps({"message": 'User "ann" cannot list'}), 'User "ann" cannot list'),
        (502, "bad gateway", "bad gateway"),
    ],
)
def test_somebody_else_answers_or_does_not_know_us(tmp_path: Path, status: int, body: str, said: str) -> None:
    with answering(status, body) as address, pytest.raises(ClusterError, match=said) as caught:
        Cluster(written(tmp_path, address)).version()
    assert "planted-token" not in str(caught.value)
