# SPDX-License-Identifier: GPL-3.0-or-later
"""Which request is explained, which app it is for, and which location's settings it gets."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.request import (
    Request,
    RequestError,
    find,
    location,
    nearest,
    of_app,
    parse,
)
from render import app

API = app()
ADMIN = app("admin", domains=["api.example.com"], path="/admin")
WILD = app("wild", domains=["*.example.org"])
APPS = [API, ADMIN, WILD]


@pytest.mark.parametrize(
    ("text", "wanted"),
    {
        "https://api.example.com/items?page=2": Request("https", "api.example.com", 443, "/items?page=2"),
        "http://API.example.com": Request("http", "api.example.com", 80, "/"),
        "api.example.com:8443/x": Request("https", "api.example.com", 8443, "/x"),
        "https://[2001:db8::1]/": Request("https", "2001:db8::1", 443, "/"),
    }.items(),
)
def test_parse(text: str, wanted: Request) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    "text", ["ftp://api.example.com", "https://", "https://api.example.com:99999/", "https://[::1/", ""]
)
def test_what_is_not_the_url_of_a_page(text: str) -> None:
    with pytest.raises(RequestError, match="url is"):
        parse(text)


@pytest.mark.parametrize(
    ("url", "wanted"),
    {
        "https://api.example.com/items": "api",
        "https://api.example.com/admin": "admin",
        "https://api.example.com/admin/x?y": "admin",
        "https://api.example.com/administrator": "api",
        "https://a.example.org/": "wild",
        "https://example.org/": None,
        "https://other.example.com/": None,
    }.items(),
)
def test_find(url: str, wanted: str | None) -> None:
    found = find(parse(url), APPS)
    assert (found["name"] if found else None) == wanted


def test_absent_app_serves_nothing() -> None:
    assert find(parse("https://api.example.com/"), [app(state="absent")]) is None


def test_nearest_name() -> None:
    assert nearest(parse("https://apo.example.com/"), APPS) == "api.example.com"
    assert nearest(parse("https://unlike.test/"), [app(domains=["zzz.zz"])]) == ""


def test_health_page_of_an_app_below_a_path() -> None:
    asked = of_app(app("admin", path="/admin", release={"health_path": "/health"}))
    assert asked.url == "https://admin.example.com/admin/health"


def test_app_without_a_domain() -> None:
    with pytest.raises(RequestError, match="has no domains"):
        of_app(app(domains=[]))


LOCATIONS = {
    "= /exact": {},
    "/files/": {},
    "/files/large/": {},
    "^~ /plain/": {},
    r"~ \.pdf$": {},
    r"~* \.PNG$": {},
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    {
        "/": "/",
        "/exact": "= /exact",
        "/exact/more": "/",
        "/files/a": "/files/",
        "/files/large/a?b": "/files/large/",
        "/files/a.pdf": r"~ \.pdf$",
        "/plain/a.pdf": "^~ /plain/",
        "/a.png": r"~* \.PNG$",
        "/a.PDF": "/",
    }.items(),
)
def test_location(path: str, wanted: str) -> None:
    assert location(app(nginx={"locations": LOCATIONS}), path) == wanted


def test_location_of_an_app_below_a_path() -> None:
    assert location(app(path="/admin", nginx={"locations": LOCATIONS}), "/admin/files/a") == "/files/"
