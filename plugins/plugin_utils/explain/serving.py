# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about what serves: nginx's configuration, the release in service, the host."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.webops.wsgi.plugins.plugin_utils.explain.case import REFUSED, Case, Finding, full_disk, split

LOW_MEMORY = 64 << 20  # bytes


def nginx(case: Case) -> t.Iterator[Finding]:
    """nginx serves the configuration that a run has written, and knows the app."""
    nginx = case.seen.nginx
    running = nginx.active == "active"
    if not case.deployed:
        return
    if running and nginx.test:
        yield Finding(
            "nginx",
            "the configuration on disk is broken; nginx still runs with the one before",
            "correct it, or run site.yml, before nginx is restarted",
            (nginx.test,),
            breaks=False,
        )
    if nginx.edited:
        text = "files of /etc/nginx/wsgi were changed by hand"
        breaks = case.by_nginx and case.reply.status >= 400 and case.reply.status != case.seen.direct.status
        yield Finding("nginx", text, "run site.yml, which undoes it", certain=False, breaks=breaks)
    elif running and nginx.served != nginx.live and nginx.served:
        text = "nginx serves an earlier configuration than the one on disk"
        yield Finding("nginx", text, "systemctl reload nginx, or run site.yml", breaks=False)
    if not nginx.site and running:
        text = f'nginx has no server block for the app "{case.name}"'
        yield Finding("nginx", text, "run site.yml", certain=case.reply.status in (0, 404, 421))


def instance(case: Case) -> t.Iterator[Finding]:
    """The release in service runs, and takes connections."""
    instance, app = case.seen.instance, case.name
    if not instance.release:
        text = f'the app "{app}" is not deployed on this host'
        if not instance.failed_after:
            yield Finding("instance", text, "run site.yml")
            return
        words, fix = split(instance.failure.splitlines())
        fix = fix or f"correct the app and run site.yml; see why: {instance.read}"
        yield Finding("instance", f"{text}: release {instance.failed_after} failed", fix, tuple(words[:3]))
        return
    if instance.listens and instance.runs:
        yield from _unhealthy(case)
    elif instance.stopped:
        text = f"release {instance.release} was stopped by hand: {instance.unit} is {instance.state}"
        yield Finding("instance", text, "run site.yml, which starts it")
    elif instance.runs and not instance.socket:
        text = f"the socket of release {instance.release} is gone, though its server runs"
        yield Finding("instance", text, "run site.yml", (f"/run/{app}/current.sock leads nowhere",))
    elif instance.runs:
        text = f"release {instance.release} runs, but takes no connections"
        yield Finding(
            "instance", text, f"see why: {instance.read}; a run of site.yml starts it again", case.logged(REFUSED)
        )
    else:
        ended = [fault for fault in instance.faults if " was ended by " in fault["text"]]
        why = f": {ended[0]['text']}" if ended else ""
        text = f"release {instance.release} does not run, {instance.unit} is {instance.state}{why}"
        words, fix = split(case.seen.words)
        yield Finding(
            "instance", text, (ended[0]["fix"] if ended else fix) or f"see why: {instance.read}", tuple(words[:3])
        )


def _unhealthy(case: Case) -> t.Iterator[Finding]:
    instance = case.seen.instance
    if instance.health:
        text = f"the health check of release {instance.release} fails: {instance.health}"
        yield Finding("instance", text, "see what it depends on, such as a database", case.seen.words[:3], breaks=False)
    if instance.failed_after:
        first = (instance.failure.splitlines() or [""])[0]
        text = f"release {instance.failed_after} failed to deploy, so release {instance.release} still serves"
        yield Finding("instance", text, "correct the app and deploy again", tuple(filter(None, [first])), breaks=False)
    for fault in instance.faults:
        number = f", {fault['count']} times" if fault["count"] > 1 else ""
        yield Finding("instance", f"{fault['text']}{number}", fault["fix"], breaks=False)


def disks(case: Case) -> t.Iterator[Finding]:
    """There is room on every disk."""
    for disk in case.seen.disks:
        yield replace(full_disk(disk), breaks=False)


def memory(case: Case) -> t.Iterator[Finding]:
    """There is memory left."""
    if 0 < case.seen.memory_free < LOW_MEMORY:
        text = f"the host's memory is used up ({case.seen.memory_free >> 20} MB are left)"
        yield Finding("instance", text, "start fewer workers, set release_memory_max, or give it more", breaks=False)
