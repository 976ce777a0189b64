# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources: what belongs to an app, when its identity changes, and that archives cannot lead outside."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils import source


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def archived(found: source.Source, folder: Path) -> list[str]:
    assert found.write
    found.write(folder / "out.tar.gz")
    with tarfile.open(folder / "out.tar.gz") as archive:
        return sorted(member.name for member in archive.getmembers() if not member.isdir())


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.test", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = make_tree(tmp_path / "repository", {"app.py": "one = 1\n"})
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    git(root, "tag", "-a", "v1", "-m", "v1")
    return root


def resolve_path(root: Path, cache: Path) -> source.Source:
    return source.resolve({"kind": "path", "path": str(root)}, cache)


@pytest.mark.parametrize("within_git", [True, False])
def test_gitignore_is_honoured_inside_and_outside_a_repository(tmp_path: Path, within_git: bool) -> None:
    root = make_tree(
        tmp_path / "app", {"app.py": "", ".gitignore": "*.log\nbig/\n", "x.log": "", "big/data": "", "sub/y.log": ""}
    )
    if within_git:
        git(root, "init", "-q")
    assert archived(resolve_path(root, tmp_path), tmp_path) == [".gitignore", "app.py"]


# -- what git cannot, or must not, decide ------------------------------------------------------------------------


@pytest.fixture
def service(repository: Path) -> Path:
    """A directory of a repository whose .gitignore leaves a file of it out."""
    make_tree(repository, {".gitignore": ".env\n", "service/app.py": "", "service/.env": "SECRET=1\n"})
    assert source.list_files(repository / "service") == ["app.py"]
    return repository / "service"


def test_repository_of_another_user_is_refused_with_the_fix(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(source.SourceError, match=r"dubious ownership .* git config --global --add safe\.directory"):
        source.list_files(service)


def test_repository_that_is_broken_is_refused(service: Path) -> None:
    shutil.rmtree(service.parent / ".git")
    (service.parent / ".git").write_text("gitdir: /nonexistent\n")
    with pytest.raises(source.SourceError, match="not a git repository: /nonexistent"):
        source.list_files(service)


def test_repository_is_not_read_without_git(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(source.SourceError, match="install git here"):
        source.list_files(service)


def test_ceiling_of_another_purpose_hides_no_repository(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(service.parent))
    assert source.list_files(service) == ["app.py"]


@pytest.mark.parametrize("within_git", [True, False])
def test_files_that_git_leaves_out_for_one_person_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within_git: bool
) -> None:
    files = {"app.py": "", ".gitignore": "*.log\n", "notes.txt": "", "venv/pyvenv.cfg": "", ".DS_Store": ""}
    root = make_tree(tmp_path / "app", files)
    if within_git:
        git(root, "init", "-q")
    make_tree(tmp_path, {"home/.config/git/ignore": "venv/\n.DS_Store\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert source.list_files(root) == [".gitignore", "app.py", "notes.txt"]
    make_tree(tmp_path, {"home/.config/git/ignore": "notes.txt\n"})
    with pytest.raises(source.SourceError, match=r"has notes\.txt, which git leaves out for you alone"):
        source.list_files(root)


@pytest.mark.parametrize("within_git", [True, False])
def test_directory_that_cannot_be_read_is_refused(within_git: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("HOME", folder)
        root = make_tree(Path(folder), {"app.py": "", "closed/secret.py": ""})
        if within_git:
            git(root, "init", "-q")
        root.chmod(0o755)
        (root / "closed").chmod(0)
        with pytest.raises(source.SourceError, match="Permission denied") as caught, as_ordinary_user(root):
            resolve_path(root, root)
        (root / "closed").chmod(0o700)
        assert "closed" in str(caught.value)


@contextmanager
def as_ordinary_user(*owned: Path) -> Iterator[None]:
    """Root may read everything: be somebody else, who owns some files."""
    if os.geteuid():
        yield
        return
    for folder in owned:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_leftovers_of_python_and_git_do_not_belong(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "", "__pycache__/app.pyc": "", ".venv/bin/python": "", "old.pyc": ""})
    assert source.list_files(root) == ["app.py"]


def test_file_deleted_but_not_committed_is_left_out(repository: Path) -> None:
    make_tree(repository, {"second.py": ""})
    git(repository, "add", ".")
    (repository / "second.py").unlink()
    assert source.list_files(repository) == ["app.py"]


@pytest.mark.parametrize("change", ["content", "name", "executable", "link"])
def test_identity_follows_what_makes_a_tree_run_differently(tmp_path: Path, change: str) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "one", "b.py": "two"})
    before = resolve_path(root, tmp_path).identity
    {
        "content": lambda: (root / "app.py").write_text("1on"),
        "name": lambda: (root / "b.py").rename(root / "c.py"),
        "executable": lambda: (root / "app.py").chmod(0o755),
        "link": lambda: (root / "l").symlink_to("app.py"),
    }[change]()
    assert resolve_path(root, tmp_path).identity != before


def test_identity_ignores_times_and_place(tmp_path: Path) -> None:
    one, two = make_tree(tmp_path / "one", {"app.py": "x"}), make_tree(tmp_path / "two", {"app.py": "x"})
    os.utime(one / "app.py", (1, 1))
    assert resolve_path(one, tmp_path).identity == resolve_path(two, tmp_path).identity


def test_hard_linked_files_both_arrive_whole(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"a": "same"})
    os.link(root / "a", root / "b")
    found = resolve_path(root, tmp_path)
    assert found.write
    found.write(tmp_path / "out.tar.gz")
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert {member.name: member.isreg() for member in archive} == {"a": True, "b": True}


def test_empty_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(source.SourceError, match=str(tmp_path)):
        resolve_path(tmp_path, tmp_path)


def with_submodule(repository: Path) -> Path:
    make_tree(repository / "vendor", {"m.py": "", ".gitignore": "*.log\n", "x.log": ""})
    git(repository / "vendor", "init", "-q")
    git(repository / "vendor", "add", ".")
    git(repository / "vendor", "commit", "-qm", "m")
    return repository


@pytest.mark.parametrize("tracked", [True, False])
def test_submodule_of_a_path_comes_along(repository: Path, tmp_path: Path, tracked: bool) -> None:
    with_submodule(repository)
    if tracked:
        git(repository, "add", "vendor")
    assert archived(resolve_path(repository, tmp_path), tmp_path) == ["app.py", "vendor/.gitignore", "vendor/m.py"]


def test_empty_submodule_is_named(repository: Path, tmp_path: Path) -> None:
    git(with_submodule(repository), "add", "vendor")
    shutil.rmtree(repository / "vendor")
    (repository / "vendor").mkdir()
    with pytest.raises(source.SourceError, match="the submodule vendor is empty; run `git submodule update --init`"):
        resolve_path(repository, tmp_path)


def test_git_source_with_submodules_is_refused(repository: Path, tmp_path: Path) -> None:
    git(with_submodule(repository), "add", "vendor")
    git(repository, "commit", "-qm", "with vendor")
    found = source.resolve({"kind": "git", "git": str(repository), "version": "main"}, tmp_path / "cache")
    with pytest.raises(source.SourceError, match=r"has submodules \(vendor\)"):
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
    names = archived(source.resolve(wanted, tmp_path / "cache"), tmp_path)
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
    with pytest.raises(source.SourceError, match=r"inner"):
        archived(source.resolve(wanted, tmp_path / "cache"), tmp_path)


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
    assert source._submodule_address(parent, "lib", written) == expected


@pytest.mark.parametrize("written", ["/root/secrets", "file:///root/secrets", "ext::sh -c id", "-u/x:y"])
def test_submodule_chooses_nothing_on_this_machine(written: str) -> None:
    with pytest.raises(source.SourceError, match=r"its submodule lib is at .* which is not allowed"):
        source._submodule_address("https://git.example.com/a.git", "lib", written)


@pytest.mark.parametrize("version", ["v1", "main"])
def test_git_names_lead_to_the_commit(repository: Path, tmp_path: Path, version: str) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    found = source.resolve({"kind": "git", "git": str(repository), "version": version}, tmp_path / "cache")
    assert found.identity == {"git": commit}
    assert archived(found, tmp_path) == ["app.py"]


def test_moved_branch_is_a_new_identity_and_old_commit_stays_reachable(repository: Path, tmp_path: Path) -> None:
    wanted = {"kind": "git", "git": str(repository), "version": "main"}
    first = source.resolve(wanted, tmp_path / "cache")
    archived(first, tmp_path)
    make_tree(repository, {"new.py": ""})
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    second = source.resolve(wanted, tmp_path / "cache")
    assert second.identity != first.identity
    assert archived(second, tmp_path) == ["app.py", "new.py"]
    pinned = source.resolve({**wanted, "version": first.identity["git"]}, tmp_path / "cache")
    assert archived(pinned, tmp_path) == ["app.py"]


def test_unknown_git_version_names_it_and_the_repository(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(source.SourceError, match=r"source.version 'v9' is neither a tag nor a branch"):
        source.resolve({"kind": "git", "git": str(repository), "version": "v9"}, tmp_path)


@pytest.mark.parametrize("password", ["hunter2", "hun%40ter2", "hun@ter2"])
def test_credentials_of_a_git_url_are_not_shown(tmp_path: Path, password: str) -> None:
    with pytest.raises(source.SourceError) as caught:
        source.resolve({"kind": "git", "git": f"http://user:{password}@127.0.0.1:9/x.git", "version": "v1"}, tmp_path)
    assert "ter2" not in str(caught.value)
    assert "http://127.0.0.1:9/x.git" in str(caught.value)


def test_credentials_of_an_archive_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    text = b"no archive"
    digest = hashlib.sha256(text).hexdigest()
    (tmp_path / "archives" / digest).write_bytes(text)
    location = "https://user:hunter2@files.example.test/a.tar.gz?signature=hunter3"
    found = source.resolve({"kind": "archive", "archive": location, "sha256": digest}, tmp_path)
    assert found.label == f"https://files.example.test/a.tar.gz ({digest[:12]})"
    with pytest.raises(source.SourceError, match=r"https://files\.example\.test/a\.tar\.gz is not") as caught:
        archived(found, tmp_path)
    assert "hunter" not in str(caught.value)


def test_kept_sources_are_readable_by_the_person_alone(repository: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    archived(source.resolve({"kind": "git", "git": str(repository), "version": "v1"}, cache), tmp_path)
    assert (cache / "git").stat().st_mode & 0o077 == 0


def make_archive(path: Path, members: dict[str, str], links: dict[str, str] | None = None) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("names", [["app-1.0/app.py", "app-1.0/b/c.py"], ["app.py", "b/c.py"]])
def test_single_top_directory_is_left_out(tmp_path: Path, names: list[str]) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", dict.fromkeys(names, "x"))
    found = source.resolve(
        {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": digest}, tmp_path / "cache"
    )
    assert archived(found, tmp_path) == ["app.py", "b/c.py"]


def test_wrong_digest_names_both(tmp_path: Path) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", {"app.py": ""})
    found = source.resolve(
        {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": "0" * 64}, tmp_path / "cache"
    )
    with pytest.raises(source.SourceError, match=f"0000, but the archive has {digest}"):
        archived(found, tmp_path)


@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({"../evil": ""}, {}),
        ({"a/../../evil": ""}, {}),
        ({"app.py": ""}, {"l": "../../etc"}),
        ({"app.py": ""}, {"l": "/etc/passwd"}),
    ],
)
def test_archive_cannot_lead_outside(tmp_path: Path, members: dict[str, str], links: dict[str, str]) -> None:
    digest = make_archive(tmp_path / "a.tar.gz", {"app.py": "", **members}, links)
    found = source.resolve(
        {"kind": "archive", "archive": str(tmp_path / "a.tar.gz"), "sha256": digest}, tmp_path / "cache"
    )
    with pytest.raises(source.SourceError, match="leads out of the source"):
        archived(found, tmp_path)


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
    with pytest.raises(source.SourceError) as caught:
        archived(source.resolve(wanted[kind], tmp_path / "cache"), tmp_path)
    assert f"has 'templates', a link to '{target}', which leads out of the source; put what it" in str(caught.value)


def test_package_is_its_own_identity(tmp_path: Path) -> None:
    found = source.resolve({"kind": "package", "package": "httpbin", "version": "0.10.4"}, tmp_path)
    assert found == source.Source({"package": "httpbin==0.10.4"}, "httpbin==0.10.4", None)


def test_link_to_a_directory_stays(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app/static/a.css": ""})
    (root / "static").symlink_to("app/static")
    assert archived(resolve_path(root, tmp_path), tmp_path) == ["app/static/a.css", "static"]


@pytest.mark.parametrize("within_git", [True, False])
def test_virtual_environments_do_not_belong(tmp_path: Path, within_git: bool) -> None:
    root = make_tree(tmp_path / "app", {"app.py": "", "env/pyvenv.cfg": "", "env/lib/x.py": "", "environment.py": ""})
    (root / "env/python").symlink_to("/usr/bin/python3")
    if within_git:
        git(root, "init", "-q")
    assert source.list_files(root) == ["app.py", "environment.py"]


def test_pipes_and_sockets_do_not_belong(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "app", {"app.py": ""})
    os.mkfifo(root / "pipe")
    assert archived(resolve_path(root, tmp_path), tmp_path) == ["app.py"]


# -- git ---------------------------------------------------------------------------------------------------------


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
    assert source.git_protocol(url) == protocol


def test_other_protocols_start_nothing(tmp_path: Path) -> None:
    """The check of the inventory refuses them before; git itself does when it has been passed by."""
    for url in (f"ext::touch {tmp_path}/run", "fd::17/x"):
        with pytest.raises(source.SourceError, match=r"transport '(ext|fd)' not allowed"):
            source.resolve({"kind": "git", "git": url, "version": "main"}, tmp_path / "cache")
    assert not (tmp_path / "run").exists()


def test_git_that_does_not_answer_is_ended_with_what_it_started(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 300\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.setattr(source, "NETWORK_TIMEOUT", 1)
    with pytest.raises(source.SourceError, match=r"source\.git git@.* did not answer git within 1 s"):
        source.resolve({"kind": "git", "git": "git@git.example.com:x.git", "version": "v1"}, tmp_path / "cache")
    ended = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    deadline = time.monotonic() + 10  # on a busy machine it takes a moment to die
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
        source.resolve({"kind": "git", "git": str(repository), "version": "main"}, tmp_path / "cache"), tmp_path
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
    found = source.resolve({"kind": "git", "git": str(repository), "version": commit}, tmp_path / "cache")
    assert archived(found, tmp_path) == ["app.py"]


def refs(repository: Path) -> str:
    return git(repository, "for-each-ref")


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
from ansible_collections.webops.wsgi.plugins.plugin_utils import source
found = source.resolve({{"kind": "git", "git": {str(repository)!r}, "version": "main"}}, Path({str(tmp_path / "c")!r}))
found.write(Path({str(tmp_path / "out.tar.gz")!r}))
listed = source.list_files(Path({str(repository)!r}))
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
    assert name not in source.git_environment()
    assert source.git_environment()["GIT_SSL_CAINFO"] == "/etc/ssl/ca.pem"
