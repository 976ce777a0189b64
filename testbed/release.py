"""Make a release of the collection: ``python -m testbed.release VERSION``, which ``make release`` runs.

Writes the changelog from its fragments, sets the version, commits, tags and builds the tarball. Pushes nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from .engine import CACHE, ROOT
from .errors import TestbedError

VERSION = re.compile(r"\d+\.\d+\.\d+")
FRAGMENTS = "changelogs/fragments"
PUBLISH = "git push --follow-tags && ansible-galaxy collection publish"


def release(version: str, root: Path = ROOT, into: Path = CACHE / "release") -> Path:
    """Make the release and return its tarball.

    Raises:
        TestbedError: the version is none or not a later one, the tree has changes, or there is nothing to release.
    """
    galaxy = root / "galaxy.yml"
    text = galaxy.read_text(encoding="utf-8")
    tags = _run(root, "git", "tag", "--list", "v*").split()
    check(version, tags)
    if _run(root, "git", "status", "--porcelain").strip():
        raise TestbedError("the tree has changes: commit them, or put them aside with `git stash --include-untracked`")
    if not list((root / FRAGMENTS).glob("*.yml")):
        raise TestbedError(f"there is nothing in {FRAGMENTS}, so nothing to release")
    galaxy.write_text(re.sub(r"^version: .*$", f"version: {version}", text, count=1, flags=re.MULTILINE))
    _run(root, "antsibull-changelog", "lint")
    _run(root, "antsibull-changelog", "release", "--version", version)
    _run(root, "git", "add", "--all", "galaxy.yml", "CHANGELOG.rst", "changelogs")
    _run(root, "git", "commit", "--quiet", "--message", f"Release {version}")
    _run(root, "git", "tag", "--annotate", f"v{version}", "--message", f"webops.wsgi {version}")
    into.mkdir(parents=True, exist_ok=True)
    _run(root, "ansible-galaxy", "collection", "build", "--force", "--output-path", str(into), str(root))
    return into / f"webops-wsgi-{version}.tar.gz"


def check(version: str, tags: list[str]) -> None:
    """Raise an error unless it is a version, and later than all that have a tag."""
    if not VERSION.fullmatch(version):
        raise TestbedError(f'"{version}" is no version; write three numbers, such as make release VERSION=0.2.0')
    latest = max(
        (_numbers(tag.removeprefix("v")) for tag in tags if VERSION.fullmatch(tag.removeprefix("v"))), default=()
    )
    if _numbers(version) <= latest:
        raise TestbedError(f"{version} is not later than {'.'.join(map(str, latest))}, which has a tag")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _run(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"{' '.join(command)} failed:\n{(done.stderr + done.stdout).strip()}")
    return done.stdout


def main() -> int:
    """Command line; problems end in one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="testbed.release", description=__doc__)
    parser.add_argument("version")
    try:
        tarball = release(parser.parse_args().version)
    except TestbedError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"release: {tarball.relative_to(ROOT)} is built, committed and tagged here alone; to publish it:")
    print(f"  {PUBLISH} {tarball.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
