# SPDX-License-Identifier: GPL-3.0-or-later
"""What the templates of nginx_proxy need to know of an app and cannot say simply: locations with their effective
settings, the shared memory zones that limits and caches need, headers, passwords.

Plain functions from resolved apps (``settings``) to dictionaries that a template reads.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import typing as t
from http import HTTPStatus

from ansible_collections.webops.wsgi.plugins.module_utils.build.assets import ASSETS, COMPRESSIBLE
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import PACKAGES
from ansible_collections.webops.wsgi.plugins.module_utils.host import dns
from ansible_collections.webops.wsgi.plugins.module_utils.proxy.purge import KEPT_OPEN
from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import APP_HOST, BALANCER
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import collection_root, per_location
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import passing
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.balancing import is_sticky

# Answers of nginx itself that the client gets in its own language. Not 400, of a request that nginx could not read.
ERROR_STATUSES = (401, 403, 404, 405, 408, 413, 414, 429, 431, 500, 501, 502, 503, 504)

# A page for clients that accept HTML, or a problem for others, by what they are to get.
ERROR_TARGETS = {"auto": "$wsgi_error", "problem": "problem", "html": "page"}

# Where error pages are, inside nginx; checks keep apps from using it.
INTERNAL = "/__wsgi/"

# Stands for all static files where locations are told apart by their paths.
STATIC = "static files"

# Enough against a burst of equal requests, and nobody notices that an answer is a second old.
MICRO_VALID = {"200 203 301 302 404 410": "1s"}

_LOCATION = re.compile(r"(=|\^~|~\*|~)?\s*(.*)", re.DOTALL)
# Where a regular expression says that its text begins; other escapes and sets of characters are found to be left.
_ANCHOR = re.compile(r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|\^", re.DOTALL)
_SENT = re.compile(r"(\$(http|cookie|arg)_[a-z0-9_]+)+")
_SIZE = re.compile(r"([0-9]+)([kmg]?)")
_RATE = re.compile(r"([1-9][0-9]{0,5})r/([sm])")

# Files of a location that a worker process keeps open between requests, where what is under a name does not change:
# opening one costs a quarter of the rate.
OPEN_FILES = 256

# Bytes of an answer that nginx may be sending to the client while it reads on, of the 16 buffers of 16k (C(passing)):
# at least two of them or the one with the headers, and at most all but one.
BUSY, MOST_BUSY = 2 * 16384, 15 * 16384

# What an app may answer otherwise than a plain GET of the same URL: one with a body, which HTTP allows and the key does
# not have, or for a WebSocket. A body that is chunked has no length, and over HTTP/2 it need not say that it is.
UNLIKE_ITS_URL = (
    "$http_content_length",
    "$http_transfer_encoding",
    "$request_body",
    "$request_body_file",
    "$wsgi_upgrade",
)

# By these a client gives a request another method than the one that was allowed.
METHOD_OVERRIDES = ("X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override")

# What is already set or removed in every location, in small letters; see C(passing).
SET_HEADERS = frozenset(
    {"connection", "forwarded", "host", "proxy", "upgrade", "x-client-cert-subject", "x-client-cert-verify"}
    | {"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto"}
    | {"x-forwarded-protocol", "x-forwarded-ssl", "x-real-ip", "x-request-id"}
)

# Headers that protect browsers: the app's own wins, so each is sent only where the app's answer has none.
SECURITY = {
    "frame_options": "X-Frame-Options",
    "referrer_policy": "Referrer-Policy",
    "content_security_policy": "Content-Security-Policy",
    "permissions_policy": "Permissions-Policy",
}

COMPOSE = "compose"  # target of an app whose own containers write what nginx serves of its release

Data = dict[str, t.Any]


def site(app: Data) -> Data:
    """What ``site.conf.j2`` needs of one app besides its settings.

    ``variable`` begins the names of the app's own nginx variables; ``locations`` are in the order they are written;
    ``names`` are those it is served under, ``aliases`` those that redirect to it.
    """
    of_balancer = app.get("tier") == BALANCER
    keeps_static = of_balancer and app["balancer"]["static"] == "balancers" and bool(app["nginx"]["static"])
    locations = [_location(app, path, settings) for path, settings in merged_locations(app["nginx"]).items()]
    root = next(location for location in locations if location["path"] == "/")
    return {
        "variable": variable(app),
        "internal": internal(app),
        "names": names(app),
        "aliases": [name for name in app["domains"] if name not in names(app)],
        "locations": locations,
        "modules": passing.modules(app),
        "speaks_uwsgi": passing.speaks_uwsgi(app),
        "limit_keys": _limit_keys(app, locations),
        "rate_zones": _zones(location["rate"] for location in locations),
        "connection_zones": _zones(location["connections"] for location in locations),
        "cached": keeps_static or any(location["cache"] for location in locations),
        "cookies": _cookies(app, locations),
        "security_headers": _security_headers(app),
        "headers": _headers(app),
        "source_tree": source_tree(app),
        "source_is_the_app_s": release_tree(app) if app.get("target") == COMPOSE else "",
        "static": _statics(app),
        "open_files": OPEN_FILES,
        "refusals": _refusals(app, locations),
        "static_guard": _guard(app, STATIC, app["nginx"]),
        "compressible": sorted(suffix.removeprefix(".") for suffix in COMPRESSIBLE),
        "state_folders": state_folders(app),
        "error_target": _error_target(app),
        "error_page": _error_page(app, ERROR_STATUSES),
        "other_errors": _error_page(app, [status for status in ERROR_STATUSES if status != HTTPStatus.NOT_FOUND]),
        "client_ca": passing.takes_certificates(app),
        "access_log": _access_log(app, app["nginx"]),
        "sample": _sample(app),
        "static_passing": passing.to_app_hosts(app, root) if of_balancer else [],
        "static_keeping": passing.kept_by_balancer(app) if keeps_static else [],
    }


def names(app: t.Mapping[str, t.Any]) -> list[str]:
    """The names that an app is served under; the rest of its domains redirect to a canonical one."""
    canonical = app["nginx"]["canonical_domain"]
    return [canonical] if canonical else app["domains"]


def asked_name(app: t.Mapping[str, t.Any]) -> str:
    """The name by which probes ask for an app, and people in what is printed."""
    return dns.first_name(names(app)) if app["domains"] else "localhost"


def url(app: Data) -> str:
    """Where clients find an app."""
    nginx, scheme = app["nginx"], app["scheme"]
    port = nginx[f"{scheme}_port"]
    shown = "" if port == {"http": 80, "https": 443}[scheme] else f":{port}"
    return f"{scheme}://{asked_name(app)}{shown}{below(app['path'], '/')}"


def host(apps: list[Data]) -> Data:
    """What the host's own files need of all its apps: the longest time (seconds) an answer may take, how many files
    stay open, passwords, and the app whose certificate clients get that have connected to an address.
    """
    every = [settings for app in apps for settings in merged_locations(app["nginx"]).values()]
    cached = sum(settings["cache"] != "off" for settings in every)
    return {
        "longest": max((settings["read_timeout"] for settings in every), default=0),
        "open_files": OPEN_FILES * (cached + sum(bool(static["kept"]) for app in apps for static in _statics(app))),
        "passwords": [file for app in apps for file in _password_files(app)],
        "by_address": next((app["name"] for app in apps if by_address(app)), ""),
    }


def by_address(app: t.Mapping[str, t.Any]) -> bool:
    """Whether an app is served over TLS to clients that connect to an address and so name no host in the handshake."""
    return app["scheme"] == "https" and app["path"] == "/" and any(map(dns.is_address, app["domains"]))


def public_folders(app: t.Mapping[str, t.Any]) -> list[str]:
    """Directories of the app's source tree that nginx reads."""
    folders = {folder for folder in static_folders(app).values() if not outside(app, folder)}
    return sorted(folders | ({app["nginx"]["error_pages"]} - {""}))


def source_tree(app: t.Mapping[str, t.Any]) -> str:
    """The app's own directory in the release in service."""
    return f"{release_tree(app)}/src/{app['source'].get('subdirectory', '')}".rstrip("/")


def release_tree(app: t.Mapping[str, t.Any]) -> str:
    """Where what is of the app itself begins in the release in service."""
    return f"/srv/{app['name']}/current/app"


def state_folders(app: Data) -> list[Data]:
    """Directories that the app writes to and nginx reads, such as for uploads: C(path), and C(above), the way there."""
    state = f"/var/lib/{app['name']}"
    paths = {outside(app, folder) for folder in static_folders(app).values()}
    own = [path for path in sorted(paths) if path.startswith(f"{state}/")]
    return [{"path": path, "above": _from(state, os.path.dirname(path))} for path in own]


def _from(top: str, path: str) -> list[str]:
    """The directories from one down to another, both included."""
    return [path] if path == top else [*_from(top, os.path.dirname(path)), path]


def static_folders(app: t.Mapping[str, t.Any]) -> dict[str, str]:
    """URL prefixes of static files and their directories: those that are written, and the persistent directories inside
    them, such as C(static/uploads), where no location is written for them. Not those in the top of the source tree:
    databases are there."""
    nginx = app["nginx"]
    written = {static_url(prefix): in_source(folder) for prefix, folder in nginx["static"].items()}
    taken = _prefixes(nginx) | set(written)
    found: dict[str, str] = {}
    for prefix, folder in written.items():
        inside = os.path.normpath(folder)
        for path in app["persistent"]:
            url = f"{prefix}{path.removeprefix(f'{inside}/')}/"
            if inside != "." and path.startswith(f"{inside}/") and url not in taken:
                found[url] = path
    return {**written, **found}


def in_source(folder: str) -> str:
    """A directory of static files; that of an installed package is where a build copies it to in the source tree."""
    return re.sub("^package:", f"{PACKAGES}/", folder)


def _prefixes(nginx: t.Mapping[str, t.Any]) -> set[str]:
    """Paths of the locations that take all that begins with them."""
    split = [split_location(location) for location in nginx.get("locations") or {}]
    return {path for modifier, path in split if modifier in ("", "^~")}


def outside(app: t.Mapping[str, t.Any], folder: str) -> str:
    """Where a directory of static files is when it is outside the source tree, without a slash at its end."""
    if folder.startswith("/"):
        return folder.rstrip("/")
    inside = os.path.normpath(folder)
    kept = any(f"{inside}/".startswith(f"{os.path.normpath(path)}/") for path in app["persistent"])
    return f"/var/lib/{app['name']}/{inside}" if kept else ""


def variable(app: Data) -> str:
    """Beginning of the names of an app's own nginx variables; app names have no underscores, so it is unique."""
    return "wsgi_" + str(app["name"]).replace("-", "_")


def size(value: t.Any) -> int | None:
    """Bytes of a size as nginx reads it (``16k``); ``None`` when it is none."""
    match = _SIZE.fullmatch(str(value).lower())
    return int(match[1]) * {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[match[2]] if match else None


def longer_than(value: t.Any) -> str:
    """Regular expression of texts of more bytes than a size. PCRE takes no number above 65535."""
    thousands, rest = divmod(size(value) or 0, 1024)
    return f"(?s)^(?:.{{1024}}){{{thousands}}}.{{{rest}}}."


def split_location(text: str) -> tuple[str, str]:
    """A location's modifier (``=``, ``^~``, ``~``, ``~*`` or nothing) and its path or regular expression."""
    match = _LOCATION.fullmatch(text.strip())
    return (match.group(1) or "", match.group(2)) if match else ("", text)


def merged_locations(nginx: Data) -> dict[str, Data]:
    """Effective settings of every location, the rest of the app (``/``) last unless it is named itself."""
    own = {name: value for name, value in nginx.items() if name in per_location()}
    written = nginx.get("locations") or {}
    return {path: {**own, **settings} for path, settings in {**written, "/": written.get("/", {})}.items()}


def internal(app: Data) -> str:
    """Beginning of URLs that lead nowhere from outside; an app below a path has its own in the same server block."""
    return INTERNAL if app["path"] == "/" else f"{INTERNAL}apps/{app['name']}/"


def _error_target(app: Data) -> str:
    """Where ``error_page`` leads; nowhere when nginx's own errors are left to it."""
    target = ERROR_TARGETS.get(app["nginx"]["errors"], "")
    return f"{internal(app)}{target}" if target else ""


def _error_page(app: Data, statuses: t.Iterable[int]) -> str:
    """What ``error_page`` says of errors of nginx's own."""
    target = _error_target(app)
    if app.get("tier") == APP_HOST:  # see C(errors.j2)
        statuses = (status for status in statuses if status != HTTPStatus.BAD_GATEWAY)
    return f"{' '.join(map(str, statuses))} {target}" if target else ""


def _access_log(app: Data, settings: Data) -> str:
    """What ``access_log`` says. Lines for a file are collected, which spares a write for each of them."""
    if settings["access_log"] == "off":
        return "off"
    form = "wsgi_json" if app["nginx"]["access_log_format"] == "json" else "wsgi"
    sampled = f" if=${variable(app)}_logged" if app["nginx"]["access_log_sample"] < 1 else ""
    if settings["access_log"] == "journal":
        # A tag takes no hyphens.
        tag = app["name"].replace("-", "_")
        return f"syslog:server=unix:/dev/log,tag={tag},nohostname {form}{sampled}"
    return f"/var/log/nginx/{app['name']}.access.log {form} buffer=32k flush=1s{sampled}"


def _sample(app: Data) -> str:
    """Share of the requests without an error that are logged, as ``split_clients`` has it; nothing for all of them."""
    share = app["nginx"]["access_log_sample"]
    return f"{share * 100:.2f}%" if share < 1 else ""


def below(mount: str, path: str) -> str:
    """A URL path of an app that is served below another one; with C(/) it stays as it is."""
    return path if mount == "/" else mount + path


def _expression_below(mount: str, pattern: str) -> str:
    """A regular expression of an app that is served below a path, and of nothing outside it.

    Wherever it says that the path begins, as each part of C(^/a|^/b) does, the app's own begins.
    """
    if mount == "/":
        return pattern
    begins = f"(?<=^{re.escape(mount)})"
    moved = _ANCHOR.sub(lambda found: begins if found.group() in ("^", r"\A") else found.group(), pattern)
    return f"^{re.escape(mount)}(?=/)(?s:.*)(?:{moved})"


def quote(text: t.Any) -> str:
    """A text as one word of nginx's configuration. Variables in it keep their meaning."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _location(app: Data, path: str, settings: Data) -> Data:
    modifier, pattern = split_location(path)
    move = _expression_below if modifier.startswith("~") else below
    rate, connections = _rate(app, settings), _connections(app, settings)
    location = {
        **settings,
        "path": path,
        # A backslash of a regular expression stays one; quotes are refused by the checks.
        "match": f'{modifier} "{move(app["path"], pattern)}"'.strip(),
        "rate": rate,
        "connections": connections,
        "retry_after": rate["retry_after"] if rate else 1 if connections else 0,
        "cache": _cache(app, settings),
        "log": _access_log(app, settings),
        "allowed_methods": _methods(settings["methods"]),
        "busy_buffers": max(BUSY, size(settings["response_buffer_size"]) or 0),
        "dropped": _dropped(settings),
        **_guard(app, path, settings),
    }
    hidden = [header["name"] for header in _headers(app) if header["ours"]]
    return {**location, "passing": passing.directives(app, location, hidden)}


def _guard(app: Data, path: str, settings: Data) -> Data:
    """Who may enter."""
    return {
        "certified": passing.takes_certificates(app) and settings["client_verify"] == "on",
        "deny": settings["deny"],
        "allow": settings["allow"],
        "password_file": f"wsgi/{_password_file(app, path)}" if settings["basic_auth"] else "",
    }


def _refusals(app: Data, locations: list[Data]) -> list[int]:
    """Statuses of what is refused by the request alone; 404 for a path that is not written plainly, 414 and 431 for
    what is too long."""
    methods = any(location["allowed_methods"] for location in locations)
    certificates = any(guard["certified"] for guard in [*locations, _guard(app, STATIC, app["nginx"])])
    found = {
        HTTPStatus.FORBIDDEN: certificates,
        HTTPStatus.NOT_FOUND: True,
        HTTPStatus.METHOD_NOT_ALLOWED: methods,
        HTTPStatus.REQUEST_URI_TOO_LONG: True,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: True,
    }
    return [status.value for status, needed in found.items() if needed]


def _dropped(settings: Data) -> list[str]:
    """Headers of the client that the app does not get, each once."""
    names = [*expanded(settings["drop_headers"], "claimed_headers"), *(METHOD_OVERRIDES if settings["methods"] else ())]
    return list({name.lower(): name for name in names}.values())


def _methods(methods: list[str]) -> list[str]:
    """Methods with ``HEAD`` beside ``GET``, in the order given."""
    return list(dict.fromkeys(m for name in methods for m in ((name, "HEAD") if name == "GET" else (name,))))


def named_lists(kind: str) -> dict[str, str]:
    """The lists of a kind that have a name, C(trusted_proxies) or C(claimed_headers): name to file."""
    folder = os.path.join(collection_root(), "roles", "nginx_proxy", "files", kind)
    return {os.path.splitext(name)[0]: os.path.join(folder, name) for name in sorted(os.listdir(folder))}


def expanded(entries: list[str], kind: str) -> list[str]:
    """Entries of a setting, each once, with the name of a list replaced by what is in it."""
    return list(dict.fromkeys(text for entry in entries for text in _listed(kind).get(entry, (entry,))))


@functools.cache
def _listed(kind: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, file in named_lists(kind).items():
        with open(file, encoding="utf-8") as stream:
            found[name] = tuple(line.strip() for line in stream if line.strip() and not line.startswith("#"))
    return found


# ---------------------------------------------------------------- limits


def _rate(app: Data, settings: Data) -> Data | None:
    """The limit of requests: its zone, and the seconds until a client that used it up may send one more."""
    match = _RATE.fullmatch(settings["limit_requests"])
    if not match:
        return None
    key = limit_key(app, settings["limit_key"])
    seconds = (1 if match.group(2) == "s" else 60) / int(match.group(1))
    delay = settings["limit_requests_delay"]
    return {
        "zone": _zone_name(app, "rate", key, settings["limit_requests"]),
        "key": key,
        "rate": settings["limit_requests"],
        "burst": settings["limit_requests_burst"],
        "delay": f" delay={delay}" if delay else " nodelay",
        "retry_after": math.ceil(seconds),
    }


def _connections(app: Data, settings: Data) -> Data | None:
    if not settings["limit_connections"]:
        return None
    key = limit_key(app, settings["limit_key"])
    return {"zone": _zone_name(app, "conn", key, ""), "key": key, "count": settings["limit_connections"]}


def limit_key(app: Data, key: str) -> str:
    """The key as nginx takes it; one that a client may leave out needs a map (:func:`_limit_keys`).

    nginx does not limit an empty one.
    """
    if key == "client":
        return "$binary_remote_addr"
    sent = _sent_by_client(key)
    return f"${variable(app)}_by_{sent[1:].replace('$', '__')}" if sent else key


def _sent_by_client(key: str) -> str:
    """The variables of a key that is nothing but a client's own word, such as C(header:X-API-Key); else nothing.

    Another one that is empty is so by the person's will.
    """
    if key.startswith("header:"):
        return "$http_" + key[len("header:") :].strip().lower().replace("-", "_")
    return key if _SENT.fullmatch(key) else ""


def _limit_keys(app: Data, locations: list[Data]) -> list[Data]:
    used = [location for location in locations if location["rate"] or location["connections"]]
    sent = dict.fromkeys(filter(None, (_sent_by_client(location["limit_key"]) for location in used)))
    return [{"variable": limit_key(app, key), "source": key} for key in sent]


def _zone_name(app: Data, kind: str, key: str, rate: str) -> str:
    """A zone's name changes with its key: nginx refuses to reload when a zone of the same name has another one."""
    return f"{app['name']}-{kind}-{hashlib.sha256(f'{key} {rate}'.encode()).hexdigest()[:8]}"


def _zones(limits: t.Iterable[Data | None]) -> list[Data]:
    """Each zone once."""
    return list({limit["zone"]: limit for limit in limits if limit}.values())


# ---------------------------------------------------------------- cache


def _cache(app: Data, settings: Data) -> Data | None:
    if settings["cache"] == "off":
        return None
    # What an app says to a client with a certificate is for that client alone.
    client = " $ssl_client_fingerprint" if app["nginx"]["client_ca"] else ""
    valid = MICRO_VALID if settings["cache"] == "micro" else settings["cache_valid"]
    return {
        "valid": [{"statuses": str(statuses), "time": str(time)} for statuses, time in valid.items()],
        "key": f"{passing.CACHE_KEY} {settings['cache_key']}".strip() + client,
        "bypass": " ".join([*settings["cache_bypass"], _cookie_variable(app, settings), *UNLIKE_ITS_URL]),
        "stale": settings["cache_stale"],
        "open_valid": f"{KEPT_OPEN}s",
    }


def _cookie_variable(app: Data, settings: Data) -> str:
    """The variable that has a value when a request has a cookie that may tell clients apart."""
    names = settings["cache_ignore_cookies"]
    if not names:
        return "$http_cookie"
    return f"${variable(app)}_cookie_{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"


def _cookies(app: Data, locations: list[Data]) -> list[Data]:
    """Maps for caches that ignore some cookies: the variable, and what a request matches that has no other ones."""
    used = [location for location in locations if location["cache"] and location["cache_ignore_cookies"]]
    found = {_cookie_variable(app, location): cookie_pattern(location["cache_ignore_cookies"]) for location in used}
    return [{"variable": name, "pattern": pattern} for name, pattern in found.items()]


def cookie_pattern(names: t.Iterable[str]) -> str:
    """Regular expression for a C(Cookie) header that has none but these, in which C(*) stands for any end of a name.

    What parts two cookies is in no name and no value, so that no header takes long to match.
    """
    known = "|".join(re.escape(name).replace(r"\*", "[^=;]*") for name in names)
    cookie = f"(?:{known})=[^;]*"
    return f"^{cookie}(?:; *{cookie})*(?:; *)?$"


# ---------------------------------------------------------------- headers


def _security_headers(app: Data) -> list[Data]:
    return [
        {
            "variable": f"${variable(app)}_{name}",
            "source": "$upstream_http_" + header.lower().replace("-", "_"),
            "value": quote(app["nginx"][name]),
            "header": header,
        }
        for name, header in SECURITY.items()
        if app["nginx"][name]
    ]


def _headers(app: Data) -> list[Data]:
    """Headers of every answer as ``add_header`` takes them; ``ours`` means that the app's own is taken away."""
    nginx = app["nginx"]
    ours = {"X-Request-ID": "$wsgi_request_id", "X-Content-Type-Options": "nosniff"}
    if app["scheme"] == "https" and nginx["hsts"]:
        ours["Strict-Transport-Security"] = quote(_hsts(nginx))
    ours.update({name: quote(value) for name, value in nginx["add_headers"].items()})
    headers = [{"name": name, "value": value, "ours": True} for name, value in ours.items()]
    if app.get("tier") == BALANCER and is_sticky(app):
        headers.append({"name": "Set-Cookie", "value": f"${variable(app)}_cookie", "ours": False})
    given = {name.lower() for name in ours}
    return headers + [
        {"name": header["header"], "value": header["variable"], "ours": False}
        for header in _security_headers(app)
        if header["header"].lower() not in given
    ]


def _hsts(nginx: Data) -> str:
    value = f"max-age={nginx['hsts_max_age']}"
    value += "; includeSubDomains" if nginx["hsts_include_subdomains"] else ""
    return value + ("; preload" if nginx["hsts_preload"] else "")


# ---------------------------------------------------------------- static files


def static_url(prefix: str) -> str:
    """A URL prefix of static files with one slash at both ends."""
    return re.sub("/+", "/", f"/{prefix.strip('/')}/")


def static_urls(app: Data) -> list[str]:
    """Prefixes of the URLs of an app's static files."""
    return [static["url"] for static in _statics(app)]


def _statics(app: Data) -> list[Data]:
    return [_static(app, prefix, folder) for prefix, folder in static_folders(app).items()]


def _static(app: Data, prefix: str, folder: str) -> Data:
    """A static mapping: URL prefix and directory, both with a slash at the end so that neither can be left; where the
    files of earlier releases are whose names carry a digest; and C(symlinks), for one that is not part of the build:
    which symlinks nginx does not follow, and below which directory. That is one that only root can replace: the app's
    state directory, or the top of the file system, below which there may be root's own links, such as to a disk."""
    url = below(app["path"], static_url(prefix))
    elsewhere = outside(app, folder)
    if elsewhere:
        state = f"/var/lib/{app['name']}"
        symlinks = ("on", state) if f"{elsewhere}/".startswith(f"{state}/") else ("if_not_owner", "/")
        return {"url": url, "folder": f"{elsewhere}/", "kept": "", "symlinks": symlinks}
    inside = os.path.normpath(folder.strip("/") or ".")
    deeper = "" if inside == "." else f"{inside}/"
    if app.get("target") == COMPOSE:
        return {"url": url, "folder": f"{source_tree(app)}/{deeper}", "kept": "", "symlinks": ("on", release_tree(app))}
    kept = f"/srv/{app['name']}/{ASSETS}/{deeper}" if app["nginx"]["static_fingerprint"] else ""
    return {"url": url, "folder": f"{source_tree(app)}/{deeper}", "kept": kept, "symlinks": ()}


# ---------------------------------------------------------------- passwords


def _password_file(app: Data, path: str) -> str:
    """A location's password file, relative to the tree; those of one app share a directory."""
    return f"passwords/{app['name']}/{hashlib.sha256(path.encode()).hexdigest()[:12]}"


def _password_files(app: Data) -> list[Data]:
    guarded = merged_locations(app["nginx"])
    if app["nginx"]["static"]:
        guarded[STATIC] = app["nginx"]
    return [
        {
            "app": app["name"],
            "path": _password_file(app, path),
            "users": [{"name": str(name), "hash": str(value)} for name, value in settings["basic_auth"].items()],
        }
        for path, settings in guarded.items()
        if settings["basic_auth"]
    ]
