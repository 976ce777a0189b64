# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of an app's configuration files, and of the words in its environment that stand for where they are."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import env_places, settings
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, show

CONTENTS = ("text", "path", "template")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def check_files(app: App) -> t.Iterator[Problem]:
    """Names that are file names, none twice, and one content each. What is in the files is never shown."""
    if not app.usable("files"):
        return
    seen: set[str] = set()
    for number, entry in enumerate(app.data["files"]):
        name, key = entry["name"], f"files[{number}]"
        if not _NAME.fullmatch(name):
            text = f"{key}.name is {show(name)}, which is not a valid name of a file"
            yield app.problem(text, "use letters, digits, dots, hyphens and underscores, such as settings.cfg")
        elif name in seen:
            yield app.problem(f"{key}.name is {show(name)}, which another one has too", "give each a name of its own")
        seen.add(name)
        yield from _check_content(app, key, entry)


def _check_content(app: App, key: str, entry: dict[str, t.Any]) -> t.Iterator[Problem]:
    given = [content for content in CONTENTS if entry.get(content) is not None]
    if not given:
        yield app.problem(f"{key} has none of text, path and template", "add one of them")
    elif len(given) > 1:
        yield app.problem(f"{key} has {' and '.join(given)} at once", "keep one of them")
    elif given[0] == "text":
        if "\0" in entry["text"]:
            yield app.problem(f"{key}.text has a NUL character", "encode the content, in base64 say")
    elif not os.path.isfile(entry[given[0]]) or not os.access(entry[given[0]], os.R_OK):
        text = f"{key}.{given[0]} leads to {entry[given[0]]}, which is not a file that can be read"
        yield app.problem(text, "write a path relative to the file that has this app, or an absolute one")


def check_places(app: App) -> t.Iterator[Problem]:
    """What C(env) names below C({files}) and C({credentials}) is there, and it is they that are named."""
    if not app.usable("env", "files", "credentials"):
        return
    for variable, value in app.data["env"].items():
        for found, guess in env_places.unknown(app.data, str(value)):
            text = f"env.{variable} has {found}, which stands for no directory of the app"
            yield app.problem(text, f"did you mean {guess}?")
    names = {
        "files": [entry["name"] for entry in app.data["files"]],
        "credentials": list(map(str, app.data["credentials"])),
    }
    for key, known in names.items():
        for variable, value in app.data["env"].items() if known else ():
            for name in env_places.named(key, str(value)):
                if name not in known:
                    guess = settings.nearest(name, known)
                    fix = f"did you mean {guess}?" if guess else f"add it to {key}"
                    yield app.problem(f"env.{variable} names {show(name)}, which {key} does not have", fix)


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (check_files, check_places)
