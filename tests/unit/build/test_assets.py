# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files made ready at build time: compressed copies, and files that outlive the build they came with."""

from __future__ import annotations

import gzip
import pathlib
import shutil
import stat

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import assets

FINGERPRINT = r"[.-](?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{8,64}\.[A-Za-z0-9.]+$"
TEXT = "body { color: black }\n" * 100


@pytest.fixture(name="app")
def fixture_app(tmp_path: pathlib.Path) -> pathlib.Path:
    """Directory of an app without builds."""
    return tmp_path / "api"


def build(app: pathlib.Path, number: int, **files: str) -> pathlib.Path:
    """Source tree of a build with these files in its public directory; two underscores stand for a dot."""
    source = app / "builds" / str(number) / "src"
    for name, text in files.items():
        path = source / "static" / "css" / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assets.keep(app, source, ["static"], FINGERPRINT)
    return source


def kept(app: pathlib.Path) -> set[str]:
    """Names of the files that are kept."""
    return {path.name for path in (app / "assets").rglob("*") if path.is_file()}


def test_a_copy_that_is_smaller(app):
    source = build(app, 1, style__css=TEXT, tiny__css="a", picture__png=TEXT, own__js=TEXT)
    own = source / "static/css/own.js.gz"
    own.write_text("the app's own")
    assets.compress([source / "static"])
    made = source / "static/css/style.css.gz"
    assert gzip.decompress(made.read_bytes()).decode() == TEXT
    assert made.stat().st_mtime == (source / "static/css/style.css").stat().st_mtime
    assert own.read_text() == "the app's own"
    assert {path.name for path in source.rglob("*.gz")} == {"style.css.gz", "own.js.gz"}


def test_a_copy_by_another_program(app, monkeypatch):
    """A program that is on every machine stands in for Debian's brotli, which the scenario edge has."""
    monkeypatch.setattr(assets, "BROTLI", ["gzip", "-9", "--stdout"])
    source = build(app, 1, style__css=TEXT, tiny__css="a")
    assets.compress([source / "static"], brotli=True)
    made = source / "static/css/style.css.br"
    assert gzip.decompress(made.read_bytes()).decode() == TEXT
    assert {path.name for path in source.rglob("*.*r")} == {"style.css.br"}
    assert (source / "static/css/style.css.gz").exists()


def test_equal_files_have_equal_copies(app):
    first, second = (build(app, number, style__css=TEXT) for number in (1, 2))
    assets.compress([first / "static", second / "static"])
    assert (first / "static/css/style.css.gz").read_bytes() == (second / "static/css/style.css.gz").read_bytes()


def test_what_a_page_of_the_build_before_names_stays(app):
    build(app, 1, main__0a1b2c3d__js="one", style__css="plain")
    build(app, 2, main__4e5f6a7b__js="two", style__css="plain")
    assert kept(app) == {"main.0a1b2c3d.js", "main.4e5f6a7b.js"}
    assert (app / "assets/static/css/main.0a1b2c3d.js").read_text() == "one"
    assert stat.S_IMODE((app / "assets/static/css").stat().st_mode) == 0o755


def test_what_no_build_has_goes(app):
    build(app, 1, main__0a1b2c3d__js="one")
    build(app, 2, main__4e5f6a7b__js="two")
    shutil.rmtree(app / "builds/1")
    build(app, 3, main__4e5f6a7b__js="two")
    assert kept(app) == {"main.4e5f6a7b.js"}


def test_a_file_that_two_builds_have_stays_with_either(app):
    build(app, 1, main__0a1b2c3d__js="one")
    build(app, 2, main__0a1b2c3d__js="one")
    shutil.rmtree(app / "builds/1")
    build(app, 3, other__4e5f6a7b__js="x")
    assert "main.0a1b2c3d.js" in kept(app)


def test_the_same_build_again(app):
    source = build(app, 1, main__0a1b2c3d__js="one")
    assets.keep(app, source, ["static"], FINGERPRINT)
    assert kept(app) == {"main.0a1b2c3d.js"}


def test_nothing_is_kept_without_a_pattern(app):
    source = app / "src"
    (source / "static").mkdir(parents=True)
    (source / "static/main.0a1b2c3d.js").write_text("one")
    assets.keep(app, source, ["static"], "")
    assert not (app / "assets").exists()


@pytest.mark.parametrize(
    ("target", "out"),
    [
        ("/etc/passwd", True),
        ("../../../../other", True),
        ("../../app.py", False),
        ("main.css", False),
        ("../nowhere", False),
        ("chain", True),
    ],
)
def test_links_that_lead_out_of_the_source(app, target, out):
    source = build(app, 1, main__css="x")
    (source / "static/css/link").symlink_to(target)
    (source / "static/css/chain").symlink_to("/etc/hostname")
    found = {path.name for path in assets.links_out(source, ["static"])}
    assert found == ({"link", "chain"} if out else {"chain"})
    assert not list(assets.links_out(source, ["elsewhere"])), "not among the public directories"


def test_a_public_directory_that_leads_out_of_the_source(app):
    source = build(app, 1)
    source.mkdir(parents=True)
    (source / "static").symlink_to("/usr/share")
    assert list(assets.links_out(source, ["static"])) == [source / "static"]


@pytest.mark.parametrize("link", ["static", "static/css/x", "a"])
def test_links_out_of_the_source_are_found_on_every_level(tmp_path, link):
    source = tmp_path / "src"
    (source / link).parent.mkdir(parents=True)
    (tmp_path / "other/static/css").mkdir(parents=True)
    (source / link).symlink_to(tmp_path / "other")
    folder = "a/static" if link == "a" else "static"
    assert list(assets.links_out(source, [folder])) == [source / (folder if link == "a" else link)]
    assert assets.inside(source, [folder]) == (["static"] if link == "static/css/x" else [])


def test_links_in_a_circle_lead_nowhere(tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static/a").symlink_to("b")
    (tmp_path / "static/b").symlink_to("a")
    assert list(assets.links_out(tmp_path, ["static"])) == []


def test_persistent_directories_may_lead_to_the_state(tmp_path):
    """Neither they nor what is below them is looked into, since the app writes there."""
    (tmp_path / "src/static").mkdir(parents=True)
    (tmp_path / "state/inner").mkdir(parents=True)
    (tmp_path / "src/static/uploads").symlink_to(tmp_path / "state")
    folders = ["static", "static/uploads/inner"]
    assert list(assets.links_out(tmp_path / "src", folders, ["static/uploads"])) == []
    assert assets.inside(tmp_path / "src", folders) == ["static"]
