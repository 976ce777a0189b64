# SPDX-License-Identifier: GPL-3.0-or-later
"""Git repositories: names lead to commits, and their content to the last byte."""

from __future__ import annotations

import shutil
import sys
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import git as git_source
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import git_program, model, resolve
from trees import archived, git, make_tree, refs, with_submodule


def test_git_source_with_submodules_is_refused(repository: Path, tmp_path: Path) -> None:
    git(with_submodule(repository), "add", "vendor")
    git(repository, "commit", "-qm", "with vendor")
    found = resolve.resolve({"kind": "git", "git": str(repository), "version": "main"}, tmp_path / "cache")
    with pytest.raises(model.SourceError, match=r"has submodules \(vendor\)"):
        archived(found, tmp_path)


def commit_submodule(parent: Path, address: str, path: str) -> str:
    """Add a submodule, and return the commit of the parent that has it."""
    git(parent, "-c", "protocol.file.allow=always", "submodule", "add", "-q", address, path)
    git(parent, "commit", "-qm", path)
    return git(parent, "rev-parse", "HEAD")


@pytest.fixture
def nested(tmp_path: Path, repository: Path) -> Path:
    """A repository with a submodule that has one itself, both of which have moved on since."""
    for name, text in (("inner", "inner = 1\n"), ("outer", "outer = 1\n")):
        make_tree(tmp_path / name, {f"{name}.py": text})
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "add", ".")
        git(tmp_path / name, "commit", "-qm", name)
    commit_submodule(tmp_path / "outer", "../inner", "libs/in ner")
    commit_submodule(repository, str(tmp_path / "outer"), "vendor")
    for name in ("inner", "outer"):
        (tmp_path / name / f"{name}.py").write_text("later = 2\n")
        git(tmp_path / name, "commit", "-qam", "later")
    return repository


def test_submodules_come_along_at_the_recorded_commits(nested: Path, tmp_path: Path) -> None:
    wanted = {"kind": "git", "git": str(nested), "version": "main", "submodules": True}
    names = archived(resolve.resolve(wanted, tmp_path / "cache"), tmp_path)
    assert names == sorted(
        [".gitmodules", "app.py", "vendor/.gitmodules", "vendor/outer.py", "vendor/libs/in ner/inner.py"]
    )
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        for name, text in (("vendor/outer.py", b"outer = 1\n"), ("vendor/libs/in ner/inner.py", b"inner = 1\n")):
            member = archive.extractfile(name)
            assert member
            assert member.read() == text


def test_submodule_that_its_repository_does_not_have_is_named(nested: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "inner")
    wanted = {"kind": "git", "git": str(nested), "version": "main", "submodules": True}
    with pytest.raises(model.SourceError, match=r"inner"):
        archived(resolve.resolve(wanted, tmp_path / "cache"), tmp_path)


@pytest.mark.parametrize(
    ("parent", "written", "expected"),
    [
        ("https://git.example.com/a/b.git", "../c.git", "https://git.example.com/a/c.git"),
        ("https://u:p@git.example.com/a/b.git/", "../../c.git", "https://u:p@git.example.com/c.git"),
        ("https://git.example.com/a/b.git", "./c.git", "https://git.example.com/a/b.git/c.git"),
        ("git@git.example.com:a/b.git", "../c.git", "git@git.example.com:a/c.git"),
        ("git@git.example.com:b.git", "../c.git", "git@git.example.com:c.git"),
        ("/srv/a", "../b", "/srv/b"),
        ("https://git.example.com/b.git", "ssh://git@git.example.com/c.git", "ssh://git@git.example.com/c.git"),
    ],
)
def test_address_of_a_submodule(parent: str, written: str, expected: str) -> None:
    assert git_source._submodule_address(parent, "lib", written) == expected


@pytest.mark.parametrize("written", ["/root/secrets", "file:///root/secrets", "ext::sh -c id", "-u/x:y"])
def test_submodule_chooses_nothing_on_this_machine(written: str) -> None:
    with pytest.raises(model.SourceError, match=r"its submodule lib is at .* which is not allowed"):
        git_source._submodule_address("https://git.example.com/a.git", "lib", written)


@pytest.mark.parametrize("version", ["v1", "main"])
def test_git_names_lead_to_the_commit(repository: Path, tmp_path: Path, version: str) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    found = resolve.resolve({"kind": "git", "git": str(repository), "version": version}, tmp_path / "cache")
    assert found.identity["commit"] == commit
    assert archived(found, tmp_path) == ["app.py"]


def test_moved_branch_is_a_new_identity_and_old_commit_stays_reachable(repository: Path, tmp_path: Path) -> None:
    wanted = {"kind": "git", "git": str(repository), "version": "main"}
    first = resolve.resolve(wanted, tmp_path / "cache")
    archived(first, tmp_path)
    make_tree(repository, {"new.py": ""})
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    second = resolve.resolve(wanted, tmp_path / "cache")
    assert second.identity != first.identity
    assert archived(second, tmp_path) == ["app.py", "new.py"]
    pinned = resolve.resolve({**wanted, "version": first.identity["commit"]}, tmp_path / "cache")
    assert archived(pinned, tmp_path) == ["app.py"]


def test_unknown_git_version_names_it_and_the_repository(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(model.SourceError, match=r"source.version 'v9' is neither a tag nor a branch"):
        resolve.resolve({"kind": "git", "git": str(repository), "version": "v9"}, tmp_path)


@pytest.mark.parametrize("password", ["hunter2", "hun%40ter2", "hun@ter2"])
def test_credentials_of_a_git_url_are_not_shown(tmp_path: Path, password: str) -> None:
    with pytest.raises(model.SourceError) as caught:
        resolve.resolve({"kind": "git", "git": f"http://user:{password}@127.0.0.1:9/x.git", "version": "v1"}, tmp_path)
    assert "ter2" not in str(caught.value)
    assert "http://127.0.0.1:9/x.git" in str(caught.value)


def test_kept_sources_are_readable_by_the_person_alone(repository: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    archived(resolve.resolve({"kind": "git", "git": str(repository), "version": "v1"}, cache), tmp_path)
    assert (cache / "git").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://git.example.com/x.git", "https"),
        ("ssh://git@git.example.com/x.git", "ssh"),
        ("git+ssh://git@git.example.com/x.git", "ssh"),
        ("git@git.example.com:x/y.git", "ssh"),
        ("file:///srv/x.git", "file"),
        ("/srv/x.git", "file"),
        ("./a:b", "file"),
        ("fd::17/x", "fd"),
        ("ext::sh -c id", "ext"),
        ("ftp://git.example.com/x", "ftp"),
        ("https::git.example.com", "https"),
    ],
)
def test_protocol_of_a_git_url(url: str, protocol: str) -> None:
    assert git_program.git_protocol(url) == protocol


def test_other_protocols_start_nothing(tmp_path: Path) -> None:
    """The check of the inventory refuses them before; git itself does when it has been passed by."""
    for url in (f"ext::touch {tmp_path}/run", "fd::17/x"):
        with pytest.raises(model.SourceError, match=r"transport '(ext|fd)' not allowed"):
            resolve.resolve({"kind": "git", "git": url, "version": "main"}, tmp_path / "cache")
    assert not (tmp_path / "run").exists()


def test_git_that_does_not_answer_is_ended_with_what_it_started(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 300\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.setattr(git_source, "NETWORK_TIMEOUT", 1)
    with pytest.raises(model.SourceError, match=r"source\.git git@.* did not answer git within 1 s"):
        resolve.resolve({"kind": "git", "git": "git@git.example.com:x.git", "version": "v1"}, tmp_path / "cache")
    ended = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    deadline = time.monotonic() + 120  # on a busy machine it takes a moment to die
    while time.monotonic() < deadline and ended.exists() and ") Z " not in ended.read_text():
        time.sleep(0.05)
    assert not ended.exists() or ") Z " in ended.read_text()


def test_files_of_a_commit_are_its_bytes_whatever_the_person_s_git_makes_of_them(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = "*.bat eol=crlf\n*.id ident\nleft.txt export-ignore\nversion.txt export-subst\n*.f filter=f\n"
    files = {"job.sh": "#!/bin/sh\necho ran\n", "a.bat": "a\nb\n", "a.id": "$Id$\n", "a.f": "kept\n"}
    make_tree(repository, {**files, ".gitattributes": attributes, "left.txt": "", "version.txt": "$Format:%H$\n"})
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    settings = '[core]\nautocrlf = true\neol = crlf\n[filter "f"]\nsmudge = tr a-z A-Z\n'
    make_tree(tmp_path, {"home/.gitconfig": settings, "home/.config/git/attributes": "*.sh export-ignore eol=crlf\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    names = archived(
        resolve.resolve({"kind": "git", "git": str(repository), "version": "main"}, tmp_path / "cache"), tmp_path
    )
    assert names == sorted([".gitattributes", "app.py", "version.txt", *files])
    expected = {**files, "version.txt": git(repository, "rev-parse", "HEAD") + "\n"}
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        for name, text in expected.items():
            member = archive.extractfile(name)
            assert member
            assert member.read().decode() == text


def test_replaced_commit_is_the_one_of_its_name(repository: Path, tmp_path: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    make_tree(repository, {"other.py": ""})
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    git(repository, "replace", commit, "HEAD")
    found = resolve.resolve({"kind": "git", "git": str(repository), "version": commit}, tmp_path / "cache")
    assert archived(found, tmp_path) == ["app.py"]


def test_run_from_a_git_hook_leaves_the_hooks_repository_alone(repository: Path, tmp_path: Path) -> None:
    """As git starts a hook of a linked worktree."""
    infrastructure = make_tree(tmp_path / "infrastructure", {"site.yml": ""})
    git(infrastructure, "init", "-q", "-b", "main")
    git(infrastructure, "add", ".")
    git(infrastructure, "commit", "-qm", "one")
    git(infrastructure, "tag", "v1")
    git(infrastructure, "worktree", "add", "-q", str(tmp_path / "worktree"), "-b", "deploy")
    script = f"""#!{sys.executable}
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import directory, resolve
found = resolve.resolve({{"kind": "git", "git": {str(repository)!r}, "version": "main"}}, Path({str(tmp_path / "c")!r}))
found.write(Path({str(tmp_path / "out.tar.gz")!r}))
listed = directory.list_files(Path({str(repository)!r}))
Path({str(tmp_path / "listed")!r}).write_text(",".join(listed))
"""
    hook = infrastructure / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(script)
    hook.chmod(0o755)
    before = [line for line in refs(infrastructure).splitlines() if "heads/deploy" not in line]
    git(tmp_path / "worktree", "commit", "-q", "--allow-empty", "-m", "change")
    assert (tmp_path / "listed").read_text() == "app.py"
    assert [line for line in refs(infrastructure).splitlines() if "heads/deploy" not in line] == before


@pytest.mark.parametrize(
    "name",
    [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_CEILING_DIRECTORIES",
        "GIT_ATTR_SOURCE",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_CONFIG_GLOBAL",
    ],
)
def test_git_does_not_learn_which_repository_it_is_started_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    monkeypatch.setenv("GIT_SSL_CAINFO", "/etc/ssl/ca.pem")
    assert name not in git_program.git_environment()
    assert git_program.git_environment()["GIT_SSL_CAINFO"] == "/etc/ssl/ca.pem"
