"""Tests here import `tree_program` from beside them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tree_program import Program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/sibling.conf").write_text("stays\n")
    (tmp_path / "etc/main.conf").write_text("the package's own\n")
    made = Program(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.generation().encode() if self.headers["Host"] == "generation.internal" else b"?"
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/generation"
    yield made
    server.shutdown()
    server.server_close()
