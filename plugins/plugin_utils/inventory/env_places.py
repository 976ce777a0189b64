# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words in C(env) that stand for directories of a release: C({files}) and C({credentials}).

Each release has its own files, and each of its units its own credentials: only systemd knows the paths, and
puts them in when it starts a unit. Releases that are gone back to find theirs in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import nearest

# Key of an app -> the directory of what it names, in systemd's words.
DIRECTORIES = {"files": "/srv/{app}/releases/%i/files", "credentials": "%d"}

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def word(key: str) -> str:
    """What stands for the directory in a value."""
    return f"{{{key}}}"


def located(app: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an app that have such a word; one without files or credentials means what it says."""
    words = [word(key) for key in DIRECTORIES if app[key]]
    return {name: value for name, value in app["env"].items() if any(found in str(value) for found in words)}


def lines(app: Mapping[str, Any]) -> list[str]:
    """Those variables as values of a unit's C(Environment), see systemd.exec(5)."""
    return [f'"{name}={_value(app, value)}"' for name, value in sorted(located(app).items())]


def _value(app: Mapping[str, Any], value: str) -> str:
    text = value.translate(_ESCAPES)
    for key, directory in DIRECTORIES.items():
        if app[key]:
            text = text.replace(word(key), directory.format(app=app["name"]))
    return text


def unknown(app: Mapping[str, Any], value: str) -> Iterator[tuple[str, str]]:
    """Words that stand where a directory's could, are none, and the one that may be meant."""
    known = [key for key in DIRECTORIES if app[key]]
    for found in re.findall(r"(?:^|:)\{([A-Za-z_]+)\}(?=/|$)", value):
        guess = nearest(found, known, 0.75)
        if guess and found not in DIRECTORIES:
            yield word(found), word(guess)


def in_container(app: Mapping[str, Any]) -> dict[str, str]:
    """Those variables as a container has them, which finds everything in one place whatever its release."""
    found = dict(located(app))
    for key in DIRECTORIES:
        if app[key]:
            found = {name: value.replace(word(key), f"/wsgi/{key}") for name, value in found.items()}
    return found


def named(key: str, value: str) -> Iterator[str]:
    """The files that a value names in a directory."""
    yield from re.findall(rf"{re.escape(word(key))}/([A-Za-z0-9_.-]+)", value)
