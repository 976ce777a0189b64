# SPDX-License-Identifier: GPL-3.0-or-later
"""Package indexes that take a password, which no build gets."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import indexes
from ansible_collections.webops.wsgi.plugins.module_utils.build import inputs as build_inputs
from bare_sandbox import BareSandbox

PASSWORD = "hunt/er 2"
SEEN: list[tuple[str, str, dict[str, str]]] = []


class Index(BaseHTTPRequestHandler):
    """A package index that wants a user and a password."""

    def do_GET(self) -> None:
        SEEN.append((self.command, self.path, dict(self.headers)))
        right = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != right:
            self.send_error(401)
            return
        own = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        page = f'<a href="{own}/files/a.whl#sha256=1">a</a> <a href="{own}9/x">x</a> <a href="../b.whl">b</a>'
        body = page.encode() if self.path.startswith("/simple") else b"%s/files" % own.encode()
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Content-Type", "text/html" if self.path.startswith("/simple") else "application/zip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Set-Cookie", "secret=1")
        if self.path == "/moved":
            self.send_header("Location", f"{own}/files/a.whl")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def inputs(*urls: str) -> build_inputs.BuildInputs:
    first, *extra = urls
    return build_inputs.BuildInputs("api", {}, "x", "3.13", "python3", index_url=first, extra_index_urls=extra)


def with_password(index: str) -> str:
    return index.replace("//", "//user:hunt%2Fer%202@") + "/simple"


@pytest.fixture
def address(index: str, tmp_path: Path) -> Iterator[str]:
    """The index as a build gets it."""
    url = with_password(index)
    with indexes.reachable(inputs(url), "", BareSandbox(tmp_path), 60) as found:
        yield found[url]


def ask(address: str, path: str, token: bool = True, method: str = "GET") -> tuple[int, dict[str, str], str]:
    parts = urlsplit(address)
    given = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=10)
    connection.request(method, path, headers={"Authorization": f"Basic {given}"} if token else {})
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read().decode()


def test_index_without_a_password_is_asked_directly(tmp_path: Path) -> None:
    urls = ("https://packages.example.com/simple", "https://other.example.com/simple")
    with indexes.reachable(inputs(*urls), "", BareSandbox(tmp_path), 60) as found:
        assert found == {url: url for url in urls}


def test_no_password_reaches_the_build(address: str) -> None:
    assert urlsplit(address).hostname == "127.0.0.1"
    assert urlsplit(address).path == "/simple"
    assert "user" not in address
    assert "hunt" not in address


def test_the_index_is_answered_with_the_password(address: str, index: str) -> None:
    status, headers, page = ask(address, "/simple/a/")
    own = f"http://127.0.0.1:{urlsplit(address).port}"
    assert status == 200
    assert headers["ETag"] == '"1"'
    assert "Set-Cookie" not in headers
    # Links to the index lead to where the password is added; another port is another host.
    assert page == f'<a href="{own}/files/a.whl#sha256=1">a</a> <a href="{index}9/x">x</a> <a href="../b.whl">b</a>'


def test_files_are_passed_on_as_they_are(address: str, index: str) -> None:
    assert ask(address, "/files/a.whl")[2] == f"{index}/files"


def test_redirections_are_not_followed(address: str) -> None:
    SEEN.clear()
    status, headers, _body = ask(address, "/moved")
    assert (status, headers["Location"]) == (302, f"http://127.0.0.1:{urlsplit(address).port}/files/a.whl")
    assert [path for _method, path, _headers in SEEN] == ["/moved"]


def test_head_has_no_body(address: str) -> None:
    assert ask(address, "/files/a.whl", method="HEAD")[::2] == (200, "")
    assert ask(address, "/simple/a/", method="HEAD")[::2] == (200, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "CONNECT"])
def test_other_methods_do_not_reach_the_index(address: str, method: str) -> None:
    SEEN.clear()
    assert ask(address, "/simple", method=method)[0] in (400, 501)
    assert SEEN == []


@pytest.mark.parametrize("path", ["http://169.254.169.254/", "//other.example.com/", "simple"])
def test_other_hosts_are_not_asked(address: str, path: str, index: str) -> None:
    SEEN.clear()
    ask(address, path)
    assert all(headers["Host"] == index.removeprefix("http://") for _method, _path, headers in SEEN)


def test_who_has_no_token_is_refused(address: str) -> None:
    SEEN.clear()
    status, headers, _body = ask(address, "/simple/a/", token=False)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="build"')
    assert SEEN == []


def test_it_ends_with_the_build(index: str, tmp_path: Path) -> None:
    url = with_password(index)
    with indexes.reachable(inputs(url), "", BareSandbox(tmp_path), 60) as found:
        port = urlsplit(found[url]).port
    with pytest.raises(OSError, match="refused"):
        http.client.HTTPConnection("127.0.0.1", port or 0, timeout=5).connect()


def test_address_stays_the_same_for_the_installers_cache(index: str, tmp_path: Path) -> None:
    ports = set()
    for _ in range(2):
        url = with_password(index)
        with indexes.reachable(inputs(url), "", BareSandbox(tmp_path), 60) as found:
            ports.add(urlsplit(found[url]).port)
    assert len(ports) == 1


def test_indexes_that_have_a_password_and_that_have_none(index: str, tmp_path: Path) -> None:
    urls = (with_password(index), "https://other.example.com/simple")
    with indexes.reachable(inputs(*urls), "", BareSandbox(tmp_path), 60) as found:
        assert found[urls[1]] == urls[1]
        assert urlsplit(found[urls[0]]).hostname == "127.0.0.1"


def test_messages_name_the_index_as_it_is_written() -> None:
    url = "https://user:secret@packages.example.com/simple"
    addresses = {url: "http://build:token@127.0.0.1:20001/simple"}
    text = "http://127.0.0.1:20001/simple/flask and http://build:token@127.0.0.1:20001/simple failed"
    shown = indexes.as_written(text, addresses)
    assert shown == "https://packages.example.com/simple/flask and https://packages.example.com/simple failed"


def test_index_that_is_down_is_an_answer(tmp_path: Path) -> None:
    url = "http://user:secret@127.0.0.1:9/simple"
    with indexes.reachable(inputs(url), "", BareSandbox(tmp_path), 60) as found:
        assert ask(found[url], "/simple/")[0] == 502
