"""Run ``ansible-test sanity`` on the collection, from a checkout that may lie anywhere.

``ansible-test`` wants a git checkout at ``ansible_collections/webops/wsgi`` and downloads its pip from a place that not
every machine can reach. So: the files that git knows (and new ones it does not ignore) are copied to
``.cache/sanity/ansible_collections/webops/wsgi``, and the pip that Python itself carries stands in for the download.
``HOME`` points into the cache as well: nothing outside the project is written.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "sanity"
HOME = CACHE / "home"
CHECKOUT = CACHE / "ansible_collections" / "webops" / "wsgi"

TESTS = (
    "action-plugin-docs",
    "ansible-doc",
    "compile",
    "import",
    "line-endings",
    "no-illegal-filenames",
    "no-smart-quotes",
    "pep8",
    "replace-urlopen",
    "runtime-metadata",
    "shebang",
    "use-argspec-type-path",
    "validate-modules",
    "yamllint",
)
TESTS_PER_PYTHON = ("import", "compile")
TARGET_PYTHONS = ("3.11", "3.13")  # what the managed hosts run: Debian 12 and 13

BOOTSTRAP_PIP = "import ensurepip\nensurepip.bootstrap(default_pip=True)\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=TESTS, help=f"which tests to run (default: {' '.join(TESTS)})")
    tests = parser.parse_args().tests

    copy_collection()
    prepare_home()

    passed = run(tests, Path(sys.executable))
    again = [test for test in tests if test in TESTS_PER_PYTHON]
    for version in TARGET_PYTHONS if again else ():
        python = interpreter(version)
        if python is None:
            print(f"sanity: no Python {version} here, so {', '.join(again)} are not tried with it", flush=True)
        elif version != python_version(Path(sys.executable)):
            passed &= run(again, python)
    return 0 if passed else 1


def copy_collection() -> None:
    """Make the checkout that ansible-test wants."""
    shutil.rmtree(CHECKOUT, ignore_errors=True)
    CHECKOUT.mkdir(parents=True)
    listed = output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, CHECKOUT / name
        if source.is_file() and not name.startswith("collections/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    output("git", "init", "--quiet", cwd=CHECKOUT)
    output("git", "add", "--all", cwd=CHECKOUT)


def prepare_home() -> None:
    """Give ansible-test its pip, and the caller's pip settings, which it does not take from the environment."""
    HOME.mkdir(parents=True, exist_ok=True)
    pip_cache = HOME / ".ansible" / "test" / "cache"
    pip_cache.mkdir(parents=True, exist_ok=True)
    (pip_cache / f"get_pip_{pip_version().replace('.', '_')}.py").write_text(BOOTSTRAP_PIP)

    listed = output(sys.executable, "-m", "pip", "config", "list")
    settings: dict[str, str] = {}
    for scope in ("global", ":env:"):  # the environment wins
        settings |= re.findall(rf"^{scope}\.([\w-]+)=(.*)$", listed, re.MULTILINE)
    lines = [f"{name} = {ast.literal_eval(value)}".replace("\n", "\n  ") for name, value in settings.items()]
    pip_configuration = HOME / ".config" / "pip" / "pip.conf"
    pip_configuration.parent.mkdir(parents=True, exist_ok=True)
    pip_configuration.write_text("\n".join(["[global]", *lines, ""]))


def pip_version() -> str:
    """The pip that this ansible-test asks for."""
    program = (
        "import ansible_test, pathlib;"
        "print((pathlib.Path(ansible_test.__path__[0]) / '_internal/python_requirements.py').read_text())"
    )
    found = re.search(r"pip='([\d.]+)'", output(sys.executable, "-c", program))
    if not found:
        raise SystemExit("sanity: this ansible-test names its pip in a way that tests/quality/sanity.py does not know")
    return found[1]


def interpreter(version: str) -> Path | None:
    """This machine's interpreter of a version that starts (a shim may be there without one)."""
    name = f"python{version}"
    candidates = [shutil.which(name), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return Path(candidate)
    return None


def run(tests: Sequence[str], python: Path) -> bool:
    """Run tests with an interpreter, and show what they say where one fails."""
    path = os.pathsep.join((str(python.parent), str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "HOME": str(HOME), "PATH": path}
    environment.pop("XDG_CONFIG_HOME", None)
    command = [str(Path(sys.executable).with_name("ansible-test")), "sanity", "--color", "no"]
    command += [option for test in tests for option in ("--test", test)]
    command += ["--python", python_version(python)]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=PIPE, stderr=STDOUT, text=True)
    if done.returncode:
        print(f"{done.stdout}\nsanity: paths above are relative to {ROOT}", flush=True)
    outcome = "failed" if done.returncode else "passed"
    print(f"sanity: {outcome} with Python {python_version(python)}: {', '.join(tests)}", flush=True)
    return done.returncode == 0


def python_version(python: Path) -> str:
    """An interpreter's version, as ``3.11``."""
    return output(str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def output(*command: str, cwd: Path | None = None) -> str:
    """What a command prints. Raises ``CalledProcessError``, with its errors already shown."""
    return subprocess.run(command, cwd=cwd, check=True, stdout=PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
