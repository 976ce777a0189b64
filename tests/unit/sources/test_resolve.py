# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of a source of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import model, resolve
from trees import archived, git, make_archive


@pytest.mark.parametrize("kind", ["path", "git", "archive"])
@pytest.mark.parametrize("target", ["../shared/templates", "/srv/shared/templates"])
def test_link_that_leads_out_of_a_source_of_any_kind_is_refused(
    repository: Path, tmp_path: Path, kind: str, target: str
) -> None:
    (repository / "templates").symlink_to(target)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "link")
    digest = make_archive(tmp_path / "a.tar.gz", {"app.py": ""}, {"templates": target})
    wanted = {
        "path": {"kind": "path", "path": str(repository)},
        "git": {"kind": "git", "git": str(repository), "version": "main"},
        "archive": {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": digest},
    }
    with pytest.raises(model.SourceError) as caught:
        archived(resolve.resolve(wanted[kind], tmp_path / "cache"), tmp_path)
    assert f"has 'templates', a link to '{target}', which leads out of the source; put what it" in str(caught.value)


def test_package_is_its_own_identity(tmp_path: Path) -> None:
    found = resolve.resolve({"kind": "package", "package": "httpbin", "version": "0.10.4"}, tmp_path)
    assert found == model.Source({"package": "httpbin==0.10.4"}, "httpbin==0.10.4", None)
