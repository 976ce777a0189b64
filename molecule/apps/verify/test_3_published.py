"""Apps as their authors publish them on the package index do what they are there for."""

from __future__ import annotations

import json

import pytest

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:tests
BEGIN:VEVENT
UID:1
DTSTAMP:20260101T000000Z
DTSTART:20260101T000000Z
SUMMARY:Tea
END:VEVENT
END:VCALENDAR
"""
QUERY = """<?xml version="1.0"?><c:calendar-query xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:"><d:prop>
<c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"/></c:filter></c:calendar-query>"""


@pytest.fixture
def d13(hosts):
    return next(host for host in hosts if host.name == "d13")


def test_httpbin_sees_the_request_and_its_client(host, client):
    seen = client.get(f"{_url(host, 'httpbin')}/anything?x=1", "-H", "X-Own: yes").json
    assert (seen["args"], seen["headers"]["X-Own"]) == ({"x": "1"}, "yes")
    assert seen["origin"] in (client.ipv4, client.ipv6)


def test_radicale_keeps_a_calendar_by_its_configuration_file(host, client):
    url = f"{_url(host, 'radicale')}/ann/work/"
    client.get(url, "-u", "ann:", "-X", "DELETE")
    assert client.get(url, "-u", "ann:", "-X", "MKCALENDAR").status == 201
    put = ("-u", "ann:", "-X", "PUT", "-H", "Content-Type: text/calendar", "--data-binary", EVENT)
    assert client.get(f"{url}1.ics", *put).status == 201
    answer = client.get(url, "-u", "ann:", "-X", "REPORT", "-H", "Depth: 1", "--data", QUERY)
    assert answer.status == 207
    assert "SUMMARY:Tea" in answer.body
    assert host.run("find /var/lib/radicale/collections -name 1.ics")


def test_wsgidav_takes_moves_and_lists_files(host, client):
    url = _url(host, "dav")
    assert client.get(f"{url}/a%20b.txt", "-X", "PUT", "--data", "hello").status in (201, 204)
    assert client.get(f"{url}/a%20b.txt", "-X", "MOVE", "-H", f"Destination: {url}/c.txt").status in (201, 204)
    assert client.get(f"{url}/c.txt").body == "hello"
    assert "<ns0:href>/c.txt" in client.get(f"{url}/", "-X", "PROPFIND", "-H", "Depth: 1").body


def test_isso_keeps_a_comment(d13, client):
    url = _url(d13, "isso")
    body = json.dumps({"title": "A page", "text": "Well *said*"})
    sent = client.get(f"{url}/new?uri=/a/", "-H", "Content-Type: application/json", "--data", body)
    assert sent.status == 201, sent.body
    assert "<p>Well <em>said</em></p>" in client.get(f"{url}/?uri=/a/").body


def test_pypiserver_takes_a_package_and_lists_it(d13, client):
    url = _url(d13, "index")
    assert client.get(f"{url}/", "-F", ":action=file_upload", "-F", "content=x;filename=thing-1.0.tar.gz").status == 200
    assert "thing-1.0.tar.gz#sha256=" in client.get(f"{url}/simple/thing/").body
    assert client.get(f"{url}/packages/thing-1.0.tar.gz").body == "x"


def test_bepasty_keeps_a_paste(d13, client):
    url = _url(d13, "pastes")
    about = ("Content-Type: text/plain", "Content-Filename: a.txt", "Content-Range: bytes 0-8/9")
    sent = client.get(
        f"{url}/apis/rest/items", *(word for line in about for word in ("-H", line)), "--data", "c29tZSB0ZXh0"
    )
    assert sent.status == 201, sent.body
    item = sent.headers["content-location"].rpartition("/")[2]
    assert client.get(f"{url}/{item}/+download").body == "some text"


def test_trac_has_the_project_that_was_made_before_its_first_release(d13, client):
    page = client.get(f"{_url(d13, 'trac')}/wiki/WikiStart")
    assert page.status == 200
    assert "Welcome to Trac" in page.body


def test_kinto_keeps_a_record(d13, client):
    url = f"{_url(d13, 'kinto')}/v1/buckets/b"
    asked = ("-u", "ann:x", "-X", "PUT", "-H", "Content-Type: application/json", "--data")
    for path in ("", "/collections/c"):
        assert client.get(url + path, *asked, "{}").status in (200, 201)
    assert client.get(f"{url}/collections/c/records/r", *asked, '{"data": {"n": 1}}').json["data"]["n"] == 1


def test_parts_in_c_were_compiled_on_the_host(d13, client):
    told = client.get(_url(d13, "compiled")).json
    assert told["escaped"] == "&lt;b&gt;"
    # The second is uWSGI's, which serves it.
    assert [tag.rpartition("-")[2] for tag in told["tags"]] == ["linux_x86_64"] * 2


def _url(host, app):
    return host.url(app, path="", scheme="http")
