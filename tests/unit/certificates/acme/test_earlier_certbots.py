# SPDX-License-Identifier: GPL-3.0-or-later
"""Certbots of earlier versions."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import setup


def test_the_certbots_of_earlier_versions_go(tmp_path: Path) -> None:
    for name in ("certbot-1", "certbot-2-dns-x", "uv-1"):
        (tmp_path / name / "bin").mkdir(parents=True)
    program = tmp_path / "certbot-2-dns-x/bin/certbot"
    setup.remove_earlier(str(program), str(tmp_path))
    assert (tmp_path / "certbot-1").exists(), "the new one is not there"
    program.touch()
    setup.remove_earlier("certbot", str(tmp_path))
    assert (tmp_path / "certbot-1").exists(), "Debian's is in use"
    setup.remove_earlier(str(program), str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certbot-2-dns-x", "uv-1"]
