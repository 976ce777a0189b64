# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of how nginx treats requests: locations, who may come in, limits, caches, headers, error pages."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.clients import NGINX_TIME
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.declared import tree_at_hand
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.source import folder_problem, left_out_problem
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site

_SIZE = re.compile(r"[0-9]+[kKmMgG]?")
_BUFFER_SIZE = re.compile(r"[0-9]+[kKmM]?")  # nginx reads no g here
_METHOD = re.compile(r"[A-Z]{1,20}")
_RATE = re.compile(r"[1-9][0-9]{0,5}r/[sm]")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# By these a client finds the end of an answer and decodes it (RFC 9110 and 9112); a second one breaks answers apart.
_OF_THE_MESSAGE = frozenset({"connection", "content-encoding", "content-length", "content-range", "transfer-encoding"})
_VARIABLES = re.compile(r"([A-Za-z0-9_.:/-]*\$[a-z_][a-z0-9_]*)+[A-Za-z0-9_.:/-]*")
_COOKIE = re.compile(r"[A-Za-z0-9_.-]+\*?|\*")
_STATUSES = re.compile(r"any|[1-5][0-9]{2}( [1-5][0-9]{2})*")
_BUFFERS = re.compile(r"[1-9][0-9]? [0-9]+[kKmM]?")
_ADDRESS = re.compile(r"([0-9.]+|\[[0-9a-f:]+\])?:[0-9]{1,5}")
_USER = re.compile(r"[^\s:#]+")
# What crypt(3) of Debian makes and nginx hands to it; $apr1$ and {SSHA} nginx knows itself.
_HASH = re.compile(r"\$(apr1|1|2[aby]|5|6|y|gy|7)\$[./0-9A-Za-z$=,]+|\{(SSHA|SHA)\}[A-Za-z0-9+/=]+")
_CLIENT_KEYS = "write client, header: and a header's name, or variables of nginx such as $server_name"


class Scope(t.NamedTuple):
    """Settings of an app as a whole, or those that one of its locations sets itself; ``where`` names one of them."""

    settings: dict[str, t.Any]
    where: t.Callable[[str], str]


def scopes(app: App) -> t.Iterator[Scope]:
    """The app, then its locations. Values of the wrong type are left out; they have been reported."""
    nginx = app.data["nginx"]
    usable = {name: value for name, value in nginx.items() if app.usable(f"nginx.{name}")}
    yield Scope(usable, lambda name: app.setting("nginx", name))
    for location, settings in _locations(app).items():
        prefix = f"{app.setting('nginx', 'locations')}[{show(location)}]"
        yield Scope(settings, lambda name, prefix=prefix: f"{prefix}.{name}")  # type: ignore[misc]


def _locations(app: App) -> dict[str, dict[str, t.Any]]:
    return app.data["nginx"].get("locations", {}) if app.usable("nginx.locations") else {}


def check_locations(app: App) -> t.Iterator[Problem]:
    """Locations as nginx reads them, each once, and none where nginx has its own."""
    prefixes = app.data["nginx"].get("static", {}) if app.usable("nginx.static") else {}
    static = {site.static_url(str(prefix)) for prefix in prefixes}
    setting = app.setting("nginx", "locations")
    seen: dict[tuple[str, str], str] = {}
    for location in map(str, _locations(app)):
        modifier, path = site.split_location(location)
        wrong, fix = _location_problem(modifier, path, static)
        same = seen.setdefault((modifier.replace("^~", ""), path), location)
        if wrong:
            yield app.problem(f"{setting} has {show(location)}, {wrong}", fix)
        elif same != location:
            text = f"{setting} has {show(same)} and {show(location)}, which are the same to nginx"
            yield app.problem(text, "keep one of them")


def _location_problem(modifier: str, path: str, static: set[str]) -> tuple[str, str]:
    if re.search(r"[\"'\x00-\x1f\x7f]", path):
        return "with a quote or a control character", "write it without"
    if modifier.startswith("~"):
        try:
            re.compile(path)
        except re.error as error:
            return f"which is not a regular expression ({error})", "correct it, or write a path such as /api/"
        return ("", "") if path else ("without an expression", "write one, such as ~ ^/api/v[0-9]+/")
    if not path.startswith("/"):
        return "which does not begin with a slash", f"write /{path}, or ~ in front of a regular expression"
    if re.search(r"[\s$\\?]", path):
        return "with a space, dollar sign, backslash or question mark", "write the path alone, without a query"
    if re.search(r"%[0-9A-Fa-f]{2}|//|/\.\.?(/|$)", path):
        wrong = "which nothing matches, since nginx decodes a path and takes // and /./ out of it first"
        return wrong, "write it as it comes out, or as a regular expression where it has a space, such as ~ ^/a\\x20b/"
    if path.startswith(site.INTERNAL) or path.startswith("/.well-known/acme-challenge"):
        return "which nginx needs itself", "write another path"
    if modifier != "=" and path in static:
        return "which static has too", "keep one of them"
    return "", ""


def check_sizes(app: App) -> t.Iterator[Problem]:
    """Sizes as nginx reads them."""
    for scope in scopes(app):
        for name, value in scope.settings.items():
            if not name.endswith("_size") or not isinstance(value, str):
                continue
            small = name.endswith(("_buffer_size", "_zone_size"))
            form, units = (_BUFFER_SIZE, "k or m") if small else (_SIZE, "k, m or g")
            if not form.fullmatch(value):
                text = f"{scope.where(name)} is {show(value)}, which is not a size"
                yield app.problem(text, f"write a number and {units}, such as 16m")


def check_methods(app: App) -> t.Iterator[Problem]:
    """Methods in capital letters."""
    for scope in scopes(app):
        for method in scope.settings.get("methods", []):
            if not _METHOD.fullmatch(method):
                guess = method.upper() if _METHOD.fullmatch(method.upper()) else "GET"
                yield app.problem(
                    f"{scope.where('methods')} has {show(method)}, which is not a method", f"write {guess}"
                )


def check_networks(app: App) -> t.Iterator[Problem]:
    """Addresses and networks without host bits, which nginx would cut off with a warning."""
    lists = set(site.named_lists("trusted_proxies"))
    words = {"allow": {"all"}, "deny": {"all"}, "maintenance_allow": set(), "trusted_proxies": lists}
    for scope in scopes(app):
        for name, known in words.items():
            for entry in scope.settings.get(name, []):
                wrong, fix = ("", "") if entry in known else _network_problem(entry, known)
                if wrong:
                    yield app.problem(f"{scope.where(name)} has {show(entry)}, {wrong}", fix)


def _network_problem(entry: str, words: set[str]) -> tuple[str, str]:
    try:
        ipaddress.ip_network(entry)
    except ValueError:
        try:
            return "which has host bits", f"write {ipaddress.ip_network(entry, strict=False)}"
        except ValueError:
            others = "".join(f", or {word}" for word in sorted(words))
            return "which is not an address or network", f"write such as 192.0.2.1 or 192.0.2.0/24{others}"
    return "", ""


def check_basic_auth(app: App) -> t.Iterator[Problem]:
    """Users with the hash of a password. What stands in its place may be the password, so it is never shown."""
    for scope in scopes(app):
        for user, value in scope.settings.get("basic_auth", {}).items():
            where = scope.where("basic_auth")
            if not _USER.fullmatch(str(user)):
                yield app.problem(
                    f"{where} has the user {show(user)}", "write a name without spaces, colons and hashes"
                )
            if not isinstance(value, str) or not _HASH.fullmatch(value):
                text = f"{where} has something else than the hash of a password for {show(user)}"
                yield app.problem(text, "write what `openssl passwd -6` prints, kept in a vault")


def check_limits(app: App) -> t.Iterator[Problem]:
    """Rates, bursts and who a client is."""
    for scope in scopes(app):
        settings, where = scope
        rate, delay = settings.get("limit_requests", ""), settings.get("limit_requests_delay", "")
        if rate and not _RATE.fullmatch(rate):
            text = f"{where('limit_requests')} is {show(rate)}, which is not a rate"
            yield app.problem(text, "write requests a second or minute, such as 10r/s or 30r/m")
        if delay and not delay.isdecimal():
            text = f"{where('limit_requests_delay')} is {show(delay)}, not a whole number"
            yield app.problem(text, 'write such as "5", or leave it empty')
        yield from _check_limit_key(app, scope)


def _check_limit_key(app: App, scope: Scope) -> t.Iterator[Problem]:
    key = scope.settings.get("limit_key", "client")
    header = key[len("header:") :].strip() if key.startswith("header:") else None
    good = key == "client" or _VARIABLES.fullmatch(key) if header is None else _HEADER.fullmatch(header)
    if not good:
        yield app.problem(f"{scope.where('limit_key')} is {show(key)}, which names no client", _CLIENT_KEYS)


def check_cache(app: App) -> t.Iterator[Problem]:
    """Times by status, and variables."""
    for scope in scopes(app):
        settings, where = scope
        for statuses, time in settings.get("cache_valid", {}).items():
            if not _STATUSES.fullmatch(str(statuses)):
                text = f"{where('cache_valid')} has {show(statuses)}, which are not status codes"
                yield app.problem(text, 'write such as "200 301", or any')
            if not re.fullmatch(NGINX_TIME, str(time)):
                text = f"{where('cache_valid')} has {show(time)} for {show(statuses)}, which is not a time"
                yield app.problem(text, "write a number and s, m, h or d, such as 10m")
        for variable in settings.get("cache_bypass", []):
            if not re.fullmatch(r"\$[a-z_][a-z0-9_]*", variable):
                text = f"{where('cache_bypass')} has {show(variable)}, which is not a variable of nginx"
                yield app.problem(text, "write such as $cookie_session or $http_authorization")
        key = settings.get("cache_key", "")
        if key and not _VARIABLES.fullmatch(key):
            text = f"{where('cache_key')} is {show(key)}, which has no variable of nginx"
            yield app.problem(text, "write such as $http_accept_language")
        inactive = settings.get("cache_inactive", "1d")
        if not re.fullmatch(NGINX_TIME, inactive):
            yield app.problem(f"{where('cache_inactive')} is {show(inactive)}, which is not a time", "write such as 1d")


def check_cookies(app: App) -> t.Iterator[Problem]:
    """Names of cookies, which may end with an asterisk."""
    for scope in scopes(app):
        for cookie in scope.settings.get("cache_ignore_cookies", []):
            if not _COOKIE.fullmatch(cookie):
                text = f"{scope.where('cache_ignore_cookies')} has {show(cookie)}, which is not the name of a cookie"
                yield app.problem(text, "write letters, digits, dots, hyphens and underscores, and * only at the end")


def check_headers(app: App) -> t.Iterator[Problem]:
    """Names and values that keep to one line."""
    nginx = app.data["nginx"]
    values = {name: nginx.get(name, "") for name in site.SECURITY if app.usable(f"nginx.{name}")}
    if app.usable("nginx.add_headers"):
        for name, value in nginx.get("add_headers", {}).items():
            values[f"add_headers.{name}"] = value
            if not _HEADER.fullmatch(str(name)):
                text = f"{app.setting('nginx', 'add_headers')} has {show(name)}, which is not a valid name of a header"
                yield app.problem(text, "use letters, digits and hyphens, such as X-Robots-Tag")
            elif str(name).lower() in _OF_THE_MESSAGE:
                text = f"{app.setting('nginx', 'add_headers')} has {show(name)}, which says where an answer ends"
                yield app.problem(text, "leave it to nginx")
    for name, value in values.items():
        if not isinstance(value, (str, int)) or re.search(r"[\x00-\x1f\x7f]", str(value)):
            first, dot, rest = name.partition(".")
            text = f"{app.setting('nginx', first)}{dot}{rest} is {show(value)}, which is not one line of text"
            yield app.problem(text, "write it on one line, with YAML's >- if it is long")


def check_dropped_headers(app: App) -> t.Iterator[Problem]:
    """Names of headers, none of which nginx sets itself."""
    for scope in scopes(app):
        for name in site.expanded(scope.settings.get("drop_headers", []), "claimed_headers"):
            where = scope.where("drop_headers")
            if not _HEADER.fullmatch(name):
                text = f"{where} has {show(name)}, which is not the name of a header"
                lists = ", ".join(site.named_lists("claimed_headers"))
                yield app.problem(text, f"use letters, digits and hyphens, such as X-Forwarded-User, or {lists}")
            elif name.lower() in site.SET_HEADERS:
                text = f"{where} has {show(name)}, which nginx sets itself, whatever a client sends"
                yield app.problem(text, f"remove {name}")


def check_preload(app: App) -> t.Iterator[Problem]:
    """What browsers ask of a site before they build it in: https://hstspreload.org."""
    nginx = app.data["nginx"]
    names = ("hsts_preload", "hsts", "hsts_include_subdomains", "hsts_max_age")
    if not app.usable(*(f"nginx.{name}" for name in names)) or not nginx.get("hsts_preload"):
        return
    where = app.setting("nginx", "hsts_preload")
    if not nginx["hsts"] or not nginx["hsts_include_subdomains"]:
        fix = "write nginx: {hsts: true, hsts_include_subdomains: true} as well, or remove hsts_preload"
        yield app.problem(f"{where} is true without hsts and hsts_include_subdomains", fix)
    if nginx["hsts_max_age"] < 31536000:
        text = (
            f"{where} is true, but {app.setting('nginx', 'hsts_max_age')} is {nginx['hsts_max_age']}, less than a year"
        )
        yield app.problem(text, "write hsts_max_age: 31536000 or more")


def check_sample(app: App) -> t.Iterator[Problem]:
    """A share that split_clients, which knows hundredths of a percent, can make."""
    share = app.data["nginx"].get("access_log_sample", 1)
    if app.usable("nginx.access_log_sample") and not 0.0001 <= share <= 1:
        text = f"{app.setting('nginx', 'access_log_sample')} is {show(share)}, which is not a share of all requests"
        yield app.problem(text, "write a number from 0.0001 to 1, such as 0.1")


def check_error_pages(app: App) -> t.Iterator[Problem]:
    """The directory of error pages lies in the source tree, and exists where the tree is at hand."""
    folder = app.data["nginx"].get("error_pages", "")
    if not folder or not app.usable("nginx.error_pages"):
        return
    wrong, fix = folder_problem(folder, tree_at_hand(app))
    if not wrong:
        wrong, fix = left_out_problem(app, folder)
    if not folder.startswith("/") and app.usable("persistent") and site.outside(app.data, folder):
        wrong = "a directory of persistent, where the app could show any file of nginx's as a page"
        fix = "write one that comes with the source and stays as it is"
    if wrong:
        yield app.problem(f"{app.setting('nginx', 'error_pages')} is {show(folder)}, {wrong}", fix)


def check_canonical(app: App) -> t.Iterator[Problem]:
    """The name that the others redirect to is one of the app's."""
    canonical = app.data["nginx"].get("canonical_domain", "")
    if canonical and app.usable("nginx.canonical_domain", "domains") and canonical not in app.data["domains"]:
        text = f"{app.setting('nginx', 'canonical_domain')} is {show(canonical)}, which is not among the app's domains"
        yield app.problem(text, f"add it to domains, or write one of {', '.join(map(str, app.data['domains']))}")
    elif canonical.startswith("*"):
        text = (
            f"{app.setting('nginx', 'canonical_domain')} is {show(canonical)}, a wildcard, where no client can be sent"
        )
        yield app.problem(text, f"write one name, such as www{canonical[1:]}, and add it to domains")


def check_host(app: App) -> t.Iterator[Problem]:
    """Settings of the host as a whole."""
    nginx = app.data["nginx"]
    names = ("large_header_buffers", "real_ip_header", "exporter_listen")
    buffers, header, exporter = (nginx.get(name) for name in names)
    if exporter and not _ADDRESS.fullmatch(exporter):
        text = f"nginx_proxy_exporter_listen is {show(exporter)}, not an address and a port"
        yield app.problem(text, "write such as 127.0.0.1:9113, or :9113 for all addresses")
    if buffers and not _BUFFERS.fullmatch(buffers):
        text = f"nginx_proxy_large_header_buffers is {show(buffers)}, not a number and a size"
        yield app.problem(text, "write such as 4 16k")
    if header and not _HEADER.fullmatch(header):
        text = f"nginx_proxy_real_ip_header is {show(header)}, which is not a valid name of a header"
        yield app.problem(text, "write such as X-Forwarded-For")
    if nginx.get("proxy_protocol") and not nginx.get("trusted_proxies"):
        text = "nginx_proxy_proxy_protocol is true, but nginx_proxy_trusted_proxies is []"
        yield app.problem(text, "name the proxies in front of this host, whose word on the client is taken")


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_locations,
    check_sizes,
    check_methods,
    check_networks,
    check_basic_auth,
    check_limits,
    check_cache,
    check_cookies,
    check_headers,
    check_dropped_headers,
    check_preload,
    check_sample,
    check_error_pages,
    check_canonical,
    check_host,
)
