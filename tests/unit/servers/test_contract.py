# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release asks of every server: real processes, started by their own start commands."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import UnixConnection, listens
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import SHARED, server
from render import ROOT, app, render


@dataclass(frozen=True)
class Case:
    """A server with apps of an interface.

    Attributes:
        server: Its name.
        interface: What the app is written for.
        settings: What the server needs for that.
    """

    server: str
    interface: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.server, self.interface, *self.settings.values()])


SCHEMA = load_schema()
NEEDED = {("gunicorn", "asgi"): {"worker_class": "asgi"}}


def protocols(name: str) -> list[dict[str, str]]:
    """The settings of a server for each protocol that nginx may speak to it."""
    choices = SCHEMA.roles[name].options.get(f"{name}_protocol", {}).get("choices", [])
    return [{"protocol": protocol} for protocol in choices] or [{}]


CASES = [
    Case(name, interface, {**NEEDED.get((name, interface), {}), **protocol})
    for name in SCHEMA.servers
    for interface in server(name).interfaces
    for protocol in protocols(name)
]


def has_workers(case: Case) -> bool:
    """Whether its server works in processes that it replaces."""
    return "workers" in SCHEMA.roles[case.server].short()


def ends_while_importing(case: Case) -> bool:
    """Whether it does not wait until the app is imported, as gunicorn's workers for WSGI do, and Waitress."""
    return case.server in ("granian", "uvicorn", "uwsgi") or case.interface == "asgi"


FACTORY = {"wsgi": "create_app", "asgi": "create_asgi"}
PATIENCE = 60  # seconds until something that must happen has happened, on whatever machine
AGES = 10 * PATIENCE  # what nobody waits for
LARGE = 20_000_000
# As nginx names a client, see roles/nginx_proxy/templates/location.j2.
FROM_NGINX = {
    "Host": "api.example.com",
    "X-Forwarded-For": "192.0.2.7",
    "X-Forwarded-Proto": "https",
    "X-Request-ID": "r1",
    "Connection": "close",
}
NOBODY = 65534


class UwsgiConnection(UnixConnection):
    """Questions in the protocol uwsgi, as nginx asks them; answers are those of HTTP."""

    def connect(self) -> None:
        super().connect()
        self._asked = False

    def send(self, data: Any) -> None:
        """Send what makes up a request, whose line and headers come first and at once."""
        first, self._asked = not self._asked, True
        super().send(uwsgi_packet(data) if first else data)


def uwsgi_packet(head: bytes) -> bytes:
    """The line and the headers of a request of HTTP/1.1 in the protocol uwsgi."""
    line, *headers = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, uri, version = line.split(" ")
    path, _mark, query = uri.partition("?")
    decoded = re.sub("/+", "/", unquote(path, "latin-1"))
    told = {"REQUEST_METHOD": method, "REQUEST_URI": uri, "PATH_INFO": decoded, "QUERY_STRING": query}
    told |= {"SERVER_PROTOCOL": version, "REMOTE_ADDR": "192.0.2.7", "HTTPS": "on"}
    for header in headers:
        name, _colon, value = header.partition(":")
        name = name.upper().replace("-", "_")
        told[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"] = value.strip()
    words = [word.encode("latin-1") for pair in told.items() for word in pair]
    body = b"".join(len(word).to_bytes(2, "little") + word for word in words)
    return b"\0" + len(body).to_bytes(2, "little") + b"\0" + body


class Instance:
    """A running server."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], protocol: str) -> None:
        self.socket, self.process, self.log = folder / "sock", process, folder / "log"
        self._folder, self._protocol = folder, protocol

    def connect(self, as_nginx: bool = True) -> UnixConnection:
        """A connection, of another user as nginx's are."""
        connection = (
            UwsgiConnection(self._folder / "uwsgi", PATIENCE)
            if self._protocol == "uwsgi"
            else UnixConnection(self.socket, PATIENCE)
        )
        if as_nginx:
            os.seteuid(NOBODY)
        try:
            connection.connect()
        finally:
            os.seteuid(os.getuid())
        return connection

    def lets_in(self) -> bool:
        """Whether nginx may connect; a server may listen before it says so."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, as_nginx: bool = True, **more: str) -> Any:
        """What the app was told of a request."""
        connection = self.connect(as_nginx)
        headers = {**FROM_NGINX, **{name.replace("_", "-"): value for name, value in more.items()}}
        if "SCRIPT-NAME" in headers:
            headers["SCRIPT_NAME"] = headers.pop("SCRIPT-NAME")
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        assert answer.status == 200
        return json.loads(answer.read())


@pytest.fixture(name="folder")
def fixture_folder() -> Iterator[Path]:
    """A directory that other users may look into, as nginx may into an instance's."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def running(case: Case, folder: Path, environment: dict[str, str] | None = None, **settings: Any) -> Iterator[Instance]:
    """An instance under a server, as a release starts it; it is ended, whatever becomes of it."""
    name = case.server
    described = app(
        entrypoint=f"contract_app:{settings.pop('factory', FACTORY[case.interface])}('it is \"me\"', size={LARGE})",
        server=name,
        interface=case.interface,
        path=settings.pop("path", "/"),
        **{name: {**case.settings, **settings}},
    )
    (folder / "etc").mkdir()
    for file in SHARED:
        shutil.copy(ROOT / "roles/server/files" / file, folder / "etc" / file)
    for dest, template in server(name).files.items():
        (folder / "etc" / dest).write_text(render(name, template, app=described))
    start = folder / "start"
    (folder / "etc/start").rename(start)
    start.chmod(0o755)
    (folder / "app").mkdir()
    (folder / "app/venv").symlink_to(sys.prefix)
    variables = {"WSGI_SOCKET": str(folder / "sock"), "WSGI_RELEASE_DIR": str(folder), "WSGI_APP": "api"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [start],
            cwd=Path(__file__).parent,
            env={**os.environ, **variables, **(environment or {})},
            stdout=log,
            stderr=log,
            umask=0o077,
        )
    try:
        yield Instance(folder, process, case.settings.get("protocol", ""))
    finally:
        process.kill()
        process.wait()


def until(true: Callable[[], Any], what: str, instance: Instance) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        too_late = instance.process.poll() is not None or time.monotonic() > deadline
        assert not too_late, f"{what} did not happen; the log: {instance.log.read_text()}"
        time.sleep(0.02)


@contextmanager
def ready(case: Case, folder: Path, **settings: Any) -> Iterator[Instance]:
    """An instance that listens."""
    with running(case, folder, **settings) as instance:
        until(lambda: listens(instance.socket) and instance.lets_in(), "listening", instance)
        yield instance


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_app_is_told_the_same_by_every_server(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        assert instance.ask("/a%20b/c?d=e%2Ff", "POST", b"x=1") == {
            "REMOTE_ADDR": "192.0.2.7",
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/a b/c",
            "QUERY_STRING": "d=e%2Ff",
            "HTTP_HOST": "api.example.com",
            "HTTP_X_REQUEST_ID": "r1",
            "scheme": "https",
            "body": "x=1",
            "greeting": 'it is "me"',
        }
        assert instance.ask("/", X_Forwarded_Proto="http")["scheme"] == "http"


@pytest.mark.parametrize("case", [case for case in CASES if server(case.server).tells_peers], ids=str)
def test_what_does_not_come_from_nginx_is_this_host_s(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        told = instance.ask("/", as_nginx=False)
        assert (told["REMOTE_ADDR"], told["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(
    ("path", "script", "rest"),
    [("/admin/x", "/admin", "/x"), ("/admin/", "/admin", "/"), ("/admin/admin", "/admin", "/admin")],
)
def test_an_app_below_a_path(case: Case, folder: Path, path: str, script: str, rest: str) -> None:
    with ready(case, folder, path="/admin") as instance:
        told = instance.ask(path, SCRIPT_NAME="/admin")
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == (script, rest)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_health_check_asks_without_the_path(case: Case, folder: Path) -> None:
    with ready(case, folder, path="/admin") as instance:
        told = instance.ask("/healthz")
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("", "/healthz")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_body_in_pieces(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        connection = instance.connect()
        connection.request("POST", "/", iter([b"abc", b"def"]), FROM_NGINX, encode_chunked=True)
        assert json.loads(connection.getresponse().read())["body"] == "abcdef"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_lost_when_it_is_told_to_end(case: Case, folder: Path) -> None:
    with ready(case, folder, graceful_timeout=PATIENCE) as instance:
        upload, download = instance.connect(), instance.connect()
        upload.putrequest("POST", "/", skip_host=True)
        for header, value in {**FROM_NGINX, "Content-Length": "6"}.items():
            upload.putheader(header, value)
        upload.endheaders(b"abc")
        download.request("GET", "/large", headers=FROM_NGINX)
        large = download.getresponse()
        assert large.read(1) == b"x"
        answers: list[Any] = []
        asking = [
            threading.Thread(target=lambda: answers.append(instance.ask("/slow", as_nginx=False))) for _ in range(3)
        ]
        for thread in asking:
            thread.start()
        until(lambda: instance.log.read_text().count("begun") >= 1 + len(asking), "all being worked on", instance)
        time.sleep(0.3)
        instance.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        upload.send(b"def")
        assert json.loads(upload.getresponse().read())["body"] == "abcdef"
        assert len(large.read()) == LARGE // 65536 * 65536 - 1
        for thread in asking:
            thread.join()
        assert len(answers) == len(asking)
        assert instance.process.wait(PATIENCE) == 0
        assert not listens(instance.socket)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_does_not_wait_for_ever(case: Case, folder: Path) -> None:
    with ready(case, folder, graceful_timeout=1) as instance:
        stuck = instance.connect()
        stuck.putrequest("POST", "/", skip_host=True)
        for header, value in {**FROM_NGINX, "Content-Length": "6"}.items():
            stuck.putheader(header, value)
        stuck.endheaders(b"abc")
        time.sleep(0.3)
        instance.process.send_signal(signal.SIGTERM)
        instance.process.wait(PATIENCE)
        stuck.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_app_that_cannot_be_imported_ends_it(case: Case, folder: Path) -> None:
    with running(case, folder, environment={"BROKEN": "0"}) as instance:
        assert instance.process.wait(PATIENCE) != 0
        assert "broken on purpose" in instance.log.read_text()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_app_for_the_other_interface_ends_it(case: Case, folder: Path) -> None:
    (other,) = set(FACTORY) - {case.interface}
    with running(case, folder, factory=FACTORY[other]) as instance:
        assert instance.process.wait(PATIENCE) != 0
        assert f"{other.upper()} app, and the app's interface is {case.interface}" in instance.log.read_text()


@pytest.mark.parametrize("case", [case for case in CASES if ends_while_importing(case)], ids=str)
def test_it_ends_while_the_app_is_imported(case: Case, folder: Path) -> None:
    with running(case, folder, environment={"BROKEN": str(AGES)}, graceful_timeout=AGES) as instance:
        time.sleep(3)
        instance.process.send_signal(signal.SIGTERM)
        instance.process.wait(PATIENCE)


SLOW_PACKAGE = """
import sys, time
print("uvicorn looks for packages", file=sys.stderr, flush=True)
time.sleep(1)
raise ImportError
"""


@pytest.mark.parametrize("case", [case for case in CASES if case.server == "uvicorn"], ids=str)
def test_it_ends_when_it_is_told_so_before_it_comes_to_the_app(case: Case, folder: Path) -> None:
    (folder / "packages").mkdir()
    (folder / "packages/websockets.py").write_text(SLOW_PACKAGE)
    environment = {"BROKEN": str(AGES), "PYTHONPATH": str(folder / "packages")}
    with running(case, folder, environment=environment, workers="1", graceful_timeout=AGES) as instance:
        until(lambda: "looks for packages" in instance.log.read_text(), "uvicorn looking for packages", instance)
        instance.process.send_signal(signal.SIGTERM)
        instance.process.wait(PATIENCE)


@pytest.mark.parametrize("case", [case for case in CASES if has_workers(case)], ids=str)
def test_a_worker_that_is_killed_is_replaced(case: Case, folder: Path) -> None:
    with ready(case, folder, workers="1") as instance:
        children = Path(f"/proc/{instance.process.pid}/task/{instance.process.pid}/children")
        assert instance.ask("/")["REMOTE_ADDR"] == "192.0.2.7"
        (killed,) = children.read_text().split()
        os.kill(int(killed), signal.SIGKILL)
        until(lambda: set(children.read_text().split()) - {killed}, "another worker", instance)
        assert instance.ask("/")["REMOTE_ADDR"] == "192.0.2.7"
        assert instance.process.poll() is None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_request_that_is_none_is_refused(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance, socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(PATIENCE)
        caller.connect(str(instance.socket))
        caller.sendall(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        answer = http.client.HTTPResponse(caller)
        answer.begin()
        assert answer.status == 400


APP = Path(__file__).with_name("contract_app.py")
WSGI = [case for case in CASES if case.interface == "wsgi"]


# Granian sends the headers before it asks for the first part.
@pytest.mark.parametrize("case", [case for case in WSGI if case.server != "granian"], ids=str)
@pytest.mark.parametrize("path", ["/raise", "/raise-late"])
def test_what_fails_before_anything_is_sent_is_answered(case: Case, folder: Path, path: str) -> None:
    with ready(case, folder) as instance:
        connection = instance.connect()
        connection.request("GET", path, headers=FROM_NGINX)
        answer = connection.getresponse()
        assert answer.status == 500
        assert b"Internal Server Error" in answer.read()
        until(lambda: "RuntimeError: in the" in instance.log.read_text(), "a traceback", instance)
        assert "SystemError" not in instance.log.read_text()
        assert instance.ask("/")["PATH_INFO"] == "/"


# The protocol uwsgi has no way to say so.
@pytest.mark.parametrize("case", [case for case in WSGI if case.settings.get("protocol") != "uwsgi"], ids=str)
def test_an_answer_that_breaks_off_does_not_look_complete(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        connection = instance.connect()
        connection.request("GET", "/half", headers=FROM_NGINX)
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        until(lambda: "RuntimeError: in the middle" in instance.log.read_text(), "a traceback", instance)


# Granian has neither of the two ways.
@pytest.mark.parametrize("case", [case for case in WSGI if case.server != "granian"], ids=str)
@pytest.mark.parametrize(("path", "whole"), [("/file", APP.read_bytes()), ("/written", b"written and given")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_of_a_length_that_nobody_has_said_is_whole(
    case: Case, folder: Path, path: str, whole: bytes, method: str
) -> None:
    with ready(case, folder) as instance:
        connection = instance.connect()
        connection.request(method, path, headers=FROM_NGINX)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read() == (whole if method == "GET" else b"")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_long_lines_reach_the_app(case: Case, folder: Path) -> None:
    """What nginx lets through: 8000 bytes of a URL, and about 64 KB of headers in all."""
    with ready(case, folder) as instance:
        told = instance.ask(f"/{'p' * 3900}?{'q' * 3900}", X_Long="x" * 20_000, X_Request_ID="i" * 20_000)
        assert (len(told["PATH_INFO"]), len(told["QUERY_STRING"])) == (3901, 3900)
        assert told["HTTP_X_REQUEST_ID"] == "i" * 20_000


@pytest.mark.parametrize("case", WSGI, ids=str)
def test_slashes_reach_the_app_as_they_were_written(case: Case, folder: Path) -> None:
    with ready(case, folder) as instance:
        told = instance.ask("/fetch/http://a.example//b%2Fc/%C3%A4/")
        assert told["PATH_INFO"] == "/fetch/http://a.example//b/c/\xc3\xa4/"


# gunicorn may take its graceful timeout then: a worker that has just been started can miss the signal.
@pytest.mark.parametrize("case", [case for case in CASES if case.server != "gunicorn"], ids=str)
@pytest.mark.parametrize("later", [0, 0.02, 0.1])
def test_it_ends_when_told_so_in_the_instant_it_listens(case: Case, folder: Path, later: float) -> None:
    with ready(case, folder, graceful_timeout=AGES) as instance:  # which it does not take, with nothing to wait for
        time.sleep(later)
        instance.process.send_signal(signal.SIGTERM)
        instance.process.wait(PATIENCE)
