# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which hosts activate an app: the first host of the play that has it goes first, the others follow.

They follow all at once, or a batch at a time. Where an app fails on one host, those whose turn is later leave it as it
is, and those that have it already go back when the app is to be the same everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import FACT

# Facts of a host, for as long as a play lasts.
PRESENT = "wsgi_present"  # names of the apps that the inventory wants there
FOLLOWS = "wsgi_follows"  # app -> the host that goes first with it
BATCHES = "wsgi_batches"  # how many turns the hosts take that follow
TURNS = "wsgi_turns"  # app -> the host's turn with it, 0 for the first
BEFORE = "wsgi_before"  # app -> the release that was in service before this play activated another
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


def size_of(batch: str, hosts: int) -> int:
    """How many hosts C(release_batch) means, a number or a share of those that follow; at least one."""
    share = re.fullmatch(r"([0-9]+)%", batch)
    wanted = math.ceil(hosts * int(share[1]) / 100) if share else int(batch)
    return max(1, wanted)


def batches(batch: str, hosts: int) -> int:
    """How many turns it takes for that many hosts to follow; one for none, too."""
    return max(1, math.ceil(hosts / size_of(batch, hosts)))


def turn_of(host: str, name: str, hosts: Sequence[str], present_on: Callable[[str], Collection[str]], size: int) -> int:
    """In which batch a host activates an app, counted from one; 0 for the host that goes first.

    Args:
        host: The host.
        name: The app.
        hosts: All hosts that are still in the play, in its order.
        present_on: Names of the apps that the inventory wants on a host.
        size: How many hosts a batch has.
    """
    have = [other for other in hosts if name in present_on(other)]
    place = have.index(host)
    return 0 if place == 0 else (place - 1) // size + 1


def withheld(
    host: str,
    follows: Mapping[str, str],
    facts_of: Callable[[str], Mapping[str, Any]],
    earlier: Mapping[str, Iterable[str]] | None = None,
) -> dict[str, str]:
    """Apps that a host must not activate, since they failed on a host whose turn was before, and why.

    Args:
        host: The host that follows.
        follows: The host that went first, by app.
        facts_of: The facts of a host.
        earlier: Hosts of earlier batches, by app.
    """
    kept: dict[str, str] = {}
    for name, first in follows.items():
        for other in (earlier or {}).get(name, ()):
            if name in (facts_of(other).get(FACT) or {}):
                why = f"since it failed on {other}, whose turn was before"
                kept[name] = f'app "{name}": was not activated on {host}, {why}'
        facts = facts_of(first)
        if name in (facts.get(FACT) or {}):
            kept[name] = f'app "{name}": was not activated on {host}, since it failed on {first}, which goes first'
        elif facts.get(ACTIVATED) is None:
            kept[name] = f'app "{name}": was not activated on {host}, since {first}, which goes first, failed'
    return kept


def to_finish(
    names: Iterable[str],
    follows: Collection[str],
    hosts: Sequence[str],
    app_hosts: Iterable[str],
    facts_of: Callable[[str], Mapping[str, Any]],
) -> list[str]:
    """Apps whose rollout is over, of those with which a host goes first: all hosts are in the play, none has failed.

    Args:
        names: Apps of the host.
        follows: Those with which another host goes first.
        hosts: Hosts that are still in the play.
        app_hosts: All hosts of the inventory that run apps.
        facts_of: The facts of a host.
    """
    if not set(app_hosts) <= set(hosts):
        return []
    failed = {name for host in hosts for name in facts_of(host).get(FACT) or {}}
    return [name for name in names if name not in follows and name not in failed]


def to_take_back(
    host: str,
    names: Iterable[str],
    hosts: Iterable[str],
    facts_of: Callable[[str], Mapping[str, Any]],
    lost: Iterable[str],
) -> dict[str, str]:
    """Apps that a host goes back with, since they failed elsewhere, and why.

    Args:
        host: The host.
        names: Apps that are to be the same on all hosts.
        hosts: Hosts that are still in the play.
        facts_of: The facts of a host.
        lost: Hosts that have left the play, having failed.
    """
    facts = facts_of(host)
    done = set(facts.get(BEFORE) or {}) - set(facts.get(FACT) or {})
    found = {}
    for name in sorted(done.intersection(names)):
        failed = [other for other in hosts if name in (facts_of(other).get(FACT) or {})]
        failed += [other for other in lost if name in (facts_of(other).get(PRESENT) or ())]
        if failed:
            found[name] = f'app "{name}": went back on {host}, since it failed on {", ".join(failed)}'
    return found
