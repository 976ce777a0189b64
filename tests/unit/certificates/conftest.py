# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests here import `certificate_stand_ins` from beside them."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from certificate_stand_ins import Authority, Programs


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def programs(tmp_path: pathlib.Path, authority: Authority) -> t.Iterator[Programs]:
    programs = Programs(tmp_path, authority)
    yield programs
    programs.nginx.listener.close()


@pytest.fixture
def host(tmp_path: pathlib.Path, programs: Programs) -> store.Host:
    return store.Host(
        run=programs,
        links=str(tmp_path / "tls"),
        store=str(tmp_path / "tls.d"),
        letsencrypt=str(tmp_path / "letsencrypt"),
        ledger=str(tmp_path / "lib" / "attempts.jsonl"),
        logs=str(tmp_path / "logs"),
        webroot=str(tmp_path / "acme"),
        certbot=("/bin/sh", "certbot"),
        nginx=("/bin/sh", "nginx"),
        port=programs.nginx.port,
        reload_timeout=0.3,
        settle_timeout=0.1,
    )
