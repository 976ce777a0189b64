# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds: what names them, what is installed, who may read them, and that a broken one leaves nothing behind."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.build import inputs as build_inputs
from ansible_collections.webops.wsgi.plugins.module_utils.build import make, program
from ansible_collections.webops.wsgi.plugins.module_utils.build import project as build_project
from ansible_collections.webops.wsgi.plugins.module_utils.build import requirements as build_requirements
from ansible_collections.webops.wsgi.plugins.module_utils.host import state
from ansible_collections.webops.wsgi.plugins.modules import app_build
from bare_sandbox import BareSandbox
from builds import APP, BACKEND, INPUTS, PROJECT, make_build, packed


@pytest.mark.parametrize(
    "change",
    [
        {"source": {"tree": "2"}},
        {"python": "3.99"},
        {"installer": "pip"},
        {"packages": ["gevent==26.4.0"]},
        {"server": "gunicorn==1"},
        {"public": ["static"]},
        {"persistent": ["instance"]},
        {"subdirectory": "services/api"},
        {"extras": ["postgres"]},
        {"groups": ["production"]},
        {"index_url": "https://other.example.com/simple"},
        {"commands": ["make"]},
        {"commands": ["make"], "variables": {"MODE": "1"}},
        {"environment": {"CFLAGS": "-O2"}},
    ],
)
def test_digest_changes_with_what_shapes_the_build(change: dict[str, object]) -> None:
    assert dataclasses.replace(INPUTS, **change).digest != INPUTS.digest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"label": "elsewhere"},
        {"stamp": 5},
        {"uv": "/other/uv"},
        {"ca_bundle": "/other.pem"},
        {"version": "1"},
        {"seen": "1"},
    ],
)
def test_digest_stays_with_what_does_not(change: dict[str, object]) -> None:
    assert dataclasses.replace(INPUTS, **change).digest == INPUTS.digest  # type: ignore[arg-type]


def test_digest_of_a_build_that_uses_nothing_new_stays() -> None:
    """Or every app would be deployed again for nothing."""
    inputs = build_inputs.BuildInputs(
        app="api", source={"tree": "1"}, label="./app", python="3.13", interpreter="/usr/bin/python3", server="g==1"
    )
    assert inputs.digest == "2c501fbc26f502f5"


def test_the_module_takes_all_that_shapes_a_build() -> None:
    assert set(app_build.BUILD_OPTIONS) == {field.name for field in dataclasses.fields(build_inputs.BuildInputs)}


def test_new_password_of_the_index_is_no_new_build() -> None:
    one = dataclasses.replace(INPUTS, index_url="https://user:old@packages.example.com/simple")
    two = dataclasses.replace(INPUTS, index_url="https://user:new@packages.example.com/simple")
    assert one.digest == two.digest


def test_missing_python_lists_what_the_host_has() -> None:
    with pytest.raises(
        build_inputs.BuildError, match=r'app "api".*python.version is "3.9".*it has 3.11 \(/usr/bin/python3.11\)'
    ):
        build_inputs.choose_python("api", "3.9", {"3.11": "/usr/bin/python3.11"}, "3.11")


def test_default_python_is_the_hosts_own() -> None:
    assert build_inputs.choose_python("api", "", {"3.11": "/a", "3.13": "/b"}, "3.13") == ("3.13", "/b")


@pytest.mark.parametrize(
    ("files", "change", "expected"),
    [
        ({"requirements.txt": "flask==3\n"}, {}, [["-r", "requirements.txt"]]),
        ({"pyproject.toml": "[build-system]\n"}, {}, [["./."]]),
        ({}, {"source": {"package": "httpbin==1"}}, [["httpbin==1"]]),
        ({"requirements.txt": ""}, {"packages": ["gevent==25"]}, [["-r", "requirements.txt"], ["gevent==25"]]),
        ({"pyproject.toml": "[build-system]\n"}, {"extras": ["a", "b"]}, [["./.[a,b]"]]),
        ({"sub/pyproject.toml": "[build-system]\n"}, {"requirements": "sub/pyproject.toml"}, [["./sub"]]),
        ({"setup.py": ""}, {}, [["./."]]),
        ({"setup.cfg": ""}, {}, [["./."]]),
        # as `uv init` makes it: no package
        ({"pyproject.toml": '[project]\ndependencies = ["flask==3"]\n'}, {}, [["flask==3"]]),
        (
            {"pyproject.toml": "[project]\noptional-dependencies = {a = ['x']}\n[dependency-groups]\ng = []\n"},
            {"extras": ["a"], "groups": ["g"]},
            [["x"], ["--group", "pyproject.toml:g"]],
        ),
        ({"pyproject.toml": '[project]\ndependencies = ["a"]\n', "src/a.py": ""}, {}, [["./."]]),
        ({"pyproject.toml": '[project]\ndynamic = ["version"]\n'}, {}, [["./."]]),
        (
            {
                "pyproject.toml": "[project]\ndependencies = ['a']\n[tool.poetry]\npackage-mode = false\n",
                "setup.cfg": "",
            },
            {},
            [["a"]],
        ),
        ({"deploy/prod.txt": ""}, {"requirements": "deploy/prod.txt"}, [["-r", "deploy/prod.txt"]]),
    ],
)
def test_what_is_installed(
    tmp_path: Path, files: dict[str, str], change: dict[str, object], expected: list[list[str]]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    inputs = dataclasses.replace(INPUTS, server="gunicorn==27", **change)  # type: ignore[arg-type]
    decides = build_project.deciding_file(tmp_path, inputs)
    runs = [
        *build_requirements.requirement_sets(decides, tmp_path, inputs),
        *build_requirements.further(inputs),
    ]
    found = [[part.replace(f"{tmp_path}/", "") for part in run] for run in runs]
    assert found == expected


@pytest.mark.parametrize(
    ("files", "change", "version"),
    [
        ({"requirements.txt": "greeter==1.0\n"}, {}, "1.0"),
        ({"requirements.txt": "-r base.txt\n", "base.txt": "Greeter==1.0\n"}, {}, "1.0"),
        ({"requirements.txt": "# greeter\n"}, {}, "2.0"),
        ({}, {"packages": ["greeter==1.0"]}, "1.0"),
        ({"pyproject.toml": f'{PROJECT}dependencies = ["greeter==1.0"]\n', "own.py": BACKEND}, {}, "1.0"),
        ({"pyproject.toml": f'{PROJECT}keywords = ["greeter"]\n', "own.py": BACKEND}, {}, "2.0"),
        (
            {
                "pyproject.toml": f'{PROJECT}[project.optional-dependencies]\nprod = ["greeter"]\n',
                "own.py": BACKEND,
            },
            {},
            "2.0",
        ),
    ],
)
def test_server_is_installed_unless_the_app_brings_it(
    tmp_path: Path, index: str, files: dict[str, str], change: dict[str, object], version: str
) -> None:
    """Whether it does is seen in the environment, wherever its requirements come from."""
    inputs = dataclasses.replace(INPUTS, index_url=index, server="greeter==2.0", **change)  # type: ignore[arg-type]
    path = make_build(tmp_path, inputs, packed(tmp_path, files | {"app.py": ""}))
    assert build_requirements.installed_packages(path / "venv")["greeter"] == version


# A back end that asks for its version as setuptools-scm does.
VERSIONED = (
    f"import os\nVERSION = os.environ['SETUPTOOLS_SCM_PRETEND_VERSION_FOR_X']\n{BACKEND}".replace("x-1", "x-{VERSION}")
    .replace('"x-{V', 'f"x-{V')
    .replace("Version: 1\\n", "Version: {VERSION}\\n")
    .replace('"Metadata', 'f"Metadata')
)


@pytest.mark.parametrize(
    ("installer", "own", "version"),
    [("uv", {}, "2.3.0"), ("pip", {}, "2.3.0"), ("uv", {"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_X": "9"}, "9")],
)
def test_project_is_told_what_git_says_of_it_unless_a_person_says_it(
    tmp_path: Path, installer: str, own: dict[str, str], version: str
) -> None:
    files = {"pyproject.toml": PROJECT, "own.py": VERSIONED, "setup.py": "# use_scm_version\n"}
    inputs = dataclasses.replace(INPUTS, installer=installer, version="2.3.0", environment=own, server="")
    path = make_build(tmp_path, inputs, packed(tmp_path, files))
    assert build_requirements.installed_packages(path / "venv")["x"] == version


def test_commands_have_the_variables_of_the_build_and_of_the_app(tmp_path: Path) -> None:
    inputs = dataclasses.replace(
        INPUTS, commands=["echo $A $B >seen"], environment={"A": "build", "B": "build"}, variables={"B": "app"}
    )
    path = make_build(tmp_path, inputs, packed(tmp_path, {"app.py": ""}))
    assert (path / "src/seen").read_text() == "build app\n"


def test_named_requirements_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(build_inputs.BuildError, match=r'python\.requirements is "no\.txt"'):
        build_project.deciding_file(tmp_path, dataclasses.replace(INPUTS, requirements="no.txt"))


MONOREPO = {
    "services/api/requirements.txt": "../../libs/common\n",
    "services/api/api.py": "",
    "services/api/static/a.css": "a{}",
    "services/api/instance/seed.txt": "s",
    "libs/common/pyproject.toml": PROJECT,
    "libs/common/own.py": BACKEND,
    "secret.txt": "",
}
API = {"subdirectory": "services/api", "public": ["static"], "persistent": ["instance"]}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_app_in_a_subdirectory_with_relative_requirements(tmp_path: Path, installer: str) -> None:
    inputs = dataclasses.replace(INPUTS, installer=installer, **API)  # type: ignore[arg-type]
    path = make_build(tmp_path, inputs, packed(tmp_path, MONOREPO))
    assert build_requirements.installed_packages(path / "venv")["x"] == "1"
    assert os.readlink(path / "src/services/api/instance") == f"/var/lib/{APP}/instance"
    assert (path / "seed/instance/seed.txt").exists()
    assert mode(path / "src/services/api/static/a.css") == "0o644"
    assert mode(path / "src/services") == "0o751"
    assert mode(path / "src/secret.txt") == "0o640"


def test_subdirectory_that_is_not_there(tmp_path: Path) -> None:
    inputs = dataclasses.replace(INPUTS, subdirectory="services/nope")
    with pytest.raises(build_inputs.BuildError, match=r'subdirectory is "services/nope", which is not a directory of'):
        make_build(tmp_path, inputs, packed(tmp_path, MONOREPO))


def test_build_that_moves_its_subdirectory_elsewhere_is_refused(tmp_path: Path) -> None:
    """What root does in it afterwards, it would do there."""
    own = "import pathlib\nhere = pathlib.Path(__file__).parent\n"
    own += "if here.name == 'api':\n    here.rename(here.parent / 'was')\n    here.symlink_to('was')\n"
    files = {"services/api/pyproject.toml": PROJECT, "services/api/own.py": own + BACKEND}
    inputs = dataclasses.replace(INPUTS, subdirectory="services/api")
    with pytest.raises(build_inputs.BuildError, match=r"has replaced services/api"):
        make_build(tmp_path, inputs, packed(tmp_path, files))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk") / "srv"
    folder.symlink_to(tmp_path_factory.mktemp("other_disk"))
    files = {"app.py": "x = 1\n", "static/css/a.css": "a{}", "instance/seed.txt": "s", "private/key": "k", "run.sh": ""}
    archive = packed(folder, files)
    inputs = dataclasses.replace(INPUTS, public=["static"], persistent=["instance"], stamp=1_600_000_000, seen="5eed")
    return make_build(folder, inputs, archive)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_build_is_complete_and_compiled(made: Path) -> None:
    assert make.is_complete(made)
    assert (made / "venv/bin/python").exists()
    assert list((made / "src/__pycache__").glob("app.*.pyc"))


def test_only_public_directories_are_readable_by_others(made: Path) -> None:
    assert mode(made / "src/static/css/a.css") == "0o644"
    assert mode(made / "src/static/css") == "0o755"
    assert mode(made / "src/app.py") == "0o640"
    assert mode(made / "src/private") == "0o750"
    assert mode(made / "src") == "0o751"
    assert mode(made / "venv") == "0o750"


def test_a_host_knows_when_sources_of_its_builds_were_first_seen(made: Path) -> None:
    assert state.times([APP], made.parents[2]) == {"5eed": 1_600_000_000}


def test_files_carry_the_time_of_their_source(made: Path) -> None:
    assert (made / "src/static/css/a.css").stat().st_mtime == 1_600_000_000


def test_persistent_files_are_links_and_what_the_source_has_is_kept_as_seed(tmp_path: Path) -> None:
    inputs = dataclasses.replace(INPUTS, persistent_files=["data/seen.json", "db.sqlite3"])
    path = make_build(tmp_path, inputs, packed(tmp_path, {"db.sqlite3": "s", "app.py": ""}))
    assert os.readlink(path / "src/db.sqlite3") == f"/var/lib/{APP}/db.sqlite3"
    assert os.readlink(path / "src/data/seen.json") == f"/var/lib/{APP}/data/seen.json"
    assert (path / "seed/db.sqlite3").read_text() == "s"
    assert inputs.digest != INPUTS.digest


def test_persistent_directory_is_a_link_and_its_content_kept_as_seed(made: Path) -> None:
    assert os.readlink(made / "src/instance") == f"/var/lib/{APP}/instance"
    assert (made / "seed/instance/seed.txt").read_text() == "s"


def test_instance_folder_of_an_installed_package_is_persistent_too(made: Path) -> None:
    asked = [made / "venv/bin/python", "-c", "import sys, os; print(os.path.join(sys.prefix, 'var'))"]
    prefix = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    assert os.readlink(prefix) == f"/var/lib/{APP}/instance"


def test_failed_installation_names_the_app_and_leaves_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"requirements.txt": "./does-not-exist\n"})
    with pytest.raises(build_inputs.BuildError, match=rf'app "{APP}": installing the requirements of \./app failed'):
        make_build(tmp_path, INPUTS, archive)
    assert not make.build_path(tmp_path, INPUTS).exists()


@pytest.mark.parametrize("own", ["", "# own\n"])
def test_installer_finds_a_setup_py_beside_a_lone_setup_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """Without one they refuse: "neither pyproject.toml nor setup.py are present"."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/setup.cfg").write_text("[metadata]\nname = x\n")
    plan = program._plan(tmp_path, INPUTS)
    if own:
        (tmp_path / "src/setup.py").write_text(own)
    found = []
    monkeypatch.setattr(program, "_run", lambda *_arguments: found.append(sorted(os.listdir(tmp_path / "src"))))
    program._install(tmp_path, INPUTS, plan, {})
    assert found[1:] == [["setup.cfg", "setup.py"]]
    assert (tmp_path / "src/setup.py").read_text() == (own or "import setuptools\n\nsetuptools.setup()\n")


def test_long_failure_of_an_installer_names_the_package_first() -> None:
    printed = "\n".join(["error: Failed to build `falcon==3.1.3`", *(f"line {number}" for number in range(60))])
    lines = str(program._failed(INPUTS, "installing failed", printed)).splitlines()
    assert lines[:2] == [f'app "{APP}": installing failed:', "error: Failed to build `falcon==3.1.3`"]
    assert lines[2:] == [f"line {number}" for number in range(35, 60)]


def project(folder: Path, setup: str, **files: str) -> Path:
    """A source whose own build runs Python code."""
    return packed(
        folder, {"setup.py": setup + "\nimport setuptools\nsetuptools.setup(name='x', version='1')\n", **files}
    )


def test_archive_that_leads_out_is_refused_on_the_host_too(tmp_path: Path) -> None:
    archive = tmp_path / "linked.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        entry = tarfile.TarInfo("static/link.txt")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(entry)
    with pytest.raises(build_inputs.BuildError, match=rf'app "{APP}".*has .static/link\.txt., a link to ./etc/passwd'):
        make_build(tmp_path, INPUTS, archive)
    assert not make.build_path(tmp_path, INPUTS).exists()


def test_interrupted_build_is_made_afresh(tmp_path: Path) -> None:
    path = make.build_path(tmp_path, INPUTS)
    (path / "src").mkdir(parents=True)
    (path / "src/stale.py").write_text("")
    assert not make.is_complete(path)
    make_build(tmp_path, INPUTS, packed(tmp_path, {"app.py": ""}))
    assert make.is_complete(path)
    assert not (path / "src/stale.py").exists()


def test_disk_that_would_fill_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "FREE_NEEDED", 10**18)
    with pytest.raises(build_inputs.BuildError, match=rf'app "{APP}": {tmp_path} has \d+ MB free, a build needs'):
        make_build(tmp_path, INPUTS, None)
    assert list(tmp_path.iterdir()) == []


MAKE = """\
mkdir -p static/css
seq 500 > static/css/site.0123456789ab.css
python -c 'import os, sys; print(sys.prefix, os.environ["MODE"], os.getcwd())' > made.txt
echo kept > instance/seed.txt
"""


def test_what_build_commands_make_is_part_of_the_build(tmp_path: Path) -> None:
    inputs = dataclasses.replace(
        INPUTS,
        public=["static"],
        persistent=["instance"],
        fingerprint="[0-9a-f]{12}",
        stamp=1_600_000_000,
        commands=[MAKE, "test -s made.txt"],
        variables={"MODE": "live"},
    )
    made = make_build(tmp_path, inputs, packed(tmp_path, {"app.py": "", "instance/first.txt": ""}))
    workshop = BareSandbox(tmp_path).workshop(APP) / made.name
    assert (made / "src/made.txt").read_text() == f"{workshop / 'venv'} live {workshop / 'src'}\n"
    css = made / "src/static/css/site.0123456789ab.css"
    assert (mode(css), css.stat().st_mtime) == ("0o644", 1_600_000_000)
    assert css.with_name(f"{css.name}.gz").exists()
    assert (tmp_path / APP / "assets/static/css" / css.name).samefile(css)
    assert (made / "seed/instance/seed.txt").read_text() == "kept\n"
    assert '"recipe": ""' in (made / "build.json").read_text()


def test_build_command_that_fails_shows_what_it_printed_and_leaves_nothing(tmp_path: Path) -> None:
    inputs = dataclasses.replace(INPUTS, commands=["echo out; echo err >&2; false; echo never", "touch never"])
    with pytest.raises(build_inputs.BuildError) as caught:
        make_build(tmp_path, inputs, packed(tmp_path, {"app.py": ""}))
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f'app "{APP}": the build command "echo out; ')
    assert first.endswith("failed with exit code 1:")
    assert rest == ["out", "err"]
    assert not make.is_complete(make.build_path(tmp_path, inputs))


def test_build_command_that_fails_says_its_exception_first(tmp_path: Path) -> None:
    script = "python3 -c 'try: 1 / 0\nexcept ArithmeticError: raise RuntimeError(chr(83))'; echo make: error"
    inputs = dataclasses.replace(INPUTS, commands=[f"{script}; false"])
    with pytest.raises(build_inputs.BuildError) as caught:
        make_build(tmp_path, inputs, packed(tmp_path, {"app.py": ""}))
    assert str(caught.value).splitlines()[0].endswith("failed with exit code 1, RuntimeError: S:")


def test_build_that_lacks_a_program_names_the_key_in_the_first_line(tmp_path: Path) -> None:
    inputs = dataclasses.replace(INPUTS, commands=["nosuchprogram ci; seq 90"])
    with pytest.raises(build_inputs.BuildError) as caught:
        make_build(tmp_path, inputs, packed(tmp_path, {"app.py": ""}))
    fix = "nosuchprogram is missing: add the Debian package that has it to the app's build_packages"
    assert str(caught.value).splitlines()[0].endswith(f"failed with exit code 127: {fix}:")


def test_static_directory_that_no_command_makes(tmp_path: Path) -> None:
    inputs = dataclasses.replace(INPUTS, commands=["mkdir statik"], public=["static"])
    with pytest.raises(
        build_inputs.BuildError, match=r'served from "static".*not a directory of \./app after the commands'
    ):
        make_build(tmp_path, inputs, packed(tmp_path, {"app.py": ""}))


MAKE_PACKAGE = """\
cd ../venv/lib/python3*/site-packages
mkdir -p admin/static
echo x > admin/static/site.0123456789ab.css
ln -s /etc admin/static/out
ln -s /etc admin/etc
"""


def of_package(folder: str, *commands: str) -> build_inputs.BuildInputs:
    public = [f"{build_inputs.PACKAGES}/{folder}"]
    return dataclasses.replace(
        INPUTS, public=public, fingerprint="[0-9a-f]{12}", stamp=1_600_000_000, commands=[MAKE_PACKAGE, *commands]
    )


def test_static_files_of_an_installed_package_are_served_and_nothing_else_of_it(tmp_path: Path) -> None:
    made = make_build(tmp_path, of_package("admin/static"), packed(tmp_path, {"app.py": ""}))
    css = made / "src/.packages/admin/static/site.0123456789ab.css"
    assert (mode(css), mode(css.parent), css.stat().st_mtime) == ("0o644", "0o755", 1_600_000_000)
    assert [path.name for path in css.parent.iterdir()] == [css.name]
    assert (tmp_path / APP / "assets/.packages/admin/static" / css.name).samefile(css)
    assert mode(made / "venv") == "0o750"


@pytest.mark.parametrize("folder", ["admin/etc", "nosuch/static", "admin/static/site.0123456789ab.css"])
def test_what_is_no_directory_of_a_package_is_not_served(tmp_path: Path, folder: str) -> None:
    with pytest.raises(build_inputs.BuildError, match=f'nginx.static has "package:{folder}", which is not a directory'):
        make_build(tmp_path, of_package(folder), packed(tmp_path, {"app.py": ""}))


def test_a_source_cannot_lead_the_copy_of_a_package_elsewhere(tmp_path: Path) -> None:
    inputs = of_package("admin/static", "ln -s /tmp .packages")
    with pytest.raises(build_inputs.BuildError, match=r"has \.packages, a name that the build needs itself"):
        make_build(tmp_path, inputs, packed(tmp_path, {"app.py": ""}))


def test_the_module_takes_every_input_of_a_build() -> None:
    fields = {field.name for field in dataclasses.fields(build_inputs.BuildInputs)}
    assert set(app_build.BUILD_OPTIONS) == fields
