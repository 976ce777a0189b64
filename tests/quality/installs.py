"""Install the collection in the three ways a user can, and check that what arrives is whole and nothing more.

From a built tarball, from the project's directory, from its git repository (what is committed, that is); each into a
scratch path, where its playbook is then found by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = ROOT / ".cache" / "installs"
ROLES = (
    "python_app",
    "server",
    "gunicorn",
    "waitress",
    "uvicorn",
    "granian",
    "uwsgi",
    "release",
    "nginx_proxy",
    "certbot",
)
NEEDED = ("README.md", "LICENSE", "meta/runtime.yml", "playbooks/site.yml", "plugins/modules", "plugins/module_utils")
DEVELOPMENT_ONLY = (
    ".*",
    "bench",
    "collections",
    "inventory/demo",
    "Makefile",
    "molecule",
    "testbed",
    "tests",
    "examples/*/tests",
)


def main() -> int:
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    (SCRATCH / "ansible.cfg").touch()  # instead of the project's
    run("ansible-galaxy", "collection", "build", "--output-path", str(SCRATCH), str(ROOT))
    sources = {
        "tarball": str(next(SCRATCH.glob("webops-wsgi-*.tar.gz"))),
        "directory": str(ROOT),
        "git repository": f"git+file://{ROOT}",
    }
    problems = [problem for kind, source in sources.items() for problem in problems_of(kind, source)]
    for problem in problems:
        print(f"installs: {problem}", file=sys.stderr)
    if not problems:
        print(f"installs: {', '.join(sources)} install, and webops.wsgi.site is found in each")
    return 1 if problems else 0


def problems_of(kind: str, source: str) -> list[str]:
    """Install from one source and say what is wrong with the result."""
    path = SCRATCH / kind.replace(" ", "-")
    run("ansible-galaxy", "collection", "install", "--offline", "--collections-path", str(path), source)
    installed = path / "ansible_collections" / "webops" / "wsgi"
    needed = (*NEEDED, *(f"roles/{role}/meta/argument_specs.yml" for role in ROLES))
    problems = [f"from the {kind}: {name} is missing" for name in needed if not (installed / name).exists()]
    for pattern in DEVELOPMENT_ONLY:
        problems += [f"from the {kind}: {name.relative_to(installed)} is there" for name in installed.glob(pattern)]
    if not problems:
        run("ansible-playbook", "--syntax-check", "-i", "localhost,", "webops.wsgi.site", collections=path)
    return problems


def run(*command: str, collections: Path | None = None) -> None:
    """Run a program that sees no other installed collection than those in ``collections``. Exits where it fails."""
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(SCRATCH / "home"),
        "ANSIBLE_CONFIG": str(SCRATCH / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections or SCRATCH),
    }
    done = subprocess.run(command, cwd=SCRATCH, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"installs: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
