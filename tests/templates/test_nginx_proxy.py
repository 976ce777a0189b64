"""What nginx is told, for apps of every kind and for both Debian releases."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nginx import Config
from render import app, defaults, render, renderer

DEBIAN_12 = {"release": "12", "nginx_version": "1.22.1"}

Make = Callable[..., Config]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(*apps: dict[str, Any], host: dict[str, Any] | None = None, **variables: Any) -> Config:
        return Config(tmp_path, list(apps), host or {}, variables)

    return made


# ---------------------------------------------------------------- to the app


def test_the_app_gets_requests_on_its_current_socket(make: Make) -> None:
    config = make(app("api"))
    (upstream,) = config.http.blocks("upstream")
    assert upstream.all("server") == [["unix:/run/api/current.sock", "fail_timeout=0"]]
    assert upstream.all("keepalive") == []
    assert config.server("api.example.com", "443").location("/").one("proxy_pass") == f"http://{upstream.args[0]}"


def test_headers_that_a_client_could_forge_are_set_or_removed(make: Make) -> None:
    headers = make(app("api")).server("api.example.com", "443").location("/").headers()
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "$remote_addr"
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert headers["Host"] == headers["X-Forwarded-Host"] == "$host$wsgi_host_port"
    assert headers["X-Forwarded-Port"] == "$wsgi_port"
    removed = {name for name, value in headers.items() if value == ""}
    assert removed == {"X-Forwarded-Prefix", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "Forwarded", "Proxy"}
    assert not [value for value in headers.values() if "proxy_add_x_forwarded_for" in value or value == "$http_host"]


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("8f14e45f-ceea-467f-a8d4-a6e6b6e7c1b2", True),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("two words", False),
        ('quote"', False),
        ("new\nline", False),
    ],
)
def test_a_sane_request_id_is_passed_on(make: Make, given: str, passed: bool) -> None:
    config = make(app("api"))
    (ids,) = [block for block in config.http.blocks("map") if block.args[1] == "$wsgi_request_id"]
    rules = {found["directive"]: found["args"] for found in ids.directives}
    assert rules.pop("default") == ["$request_id"]
    ((pattern, value),) = rules.items()
    assert value == ["$http_x_request_id"]
    assert bool(re.search(pattern.removeprefix("~").replace("$", r"\Z"), given)) is passed
    assert config.server("api.example.com", "443").location("/").headers()["X-Request-ID"] == "$wsgi_request_id"


def test_only_websockets_are_upgraded(make: Make) -> None:
    config = make(app("api"))
    (upgrade,) = [block for block in config.http.blocks("map") if block.args[1] == "$wsgi_upgrade"]
    assert {d["directive"]: d["args"] for d in upgrade.directives} == {
        "default": [""],
        "~*^websocket$": ["websocket"],
    }


def test_times_and_sizes_of_one_app(make: Make) -> None:
    config = make(
        app("api"),
        app("slow", nginx={"read_timeout": 4000, "client_max_body_size": "1g", "buffering": False, "gzip": False}),
    )
    api, slow = config.server("api.example.com", "443"), config.server("slow.example.com", "443")
    assert api.location("/").one("proxy_read_timeout") == "130s"
    assert slow.location("/").one("proxy_read_timeout") == "4000s"
    assert (api.one("client_max_body_size"), slow.one("client_max_body_size")) == ("16m", "1g")
    assert slow.location("/").one("proxy_buffering") == "off"
    assert (api.all("gzip"), slow.one("gzip")) == ([], "off")
    # A reload must not cut the longest request short.
    assert config.main.one("worker_shutdown_timeout") == "4000s"


def test_nginx_waits_at_least_as_long_as_gunicorn() -> None:
    assert defaults("nginx_proxy")["nginx_proxy_read_timeout"] >= defaults("gunicorn")["gunicorn_timeout"]


# ---------------------------------------------------------------- ports, names, TLS


def test_http_leads_to_https_and_answers_the_certificate_authority(make: Make) -> None:
    server = make(app("api", domains=["a.example.com", "b.example.com"])).server("b.example.com", "80")
    assert server.one("server_name") == "a.example.com b.example.com"
    assert server.location("/").one("return") == "301 https://$host$request_uri"
    assert server.location("^~", "/.well-known/acme-challenge/").one("root") == "/var/www/acme"


def test_http_leads_to_another_port_of_https(make: Make) -> None:
    config = make(app("api"), nginx_proxy_https_port=8443)
    assert config.server("api.example.com", "80").location("/").one("return") == "301 https://$host:8443$request_uri"
    assert config.server("api.example.com", "8443").one("ssl_certificate") == "/etc/nginx/tls/api/fullchain.pem"


@pytest.mark.parametrize("tls", ["letsencrypt", "selfsigned", "provided"])
def test_every_kind_of_certificate_has_one_path(make: Make, tls: str) -> None:
    server = make(app("api", tls=tls)).server("api.example.com", "443")
    assert server.one("ssl_certificate") == "/etc/nginx/tls/api/fullchain.pem"
    assert server.one("ssl_certificate_key") == "/etc/nginx/tls/api/privkey.pem"


def test_without_tls_the_app_is_served_over_http(make: Make) -> None:
    config = make(app("api", tls="off", nginx={"static": {"/static/": "static"}}))
    server = config.server("api.example.com", "80")
    assert server.location("/").one("proxy_pass") == "http://wsgi-api"
    assert server.location("^~", "/static/")
    assert not [args for args in server.all("add_header") if args[0] == "Strict-Transport-Security"]
    assert len(config.servers) == 4


def test_unknown_names_get_their_connection_closed(make: Make) -> None:
    config = make(app("api"))
    plain, tls = config.server("_", "80"), config.server("_", "443")
    assert plain.one("return") == tls.one("return") == "444"
    assert tls.one("ssl_reject_handshake") == "on"
    assert all("default_server" in args for server in (plain, tls) for args in server.all("listen"))
    others = [server for server in config.servers if server.one("server_name") != "_"]
    assert not [args for server in others for args in server.all("listen") if "default_server" in args]


@pytest.mark.parametrize("host", [{}, DEBIAN_12, {**DEBIAN_12, "nginx_version": ""}, {"nginx_version": ""}])
def test_http2_and_key_exchange_by_version(make: Make, host: dict[str, str]) -> None:
    config = make(app("api"), host=host)
    old = host.get("release") == "12"
    assert config.http.all("http2") == ([] if old else [["on"]])
    for args in config.server("api.example.com", "443").all("listen"):
        assert args[1:] == (["ssl", "http2"] if old else ["ssl"])
    assert config.http.one("ssl_ecdh_curve").startswith("X25519:" if old else "?X25519MLKEM768:X25519:")


def test_nginx_from_elsewhere_on_debian_12(make: Make) -> None:
    config = make(app("api"), host={"release": "12", "nginx_version": "1.28.0"})
    assert config.http.one("http2") == "on"
    assert "MLKEM" not in config.http.one("ssl_ecdh_curve")


@pytest.mark.parametrize(
    ("wish", "has", "listens"),
    [("auto", True, True), ("auto", False, False), ("false", True, False), (True, False, True)],
)
def test_ipv6(make: Make, wish: str, has: bool, listens: bool) -> None:
    config = make(app("api"), app("off", tls="off"), host={"ipv6": has}, nginx_proxy_listen_ipv6=wish)
    for server in config.servers:
        ports = [args[0] for args in server.all("listen")]
        assert ports == [ports[0], *([f"[::]:{ports[0]}"] if listens else [])]


def test_tls_is_mozillas_intermediate(make: Make) -> None:
    http = make(app("api")).http
    assert http.one("ssl_protocols") == "TLSv1.2 TLSv1.3"
    suites = http.one("ssl_ciphers").split(":")
    assert len(suites) == 6
    assert all(suite.startswith("ECDHE-") and ("GCM" in suite or "CHACHA20" in suite) for suite in suites)
    assert http.one("ssl_prefer_server_ciphers") == http.one("ssl_session_tickets") == "off"


# ---------------------------------------------------------------- answers


def test_response_headers(make: Make) -> None:
    server = make(app("api")).server("api.example.com", "443")
    assert server.all("add_header") == [
        ["X-Request-ID", "$wsgi_request_id", "always"],
        ["X-Content-Type-Options", "nosniff", "always"],
        ["Strict-Transport-Security", "max-age=63072000", "always"],
    ]
    # In nginx an add_header in a location drops those of its server: no location has one.
    assert not [block for block in server.blocks("location") if block.all("add_header")]
    assert {name for (name,) in server.all("proxy_hide_header")} == {name for name, *_ in server.all("add_header")}


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"hsts_max_age": 0}, "max-age=0"),
        ({"hsts_include_subdomains": True}, "max-age=63072000; includeSubDomains"),
        ({"hsts": False}, None),
    ],
)
def test_hsts(make: Make, settings: dict[str, Any], value: str | None) -> None:
    server = make(app("api", nginx=settings)).server("api.example.com", "443")
    found = [args[1] for args in server.all("add_header") if args[0] == "Strict-Transport-Security"]
    assert found == ([value] if value else [])


@pytest.mark.parametrize("prefix", ["/static/", "/static", "static/"])
@pytest.mark.parametrize("folder", ["app/static", "app/static/", "./app/static"])
def test_static_files_cannot_be_left_by_a_missing_slash(make: Make, prefix: str, folder: str) -> None:
    server = make(app("api", nginx={"static": {prefix: folder}})).server("api.example.com", "443")
    location = server.location("^~", "/static/")
    alias = location.one("alias")
    assert alias.endswith("/app/static/")
    assert alias.startswith("/srv/api/current/app/src/")
    assert location.one("expires") == "1h"
    assert location.location("~", r"/\.").one("return") == "404"


def test_compression(make: Make) -> None:
    http = make(app("api")).http
    assert http.one("gzip") == "on"
    types = http.one("gzip_types").split()
    assert {"application/json", "text/css", "application/javascript", "application/xml", "image/svg+xml"} <= set(types)
    assert "text/html" not in types  # nginx has it built in and warns of a second


def test_slow_clients_are_not_waited_for(make: Make) -> None:
    http = make(app("api")).http
    assert http.one("client_header_timeout") == "10s"
    assert http.one("client_body_timeout") == "30s"
    assert http.one("reset_timedout_connection") == "on"


# ---------------------------------------------------------------- the tree


def test_the_generation_is_told_to_the_host_itself_only(make: Make) -> None:
    config = make(app("api"))
    server = config.server("generation.wsgi.internal", "80")
    assert server.location("=", "/generation").one("return") == "200 @GENERATION@\\n"
    (guard,) = server.blocks("if")
    assert guard.args == ["$wsgi_local", "=", "0"]
    assert guard.one("return") == "444"
    (geo,) = config.http.blocks("geo")
    assert {d["directive"]: d["args"] for d in geo.directives} == {
        "default": ["0"],
        "127.0.0.0/8": ["1"],
        "::1/128": ["1"],
    }


def test_includes_are_relative_so_that_a_preview_reads_itself() -> None:
    text = render("nginx_proxy", "nginx.conf.j2", __wsgi_apps=[app("api")])
    assert re.findall(r"^ *include (\S+);", text, re.MULTILINE) == [
        "modules-enabled/*.conf",
        "mime.types",
        "wsgi/sites/api.conf",
    ]


def test_an_app_that_left_the_inventory_is_read_last_and_may_have_no_site(make: Make) -> None:
    config = make(app("zeta"), host={"orphans": ["alpha"]})
    includes = [args[0] for args in config.http.all("include")]
    assert includes == [] or includes[-1] == "wsgi/sites/alpha.con[f]"


def test_absent_apps_and_apps_without_domains_have_no_site(make: Make) -> None:
    config = make(app("gone", state="absent"), app("worker", domains=[]))
    assert len(config.servers) == 3


def test_snippets_keep_their_lines(make: Make) -> None:
    snippet = "location /x {\n    return 403;\n}\n"
    config = make(
        app("api", nginx={"server_snippet": snippet}), nginx_proxy_http_snippet="limit_req_zone $a zone=z:1m rate=1r/s;"
    )
    assert config.server("api.example.com", "443").location("/x").one("return") == "403"
    assert config.http.one("limit_req_zone") == "$a zone=z:1m rate=1r/s"


def test_many_apps_render_at_once_as_they_do_one_by_one() -> None:
    apps = [app(f"app{number}", nginx={"static": {"/s/": "s"}} if number % 2 else {}) for number in range(100)]
    made = renderer("nginx_proxy", __wsgi_apps=apps)
    start = time.monotonic()
    texts = made.render_each("site.conf.j2", "app", apps, {})
    assert time.monotonic() - start < 4  # about 0.2 s on an idle machine
    assert texts is not None
    assert len(texts) == 100
    for number in (0, 1, 99):
        assert texts[number] == made.render("site.conf.j2", {"app": apps[number]})
