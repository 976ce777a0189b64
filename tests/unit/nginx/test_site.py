# SPDX-License-Identifier: GPL-3.0-or-later
"""What the templates of nginx_proxy are told of an app."""

from __future__ import annotations

import re
import time
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.action.app_release import health_options
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import paths
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site as edge
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

SCHEMA = settings.load_schema()


def resolved(name: str = "api", **nginx: t.Any) -> dict[str, t.Any]:
    """An app as the checks hand it on."""
    host, problems = settings.merge_host(SCHEMA, {})
    entry = {"name": name, "domains": ["example.com", "www.example.com"], "nginx": nginx}
    (app,), found = settings.resolve(SCHEMA, host, [entry], [])
    assert not problems
    assert not found
    assert not list(paths.place([app]))
    return {**app.data, "server": server(app.data["server"]).facts(app.data)}


def locations(**nginx: t.Any) -> dict[str, dict[str, t.Any]]:
    """The locations of an app by what is written for them."""
    return {location["path"]: location for location in edge.site(resolved(**nginx))["locations"]}


def test_a_location_keeps_the_settings_it_does_not_name():
    found = locations(read_timeout=200, locations={"/events": {"buffering": False}})
    assert list(found) == ["/events", "/"]
    assert (found["/events"]["buffering"], found["/events"]["read_timeout"]) == (False, 200)
    assert (found["/"]["buffering"], found["/"]["read_timeout"]) == (True, 200)


def test_the_rest_of_the_app_can_be_named():
    found = locations(locations={"/": {"read_timeout": 5}, "/slow": {}})
    assert (found["/"]["read_timeout"], found["/slow"]["read_timeout"]) == (5, 130)


@pytest.mark.parametrize(
    ("written", "match"),
    [
        ("/api/", '"/api/"'),
        ("= /healthz", '= "/healthz"'),
        ("=/healthz", '= "/healthz"'),
        ("^~ /a", '^~ "/a"'),
        (r"~ ^/v\d+/{2}", r'~ "^/v\d+/{2}"'),
        ("~* png$", '~* "png$"'),
    ],
)
def test_what_a_location_matches(written, match):
    assert locations(locations={written: {}})[written]["match"] == match


@pytest.mark.parametrize("size", ["1", "1024", "8000", "16k", "100k"])
def test_what_is_longer_than_a_size(size):
    pattern = re.compile(edge.longer_than(size))
    most = edge.size(size)
    assert not pattern.search("a" * most)
    assert pattern.search("a\n" * most)
    assert pattern.search("a" * (most + 1))


@pytest.mark.parametrize(("headers", "busy"), [("4k", 32768), ("32k", 32768), ("100k", 102400)])
def test_an_answer_s_headers_fit_in_what_may_be_on_its_way(headers, busy):
    assert locations(response_buffer_size=headers)["/"]["busy_buffers"] == busy


@pytest.mark.parametrize(("rate", "seconds"), [("10r/s", 1), ("1r/s", 1), ("30r/m", 2), ("6r/m", 10), ("7r/m", 9)])
def test_seconds_until_one_more_request(rate, seconds):
    assert locations(limit_requests=rate)["/"]["retry_after"] == seconds


def test_equal_limits_share_a_zone_and_others_do_not():
    app = resolved(limit_requests="10r/s", locations={"/a": {}, "/b": {"limit_requests": "1r/s"}})
    site = edge.site(app)
    assert len(site["rate_zones"]) == 2
    zones = {location["path"]: location["rate"]["zone"] for location in site["locations"]}
    assert zones["/a"] == zones["/"] != zones["/b"]


def test_a_zone_with_another_key_has_another_name():
    by_client = locations(limit_requests="1r/s")["/"]["rate"]["zone"]
    by_header = locations(limit_requests="1r/s", limit_key="header:X-API-Key")["/"]["rate"]["zone"]
    assert by_client != by_header


@pytest.mark.parametrize(
    ("key", "source", "name"),
    [
        ("header:X-API-Key", "$http_x_api_key", "$wsgi_my_api_by_http_x_api_key"),
        ("$http_x_api_key", "$http_x_api_key", "$wsgi_my_api_by_http_x_api_key"),
        ("$cookie_user$arg_page", "$cookie_user$arg_page", "$wsgi_my_api_by_cookie_user__arg_page"),
    ],
)
def test_a_key_that_a_client_may_leave_out_falls_back_to_the_address(key, source, name):
    site = edge.site(resolved("my-api", limit_requests="1r/s", limit_key=key))
    assert site["limit_keys"] == [{"variable": name, "source": source}]
    assert site["rate_zones"][0]["key"] == name


@pytest.mark.parametrize("key", ["$server_name", "$exempt", "$server_name$http_x_api_key"])
def test_a_key_of_the_host_s_own_is_as_it_is(key):
    """One that a person's map makes empty lets such clients off."""
    site = edge.site(resolved(limit_requests="1r/s", limit_key=key))
    assert (site["limit_keys"], site["rate_zones"][0]["key"]) == ([], key)


def test_no_limit_no_zone():
    site = edge.site(resolved(limit_key="header:X-API-Key"))
    assert site["limit_keys"] == site["rate_zones"] == site["connection_zones"] == []


def test_domains_that_redirect():
    site = edge.site(resolved(canonical_domain="www.example.com"))
    assert (site["names"], site["aliases"]) == (["www.example.com"], ["example.com"])
    site = edge.site(resolved())
    assert (site["names"], site["aliases"]) == (["example.com", "www.example.com"], [])


def test_head_comes_with_get():
    assert locations(methods=["GET", "POST"])["/"]["allowed_methods"] == ["GET", "HEAD", "POST"]


def test_the_key_of_a_cached_answer_begins_with_its_url():
    key = locations(cache="on", cache_key="$http_accept_language")["/"]["cache"]["key"]
    assert key == "$wsgi_scheme://$host$request_uri $wsgi_host_port $http_accept_language"


@pytest.mark.parametrize(("written", "kept"), [(True, True), ("on", True), (False, False), ("off", False)])
def test_on_and_off_as_yaml_reads_them(written, kept):
    found = locations(locations={"/a": {"cache": written}})
    assert bool(found["/a"]["cache"]) is kept


def test_microcache():
    cache = locations(cache="micro")["/"]["cache"]
    assert {valid["time"] for valid in cache["valid"]} == {"1s"}


def test_headers_of_ours_once():
    site = edge.site(resolved(add_headers={"x-frame-options": "DENY", "X-Robots-Tag": 'a "quoted" word'}))
    names = [header["name"].lower() for header in site["headers"]]
    assert names.count("x-frame-options") == 1
    assert {"name": "X-Robots-Tag", "value": '"a \\"quoted\\" word"', "ours": True} in site["headers"]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("static", "/srv/api/current/app/src/static/"), (".", "/srv/api/current/app/src/"), ("/media", "/media/")],
)
def test_static_folders(folder, expected):
    (static,) = edge.site(resolved(static={"/s": folder}))["static"]
    assert (static["url"], static["folder"]) == ("/s/", expected)


@pytest.mark.parametrize(
    ("nginx", "expected"),
    [
        ({"static": {"/s": "app/static"}}, "/srv/api/assets/app/static/"),
        ({"static": {"/s": "/media"}}, ""),
        ({"static": {"/s": "static"}, "static_fingerprint": ""}, ""),
    ],
)
def test_where_files_of_earlier_releases_are(nginx, expected):
    assert edge.site(resolved(**nginx))["static"][0]["kept"] == expected


def test_folders_that_nginx_must_be_able_to_read():
    app = resolved(static={"/s": "static", "/m": "/var/www/media"}, error_pages="errors")
    assert edge.public_folders(app) == ["errors", "static"]


def test_passwords_of_the_host_and_the_longest_answer():
    app = resolved(locations={"/admin": {"basic_auth": {"ann": "$6$s$h"}}, "/slow": {"read_timeout": 4000}})
    host = edge.host([app, resolved("other")])
    assert host["longest"] == 4000
    (file,) = host["passwords"]
    assert (file["app"], file["users"]) == ("api", [{"name": "ann", "hash": "$6$s$h"}])
    assert locations(locations=app["nginx"]["locations"])["/admin"]["password_file"] == f"wsgi/{file['path']}"


def test_lists_of_networks_by_name():
    found = edge.expanded(["192.0.2.1", "cloudflare"], "trusted_proxies")
    assert found[0] == "192.0.2.1"
    assert "104.16.0.0/13" in found
    assert not [entry for entry in found if entry.startswith("#") or entry == "cloudflare"]


@pytest.mark.parametrize(
    ("written", "match"),
    [
        ("/", '"/admin/"'),
        ("/api/", '"/admin/api/"'),
        ("= /healthz", '= "/admin/healthz"'),
        (r"~ ^/v\d+/|^/w", r'~ "^/admin(?=/)(?s:.*)(?:(?<=^/admin)/v\d+/|(?<=^/admin)/w)"'),
        ("~* [.]png$", '~* "^/admin(?=/)(?s:.*)(?:[.]png$)"'),
        (r"~ /[^a]\^[]^]", r'~ "^/admin(?=/)(?s:.*)(?:/[^a]\^[]^])"'),
    ],
)
def test_what_a_location_below_a_path_matches(written, match):
    app = {**resolved(locations={written: {}}), "path": "/admin"}
    assert {location["path"]: location["match"] for location in edge.site(app)["locations"]}[written] == match


@pytest.mark.parametrize("pattern", ["/x|/y", "^/x|^/y", "^/x|y", "y$"])
def test_an_expression_stays_below_its_path(pattern):
    app = {**resolved(locations={f"~ {pattern}": {}}), "path": "/a.b"}
    expression = edge.site(app)["locations"][0]["match"].removeprefix('~ "').removesuffix('"')
    inside, outside = ("/a.b/x", "/a.b/z/y"), ("/x", "/y", "/a.bx", "/a-b/x", "/z/a.b/x", "/a.by")
    assert any(re.search(expression, path) for path in inside)
    assert not [path for path in outside if re.search(expression, path)]


@pytest.mark.parametrize("path", ["/x", "/x/y", "/y", "/z/y", "/z\n/x", "/[x", "/^x", "/zx", "/x^"])
@pytest.mark.parametrize(
    "pattern", ["/x", "^/x", "^/x|^/y", "^/y|x$", "(^/x|^/y)", r"\A/x", r"(?:^/z.)?y", r"/[^z]", r"^/[]^[]x", r"\^"]
)
def test_an_expression_below_a_path_matches_what_it_would_alone(pattern, path):
    app = {**resolved(locations={f"~ {pattern}": {}}), "path": "/a.b"}
    expression = edge.site(app)["locations"][0]["match"].removeprefix('~ "').removesuffix('"')
    assert bool(re.search(expression, f"/a.b{path}")) is bool(re.search(pattern, path))


@pytest.mark.parametrize(
    ("static", "persistent", "locations", "expected"),
    [
        ({"/s": "static"}, ["static/uploads"], {}, {"/s/": "static", "/s/uploads/": "static/uploads"}),
        ({"/s": "static"}, ["static"], {}, {"/s/": "static"}),
        ({"/s": "static"}, ["statics/up"], {}, {"/s/": "static"}),
        ({"/s": "static"}, ["static/up"], {"/s/up/": {}}, {"/s/": "static"}),
        # nginx would follow the source's link, and any below it, for all but this very URL.
        ({"/s": "static"}, ["static/up"], {"= /s/up/": {}}, {"/s/": "static", "/s/up/": "static/up"}),
        ({"/s": "static", "/s/up": "media"}, ["static/up"], {}, {"/s/": "static", "/s/up/": "media"}),
        ({"/": "."}, ["instance"], {}, {"/": "."}),
    ],
)
def test_persistent_directories_among_static_files(static, persistent, locations, expected):
    app = {**resolved(static=static, locations=locations), "persistent": persistent}
    assert edge.static_folders(app) == expected
    (kept,) = [s for s in edge.site(app)["static"] if s["url"] == "/s/uploads/"] or [None]
    assert kept is None or (kept["symlinks"], kept["kept"]) == (("on", "/var/lib/api"), "")


COOKIES = ["_ga", "_ga_*", "consent.v1"]


@pytest.mark.parametrize(
    ("header", "ignored"),
    [
        ("_ga=1", True),
        ("_ga=GA1.2=3; _ga_X1Y=x", True),
        ("consent.v1=; _ga=1;", True),
        ("_ga=1;_ga=2", True),
        ("sid=1", False),
        ("_ga=1; sid=1", False),
        ("sid=_ga=1", False),
        ("my_ga=1", False),
        ("consentxv1=1", False),
        ("_ga=1; sid", False),
        ("_ga", False),
        ("_ga =1", False),
    ],
)
def test_cookies_that_a_cache_ignores(header, ignored):
    assert bool(re.search(edge.cookie_pattern(COOKIES), header)) is ignored


def test_all_cookies_may_be_ignored():
    assert re.search(edge.cookie_pattern(["*"]), "sid=1; other=2")


def test_no_cookie_takes_long_to_match():
    """Ten times the text takes about ten times as long, not a hundred times."""
    pattern = re.compile(edge.cookie_pattern(COOKIES))

    def seconds(size):
        started = time.process_time()
        assert not pattern.search("_ga=" * 2 * size + "; x")
        assert not pattern.search("_ga=1; " * size + "x")
        return time.process_time() - started

    assert seconds(20_000) < 0.1 + 40 * seconds(2_000)


def test_a_cache_that_ignores_cookies_has_a_variable_for_what_is_left():
    settings = {"cache": "on", "cache_ignore_cookies": ["_ga"]}
    locations = {"/a": settings, "/b": settings, "/c": {"cache": "on"}, "/d": {"cache_ignore_cookies": ["x"]}}
    site = edge.site(resolved(locations=locations))
    (cookie,) = site["cookies"]
    bypass = {
        location["path"]: location["cache"]["bypass"].split() for location in site["locations"] if location["cache"]
    }
    assert cookie["variable"] in bypass["/a"]
    assert bypass["/a"] == bypass["/b"]
    assert "$http_cookie" not in bypass["/a"]
    assert "$http_cookie" in bypass["/c"]


def test_a_header_cannot_change_a_method_that_was_allowed():
    site = edge.site(resolved(drop_headers=["x-method-override", "Y"], locations={"/r": {"methods": ["GET"]}}))
    dropped = {location["path"]: location["dropped"] for location in site["locations"]}
    assert dropped["/"] == ["x-method-override", "Y"]
    assert sorted(map(str.lower, dropped["/r"])) == [
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "y",
    ]


def test_static_files_of_an_app_in_a_subdirectory():
    app = resolved(static={"/static/": "static"}) | {"source": {"kind": "git", "subdirectory": "services/api"}}
    assert edge.site(app)["static"][0]["folder"] == "/srv/api/current/app/src/services/api/static/"


def test_static_files_are_guarded_as_the_app_is():
    users = {"ann": "$6$hash"}
    app = resolved(
        static={"/s": "static"}, basic_auth=users, deny=["192.0.2.1"], locations={"/": {"allow": ["10.0.0.1"]}}
    )
    guard = edge.site(app)["static_guard"]
    assert (guard["deny"], guard["allow"], guard["certified"]) == (["192.0.2.1"], [], False)
    written = {file["path"]: [user["name"] for user in file["users"]] for file in edge.host([app])["passwords"]}
    assert written[guard["password_file"].removeprefix("wsgi/")] == ["ann"]
    assert len(written) == 2


def test_static_files_below_a_path():
    (static,) = edge.site({**resolved(static={"/s": "static"}), "path": "/admin"})["static"]
    assert (static["url"], static["folder"]) == ("/admin/s/", "/srv/api/current/app/src/static/")


@pytest.mark.parametrize(
    ("changes", "nginx", "url"),
    [
        ({}, {}, "https://example.com/"),
        ({"path": "/admin"}, {}, "https://example.com/admin/"),
        ({}, {"canonical_domain": "www.example.com", "https_port": 8443}, "https://www.example.com:8443/"),
        ({"scheme": "http"}, {"https_port": 8443}, "http://example.com/"),
        ({"scheme": "http"}, {"http_port": 8080}, "http://example.com:8080/"),
    ],
)
def test_where_clients_find_an_app(changes, nginx, url):
    app = resolved()
    assert edge.url({**app, **changes, "nginx": {**app["nginx"], **nginx}}) == url


@pytest.mark.parametrize(
    ("domains", "canonical", "name"),
    [
        (["*.example.com", "example.com"], "", "example.com"),
        (["*.example.com", "*.example.net"], "", "wildcard.example.com"),
        (["a.example.com", "www.example.com"], "www.example.com", "www.example.com"),
        ([], "", "localhost"),
    ],
)
def test_the_name_by_which_probes_ask(domains, canonical, name):
    """Nobody can ask for a wildcard: frameworks that know their hosts answer 400."""
    app = resolved()
    app = {**app, "domains": domains, "nginx": {**app["nginx"], "canonical_domain": canonical}}
    assert edge.asked_name(app) == name
    assert health_options(app)["host"] == name
    assert not domains or edge.url(app) == f"https://{name}/"


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("up", "/var/lib/api/up"),
        ("./up/", "/var/lib/api/up"),
        ("up/big", "/var/lib/api/up/big"),
        ("upper", ""),
        ("static", ""),
        ("/var/www/media/", "/var/www/media"),
    ],
)
def test_static_files_outside_the_source_tree(folder, place):
    app = {**resolved(static={"/s": folder}), "persistent": ["up"]}
    (static,) = edge.site(app)["static"]
    assert edge.outside(app, folder) == place
    # What only root can replace, so that no link is put in the way to the directory.
    own = ("on", "/var/lib/api") if place.startswith("/var/lib/api/") else ("if_not_owner", "/")
    assert static["symlinks"] == (own if place else ())
    assert bool(edge.public_folders(app)) is not bool(place)
    assert static["folder"] == (f"{place}/" if place else f"/srv/api/current/app/src/{folder}/")


def test_the_way_to_what_nginx_reads_of_the_state():
    app = resolved(static={"/a": "/var/lib/api/a/b", "/c": "/var/lib/other/c", "/d": "static"})
    (folder,) = edge.state_folders(app)
    assert folder == {"path": "/var/lib/api/a/b", "above": ["/var/lib/api", "/var/lib/api/a"]}


def test_static_files_of_a_package_are_in_the_build():
    app = resolved(static={"/static/": "package:pgadmin4/static/"})
    assert edge.public_folders(app) == [".packages/pgadmin4/static/"]
    (static,) = edge.site(app)["static"]
    assert static["folder"] == "/srv/api/current/app/src/.packages/pgadmin4/static/"
    assert static["kept"] == "/srv/api/assets/.packages/pgadmin4/static/"
