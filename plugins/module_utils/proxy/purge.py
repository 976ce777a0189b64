# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove answers from nginx's proxy cache.

nginx keeps one file an answer, and the key of the answer in it, in a line of its own after a binary head. When such a
file has gone, nginx asks the app again; it need not be told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# The head is a structure of about 350 bytes (ngx_http_file_cache_header_t); the longest request line is 16 KiB.
HEAD = 20 * 1024
MARK = b"\nKEY: "

# Seconds for which nginx goes on reading a file it has open without looking for it again (open_file_cache_valid).
KEPT_OPEN = 1


def purge(folder: Path, url: str, check: bool = False) -> list[str]:
    """Remove the answers to a URL, whatever else their keys have, and return their keys.

    nginx may give them for :data:`KEPT_OPEN` seconds more.

    :param folder: of the app's cache; one that does not exist has no answers.
    :param url: as clients write it; with an asterisk at its end, every URL that begins so; empty for all.
    :param check: only say what would be removed.
    """
    removed = []
    for path in files(folder):
        key = key_of(path)
        if key is None or not matches(key, url):
            continue
        if not check:
            path.unlink(missing_ok=True)
        removed.append(key)
    return sorted(removed)


def files(folder: Path) -> Iterator[Path]:
    """Every file of the cache, those left out that nginx is still writing."""
    for here, _folders, names in os.walk(folder):
        for name in names:
            if "." not in name:
                yield Path(here, name)


def key_of(path: Path) -> str | None:
    """The key of an answer; None when the file has gone or is no answer."""
    try:
        with path.open("rb") as stream:
            _head, found, rest = stream.read(HEAD).partition(MARK)
    except FileNotFoundError:
        return None
    return rest.partition(b"\n")[0].decode(errors="replace") if found else None


def matches(key: str, url: str) -> bool:
    """Whether a key is that of a URL: its first word."""
    asked = key.split(" ", maxsplit=1)[0]
    return asked.startswith(url[:-1]) if url.endswith("*") else url in ("", asked)
