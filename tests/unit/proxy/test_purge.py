# SPDX-License-Identifier: GPL-3.0-or-later
"""Which answers go from a cache. The files are as nginx writes them: a binary head, the key, the answer."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.proxy import purge as cache_purge

KEYS = {
    "0/11/aaaa": "https://api.example.com/items?page=1",
    "0/22/bbbb": "https://api.example.com/items?page=1 de",
    "1/33/cccc": "https://api.example.com/items?page=2",
    "1/44/dddd": "https://api.example.com/other",
}


@pytest.fixture(name="cache")
def fixture_cache(tmp_path: pathlib.Path) -> pathlib.Path:
    """A cache of four answers, and one that is being written."""
    for name, key in KEYS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x05\x00" * 168 + f"\nKEY: {key}\nHTTP/1.1 200 OK\r\n\r\nKEY: none\n".encode())
    (tmp_path / "0/11/aaaa.0000000001").write_bytes(b"half")
    return tmp_path


def left(cache: pathlib.Path) -> set[str]:
    """Names of the answers that are still there."""
    return {str(path.relative_to(cache)) for path in cache_purge.files(cache)}


@pytest.mark.parametrize(
    ("url", "gone"),
    [
        ("https://api.example.com/items?page=1", {"0/11/aaaa", "0/22/bbbb"}),
        ("https://api.example.com/items", set()),
        ("https://api.example.com/items*", {"0/11/aaaa", "0/22/bbbb", "1/33/cccc"}),
        ("https://other.example.com/*", set()),
        ("", set(KEYS)),
    ],
)
def test_what_goes(cache, url, gone):
    predicted = cache_purge.purge(cache, url, check=True)
    assert left(cache) == set(KEYS)
    assert cache_purge.purge(cache, url) == predicted == sorted(KEYS[name] for name in gone)
    assert left(cache) == set(KEYS) - gone
    assert cache_purge.purge(cache, url) == []
    assert (cache / "0/11/aaaa.0000000001").exists()


def test_no_cache_yet(tmp_path):
    assert cache_purge.purge(tmp_path / "none", "") == []
