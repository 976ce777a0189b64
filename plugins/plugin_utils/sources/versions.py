# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of a project by its tags, as a repository tells the tools that ask it, setuptools-scm above all.

A build gets no repository, so the controller asks, and the build is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<distance>[0-9]+)-g(?P<commit>[0-9a-f]+)(?P<dirty>-dirty)?")
MAX_OTHER_TAGS = 20  # that are no versions, between a commit and the one that is


def tag_version(tag: str) -> str:
    """The version that a tag names, such as C(v1.4.2) or C(api/1.4.2); empty when it names none."""
    from packaging.version import InvalidVersion, Version  # ansible-core brings it; ansible-test has none to import

    for rest in (tag, *(tag[found.end() :] for found in re.finditer(r"[-_/]", tag))):
        if re.match(r"v?[0-9]", rest):
            with suppress(InvalidVersion):
                return str(Version(rest))
    return ""


def described_version(ask: Callable[[list[str]], str], commit: str = "") -> str:
    """The version of a commit: that of its tag, or else one between the last tag's and the next.

    Args:
        ask: Runs git in the repository; what it answers, empty for an error.
        commit: Which one; empty for the work tree.
    """
    skipped: list[str] = []
    for _ in range(MAX_OTHER_TAGS):
        described = ask(["describe", "--tags", "--long", "--abbrev=40", *skipped, commit or "--dirty"])
        found = DESCRIBED.fullmatch(described.strip())
        if not found:
            break
        version = tag_version(found["tag"])
        if version:
            return _after(version, int(found["distance"]), found["commit"], bool(found["dirty"]))
        skipped.append(f"--exclude={found['tag']}")
    name, count = (ask([*command, commit or "HEAD"]).strip() for command in (["rev-parse"], ["rev-list", "--count"]))
    return f"0.1.dev{count}+g{name[:7]}" if name and count else ""


def _after(version: str, distance: int, commit: str, dirty: bool) -> str:
    """What setuptools-scm makes of it by default."""
    if not distance and not dirty:
        return version
    base, dev, _number = version.partition("+")[0].partition(".dev")
    following = base if dev else re.sub(r"[0-9]+$", lambda last: str(int(last[0]) + 1), base)
    return f"{following}.dev{distance}+g{commit[:7]}{'.dirty' if dirty else ''}"
