# SPDX-License-Identifier: GPL-3.0-or-later
"""By which proxy a host gets out."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import Outgoing, outgoing

HOST = 'PATH="/usr/bin"\nexport https_proxy="http://ann:pw@proxy:3128"\nHTTP_PROXY=proxy:3128\nno_proxy=.internal, x\n'
OWN = Outgoing("http://proxy:3128", "http://ann:pw@proxy:3128", (".internal", "x"))


@pytest.mark.parametrize(
    ("proxy", "no_proxy", "host", "found"),
    [
        ("", [], HOST, OWN),
        ("", ["y"], HOST, OWN._replace(direct=("y",))),
        ("none", ["y"], HOST, Outgoing()),
        ("http://other:1", [], HOST, Outgoing("http://other:1", "http://other:1", (".internal", "x"))),
        ("", [], "http_proxy=http://a\nHTTP_PROXY=http://b\n# https_proxy=x\n", Outgoing("http://a")),
        ("", [], None, Outgoing()),
    ],
)
def test_the_inventory_comes_before_the_host(
    proxy: str, no_proxy: list[str], host: str | None, found: Outgoing, tmp_path: Path
) -> None:
    file = tmp_path / "environment"
    if host is not None:
        file.write_text(host)
    assert outgoing(proxy, no_proxy, file) == found


def test_programs_are_told_in_both_spellings_and_reach_this_host_directly() -> None:
    told = OWN.variables()
    assert told["https_proxy"] == told["HTTPS_PROXY"] == "http://ann:pw@proxy:3128"
    assert told["no_proxy"] == "localhost,127.0.0.1,::1,.internal,x"
    assert Outgoing(direct=("x",)).variables() == {}
    assert OWN.secrets == {"http://ann:pw@proxy:3128"}
