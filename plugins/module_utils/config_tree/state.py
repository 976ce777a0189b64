# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a configuration tree leaves anything to do, told without knowing what its files should be."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.access import loose
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.generation import read_live
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.plan import make_plan
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.reload import stale
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.store import Store


def in_place(spec: Spec) -> str:
    """Name of the generation that is live, is what its name says, has all its links and is in service.

    Empty when there is none, or something to sweep beside it. A generation's name is a digest of its files, so a wish
    of the same name is this generation.

    :param spec: its files are not looked at
    """
    try:
        live, edited = as_written(spec)
        store = Store(spec)
        tidy = store.served == live and not store.clutter() and not loose(spec)
        settled = not edited and tidy and not stale(spec, live)
    except (TreeError, OSError, ValueError, KeyError):  # such as a name that is no text, or a group that has none
        return ""  # config_tree tells, or fixes it
    return live if settled else ""


def as_written(spec: Spec) -> tuple[str, bool]:
    """Name of the generation that is live, and whether its files or links were changed since it was written.

    :param spec: its files are not looked at
    :raises TreeError: something else stands at its root.
    """
    live = read_live(spec)
    plan = make_plan(replace(spec, files=(), keep=dict.fromkeys(live.files, "")), live)
    return live.name, plan.changed
