# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements in private git repositories reach a build that has no key to them."""

from __future__ import annotations

import base64
import getpass
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import archive, make, program
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import REPOSITORIES, BuildError, BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import installed_packages
from ansible_collections.webops.wsgi.plugins.plugin_utils.sources import model, repositories
from bare_sandbox import BareSandbox
from trees import git, make_tree

LIBRARY = {
    "pyproject.toml": """\
[build-system]
requires = []
build-backend = "own"
backend-path = ["."]
[project]
name = "lib"
version = "1"
""",
    "own.py": """\
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    with zipfile.ZipFile(f"{folder}/lib-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lib-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: lib\\nVersion: 1\\n")
        wheel.writestr("lib-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("lib-1.dist-info/RECORD", "")
    return "lib-1-py3-none-any.whl"
""",
}
# Does on this machine what the last argument says.
SSH = '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n'


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = make_tree(tmp_path / "lib", LIBRARY)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    git(root, "tag", "v1")
    return root


@pytest.fixture
def ssh(library: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library's address by a ssh that works on the controller alone."""
    program = make_tree(library.parent / "bin", {"ssh": SSH}) / "ssh"
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    return f"ssh://git@git.example.test{library}"


def packed(folder: Path, files: dict[str, str]) -> Path:
    archive.pack(make_tree(folder / "tree", files), list(files), folder / "source.tar.gz")
    return folder / "source.tar.gz"


def built(folder: Path, source: Path, installer: str) -> Path:
    inputs = BuildInputs(
        app=getpass.getuser(),
        source={"tree": "1"},
        label="./app",
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        interpreter=sys.executable,
        installer=installer,
        uv=str(Path(sys.executable).parent / "uv"),
    )
    return make.make_build(folder, inputs, source, BareSandbox(folder))


@pytest.mark.parametrize(
    ("installer", "revision"), [("uv", ""), ("uv", "@v1"), ("uv", "@main"), ("uv", "@commit"), ("pip", "@v1")]
)
def test_requirement_by_ssh_is_installed_where_there_is_no_key(
    tmp_path: Path, library: Path, ssh: str, installer: str, revision: str
) -> None:
    at = revision.replace("commit", git(library, "rev-parse", "HEAD"))
    source = packed(tmp_path, {"app.py": "", "requirements.txt": f"lib @ git+{ssh}{at}\n"})
    repositories.bring(source, "", [], tmp_path / "cache")
    path = built(tmp_path, source, installer)
    assert installed_packages(path / "venv")["lib"] == "1"
    assert sorted(os.listdir(path / "src")) == ["__pycache__", "app.py", "requirements.txt"]


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "-r deploy/base.txt\n", "deploy/base.txt": "--requirement=../git.in\n", "git.in": "LIB"},
        {"requirements.txt": "-c pins.txt\n", "pins.txt": "-r requirements.txt\nLIB"},
        {"prod.txt": "  -rbase.txt  # all\n", "base.txt": "LIB"},
    ],
)
def test_requirement_in_an_included_file_of_any_name_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    line = "lib @ git+ssh://git@git.example.test/lib.git@v1 ; python_version >= '3.9'\n"
    source = packed(tmp_path, {name: text.replace("LIB", line) for name, text in files.items()})
    texts = repositories._texts(source, "prod.txt", [])
    assert repositories.addresses(texts) == ["ssh://git@git.example.test/lib.git"]


def test_repository_that_the_controller_cannot_fetch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    source = packed(tmp_path, {"requirements.txt": "lib @ git+ssh://git@git.example.test/lib.git@v1\n"})
    with pytest.raises(model.SourceError, match=r"(?s)repository ssh://git\.example\.test/lib\.git, .* an ssh key"):
        repositories.bring(source, "", [], tmp_path / "cache")


def test_source_with_the_name_of_ours_is_refused(tmp_path: Path) -> None:
    source = packed(tmp_path, {f"{REPOSITORIES}/addresses.json": "[]"})
    with pytest.raises(model.SourceError, match=r"has \.git-repositories, a name that the build needs itself"):
        repositories.bring(source, "", [], tmp_path / "cache")


def test_host_without_git_is_told_what_to_install(tmp_path: Path) -> None:
    scratch = tmp_path / program.SCRATCH / REPOSITORIES
    make_tree(scratch, {"addresses.json": '{"ssh://git@git.example.test/lib.git": "0.bundle"}'})
    inputs = BuildInputs("api", {}, "x", "3.13", "python3")
    with pytest.raises(BuildError, match="takes git on this host; add git to build_packages"):
        program._provide_repositories(tmp_path / "build", inputs, {"PATH": str(scratch)})


def test_repository_that_a_lock_names(tmp_path: Path, ssh: str) -> None:
    project = f"""\
[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = ["lib"]
[tool.uv.sources]
lib = {{ git = "{ssh}", tag = "v1" }}
"""
    tree = make_tree(tmp_path / "tree", {"pyproject.toml": project})
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "lock", "--quiet", "--python", sys.executable], cwd=tree, check=True)
    files = {name: (tree / name).read_text() for name in ("pyproject.toml", "uv.lock")}
    source = packed(tmp_path, files)
    repositories.bring(source, "", [], tmp_path / "cache")
    assert installed_packages(built(tmp_path, source, "uv") / "venv")["lib"] == "1"


class Private(SimpleHTTPRequestHandler):
    """A repository that wants a user and a password, as git's plain HTTP server has it."""

    def do_GET(self) -> None:
        right = "Basic " + base64.b64encode(b"user:hunter2").decode()
        if self.headers.get("Authorization") != right and "private" in self.path:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def http(library: Path, tmp_path: Path) -> Iterator[str]:
    """A server with the library twice, open and private."""
    for name in ("open", "private"):
        git(tmp_path, "clone", "-q", "--bare", str(library), f"web/{name}.git")
        git(tmp_path / f"web/{name}.git", "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Private(*given, directory=str(tmp_path / "web")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_what_everybody_may_read_is_left_to_the_host_and_the_rest_brought_with_the_person_s_credentials(
    http: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path, {"home/.git-credentials": http.replace("//", "//user:hunter2@") + "\n"})
    make_tree(tmp_path, {"home/.gitconfig": "[credential]\nhelper = store\n"})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    lines = [f"{name} @ git+{http}/{name}.git@v1\n" for name in ("open", "private")]
    source = packed(tmp_path, {"requirements.txt": "".join(lines)})
    repositories.bring(source, "", [], tmp_path / "cache")
    with tarfile.open(source) as found:
        content = found.extractfile(".git-repositories/addresses.json")
        assert content
        assert content.read().decode() == f'{{"{http}/private.git": "0.bundle"}}'
        names = [name for name in found.getnames() if name.endswith("bundle")]
    assert names == [".git-repositories/0.bundle"]


def test_what_the_controller_cannot_fetch_over_http_is_left_to_the_host_with_a_word(http: str, tmp_path: Path) -> None:
    source = packed(tmp_path, {"requirements.txt": f"lib @ git+{http}/private.git@v1\n"})
    before = source.read_bytes()
    (left,) = repositories.bring(source, "", [], tmp_path / "cache")
    assert f"repository {http}/private.git, which this machine cannot fetch" in left
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lib @ git+ssh://git@h.test/a/lib.git@v1#subdirectory=x\n", "ssh://git@h.test/a/lib.git"),
        ("-e git+https://h.test/a/lib.git#egg=lib ; python_version > '3'\n", "https://h.test/a/lib.git"),
        ("git+https://u:p@h.test/lib\n", "https://u:p@h.test/lib"),
        ('source = { git = "https://h.test/lib.git?rev=v1#0123" }\n', "https://h.test/lib.git"),
        ('lib = { git = "ssh://git@h.test/lib.git", tag = "v1" }\n', "ssh://git@h.test/lib.git"),
        ('[package.source]\ntype = "git"\nurl = "git@h.test:a/lib.git"\n', "git@h.test:a/lib.git"),
        ('vcs = { type = "git", url = "https://h.test/lib.git", commit-id = "0" }\n', "https://h.test/lib.git"),
        ('"lib": {\n "git": "https://h.test/lib.git",\n "ref": "0"}\n', "https://h.test/lib.git"),
        ("flask==3.1.1\nx @ https://h.test/x.zip\ny @ git+file:///srv/y\n", ""),
    ],
)
def test_addresses(text: str, found: str) -> None:
    assert repositories.addresses([text]) == ([found] if found else [])
