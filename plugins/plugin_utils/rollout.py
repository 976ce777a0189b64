# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which hosts activate an app: the first host of the play that has it goes first, the others follow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import takewhile
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FACT

# Facts of a host, for as long as a play lasts.
PRESENT = "wsgi_present"  # names of the apps that the inventory wants there
FOLLOWS = "wsgi_follows"  # app -> the host that goes first with it
ACTIVATED = "wsgi_activated"  # what this play has done, by app; none before it has done anything


def leaders(
    host: str, hosts: Iterable[str], present_on: Callable[[str], Collection[str]], names: Iterable[str]
) -> dict[str, str]:
    """The host that goes first with each app of a host.

    Args:
        host: The host.
        hosts: All hosts that are still in the play, in its order.
        present_on: Names of the apps that the inventory wants on a host.
        names: The apps of the host.
    """
    found: dict[str, str] = {}
    searched = set(names)
    for earlier in takewhile(lambda name: name != host, hosts):
        if not searched:
            break
        found.update(dict.fromkeys(searched.intersection(present_on(earlier)), earlier))
        searched.difference_update(found)
    return {name: found.get(name, host) for name in names}


def withheld(host: str, follows: Mapping[str, str], facts_of: Callable[[str], Mapping[str, Any]]) -> dict[str, str]:
    """Apps that a host must not activate, since they failed on the host that went first with them, and why.

    Args:
        host: The host that follows.
        follows: The host that went first, by app.
        facts_of: The facts of a host.
    """
    kept: dict[str, str] = {}
    for name, first in follows.items():
        facts = facts_of(first)
        if name in (facts.get(FACT) or {}):
            kept[name] = f'app "{name}": was not activated on {host}, since it failed on {first}, which goes first'
        elif facts.get(ACTIVATED) is None:
            kept[name] = f'app "{name}": was not activated on {host}, since {first}, which goes first, failed'
    return kept
