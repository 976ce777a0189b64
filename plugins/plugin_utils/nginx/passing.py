# SPDX-License-Identifier: GPL-3.0-or-later
"""How nginx passes a request of a location on to an app's server, in the protocol that the server speaks.

nginx has a module for each protocol, whose directives have the same meaning under names of their own: C(proxy_*) for
HTTP, C(uwsgi_*) for the protocol uwsgi. Every server speaks HTTP. One that speaks uwsgi as well has a socket for it,
and nginx looks for that socket with each request: a release under another server, which is gone back to, has none.
"""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.fleet.members import APP_HOST, BALANCER
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx.balancing import place
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import UWSGI

# Headers of the connection between client and nginx, which HTTP's module replaces or leaves out by itself, and those
# that this protocol has parameters of their own for.
_OF_THE_CLIENT_S_CONNECTION = ("Content-Length", "Content-Type", "Expect", "Keep-Alive", "TE", "Transfer-Encoding")

_REQUEST = {
    "REQUEST_METHOD": "$request_method",
    "REQUEST_URI": "$request_uri",
    "PATH_INFO": "$document_uri",
    "QUERY_STRING": "$query_string",
    "CONTENT_TYPE": "$content_type if_not_empty",
    "CONTENT_LENGTH": "$content_length if_not_empty",
    # As over HTTP, whatever the client speaks.
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "$host",
    "SERVER_PORT": "$server_port",
    "REMOTE_ADDR": "$remote_addr",
    "HTTPS": "$wsgi_https if_not_empty",
}

_NONE = '""'
_REPLACED = (
    "# All of these replace what the client sent, so that it cannot forge them. Without a value a header is not sent."
)

# What the app says to nginx of an answer, the balancer's nginx is to read as well.
_FOR_BALANCERS = ("proxy_pass_header X-Accel-Buffering;", "proxy_pass_header X-Accel-Expires;")

# What tells kept answers apart. The first word is what playbooks/purge.yml looks for; a URL in a request has no space.
# The port is what the client says, and an app that writes whole URLs repeats it: others must not get it.
CACHE_KEY = "$wsgi_scheme://$host$request_uri $wsgi_host_port"

Data = t.Mapping[str, t.Any]
Headers = t.Iterable[tuple[str, str]]


def modules(app: Data) -> list[str]:
    """What the names of the directives begin with that pass requests on to an app, those of its own protocol last."""
    # Between balancers and app hosts, it is HTTP.
    uwsgi = app["server"]["protocol"] == UWSGI and app.get("tier") != BALANCER
    return ["proxy", "uwsgi"] if uwsgi else ["proxy"]


def takes_certificates(app: Data) -> bool:
    """Whether clients are asked for a certificate."""
    return bool(app["nginx"]["client_ca"]) and app["scheme"] == "https"


def directives(app: Data, location: Data, hidden: t.Iterable[str]) -> list[str]:
    """The lines of a location that pass requests on.

    Args:
        app: The resolved app.
        location: Its effective settings, see C(site.site).
        hidden: Headers of the app that clients do not get, since nginx sends its own.
    """
    *_others, own = modules(app)
    if app.get("tier") == BALANCER:
        lines = [*_to_app_hosts(app, location), *_times_and_buffers("proxy", app, location)]
        return [*lines, *_cache(own, app, location, hidden)]
    lines = [*_over_http(app, location), *_times_and_buffers("proxy", app, location)]
    if own == "uwsgi":
        lines += ["", *_over_uwsgi(app, location), *_times_and_buffers(own, app, location)]
    return [*lines, *_cache(own, app, location, hidden)]


def _over_http(app: Data, location: Data) -> list[str]:
    websocket = location["websocket"]
    below = "" if app["path"] == "/" else app["path"]
    connection = (
        [f"proxy_set_header Connection {'$wsgi_connection' if websocket else 'close'};"]
        if location["buffering"]
        else [
            '# Without "close": the one thread that accepts might wait until nginx has read the answer, here as slowly',
            "# as the client reads. nginx closes it all the same.",
            f"proxy_set_header Connection {'$wsgi_connection_streamed' if websocket else _NONE};",
        ]
    )
    return [
        f"proxy_pass http://wsgi-{app['name']};",
        "proxy_http_version 1.1;",
        _REPLACED,
        f'proxy_set_header SCRIPT_NAME "{below}";',
        'proxy_set_header PATH_INFO "";',
        *(f"proxy_set_header {name} {value};" for name, value in _headers(app, location)),
        f"proxy_set_header Upgrade {'$wsgi_upgrade' if websocket else _NONE};",
        *connection,
        "proxy_redirect off;",
        *(_FOR_BALANCERS if app.get("tier") == APP_HOST else ()),
    ]


def to_app_hosts(app: Data, location: Data) -> list[str]:
    """The lines that pass requests of static files on, from a balancer to the hosts that have them."""
    # Without buffers, as an app may want its answers, nothing would be kept.
    return [*_to_app_hosts(app, location), *_times_and_buffers("proxy", app, {**location, "buffering": True})]


def kept_by_balancer(app: Data) -> list[str]:
    """The lines by which a balancer keeps static files, each for so short that a switch of releases switches it."""
    return [
        f"proxy_cache {app['name']}-cache;",
        f'proxy_cache_key "{CACHE_KEY}";',
        "proxy_ignore_headers Cache-Control Expires;",
        "proxy_cache_valid 200 1s;",
        "proxy_cache_lock on;",
        "proxy_cache_revalidate on;",
        "# Not while it is looked for again: what is seldom asked for would be as old as that.",
        "proxy_cache_use_stale error timeout invalid_header http_500 http_502 http_503 http_504;",
    ]


def _to_app_hosts(app: Data, location: Data) -> list[str]:
    return [
        f"proxy_pass http://wsgi-{app['name']}{place(app)};",
        "proxy_http_version 1.1;",
        _REPLACED,
        'proxy_set_header SCRIPT_NAME "";',
        'proxy_set_header PATH_INFO "";',
        *(f"proxy_set_header {name} {value};" for name, value in _headers(app, location)),
        f"proxy_set_header Upgrade {'$wsgi_upgrade' if location['websocket'] else _NONE};",
        "proxy_set_header Connection $wsgi_connection_between;",
        "proxy_redirect off;",
        f"proxy_next_upstream_tries {app['balancer']['retries'] + 1};",
    ]


def _over_uwsgi(app: Data, location: Data) -> list[str]:
    connection = ("Connection", "close" if location["buffering"] else _NONE)  # as over HTTP
    dropped = ((name, _NONE) for name in (*_OF_THE_CLIENT_S_CONNECTION, "Upgrade"))
    return [
        f"if (${speaks_uwsgi(app)}) {{",
        f"    uwsgi_pass wsgi-{app['name']}-uwsgi;",
        "}",
        *(f"uwsgi_param {name} {value};" for name, value in _REQUEST.items()),
        _REPLACED,
        *(
            f"uwsgi_param HTTP_{name.upper().replace('-', '_')} {value} if_not_empty;"
            for name, value in [*_headers(app, location), connection, *dropped]
        ),
    ]


def speaks_uwsgi(app: Data) -> str:
    """The variable that says whether the release in service has a socket for uwsgi."""
    return f"wsgi_{app['name'].replace('-', '_')}_speaks_uwsgi"


def _headers(app: Data, location: Data) -> Headers:
    """Headers that replace the client's.

    The port is in Host alone: each header costs a hundredth of a short request.
    """
    nginx = app["nginx"]
    certified = takes_certificates(app)
    yield "Host", "$host$wsgi_host_port"
    yield "X-Real-IP", "$remote_addr"
    yield "X-Forwarded-For", "$remote_addr"
    yield "X-Forwarded-Proto", "$wsgi_scheme"
    yield "X-Forwarded-Host", "$host$wsgi_host_port"
    for name in ("X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Protocol", "X-Forwarded-Ssl"):
        yield name, _NONE
    yield "Forwarded", "$wsgi_forwarded" if nginx["forwarded"] else _NONE
    yield "Proxy", _NONE
    told = app.get("certified", False)  # by the balancer that the client has shown it to
    verify = "$ssl_client_verify" if certified else "$http_x_client_cert_verify"
    subject = "$ssl_client_s_dn" if certified else "$http_x_client_cert_subject"
    yield "X-Client-Cert-Verify", verify if certified or told else _NONE
    yield "X-Client-Cert-Subject", subject if certified or told else _NONE
    yield "X-Request-ID", "$wsgi_request_id"
    for name in location["dropped"]:
        yield name, _NONE


def _times_and_buffers(module: str, app: Data, location: Data) -> list[str]:
    between = app.get("tier") == BALANCER
    again = "error timeout invalid_header" if between else "error"
    settings = {
        "next_upstream": again if app["balancer" if between else "nginx"]["retries"] else "off",
        "connect_timeout": f"{location['connect_timeout']}s",
        "send_timeout": f"{location['send_timeout']}s",
        "read_timeout": f"{location['read_timeout']}s",
        "buffering": _switch(location["buffering"]),
        "request_buffering": _switch(location["request_buffering"]),
        "buffer_size": location["response_buffer_size"],
        "buffers": "16 16k",
        "busy_buffers_size": location["busy_buffers"],
    }
    return [f"{module}_{name} {value};" for name, value in settings.items()]


def _cache(module: str, app: Data, location: Data, hidden: t.Iterable[str]) -> list[str]:
    cache = location["cache"]
    if not cache:
        return []
    stale = [
        f"{module}_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 http_504;",
        f"{module}_cache_background_update on;",
    ]
    return [
        "",
        f"{module}_cache {app['name']}-cache;",
        f'{module}_cache_key "{cache["key"]}";',
        *(f"{module}_cache_valid {valid['statuses']} {valid['time']};" for valid in cache["valid"]),
        "# Of equal requests at once, the app gets one.",
        f"{module}_cache_lock on;",
        f"{module}_cache_revalidate on;",
        f"{module}_cache_bypass {cache['bypass']};",
        f"{module}_no_cache {cache['bypass']};",
        *(stale if cache["stale"] else ()),
        "# One here drops those of its server as well.",
        *(f"{module}_hide_header {name};" for name in [*hidden, "X-Cache"]),
    ]


def _switch(value: bool) -> str:
    return "on" if value else "off"
