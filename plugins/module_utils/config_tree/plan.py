# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference between the configuration tree on a host and the one that is wanted, and how diff mode shows it."""

from __future__ import annotations

import grp
import hashlib
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import (
    TOKEN,
    TreeFile,
    as_bytes,
    digests_by_top,
    generation_of,
    is_numbered,
)
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.generation import Live, group_id, is_same
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.store import read_link


@dataclass(frozen=True)
class Plan:
    """The difference between the host and the wish."""

    generation: str
    files: Mapping[str, TreeFile]
    tree_changed: bool
    links_changed: Mapping[str, str]
    digests: Mapping[str, str]

    @property
    def changed(self) -> bool:
        return self.tree_changed or bool(self.links_changed)


def make_plan(spec: Spec, live: Live) -> Plan:
    """Compare the host with the wish; reads only."""
    files = {item.dest: item for item in spec.files}
    files.update(kept_files(spec, live))
    name = generation_of(files)
    generation, same = name, False
    if is_numbered(live.name, name):
        generation = live.name
        same = is_same(files, live)
        if not same:
            # Edited by hand: the name of the live directory is taken, so the same wish gets a numbered one.
            generation = f"{name}-{int(live.name[len(name) + 1 :] or 0) + 1}"
    links = {path: target for path, target in spec.links.items() if read_link(path) != target}
    return Plan(generation, files, not same, links, digests_by_top(files))


def kept_files(spec: Spec, live: Live) -> dict[str, TreeFile]:
    """Files of the live tree that ``keep`` carries over: a pattern names files or everything below directories."""
    wanted = {item.dest for item in spec.files}
    kept: dict[str, TreeFile] = {}
    for dest, found in live.files.items():
        if dest in wanted or found.content is None:
            continue
        owner = _owner(spec.keep, dest)
        if owner is not None:
            text = found.content.decode(errors="surrogateescape").replace(live.name, TOKEN)
            group = "" if found.gid == os.getegid() else grp.getgrgid(found.gid).gr_name
            kept[dest] = TreeFile(dest, text, found.mode, owner, group)
    return kept


def _owner(keep: Mapping[str, str], dest: str) -> str | None:
    if dest in keep:  # a name is its own pattern, and there may be hundreds
        return keep[dest]
    return next((owner for pattern, owner in keep.items() if _names(pattern.rstrip("/"), dest)), None)


def _names(pattern: str, dest: str) -> bool:
    return fnmatchcase(dest, pattern) or fnmatchcase(dest, f"{pattern}/*")


def make_diff(spec: Spec, live: Live, plan: Plan) -> list[dict[str, str]]:
    """One entry per file that differs. The generation's own name is shown as the token, so that it is no noise."""
    entries: list[dict[str, str]] = []
    if plan.tree_changed:
        for dest in sorted(set(live.files) | set(plan.files)):
            before, after = _text_before(live, dest), _text_after(plan, dest)
            if before != after:
                entries.append(entry(posixpath.join(spec.root, dest), before, after))
        before_link = f"{spec.base}.d/{live.name}\n" if live.name else ""
        entries.append(entry(f"{spec.root} (link)", before_link, f"{spec.base}.d/{plan.generation}\n"))
    for path, target in sorted(plan.links_changed.items()):
        entries.append(entry(f"{path} (link)", _describe(path), f"{target}\n"))
    return entries


def entry(header: str, before: str, after: str) -> dict[str, str]:
    """One entry of a diff."""
    return {"before": before, "after": after, "before_header": header, "after_header": header}


def _text_before(live: Live, dest: str) -> str:
    found = live.files.get(dest)
    if found is None:
        return ""
    if found.content is None:
        return "(not a regular file)\n"
    text = found.content.decode(errors="replace").replace(live.name, TOKEN)
    return _shown(text, found.mode) + _ownership(found.uid, found.gid)


def _text_after(plan: Plan, dest: str) -> str:
    item = plan.files.get(dest)
    if item is None:
        return ""
    text = _shown(as_bytes(item.content).decode(errors="replace"), item.mode)
    return text + _ownership(os.geteuid(), group_id(item.group))


def _shown(text: str, mode: int) -> str:
    """A file as a diff may show it: of one that not everybody may read, no more than whether it differs."""
    if not mode & 0o004:
        text = f"(not shown, SHA-256 {hashlib.sha256(as_bytes(text)).hexdigest()[:12]})\n" if text else ""
    return text if mode == 0o644 else f"{text}(mode {mode:04o})\n"


def _ownership(uid: int, gid: int) -> str:
    return "" if (uid, gid) == (os.geteuid(), os.getegid()) else f"(owner {uid}:{gid})\n"


def _describe(path: str) -> str:
    target = read_link(path)
    if target is not None:
        return f"{target}\n"
    return "(a regular file, kept aside)\n" if os.path.exists(path) else ""
