# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server blocks of nginx: what they serve, what they pass on, and to where."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ansible_collections.webops.wsgi.plugins.module_utils.adopt.model import Site

_TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<word>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|\$\{\w+\}|[^\s{};])+)""")
_PASSES = ("proxy_pass", "uwsgi_pass")
_NO_NAMES = ("_", "", "localhost", "default", "$hostname", "127.0.0.1", "::1")
# What the collection does in its own way, or what says nothing of the app.
_OURS = re.compile(
    r"proxy_set_header|proxy_redirect|proxy_http_version|include|listen|server_name|access_log|error_log|root|index"
    r"|ssl_.*|http2|uwsgi_param|proxy_buffering|proxy_buffers|proxy_buffer_size|proxy_busy_buffers_size|try_files|alias"
    r"|return|if|keepalive_timeout|proxy_connect_timeout|gzip.*|charset|server_tokens|http3|proxy_params"
)
# Of the block http, what Debian's file has or what says nothing of apps.
_OF_HTTP = re.compile(
    r"server|upstream|sendfile|tcp_nopush|tcp_nodelay|types|types_hash_\w+|default_type|log_format|server_names_hash_\w+"
)
_DEEPEST = 50  # blocks in each other; nginx knows no more than a few
_SECONDS = {
    "proxy_read_timeout": "read_timeout",
    "uwsgi_read_timeout": "read_timeout",
    "proxy_send_timeout": "send_timeout",
}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass
class Directive:
    """A directive, with those of its block."""

    words: list[str]
    block: list[Directive] = field(default_factory=list)
    has_block: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.words[0] if self.words else ""

    def all(self, name: str) -> Iterator[Directive]:
        """The directives of that name in its block."""
        return (found for found in self.block if found.name == name)

    def __str__(self) -> str:
        return " ".join(self.words) + (" {...}" if self.has_block else "")


def parse(text: str) -> list[Directive]:
    """The directives of a file; a block that does not end ends with the file."""
    top = Directive([])
    blocks, words = [top], list[str]()
    for found in _TOKEN.finditer(text):
        word = found["word"]
        if word is None:
            continue
        if word == ";":
            if words:
                blocks[-1].block.append(Directive(words))
            words = []
        elif word == "{":
            opened = Directive(words, has_block=True)
            if len(blocks) < _DEEPEST:
                blocks[-1].block.append(opened)
            blocks.append(opened)
            words = []
        elif word == "}":
            if len(blocks) > 1:
                blocks.pop()
            words = []
        else:
            words.append(word[1:-1] if word[0] in "\"'" and word[-1] == word[0] and len(word) > 1 else word)
    return top.block


def included(text: str) -> list[str]:
    """The patterns of the files that nginx's main file includes, as absolute paths."""
    found = [one.words[1] for one in _everything(parse(text)) if one.name == "include" and len(one.words) > 1]
    return [path if path.startswith("/") else f"/etc/nginx/{path}" for path in found]


def sites(files: Mapping[str, str]) -> list[Site]:
    """The server blocks that pass requests on to an app.

    Args:
        files: The files of nginx's configuration by path, as text.
    """
    parsed = {where: _of_http(parse(text)) for where, text in files.items()}
    upstreams = {
        one.words[1]: [_place(server.words[1]) for server in one.all("server") if len(server.words) > 1]
        for whole in parsed.values()
        for one in whole.all("upstream")
        if len(one.words) > 1
    }
    found = [_site(where, server, upstreams) for where, whole in parsed.items() for server in whole.all("server")]
    return [site for site in found if site.passes_to]


def of_all_sites(files: Mapping[str, str]) -> Site:
    """What the block http says for all server blocks, in nginx's main file and in those that add to it."""
    found = Site("/etc/nginx/nginx.conf")
    for text in files.values():
        directives = parse(text)
        blocks = [one for one in directives if one.name == "http"]
        for one in [inner for block in blocks for inner in block.block] if blocks else directives:
            if not _OF_HTTP.fullmatch(one.name):
                _setting(found, one, "")
    return found


def others(text: str, names: Collection[str], places: Collection[str]) -> list[str]:
    """What a file serves beside some names and what is passed on to some places, as a person would call it.

    Args:
        text: A file of nginx's configuration.
        names: Names that somebody else is about to answer to.
        places: Where apps are that somebody else is about to run, in the words of C(Site.passes_to).
    """
    directives = parse(text)
    whole = _of_http(directives)
    upstreams = {one.words[1]: one for one in whole.all("upstream") if len(one.words) > 1}
    found = [f"a {one.name} block" for one in directives if one.name in ("stream", "mail") and one.block]
    for server in whole.all("server"):
        listens = [one.words[1] for one in server.all("listen") if len(one.words) > 1]
        ports = [port for at in listens if (port := _port(at)) not in ("80", "443")]
        own = [name for one in server.all("server_name") for name in one.words[1:] if name not in _NO_NAMES]
        found += [name for name in own if name.lower() not in names]
        found += [f"port {port}" for port in ports]
        if not own:
            passed = {
                _place(one.words[1]) for one in _everything(server.block) if one.name in _PASSES and one.words[1:]
            }
            known = {place for place in passed if _target(place) not in upstreams}
            found += [f"requests for any name, which go to {place}" for place in sorted(known - set(places))]
    return list(dict.fromkeys(found))


def _port(listen: str) -> str:
    if listen.startswith("unix:"):
        return listen
    found = re.search(r"(?:^|:)(\d+)$", listen)
    return found[1] if found else "80"


def _of_http(directives: Iterable[Directive]) -> Directive:
    """What is in the block http; a file that is included there has no such block."""
    return Directive([], [inner for one in directives for inner in (one.block if one.name == "http" else [one])])


def _everything(directives: Iterable[Directive]) -> Iterator[Directive]:
    for one in directives:
        yield one
        yield from _everything(one.block)


def _site(where: str, server: Directive, upstreams: dict[str, list[str]]) -> Site:
    site = Site(where)
    for one in server.block:
        value = one.words[1] if len(one.words) > 1 else ""
        if one.name == "server_name":
            site.names += [name for name in one.words[1:] if name not in _NO_NAMES]
        elif one.name == "ssl_certificate":
            site.certificate = value
        elif one.name == "ssl_certificate_key":
            site.key = value
        elif one.name == "location":
            _location(site, one, server, upstreams)
        else:
            _setting(site, one, "")
    return site


def _location(site: Site, location: Directive, server: Directive, upstreams: dict[str, list[str]]) -> None:
    path = location.words[-1]
    passed = next((one for one in _everything(location.block) if one.name in _PASSES and len(one.words) > 1), None)
    if passed:
        site.passes_to += upstreams.get(_target(passed.words[1]), [_place(passed.words[1])])
        for one in location.block:
            if one is not passed:
                _setting(site, one, path)
        return
    if all(one.name == "try_files" for one in location.block) and path == "/":
        return  # to a named location, or to what is not there
    folder = _folder(location, server, path)
    if folder and len(location.words) == 2:
        site.static[path if path.endswith("/") else f"{path}/"] = folder
    elif path not in ("/.well-known/acme-challenge/", "/favicon.ico"):
        site.left.append(str(location))


def _folder(location: Directive, server: Directive, path: str) -> str:
    """The directory that a location serves; empty when it serves none."""
    for one in location.all("alias"):
        if len(one.words) > 1:
            return one.words[1].rstrip("/")
    roots: Iterable[Directive] = [one for one in (*location.all("root"), *server.all("root")) if len(one.words) > 1]
    return next((f"{one.words[1].rstrip('/')}/{path.strip('/')}" for one in roots if path != "/"), "")


def _setting(site: Site, one: Directive, path: str) -> None:
    """Carry one directive over, or note that it was not."""
    value = one.words[1] if len(one.words) > 1 else ""
    if one.name == "client_max_body_size":
        site.settings["client_max_body_size"] = value.lower()
    elif one.name in _SECONDS and (read := re.fullmatch(r"(\d+)([smh]?)", value)):
        name = _SECONDS[one.name]
        site.settings[name] = max(int(read[1]) * _UNITS[read[2]], site.settings.get(name, 0))
    elif not _OURS.fullmatch(one.name):
        site.left.append(f"{one} (location {path})" if path not in ("", "/") else str(one))


def _target(address: str) -> str:
    return re.sub(r"^\w+://", "", address).partition("/")[0]


def _place(address: str) -> str:
    """A place in the words of a server's C(bind)."""
    text = re.sub(r"^(?:https?|uwsgi)://", "", address)
    if text.startswith("unix:"):
        return "unix:" + text.removeprefix("unix:").partition(":")[0]
    return text.partition("/")[0].replace("localhost", "127.0.0.1")
