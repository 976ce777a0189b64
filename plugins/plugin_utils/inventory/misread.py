# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers in the place of texts that YAML reads as something else than a person has written: C(1.10) is C(1.1)."""

from __future__ import annotations

import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.origins import number_as_written
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import plain


def warnings(entries: t.Any) -> t.Iterator[str]:
    """What to tell a person of the raw entries of C(wsgi_apps)."""
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        for key in ("env", "secrets", "source"):
            values = entry.get(key)
            for name, value in values.items() if isinstance(values, dict) else ():
                yield from _warning(plain(entry.get("name")), f"{key}.{plain(name)}", value)


def _warning(app: str, key: str, value: t.Any) -> t.Iterator[str]:
    text = number_as_written(value)
    if text in ("", str(plain(value))):
        return
    found = "a number in another notation" if key.startswith("secrets.") else f"{text}, which YAML reads as {value}"
    yield f'app "{app}": {key} is {found}; put it in quotes'
