from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import __version__, create_app

FORWARDED = {
    "X-Forwarded-For": "192.0.2.66, 203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example.com",
    "X-Request-ID": "abc123",
}


def test_index_names_version_and_release(client: FlaskClient) -> None:
    assert client.get("/").get_json() == {"app": "api", "version": __version__, "release": "7"}


def test_name_and_release_come_from_the_unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WSGI_APP", "shop")
    monkeypatch.setenv("WSGI_RELEASE", "42")
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/var/lib/other")
    app = create_app()
    assert app.config["STATE_DIRECTORY"] == str(tmp_path)
    answer = app.test_client().get("/").get_json()
    assert (answer["app"], answer["release"]) == ("shop", "42")


def test_state_falls_back_to_the_instance_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    app = create_app()
    assert app.config["STATE_DIRECTORY"] == app.instance_path


def test_health_writes_to_the_database(client: FlaskClient, state: Path) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.get_json()["status"]) == (200, "ok")
    assert (state / "api.sqlite3").is_file()


def test_health_fails_without_a_writable_database(client: FlaskClient, state: Path) -> None:
    state.write_text("a file where the directory should be")
    response = client.get("/healthz")
    assert (response.status_code, response.get_json()["status"]) == (503, "failing")


def test_health_recovers(client: FlaskClient, state: Path) -> None:
    state.write_text("in the way")
    assert client.get("/healthz").status_code == 503
    state.unlink()
    assert client.get("/healthz").status_code == 200


def test_echo_returns_json_and_the_length_received(client: FlaskClient) -> None:
    response = client.post("/echo", data=b'{"name": "caf\xc3\xa9"}', content_type="application/json")
    assert response.get_json() == {"json": {"name": "café"}, "length": 17, "content_type": "application/json"}


def test_echo_measures_other_content(client: FlaskClient) -> None:
    response = client.post("/echo", data=b"\x00" * 1_000_000, content_type="application/octet-stream")
    assert response.get_json() == {"json": None, "length": 1_000_000, "content_type": "application/octet-stream"}


def test_echo_refuses_broken_json(client: FlaskClient) -> None:
    response = client.post("/echo", data="{", content_type="application/json")
    assert (response.status_code, response.get_json()["error"]) == (400, "Bad Request")


def test_whoami_believes_the_last_proxy_only(client: FlaskClient) -> None:
    assert client.get("/whoami", headers=FORWARDED).get_json() == {
        "client": "203.0.113.7",
        "scheme": "https",
        "host": "api.example.com",
        "request_id": "abc123",
    }


def test_whoami_without_a_proxy(client: FlaskClient) -> None:
    answer = client.get("/whoami").get_json()
    assert (answer["client"], answer["scheme"], answer["host"]) == ("127.0.0.1", "http", "localhost")


def test_slow_takes_its_time(client: FlaskClient) -> None:
    start = time.monotonic()
    assert client.get("/slow?seconds=0.2").get_json() == {"slept": 0.2}
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("seconds", ["-1", "0.6", "inf", "nan", "soon", ""])
def test_slow_is_bounded(client: FlaskClient, seconds: str) -> None:
    response = client.get("/slow", query_string={"seconds": seconds})
    assert response.status_code == 400
    assert "from 0 to 0.5" in response.get_json()["detail"]


@pytest.mark.parametrize("size", [0, 1, 20_000_000])
def test_upload_counts_and_digests_what_came(client: FlaskClient, size: int) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]
    answer = client.post("/upload", data=body, content_type="application/octet-stream")
    assert answer.get_json() == {"size": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_upload_counts_a_form_as_it_came(client: FlaskClient) -> None:
    answer = client.post("/upload", data=b"a=1", content_type="application/x-www-form-urlencoded")
    assert answer.get_json()["size"] == 3


def test_stream_sends_its_lines_one_by_one(client: FlaskClient) -> None:
    start = time.monotonic()
    response = client.get("/stream?chunks=4&seconds=0.4", buffered=False)
    lines = []
    for line in response.response:
        lines.append((line.decode(), time.monotonic() - start))
    assert [text for text, _ in lines] == [f"line {number} of 4\n" for number in (1, 2, 3, 4)]
    assert lines[0][1] < 0.3 < lines[3][1]


@pytest.mark.parametrize("chunks", ["0", "1001", "-1", "1.5", "²", "many", ""])
def test_stream_is_bounded(client: FlaskClient, chunks: str) -> None:
    response = client.get("/stream", query_string={"chunks": chunks, "seconds": "0"})
    assert response.status_code == 400
    assert "from 1 to 1000" in response.get_json()["detail"]


def test_page_links_what_nginx_serves(client: FlaskClient) -> None:
    html = client.get("/page").get_data(as_text=True)
    for path, content_type in (("/static/style.css", "text/css"), ("/static/page.js", "text/javascript")):
        assert path in html
        assert client.get(path).mimetype == content_type


def test_visits_survive_a_new_process(client: FlaskClient, state: Path) -> None:
    assert "<dd>1</dd>" in client.get("/page").get_data(as_text=True)
    reborn = create_app({"STATE_DIRECTORY": str(state)}).test_client()
    assert "<dd>2</dd>" in reborn.get("/page").get_data(as_text=True)


def test_no_visit_is_lost_among_threads(client: FlaskClient) -> None:
    application = client.application
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: application.test_client().get("/page").status_code, range(64)))
    assert answers == [200] * 64
    assert "<dd>65</dd>" in client.get("/page").get_data(as_text=True)


def test_unknown_paths_answer_in_json(client: FlaskClient) -> None:
    response = client.get("/nothing-here")
    assert (response.status_code, response.get_json()["error"]) == (404, "Not Found")
