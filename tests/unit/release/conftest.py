# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on a host that is a directory, and the stand-in for systemd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release import assembly, layout, preparation
from fake_systemd import APP, FakeSystemd, configure


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> layout.Paths:
    monkeypatch.setattr(layout.os, "fsync", lambda _: None)  # nobody pulls the plug here, and it takes long
    # Desired releases name other settings here than "etc/wsgi" has; the digest has tests of its own.
    monkeypatch.setattr(assembly, "check_settings", lambda _paths, _desired: None)
    found = layout.Paths(
        *(
            tmp_path / name
            for name in (
                "srv",
                "run",
                "wsgi",
                "units",
                "tmpfiles",
                "state",
                "sites",
                "logs",
                "cache",
                "closed",
                "mounts",
            )
        )
    )
    for build in ("b1", "b2"):
        (found.root / APP / "builds" / build).mkdir(parents=True)
    for folder in (found.units, found.runtime, found.state, found.run):
        folder.mkdir()
    configure(found, "200")
    return found


@pytest.fixture
def systemd(paths: layout.Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystemd]:
    fake = FakeSystemd(paths)
    monkeypatch.setattr(preparation, "create_runtime_files", lambda path: fake.create_runtime_files(path))
    yield fake
    fake.stop(*fake.running)
