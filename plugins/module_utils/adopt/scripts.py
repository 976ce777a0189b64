# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shell scripts that do no more than to start a server: what they set, where they go, and what they start."""

from __future__ import annotations

import re
import shlex

from ansible_collections.webops.wsgi.plugins.module_utils.adopt.commands import server_of
from ansible_collections.webops.wsgi.plugins.module_utils.adopt.model import Program

_SHELL = re.compile(r"#! ?(?:/usr)?/bin/(?:env )?(?:ba|da)?sh\b")
_ASSIGNED = re.compile(r"(export\s+)?([A-Za-z_]\w*)=(.*)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|([A-Za-z_]\w*))")


def follow(program: Program, text: str) -> bool:
    """Have a program be what its script starts; returns whether the script starts a server.

    Args:
        program: A program whose command is a script.
        text: The script.
    """
    if not _SHELL.match(text):
        return False
    known, folder = dict(program.environment), ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        line = line.strip()
        assigned = _ASSIGNED.fullmatch(line)
        if assigned:
            value = _first_word(_filled(assigned[3], known))
            known[assigned[2]] = value
            if assigned[1]:
                program.environment[assigned[2]] = value
            continue
        words = _words(_filled(line, known))
        if words[:1] == ["export"]:
            program.environment.update({name: known[name] for name in words[1:] if name in known})
        elif words[:1] == ["cd"] and len(words) > 1:
            program.directory = _below(program.directory, words[1])
        elif words[:1] in (["source"], ["."]) and len(words) > 1 and words[1].endswith("/bin/activate"):
            folder = _below(program.directory, words[1].removesuffix("/activate"))
        else:
            words = words[1:] if words[:1] == ["exec"] else words
            if server_of(shlex.join(words)):
                words[0] = words[0] if "/" in words[0] or not folder else f"{folder}/{words[0]}"
                words[0] = _below(program.directory, words[0]) if "/" in words[0] else words[0]
                program.command = shlex.join(words)
                return True
    return False


def _filled(text: str, known: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[3], found[2] or ""), text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _first_word(text: str) -> str:
    return next(iter(_words(text)), "")


def _below(directory: str, path: str) -> str:
    path = path if path.startswith("/") else f"{directory.rstrip('/')}/{path}"
    while (shorter := re.sub(r"/(?!\.\./)[^/]+/\.\.(?=/|$)", "", path, count=1)) != path:
        path = shorter
    return path
