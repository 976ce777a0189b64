"""What nginx is told, for apps of every kind and for both Debian releases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.filter.kept_files import kept_files
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site as edge
from jinja2 import Environment
from nginx import Config
from render import ROOT, app, defaults, load, render, renderer

DEBIAN_12 = {"release": "12", "nginx_version": "1.22.1"}

Make = Callable[..., Config]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(*apps: dict[str, Any], host: dict[str, Any] | None = None, **variables: Any) -> Config:
        return Config(tmp_path, list(apps), host or {}, variables)

    return made


# ---------------------------------------------------------------- to the app


def uwsgi(described: dict[str, Any]) -> dict[str, Any]:
    """An app whose server speaks uwsgi."""
    return {**described, "server": {**described["server"], "protocol": "uwsgi"}}


def test_the_app_gets_requests_on_its_current_socket(make: Make) -> None:
    config = make(app("api"))
    (upstream,) = config.http.blocks("upstream")
    assert upstream.all("server") == [
        *2 * [["unix:/run/api/current.sock", "max_fails=0"]],
        ["unix:/run/api/previous.sock", "max_fails=0", "backup"],
    ]
    assert upstream.all("keepalive") == []
    assert config.server("api.example.com", "443").location("/").one("proxy_pass") == f"http://{upstream.args[0]}"


def test_headers_that_a_client_could_forge_are_set_or_removed(make: Make) -> None:
    headers = make(app("api")).server("api.example.com", "443").location("/").headers()
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "$remote_addr"
    assert headers["X-Forwarded-Proto"] == "$wsgi_scheme"
    assert headers["Host"] == headers["X-Forwarded-Host"] == "$host$wsgi_host_port"
    removed = {name for name, value in headers.items() if value == ""}
    ours = {"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Protocol", "X-Forwarded-Ssl", "Forwarded", "Proxy"}
    client = {"X-Client-Cert-Verify", "X-Client-Cert-Subject"}
    claimed = set(edge.expanded(defaults("nginx_proxy")["nginx_proxy_drop_headers"], "claimed_headers"))
    assert removed == ours | client | {"SCRIPT_NAME", "PATH_INFO"} | claimed
    asked_for = {"CF-Connecting-IP", "True-Client-IP", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-User"}
    assert asked_for | {"X-Forwarded-Server", "Remote-User"} <= removed
    assert not [value for value in headers.values() if "proxy_add_x_forwarded_for" in value or value == "$http_host"]


def test_a_server_that_speaks_uwsgi_gets_what_the_others_get(make: Make) -> None:
    locations = {"/cached/": {"cache": "on"}, "/events": {"buffering": False, "read_timeout": 3600}}
    nginx = {"locations": locations, "retries": 0, "drop_headers": ["X-Own"], "methods": ["GET"]}
    config = make(uwsgi(app("api", nginx=nginx)), app("web", nginx=nginx))
    for path in ("/", "/cached/", "/events"):
        block = config.server("api.example.com", "443").location(path)
        http = config.server("web.example.com", "443").location(path)
        (chosen,) = [found for found in block.blocks("if") if found.args == ["$wsgi_api_speaks_uwsgi"]]
        assert chosen.one("uwsgi_pass") == "wsgi-api-uwsgi"
        told = {args[0]: args[1] for args in block.all("uwsgi_param")}
        assert all(args[2:] == ["if_not_empty"] for args in block.all("uwsgi_param") if args[0].startswith("HTTP_"))
        assert (told["REMOTE_ADDR"], told["HTTPS"]) == ("$remote_addr", "$wsgi_https")
        assert (told["REQUEST_URI"], told["PATH_INFO"]) == ("$request_uri", "$document_uri")
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in http.headers().items()}
        for name in ("HTTP_SCRIPT_NAME", "HTTP_PATH_INFO"):
            del headers[name]
        assert (
            headers.items()
            <= {**told, "HTTP_CONNECTION": headers["HTTP_CONNECTION"], "HTTP_UPGRADE": headers["HTTP_UPGRADE"]}.items()
        )
        assert {"HTTP_EXPECT", "HTTP_TRANSFER_ENCODING", "HTTP_X_OWN"} <= {n for n in told if not told[n]}
        for directive in http.directives:
            name, args = directive["directive"], directive["args"]
            if name.startswith("proxy_") and name not in ("proxy_set_header", "proxy_pass", "proxy_http_version"):
                also = name.replace("proxy_", "uwsgi_")
                replaced = [[word.replace("web", "api") for word in args]]
                assert name == "proxy_redirect" or replaced[0] in block.all(also), name
    assert config.server("api.example.com", "443").all("uwsgi_hide_header") == (
        config.server("web.example.com", "443").all("proxy_hide_header")
    )
    assert [args[0] for args in config.http.all("uwsgi_cache_path")] == ["/var/cache/nginx-api"]
    (own,) = [found for found in config.http.blocks("upstream") if found.args == ["wsgi-api-uwsgi"]]
    assert own.all("server") == [
        ["unix:/srv/api/current/instance/uwsgi", "max_fails=0"],
        ["unix:/run/api/previous/uwsgi", "max_fails=0", "backup"],
    ]


def test_a_release_that_does_not_speak_uwsgi_is_asked_over_http(make: Make) -> None:
    """One under another server may be gone back to; WebSockets take HTTP as well."""
    config = make(uwsgi(app("api")), uwsgi(below("admin", "/admin", site="api")))
    server = config.server("api.example.com", "443")
    for name, location in {
        "api": server.location("/"),
        "admin": server.location("^~", "/admin/").location("/admin/"),
    }.items():
        variable = f"$wsgi_{name}_speaks_uwsgi"
        assert location.one("proxy_pass") == f"http://wsgi-{name}"
        assert [variable, ""] in server.all("set")
        looks = [found for found in server.blocks("if") if found.args == ["-x", f"/srv/{name}/current/instance/uwsgi"]]
        assert [found.one("set") for found in looks] == [f"{variable} 1"]
        upgrades = [found.all("set") for found in server.blocks("if") if found.args == ["$wsgi_upgrade"]]
        assert [[variable, ""]] in upgrades


def test_clients_with_certificates(make: Make) -> None:
    settings = {"client_ca": "/ca.pem", "client_verify": "on", "locations": {"/open": {"client_verify": "optional"}}}
    server = make(app("api", nginx={**settings, "static": {"/static/": "static"}})).server("api.example.com", "443")
    assert server.one("ssl_client_certificate") == "wsgi/client-ca/api.pem"
    assert server.one("ssl_verify_client") == "optional"
    assert ["495", "=403", "/__wsgi/$wsgi_error"] in server.all("error_page")
    for args, closed in ((["/"], True), (["/open"], False), (["^~", "/static/"], True)):
        conditions = [block.args for block in server.location(*args).blocks("if")]
        assert (["$ssl_client_verify", "!=", "SUCCESS"] in conditions) is closed, args
    for location in server.location("^~", "/static/").blocks("location"):
        if location.args != ["~", "/\\."]:
            assert [block.args for block in location.blocks("if")] == [["$ssl_client_verify", "!=", "SUCCESS"]]
    headers = server.location("/open").headers()
    assert headers["X-Client-Cert-Verify"] == "$ssl_client_verify"
    assert headers["X-Client-Cert-Subject"] == "$ssl_client_s_dn"


def test_an_answer_for_a_client_s_certificate_is_kept_for_it_alone(make: Make) -> None:
    server = make(app("api", nginx={"client_ca": "/ca.pem", "cache": "on"})).server("api.example.com", "443")
    assert server.location("/").one("proxy_cache_key").endswith(" $ssl_client_fingerprint")


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


@pytest.mark.parametrize(
    ("target", "climbs"),
    [
        ("/closed/../open", True),
        ("/closed/..", True),
        ("/closed/..?page=1", True),
        ("/closed/..#", True),
        ("/closed/%2E.%2fopen", True),
        ("/closed%2F%2e%2e/open", True),
        ("/open?next=/../closed/", False),
        ("/open#/../closed/", False),
        ("/versions/1..2/..latest", False),
        ("/.../x", False),
    ],
)
def test_the_app_never_sees_a_path_that_climbs(make: Make, target: str, climbs: bool) -> None:
    """It would be the closed part's for the app, and another one's for nginx."""
    config = make(app("web", nginx={"locations": {"/closed/": {"deny": ["all"]}}}), below("admin", "/admin"))
    (paths,) = [block for block in config.http.blocks("map") if block.args == ["$request_uri", "$wsgi_climbs"]]
    (pattern,) = [found["directive"] for found in paths.directives if found["args"] == ["1"]]
    assert bool(re.search(pattern.removeprefix("~*"), target, re.IGNORECASE)) is climbs
    server = config.server("web.example.com", "443")
    inside = server.location("^~", "/admin/").location("/admin/")
    for location, internal in ((server.location("/closed/"), ""), (server.location("/"), ""), (inside, "apps/admin/")):
        (refusal,) = [block for block in location.blocks("if") if block.args == ["$wsgi_climbs"]]
        assert refusal.one("rewrite") == f"^ /__wsgi/{internal}refused/404 last"
        assert server.location("=", f"/__wsgi/{internal}refused/404").one("return") == "404"


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
    assert api.location("/").one("client_max_body_size") == "16m"
    assert slow.location("/").one("client_max_body_size") == "1g"
    assert slow.location("/").one("proxy_buffering") == "off"
    assert (api.location("/").all("gzip"), slow.location("/").one("gzip")) == ([], "off")
    # A reload must not cut the longest request short.
    assert config.main.one("worker_shutdown_timeout") == "4000s"


# ---------------------------------------------------------------- ports, names, TLS


def test_http_leads_to_https_and_answers_the_certificate_authority(make: Make) -> None:
    server = make(app("api", domains=["a.example.com", "b.example.com"])).server("b.example.com", "80")
    assert server.one("server_name") == "a.example.com b.example.com"
    assert server.location("/").one("return") == "308 https://$host$request_uri"
    assert server.location("^~", "/.well-known/acme-challenge/").one("root") == "/var/www/acme"


def test_http_leads_to_another_port_of_https(make: Make) -> None:
    config = make(app("api"), nginx_proxy_https_port=8443)
    assert config.server("api.example.com", "80").location("/").one("return") == "308 https://$host:8443$request_uri"
    assert config.server("api.example.com", "8443").one("ssl_certificate") == "/etc/nginx/tls/api/fullchain.pem"


def test_domains_that_redirect_to_one(make: Make) -> None:
    given = app("api", domains=["www.example.com", "example.com"], nginx={"canonical_domain": "example.com"})
    config = make(given)
    assert config.server("www.example.com", "80").location("/").one("return") == "308 https://example.com$request_uri"
    redirect, main = config.server("www.example.com", "443"), config.server("example.com", "443")
    assert redirect.location("/").one("return") == "308 $wsgi_scheme://example.com$wsgi_host_port$request_uri"
    assert redirect.one("ssl_certificate") == main.one("ssl_certificate")
    assert main.location("/").one("proxy_pass")


def test_http3_where_nginx_has_it(make: Make) -> None:
    config = make(app("api"), nginx_proxy_http3=True)
    quic = {
        server.one("server_name"): [args for args in server.all("listen") if "quic" in args]
        for server in config.servers
        if [args for args in server.all("listen") if "ssl" in args]
    }
    assert quic["_"] == [
        ["443", "quic", "default_server", "reuseport"],
        ["[::]:443", "quic", "default_server", "reuseport"],
    ]
    assert quic["api.example.com"] == [["443", "quic"], ["[::]:443", "quic"]]
    headers = config.server("api.example.com", "443").all("add_header")
    assert ["Alt-Svc", 'h3=":443"; ma=86400', "always"] in headers


@pytest.mark.parametrize(("host", "wish"), [(DEBIAN_12, True), ({}, False)])
def test_no_http3(make: Make, host: dict[str, str], wish: bool) -> None:
    config = make(app("api"), host=host, nginx_proxy_http3=wish)
    assert not [args for server in config.servers for args in server.all("listen") if "quic" in args]
    assert not [a for a in config.server("api.example.com", "443").all("add_header") if a[0] == "Alt-Svc"]


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
    assert (plain.one("return"), tls.location("/").one("return")) == ("444", "421")
    assert tls.one("ssl_reject_handshake") == "on"
    for port, server in (("80", plain), ("443", tls)):
        assert config.first(port).all("listen") == server.all("listen")
        assert config.first(port).one("server_name") == "_"


def test_no_name_is_too_long_for_nginx_s_hashes(make: Make) -> None:
    domain = ".".join(["d" * 63, "e" * 63, "f" * 63, "g" * 61])
    locations = {
        "/": {"limit_requests": "1r/s", "limit_key": f"header:X-{'h' * 200}", "drop_headers": [f"X-{'i' * 200}"]}
    }
    settings = {"content_security_policy": "default-src 'self'", "locations": locations}
    config = make(app("a" * 30, domains=[domain], nginx=settings))
    variables = [args[1].lstrip("$") for args in [*config.http.all("map"), *config.http.all("geo")] if len(args) > 1]
    headers = config.server(domain, "443").location("/").headers()
    for kind, names in {"server_names": [domain], "variables": variables, "proxy_headers": headers}.items():
        bucket = int(config.http.one(f"{kind}_hash_bucket_size"))
        # ngx_hash_init: a pointer, the length in two bytes and the name, and a pointer behind the last of a bucket.
        assert max(8 + (len(name) + 2 + 7) // 8 * 8 + 8 for name in names) <= bucket, kind


def test_clients_of_an_address_name_no_host(make: Make) -> None:
    unnamed = make(app("web"), app("api", domains=["api.example.com", "192.0.2.1"])).server("_", "443")
    assert unnamed.one("ssl_certificate") == "/etc/nginx/tls/api/fullchain.pem"
    assert not unnamed.all("ssl_reject_handshake")
    assert unnamed.location("/").one("return") == "421"


@pytest.mark.parametrize("tls", ["letsencrypt", "off"])
def test_unknown_names_lead_to_the_default_app(make: Make, tls: str) -> None:
    config = make(app("web"), app("api", tls=tls), below("admin", "/admin", site="api"), nginx_proxy_default_app="api")
    plain, secure = config.first("80"), config.first("443")
    assert plain.location("/").one("proxy_pass") == "http://wsgi-api"
    assert plain.location("^~", "/admin/")
    if tls == "off":
        assert secure.one("ssl_reject_handshake") == "on"
    else:
        assert secure.one("server_name") == "api.example.com"
        assert secure.one("ssl_certificate") == "/etc/nginx/tls/api/fullchain.pem"


def test_site_is_no_default_server(make: Make) -> None:
    """It stays when its app has left the inventory, beside the one that is the default then."""
    config = make(app("web"), app("api"), nginx_proxy_default_app="api")
    flagged = {
        server.one("server_name")
        for server in config.servers
        if [args for args in server.all("listen") if "default_server" in args]
    }
    assert flagged <= {"_"}


def test_default_app_with_a_canonical_domain(make: Make) -> None:
    domains = ["example.com", "www.example.com"]
    site = app("api", domains=domains, nginx={"canonical_domain": "example.com"})
    config = make(site, nginx_proxy_default_app="api")
    assert config.first("443").one("server_name") == "example.com"
    assert config.first("80").location("/").one("proxy_pass") == "http://wsgi-api"


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
        ["X-Frame-Options", "$wsgi_api_frame_options", "always"],
        ["Referrer-Policy", "$wsgi_api_referrer_policy", "always"],
    ]
    ours = {"X-Request-ID", "X-Content-Type-Options", "Strict-Transport-Security"}
    assert {name for (name,) in server.all("proxy_hide_header")} == ours


def test_a_location_with_headers_has_those_of_its_server_as_well(make: Make) -> None:
    """In nginx an add_header in a location drops those of its server."""
    locations = {"/cached/": {"cache": "on"}, "/own/": {"location_snippet": "add_header X-Own 1;"}}
    server = make(app("api", nginx={"locations": locations})).server("api.example.com", "443")
    everywhere = {tuple(args) for args in server.all("add_header")}
    having = [block for block in server.blocks("location") if block.all("add_header")]
    assert [block.args[-1] for block in having] == ["/cached/", "/own/", "/__wsgi/closed", "/__wsgi/"]
    assert not [block for block in having if not everywhere <= {tuple(args) for args in block.all("add_header")}]


def test_an_apps_own_security_header_wins(make: Make) -> None:
    config = make(app("my-api", nginx={"content_security_policy": "default-src 'self'; report-uri /csp"}))
    (policy,) = [m for m in config.http.blocks("map") if m.args[1] == "$wsgi_my_api_content_security_policy"]
    assert policy.args[0] == "$upstream_http_content_security_policy"
    assert {d["directive"]: d["args"] for d in policy.directives} == {
        "": ["default-src 'self'; report-uri /csp"],
        "default": [""],
    }
    assert not [m for m in config.http.blocks("map") if m.args[1] == "$wsgi_my_api_permissions_policy"]


# ---------------------------------------------------------------- locations


def test_locations_differ_in_what_they_name(make: Make) -> None:
    locations = {
        "/events": {"buffering": False, "read_timeout": 3600, "websocket": False},
        "= /upload": {"client_max_body_size": "1g", "request_buffering": False},
        r"~ ^/v\d{1,2}/": {"access_log": "off", "connect_timeout": 1},
    }
    server = make(app("api", nginx={"locations": locations})).server("api.example.com", "443")
    events, upload, rest = server.location("/events"), server.location("=", "/upload"), server.location("/")
    assert (events.one("proxy_buffering"), events.one("proxy_read_timeout")) == ("off", "3600s")
    assert (events.headers()["Upgrade"], rest.headers()["Upgrade"]) == ("", "$wsgi_upgrade")
    assert (events.headers()["Connection"], rest.headers()["Connection"]) == ("", "$wsgi_connection")
    assert (upload.one("client_max_body_size"), upload.one("proxy_request_buffering")) == ("1g", "off")
    assert (rest.one("proxy_buffering"), rest.one("client_max_body_size")) == ("on", "16m")
    quiet = server.location("~", r"^/v\d{1,2}/")
    assert (quiet.one("access_log"), quiet.one("proxy_connect_timeout")) == ("off", "1s")
    names = {"Host", "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Proxy"}
    assert not [block for block in (events, upload, quiet, rest) if not names <= set(block.headers())]


def test_a_reload_waits_for_the_longest_location(make: Make) -> None:
    config = make(app("api", nginx={"locations": {"/socket": {"read_timeout": 7200}}}))
    assert config.main.one("worker_shutdown_timeout") == "7200s"


def test_files_of_caches_that_stay_open_have_room(make: Make) -> None:
    config = make(app("api", nginx={"locations": {"/a": {"cache": "micro"}, "/b": {"cache": "on"}}}))
    location = config.server("api.example.com", "443").location("/a")
    assert location.all("open_file_cache") == [["max=256", "inactive=20s"]]
    assert config.main.one("worker_rlimit_nofile") == str(2 * 4096 + 2 * 256 + 1024)
    assert not config.server("api.example.com", "443").location("/").all("open_file_cache"), "it delays deployments"


def test_who_may_come_in(make: Make) -> None:
    settings = {"methods": ["GET", "POST"], "allow": ["192.0.2.0/24"], "deny": ["192.0.2.7"]}
    location = make(app("api", nginx={"locations": {"/a": settings}})).server("api.example.com", "443").location("/a")
    access = [(d["directive"], *d["args"]) for d in location.directives if d["directive"] in ("allow", "deny")]
    assert access == [("deny", "192.0.2.7"), ("allow", "192.0.2.0/24"), ("deny", "all")]
    (methods,) = [block for block in location.blocks("if") if "$request_method" in block.args[0]]
    assert methods.args[-1] == "^(?:GET|HEAD|POST)$"
    assert methods.one("rewrite") == "^ /__wsgi/refused/405 last"


def test_passwords_are_in_a_file_beside_the_site(make: Make) -> None:
    given = app("api", nginx={"locations": {"/admin": {"basic_auth": {"ann": "$6$salt$hash"}}}})
    file = make(given).server("api.example.com", "443").location("/admin").one("auth_basic_user_file")
    assert file.startswith("wsgi/passwords/api/")
    (found,) = edge.host([given])["passwords"]
    assert render("nginx_proxy", "passwords.j2", file=found) == "ann:$6$salt$hash\n"


def test_limits(make: Make) -> None:
    settings = {
        "limit_requests": "6r/m",
        "limit_requests_burst": 3,
        "limit_requests_delay": "1",
        "limit_connections": 2,
    }
    config = make(app("api", nginx={"locations": {"/a": settings}}))
    (zone,) = config.http.all("limit_req_zone")
    location = config.server("api.example.com", "443").location("/a")
    name = zone[1].removeprefix("zone=").removesuffix(":10m")
    assert zone[0] == "$binary_remote_addr"
    assert zone[2] == "rate=6r/m"
    assert location.one("limit_req") == f"zone={name} burst=3 delay=1"
    assert location.one("limit_conn").endswith(" 2")
    assert ["$wsgi_retry_after", "10"] in location.all("set")
    assert config.http.one("limit_req_status") == config.http.one("limit_conn_status") == "429"
    assert not config.server("api.example.com", "443").location("/").all("limit_req")


def test_no_limit_without_a_burst_is_a_burst_of_none(make: Make) -> None:
    config = make(app("api", nginx={"limit_requests": "1r/s", "limit_requests_burst": 0, "limit_dry_run": True}))
    location = config.server("api.example.com", "443").location("/")
    assert len(location.all("limit_req")[0]) == 1
    assert location.one("limit_req_dry_run") == "on"


def test_cache(make: Make) -> None:
    locations = {"/a/": {"cache": "on", "cache_valid": {"200": "5m"}}, "= /m": {"cache": "micro", "cache_stale": False}}
    config = make(app("api", nginx={"locations": locations}), app("other"))
    (path,) = config.http.all("proxy_cache_path")
    assert path[0] == "/var/cache/nginx-api"
    assert "keys_zone=api-cache:10m" in path
    server = config.server("api.example.com", "443")
    cached, micro = server.location("/a/"), server.location("=", "/m")
    assert cached.all("proxy_cache_valid") == [["200", "5m"]]
    bypass = cached.one("proxy_cache_bypass")
    assert bypass == cached.one("proxy_no_cache")
    assert bypass.split() == ["$http_authorization", "$http_x_api_key", "$http_cookie", *edge.UNLIKE_ITS_URL]
    assert {"updating", "error", "timeout", "http_503"} <= set(cached.one("proxy_cache_use_stale").split())
    assert cached.one("proxy_cache_lock") == "on"
    assert cached.one("open_file_cache_valid") == "1s", "longer than playbooks/purge.yml waits"
    assert micro.all("proxy_cache_use_stale") == []
    assert server.location("/").all("proxy_cache") == []


def test_cookies_that_a_cache_ignores(make: Make) -> None:
    config = make(app("api", nginx={"cache": "on", "cache_ignore_cookies": ["_ga"]}))
    bypass = config.server("api.example.com", "443").location("/").one("proxy_cache_bypass").split()
    (ignored,) = [block for block in config.http.blocks("map") if block.args[1].startswith("$wsgi_api_cookie_")]
    assert ignored.args[1] in bypass
    rules = {found["directive"]: found["args"] for found in ignored.directives}
    assert rules == {"default": ["1"], "": [""], f"~{edge.cookie_pattern(['_ga'])}": [""]}


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("example.com", False),
        ("example.com:", False),
        ("example.com:1", False),
        ("example.com:8443", False),
        ("example.com:65535", False),
        ("example.com:65536", True),
        ("example.com:99999", True),
        ("example.com:0", True),
        ("example.com:00443", True),
        ("example.com:123456", True),
        ("example.com:80:90000", True),
        ("example.com:443:80", True),
        ("[2001:db8::1]x:80", True),
        ("example.com:https", True),
        ("[2001:db8::1]", False),
        ("[2001:db8::1]:443", False),
        ("[2001:db8::1]:70000", True),
    ],
)
def test_what_is_no_port_is_refused(make: Make, host: str, refused: bool) -> None:
    config = make(
        app("api", domains=["api.example.com", "www.example.com"], nginx={"canonical_domain": "api.example.com"})
    )
    (ports,) = [block for block in config.http.blocks("map") if block.args == ["$http_host", "$wsgi_no_port"]]
    patterns = [(found["directive"], found["args"][0]) for found in ports.directives if found["directive"] != "default"]
    found = next((value for pattern, value in patterns if re.search(pattern.removeprefix("~"), host)), "")
    assert bool(found) is refused
    for name, port in (("api.example.com", "80"), ("api.example.com", "443"), ("www.example.com", "443")):
        (block,) = [block for block in config.server(name, port).blocks("if") if block.args == ["$wsgi_no_port"]]
        assert block.one("return") == "400"


def test_requests_are_sent_again_only_when_told(make: Make) -> None:
    config = make(app("api", nginx={"retries": 0}))
    (upstream,) = config.http.blocks("upstream")
    assert [server for server in upstream.all("server") if "backup" not in server] == [
        ["unix:/run/api/current.sock", "max_fails=0"]
    ]
    assert config.server("api.example.com", "443").location("/").one("proxy_next_upstream") == "off"


def test_maintenance_lets_the_host_itself_through(make: Make) -> None:
    config = make(app("my-api", nginx={"maintenance_allow": ["192.0.2.7"]}))
    (closed,) = [block for block in config.http.blocks("geo") if block.args == ["$wsgi_my_api_closed"]]
    told = {d["directive"]: d["args"][0] for d in closed.directives}
    assert told.pop("default") == "/etc/nginx/maintenance/my-api"
    assert set(told) == {"127.0.0.0/8", "::1", "192.0.2.7"}
    for location in config.server("my-api.example.com", "443").blocks("location"):
        guarded = [block for block in location.blocks("if") if block.args == ["-f", "$wsgi_my_api_closed"]]
        assert bool(guarded) is bool(location.all("proxy_pass"))


@pytest.mark.parametrize(
    ("errors", "target"),
    [("auto", "/__wsgi/$wsgi_error"), ("problem", "/__wsgi/problem"), ("html", "/__wsgi/page")],
)
def test_errors_of_nginx(make: Make, errors: str, target: str) -> None:
    server = make(app("api", nginx={"errors": errors})).server("api.example.com", "443")
    assert ["494", "=431", target] in server.all("error_page"), "headers that do not fit in nginx's buffers"
    (statuses,) = [args[:-1] for args in server.all("error_page") if "494" not in args and args[-1] == target]
    assert {"413", "414", "429", "431", "502", "503", "504"} <= set(statuses)
    for block in (server.location("^~", "/__wsgi/"), server.location("=", "/__wsgi/closed")):
        assert block.one("client_max_body_size") == "0", "what is refused with a large body would be refused for that"
    for block in server.location("^~", "/__wsgi/").blocks("location"):
        assert block.all("internal") == [[]]


def test_nginx_refuses_what_gunicorn_does_not_take(make: Make) -> None:
    config = make(
        app("api", nginx={"locations": {"/own": {"response_buffer_size": "64k"}}}),
        nginx_proxy_client_max_uri_size="100",
        nginx_proxy_client_max_header_size="2k",
    )
    maps = {block.args[1]: block for block in config.http.blocks("map")}
    uri, cookie, last = (maps[f"$wsgi_{name}"] for name in ("long_uri", "long_cookie", "too_long"))
    assert (uri.args[0], cookie.args[0], last.args[0]) == ("$request_uri", "$http_cookie", "$http_authorization")
    assert (cookie.one("default"), last.one("default")) == ("$wsgi_long_uri", "$wsgi_long_cookie")
    assert uri.one(f"~{edge.longer_than('100')}") == "414"
    assert cookie.one(f"~{edge.longer_than('2k')}") == last.one(f"~{edge.longer_than('2k')}") == "431"
    server = config.server("api.example.com", "443")
    for path in ("/", "/own"):
        (refused,) = [block for block in server.location(path).blocks("if") if block.args == ["$wsgi_too_long"]]
        assert refused.one("rewrite") == "^ /__wsgi/refused/$wsgi_too_long last"
    for status in ("414", "431"):
        assert server.location("=", f"/__wsgi/refused/{status}").one("return") == status
    assert server.location("/").one("proxy_buffer_size") == "32k"
    own = server.location("/own")
    assert (own.one("proxy_buffer_size"), own.one("proxy_busy_buffers_size")) == ("64k", "65536")


def test_errors_left_to_nginx(make: Make) -> None:
    server = make(app("api", nginx={"errors": "off"})).server("api.example.com", "443")
    assert not server.all("error_page")
    assert not [block for block in server.blocks("location") if block.args[-1] == "/__wsgi/"]
    assert server.location("=", "/__wsgi/closed").one("return") == "503"


# ---------------------------------------------------------------- several apps on one domain


def below(name: str, path: str, site: str = "web", **nginx: Any) -> dict[str, Any]:
    """An app below a path of another one, as the checks hand it on."""
    return app(name, domains=["web.example.com"], path=path, site=site, scheme="https", tls="off", nginx=nginx)


def test_an_app_below_a_path_is_in_the_server_block_of_another(make: Make) -> None:
    config = make(app("web"), below("admin", "/admin", locations={"/x": {"buffering": False}}, static={"/s": "static"}))
    assert len(config.servers) == 5
    server = config.server("web.example.com", "443")
    assert server.location("/").one("proxy_pass") == "http://wsgi-web"
    assert server.location("/").headers()["SCRIPT_NAME"] == ""
    redirect = server.location("=", "/admin").one("return")
    assert redirect == "308 $wsgi_scheme://$host$wsgi_host_port/admin/$is_args$args"
    inside = server.location("^~", "/admin/")
    rest, part = inside.location("/admin/"), inside.location("/admin/x")
    assert (rest.one("proxy_pass"), rest.one("proxy_buffering")) == ("http://wsgi-admin", "on")
    assert part.one("proxy_buffering") == "off"
    assert rest.headers()["SCRIPT_NAME"] == part.headers()["SCRIPT_NAME"] == "/admin"
    assert rest.headers()["PATH_INFO"] == ""
    for block in (rest, part):
        (guard,) = [found for found in block.blocks("if") if found.args[0] == "$request_uri"]
        assert (guard.args, guard.one("rewrite")) == (
            ["$request_uri", "!~", "^/admin/"],
            "^ /__wsgi/apps/admin/refused/404 last",
        )
    assert inside.location("^~", "/admin/s/").one("alias") == "/srv/admin/current/app/src/static/"
    assert server.location("^~", "/__wsgi/apps/admin/kept/admin/s/").one("alias") == "/srv/admin/assets/static/"
    assert sorted(block.args[0] for block in config.http.blocks("upstream")) == ["wsgi-admin", "wsgi-web"]


def test_an_app_that_left_the_inventory_keeps_its_files_and_its_place() -> None:
    """Its place is a file in a directory that the server block includes all of."""
    assert "include wsgi/mounts/web/*.conf;" in render("nginx_proxy", "site.conf.j2", app=app("web"))
    patterns = load(str(ROOT / "roles/nginx_proxy/vars/main.yml"))["__nginx_proxy_files"]
    files = ["sites/zeta.conf", "mounts/*/zeta.conf", "passwords/zeta", "client-ca/zeta.pem"]
    assert kept_files(["zeta"], patterns, "why") == dict.fromkeys(files, 'kept for the app "zeta", why')


def test_clients_with_certificates_below_a_path(make: Make) -> None:
    """They are judged by the authority of the app that has the domain, and refused where the app below says so."""
    config = make(
        app("web", nginx={"client_ca": "/ca.pem"}),
        below("admin", "/admin", client_ca="/ca.pem", client_verify="on"),
    )
    server = config.server("web.example.com", "443")
    assert server.one("ssl_client_certificate") == "wsgi/client-ca/web.pem"
    refused = ["$ssl_client_verify", "!=", "SUCCESS"]
    inside = server.location("^~", "/admin/").location("/admin/")
    assert refused in [block.args for block in inside.blocks("if")]
    assert refused not in [block.args for block in server.location("/").blocks("if")]
    assert inside.headers()["X-Client-Cert-Verify"] == "$ssl_client_verify"


def test_what_goes_wrong_below_a_path_is_logged_and_told_there(make: Make) -> None:
    config = make(app("web", nginx={"errors": "html"}), below("admin", "/admin", maintenance_retry_after=7))
    server = config.server("web.example.com", "443")
    inside, errors = server.location("^~", "/admin/"), server.location("^~", "/__wsgi/apps/admin/")
    closed = server.location("=", "/__wsgi/apps/admin/closed")
    for block in (inside, closed):
        assert block.one("error_page").endswith(" /__wsgi/apps/admin/$wsgi_error")
    for block in (inside, errors, closed, server.location("=", "/admin")):
        assert block.one("access_log").startswith("/var/log/nginx/admin.access.log ")
    assert {args[-1] for args in server.all("error_page")} == {"/__wsgi/page"}
    assert ["$wsgi_retry_after", "7"] in closed.all("set")


def test_headers_below_a_path_are_of_that_app(make: Make) -> None:
    config = make(app("web"), below("admin", "/admin", content_security_policy="default-src 'self'", gzip_level=5))
    inside = config.server("web.example.com", "443").location("^~", "/admin/")
    headers = {args[0]: args[1] for args in inside.all("add_header")}
    assert headers["Content-Security-Policy"] == "$wsgi_admin_content_security_policy"
    assert headers["X-Frame-Options"] == "$wsgi_admin_frame_options"
    assert headers["Strict-Transport-Security"] == "max-age=63072000"
    assert inside.one("gzip_comp_level") == "5", "that of the server block would count"


def test_a_cached_location_hides_what_its_server_hides(make: Make) -> None:
    """In nginx a proxy_hide_header in a location drops those of its server."""
    server = make(app("api", nginx={"cache": "on"})).server("api.example.com", "443")
    hidden = {name for (name,) in server.location("/").all("proxy_hide_header")}
    assert hidden == {name for (name,) in server.all("proxy_hide_header")} | {"X-Cache"}


# ---------------------------------------------------------------- proxies in front


def test_trusted_proxies(make: Make) -> None:
    config = make(app("api"), nginx_proxy_trusted_proxies=["192.0.2.0/24", "cloudflare"])
    trusted = {network for (network,) in config.http.all("set_real_ip_from")}
    assert {"192.0.2.0/24", "104.16.0.0/13", "2606:4700::/32"} <= trusted
    assert config.http.one("real_ip_header") == "X-Forwarded-For"
    (scheme,) = [block for block in config.http.blocks("map") if block.args[1] == "$wsgi_scheme"]
    assert {d["directive"]: d["args"] for d in scheme.directives} == {
        "default": ["$scheme"],
        "1:http": ["http"],
        "1:https": ["https"],
    }


def test_nobody_is_trusted_by_default(make: Make) -> None:
    http = make(app("api")).http
    assert http.all("set_real_ip_from") == http.all("real_ip_header") == []


def test_proxy_protocol(make: Make) -> None:
    config = make(app("api"), nginx_proxy_trusted_proxies=["192.0.2.1"], nginx_proxy_proxy_protocol=True)
    assert config.http.one("real_ip_header") == "proxy_protocol"
    for server in config.servers:
        listens = {args[0]: args[1:] for args in server.all("listen")}
        local = [address for address in listens if address.startswith("127.0.0.1:")]
        assert local, "the host could not ask itself"
        assert not [address for address in local if "proxy_protocol" in listens[address]]
        assert not [a for a, options in listens.items() if a not in local and "proxy_protocol" not in options]


# ---------------------------------------------------------------- logs


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_one_access_log_an_app(make: Make, log_format: str) -> None:
    config = make(app("api", nginx={"access_log_format": log_format}))
    name = "wsgi_json" if log_format == "json" else "wsgi"
    log = config.server("api.example.com", "443").one("access_log")
    assert log == f"/var/log/nginx/api.access.log {name} buffer=32k flush=1s"


def test_the_log_is_the_journal(make: Make) -> None:
    server = make(app("my-api", nginx={"access_log": "journal"})).server("my-api.example.com", "443")
    assert server.one("access_log") == "syslog:server=unix:/dev/log,tag=my_api,nohostname wsgi_json"


@pytest.mark.parametrize(
    ("status", "logged"), [("200", False), ("304", False), ("404", True), ("502", True), ("000", True)]
)
def test_errors_are_logged_whatever_the_sample(make: Make, status: str, logged: bool) -> None:
    config = make(app("api", nginx={"access_log_sample": 0.005}))
    assert config.server("api.example.com", "443").one("access_log").endswith(" if=$wsgi_api_logged")
    (split,) = config.http.blocks("split_clients")
    assert {d["directive"]: d["args"][0] for d in split.directives} == {"0.50%": "1", "*": ""}
    (chosen,) = [block for block in config.http.blocks("map") if block.args[1] == "$wsgi_api_logged"]
    rules = {d["directive"]: d["args"][0] for d in chosen.directives}
    assert rules.pop("default") == "1"
    ((pattern, value),) = rules.items()
    assert value == "0"
    assert (re.search(pattern.removeprefix("~"), f"{status}:") is None) is logged
    assert not re.search(pattern.removeprefix("~"), "200:1")


def test_forwarded_when_asked_for(make: Make) -> None:
    config = make(app("api", nginx={"forwarded": True}))
    assert config.server("api.example.com", "443").location("/").headers()["Forwarded"] == "$wsgi_forwarded"
    (told,) = [block for block in config.http.blocks("map") if block.args[1] == "$wsgi_forwarded"]
    values = [d["args"][0] for d in told.directives]
    rest = ';host="$host$wsgi_host_port";proto=$wsgi_scheme'
    assert values == [f"for=unknown{rest}", f"for=$remote_addr{rest}", f'for="[$remote_addr]"{rest}']


def test_a_line_of_the_log_is_json(make: Make) -> None:
    (form,) = [args for args in make(app("api")).http.all("log_format") if args[0] == "wsgi_json"]
    numbers = {"$wsgi_status": "200", "$body_bytes_sent": "5", "$request_length": "7", "$request_time": "0.001"}
    line = "".join(form[2:])
    for name, value in numbers.items():
        assert f":{name}" in line
        line = line.replace(f":{name}", f":{value}")
    told = json.loads(line)
    assert told["http.response.status_code"] == 200
    assert told["http.request.id"] == "$wsgi_request_id"


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
    assert location.location("~", r"/\.").all("internal") == [[]]


def test_no_symlink_leads_out_of_what_the_app_writes(make: Make) -> None:
    given = app("api", persistent=["up"], nginx={"static": {"/up/": "up", "/static/": "static"}})
    server = make(given).server("api.example.com", "443")
    uploads = server.location("^~", "/up/")
    assert (uploads.one("alias"), uploads.one("disable_symlinks")) == ("/var/lib/api/up/", "on from=/var/lib/api")
    assert uploads.location("~", r"/\.").all("internal") == [[]]
    assert uploads.location("~", r"/\.").all("deny") == [["all"]], "the app may lead there by X-Accel-Redirect"
    assert uploads.all("add_header") == [], "those of the server are dropped"
    digest = next(block for block in uploads.blocks("location") if block.all("add_header"))
    assert "X-Content-Type-Options" in {args[0] for args in digest.all("add_header")}
    assert digest.all("open_file_cache") == [], "the app may write another one under the name"
    assert server.location("^~", "/static/").all("disable_symlinks") == []


def test_no_symlink_leads_out_of_a_directory_elsewhere(make: Make) -> None:
    """But for one that belongs to whom its target belongs to, as root's own to another disk."""
    server = make(app("api", nginx={"static": {"/m/": "/data/media"}})).server("api.example.com", "443")
    assert server.location("^~", "/m/").one("disable_symlinks") == "if_not_owner from=/"


def test_no_symlink_leads_out_of_what_a_container_copied(make: Make) -> None:
    """In a Compose project the app's own container writes what nginx serves of its release, error pages too."""
    given = {**app("api", nginx={"static": {"/static/": "static"}, "error_pages": "errors"}), "target": "compose"}
    server = make(given).server("api.example.com", "443")
    static = server.location("^~", "/static/")
    alias, guarded = "/srv/api/current/app/src/static/", "on from=/srv/api/current/app"
    assert (static.one("alias"), static.one("disable_symlinks")) == (alias, guarded)
    assert static.all("error_page") == [], "no release before it is kept there"
    page = server.location("^~", "/__wsgi/").location("=", "/__wsgi/page")
    assert page.one("disable_symlinks") == guarded


def test_second_files_are_looked_for_where_builds_make_them(make: Make) -> None:
    """And never before a dotfile is refused: of expressions, the first that matches wins."""
    server = make(app("api", nginx={"static": {"/static/": "static"}})).server("api.example.com", "443")
    static = server.location("^~", "/static/")
    hidden, _digest, compressed = static.blocks("location")
    assert hidden.args == ["~", "/\\."]
    assert not static.all("gzip_static")
    assert compressed.one("gzip_static") == "on"
    for name, found in (("a.css", True), ("A.JS", True), ("a.css.bin", False), ("photo.jpg", False)):
        assert bool(re.search(compressed.args[1], name, re.IGNORECASE)) is found, name


def test_names_with_a_digest_are_kept_for_good(make: Make) -> None:
    config = make(app("api", nginx={"static": {"/static/": "static"}, "static_expires": "5m"}))
    server = config.server("api.example.com", "443")
    static = server.location("^~", "/static/")
    assert static.one("expires") == "5m"
    (digest,) = [block for block in static.blocks("location") if block.all("open_file_cache")]
    assert digest.one("expires") == "off"
    assert ["Cache-Control", "public, max-age=31536000, immutable"] in digest.all("add_header")
    assert len(digest.all("add_header")) > 1, "those of the server are dropped"
    (compressed,) = digest.blocks("location")
    assert compressed.one("gzip_static") == "on"
    pattern = digest.args[1]
    for name in ("/static/main.0a1b2c3d.js", "/static/app-0123456789abcdef.css", "/static/x.0a1b2c3d.js.map"):
        assert re.search(pattern, name), name
    for name in (
        "/s/style.css",
        "/s/jquery-3.7.1.min.js",
        "/s/report-20240101.pdf",
        "/s/a-decadeff.css",
        "/s/0a1b2c3d/x.css",
    ):
        assert not re.search(pattern, name), name
    kept = server.location("^~", "/__wsgi/kept/static/")
    assert kept.one("alias") == "/srv/api/assets/static/"
    assert kept.all("internal") == [[]]
    errors = server.location("^~", "/static/").all("error_page")
    assert errors[0] == ["404", "=", "/__wsgi/kept$uri"]
    assert "403" in errors[1]


def test_no_names_with_a_digest(make: Make) -> None:
    config = make(app("api", nginx={"static": {"/static/": "static"}, "static_fingerprint": ""}))
    server = config.server("api.example.com", "443")
    assert server.location("^~", "/static/").one("expires") == "1h"
    assert not [block for block in server.blocks("location") if "kept" in block.args[-1]]


def test_compression(make: Make) -> None:
    http = make(app("api")).http
    assert http.one("gzip") == "on"
    types = http.one("gzip_types").split()
    assert {"application/json", "text/css", "application/javascript", "application/xml", "image/svg+xml"} <= set(types)
    assert "text/html" not in types  # nginx has it built in and warns of a second


def test_brotli_goes_where_gzip_goes(make: Make) -> None:
    given = app("api", nginx={"gzip_min_length": 9, "locations": {"/secret": {"gzip": False}}})
    config = make(given, nginx_proxy_brotli=True, nginx_proxy_brotli_level=3)
    server = config.server("api.example.com", "443")
    assert (config.http.one("brotli"), config.http.one("brotli_comp_level")) == ("on", "3")
    assert config.http.one("brotli_types") == config.http.one("gzip_types")
    assert config.http.one("brotli_static") == "on"
    assert server.one("brotli_min_length") == server.one("gzip_min_length") == "9"
    assert server.location("/secret").one("brotli") == server.location("/secret").one("gzip") == "off"


def test_without_the_module_nothing_is_said_of_brotli() -> None:
    given = app("api", nginx={"gzip_min_length": 9, "gzip_types": ["a/b"], "gzip": False, "static": {"/s": "s"}})
    for template in ("nginx.conf.j2", "site.conf.j2"):
        text = render("nginx_proxy", template, __wsgi_apps=[given], app=given)
        assert "brotli" not in re.sub("#.*", "", text)


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
    (geo,) = [block for block in config.http.blocks("geo") if block.args == ["$remote_addr", "$wsgi_local"]]
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
        "wsgi/sites/api.con[f]",
    ]


def test_an_app_that_left_the_inventory_is_read_last_and_may_have_no_site(make: Make) -> None:
    config = make(app("zeta"), host={"orphans": ["alpha"]})
    includes = [args[0] for args in config.http.all("include")]
    assert includes == [] or includes[-1] == "wsgi/sites/alpha.con[f]"


@pytest.mark.parametrize("default", ["", "alpha", "zeta"])
def test_an_app_that_failed_in_this_run_keeps_its_site_and_nginx_reads_what_it_has_read(default: str) -> None:
    well = render(
        "nginx_proxy",
        "nginx.conf.j2",
        __wsgi_apps=[app("alpha"), app("zeta"), app("jobs", domains=[])],
        nginx_proxy_default_app=default,
    )
    failed = render(
        "nginx_proxy",
        "nginx.conf.j2",
        __wsgi_apps=[app("zeta")],
        __wsgi_left_out=[app("jobs", domains=[]), app("alpha")],
        nginx_proxy_default_app=default,
    )
    assert "include wsgi/sites/alpha.con[f];" in failed
    assert failed == well


def test_absent_apps_and_apps_without_domains_have_no_site(make: Make) -> None:
    config = make(app("gone", state="absent"), app("worker", domains=[]))
    assert len(config.servers) == 3


def test_a_header_that_nginx_sends_with_a_refusal_is_not_there_twice(make: Make) -> None:
    config = make(app("api", nginx={"add_headers": {"cache-control": "public"}, "static": {"/s": "static"}}))
    server = config.server("api.example.com", "443")
    assert "cache-control" in [args[0] for args in server.all("add_header")]
    for location in (server.location("^~", "/__wsgi/"), server.location("=", "/__wsgi/closed")):
        names = [args[0].lower() for args in location.all("add_header")]
        assert "x-request-id" in names
        assert names.count("cache-control") <= 1


@pytest.mark.parametrize("name", ["Cache-Control", "cache-control", "Expires"])
def test_how_long_a_static_file_may_be_kept_is_said_once(make: Make, name: str) -> None:
    given = app("api", nginx={"add_headers": {name: "0"}, "static": {"/s/": "static"}})
    static = make(given).server("api.example.com", "443").location("^~", "/s/")
    assert static.one("expires") == "1h"
    names = [args[0] for args in static.all("add_header")]
    assert "X-Content-Type-Options" in names, "those of the server are dropped"
    assert name not in names


def test_static_files_that_say_nothing_of_it_themselves_have_the_header_of_all(make: Make) -> None:
    nginx = {"add_headers": {"Cache-Control": "no-cache"}, "static": {"/s/": "static"}, "static_expires": "off"}
    server = make(app("api", nginx=nginx)).server("api.example.com", "443")
    assert server.location("^~", "/s/").all("add_header") == [], "those of the server are dropped"
    assert "Cache-Control" in [args[0] for args in server.all("add_header")]


def test_what_an_app_tells_nginx_is_ignored_nowhere(make: Make) -> None:
    """X-Accel-Redirect and its like, as the role's README says."""
    cached = {"/cached/": {"cache": "on"}, "= /micro": {"cache": "micro"}, "/events": {"buffering": False}}
    config = make(app("api", nginx={"locations": cached, "add_headers": {"X-Own": "1"}}))
    server = config.server("api.example.com", "443")
    for block in (config.http, server, *server.blocks("location")):
        assert not block.all("proxy_ignore_headers")
        assert not block.all("proxy_pass_header"), "nginx hides them from clients by itself"


def test_snippets_keep_their_lines(make: Make) -> None:
    snippet = "location /x {\n    return 403;\n}\n"
    config = make(
        app("api", nginx={"server_snippet": snippet}), nginx_proxy_http_snippet="limit_req_zone $a zone=z:1m rate=1r/s;"
    )
    assert config.server("api.example.com", "443").location("/x").one("return") == "403"
    assert config.http.one("limit_req_zone") == "$a zone=z:1m rate=1r/s"


def test_a_template_is_compiled_once_for_all_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    apps = [app(f"app{number}", nginx={"static": {"/s/": "s"}} if number % 2 else {}) for number in range(20)]
    made = renderer("nginx_proxy", __wsgi_apps=apps)
    compiled = []
    compile_one = Environment.compile
    monkeypatch.setattr(
        Environment, "compile", lambda *given, **named: compiled.append(1) or compile_one(*given, **named)
    )
    texts = [made.render("site.conf.j2", {"app": apps[0]})]
    first = len(compiled)
    texts += [made.render("site.conf.j2", {"app": each}) for each in apps[1:]]
    assert len(compiled) <= first + 3, "templates that are included for static files alone"
    assert texts[4] == render("nginx_proxy", "site.conf.j2", app=apps[4], __wsgi_apps=apps)
