# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of how large requests and answers may be: what one layer lets through, the next one must take."""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.checks.proxy import scopes
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.nginx import site
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

# Bytes of a request line around its path and query: the method, the version, two spaces.
_AROUND_URI = 64

Setting = tuple[str, str]
Reader = t.Callable[[t.Any], int | None]


def _number(value: t.Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _line(value: t.Any) -> int | None:
    uri = site.size(value)
    return uri + _AROUND_URI if uri else None


def _one_buffer(value: t.Any) -> int | None:
    return site.size(str(value).rpartition(" ")[2])


def _all_buffers(value: t.Any) -> int | None:
    """Over HTTP/2 that is the limit of a single header too: it is compressed when nginx compares it with one buffer."""
    count, size = str(value).partition(" ")[0], _one_buffer(value)
    return int(count) * size if size and count.isdecimal() else None


class Order(t.NamedTuple):
    """What one layer lets through, the other must take.

    Attributes:
        takes: The setting of what is taken, and how its bytes are read from it.
        passes: The setting of what is let through, and how its bytes are read from it.
        otherwise: What happens to a client when less is taken.
    """

    takes: tuple[Setting, Reader]
    passes: tuple[Setting, Reader]
    otherwise: str


_BUFFERS: Setting = ("nginx", "large_header_buffers")
_URI: Setting = ("nginx", "client_max_uri_size")
_REFUSES = "{} would refuse what nginx lets through"
_RESETS = "nginx would close an HTTP/2 connection instead of answering"

_OF_NGINX = (
    Order((_BUFFERS, _one_buffer), (_URI, _line), _RESETS),
    Order((_BUFFERS, _one_buffer), (("nginx", "client_max_header_size"), site.size), _RESETS),
)


def size_order(app: App) -> list[Order]:
    """What of an app's layers must take what."""
    runs = server(app.data["server"])
    refuses = _REFUSES.format(runs.name)
    own = [
        (runs.request_line, Order(((runs.name, runs.request_line), _number), (_URI, _line), refuses)),
        (runs.request_header, Order(((runs.name, runs.request_header), _number), (_BUFFERS, _all_buffers), refuses)),
    ]
    return [*_OF_NGINX, *(order for setting, order in own if setting)]


def check_request_sizes(app: App) -> t.Iterator[Problem]:
    """nginx's buffers >= what nginx lets through <= what the server takes."""
    for order in size_order(app):
        (taker, read_taken), (passer, read_passed) = order.takes, order.passes
        if not app.usable(".".join(taker), ".".join(passer)):
            continue
        taken = read_taken(app.data[taker[0]].get(taker[1]))
        passed = _at_most(app, taker, read_passed(app.data[passer[0]].get(passer[1])))
        unlimited = taken == 0 and taker != _BUFFERS  # where a server takes 0 at all
        if taken is None or passed is None or taken >= passed or unlimited:
            continue
        first, second = app.setting(*taker), app.setting(*passer)
        values = show(app.data[taker[0]][taker[1]]), show(app.data[passer[0]][passer[1]])
        text = f"{first} is {values[0]}, too small for {second} ({values[1]}), so {order.otherwise}"
        yield app.problem(text, f"{_enough(app, taker, passed)}, or lower {second}")


def _at_most(app: App, taker: Setting, passed: int | None) -> int | None:
    """What is let through, as far as the other can take it at all: then nobody can write more."""
    least, most = app.roles[taker[0]].limit(taker[1])
    return min(passed, int(most)) if passed and least and most else passed


def _enough(app: App, taker: Setting, wanted: int) -> str:
    """What to write so that so many bytes are taken."""
    value, or_more = str(wanted), " or more"
    if taker == _BUFFERS:
        value = f"{str(app.data['nginx']['large_header_buffers']).partition(' ')[0]} {-(-wanted // 1024)}k"
    elif (most := app.roles[taker[0]].limit(taker[1])[1]) is not None and wanted > most:
        value, or_more = "0", ", which is no limit"
    setting = app.setting(*taker)
    written = f"write {taker[0]}: {{{taker[1]}: {value}}}" if "." in setting else f"set {setting}: {value}"
    return written + or_more


def check_response_size(app: App) -> t.Iterator[Problem]:
    """The buffer for an answer's headers, as large as one and no larger than nginx's other buffers together."""
    for scope in scopes(app):
        size = site.size(scope.settings.get("response_buffer_size"))
        if size is None or 1024 <= size <= site.MOST_BUSY:
            continue
        text = f"{scope.where('response_buffer_size')} is {show(scope.settings['response_buffer_size'])}"
        yield app.problem(f"{text}, but nginx takes 1k to {site.MOST_BUSY // 1024}k", "write such as 32k")


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (check_request_sizes, check_response_size)
