"""Stands in for nginx: a program that reads a configuration tree, and what tests ask of a tree."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import Outcome, apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeFile
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec

MAIN = TreeFile("main.conf", "generation @GENERATION@;\n")

KILLED = """
import json, os, sys
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import apply as config_tree
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import files as config_tree_files
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import spec as config_tree_spec
given = json.load(sys.stdin)
spec = config_tree_spec.Spec(**{**given, "files": [config_tree_files.TreeFile(**item) for item in given["files"]]})
config_tree.apply(spec, step=lambda name: os._exit(9) if name == sys.argv[1] else None)
"""


class Program:
    """Stands in for nginx: `reload` makes it read main.conf, and it answers the generation that it has read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "etc/main.conf"
        self.log = folder / "error.log"
        self.state = folder / "generation-in-service"
        self.broken = folder / "reload-fails"
        self.deaf = folder / "reload-does-nothing"
        self.complains = folder / "reload-complains"
        self.reloads = folder / "reloads"
        self.url = ""
        self.log.write_text("an old line\n")

    def script(self, name: str, body: str) -> str:
        path = self.folder / name
        path.write_text(f"#!{sys.executable} -SE\nimport os, re, sys\n{body}")
        path.chmod(0o755)
        return str(path)

    @property
    def reload(self) -> str:
        return self.script(
            "reload",
            f"""
open({str(self.reloads)!r}, "a").write("x")
if os.path.exists({str(self.broken)!r}):
    open({str(self.log)!r}, "a").write("2026/01/02 03:04:05 [emerg] 12#12: bind() failed\\n")
    sys.exit("job failed")
if os.path.exists({str(self.complains)!r}):
    open({str(self.log)!r}, "a").write("[emerg] still could not bind()\\n")
if not os.path.exists({str(self.deaf)!r}):
    try:
        text = open({str(self.main)!r}).read()
    except OSError:
        text = ""
    found = re.search(r"generation (\\S+);", text)
    open({str(self.state)!r}, "w").write(found.group(1) if found else "")
""",
        )

    @property
    def validate(self) -> str:
        """Refuses the directive `wrong`; prints places as nginx does. Follows main.conf as the program would."""
        checker = self.script(
            "validate",
            """
import glob
folder = sys.argv[1]
assert os.path.exists(os.path.join(folder, "sibling.conf")), "siblings are not in the preview"
for path in [os.path.join(folder, "main.conf"), *sorted(glob.glob(os.path.join(folder, "tree/sites/*.conf")))]:
    for number, line in enumerate(open(path), 1):
        if line.startswith("wrong"):
            sys.exit(f'program: [emerg] unknown directive "wrong" in {path}:{number}')
        if line.startswith("missing"):
            sys.exit(f'program: [emerg] cannot load "{line.split()[1]}"')
        if line.startswith("odd"):
            print(f"program: [warn] odd in {path}:{number}", file=sys.stderr)
""",
        )
        return f"{checker} {{preview}}"

    def generation(self) -> str:
        return self.state.read_text() if self.state.exists() else ""

    def count(self) -> int:
        return len(self.reloads.read_text()) if self.reloads.exists() else 0


def site(name: str, text: str = "") -> TreeFile:
    return TreeFile(f"sites/{name}.conf", f"site {name};\n{text}", owner=f'app "{name}"')


def make_spec(program: Program, *files: TreeFile, **changes: Any) -> Spec:
    folder = program.folder / "etc"
    given: dict[str, Any] = {
        "root": str(folder / "tree"),
        "files": [MAIN, *files],
        "links": {str(folder / "main.conf"): "tree/main.conf"},
        "validate": program.validate,
        "reload": program.reload,
        "running": program.url,
        "running_host": "generation.internal",
        "timeout": 0.3,
        "logs": [str(program.log)],
    }
    return Spec(**{**given, **changes})


def tree_only(program: Program, *files: TreeFile, **changes: Any) -> Spec:
    return make_spec(program, *files, links={}, validate="", reload="", running="", **changes)


def snapshot(folder: Path) -> dict[str, Any]:
    """Everything below a directory: kind, mode, and contents or target."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("directory", stat.S_IMODE(path.stat().st_mode))
        else:
            found[name] = ("file", stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found


def check_valid(program: Program) -> None:
    """The live configuration is complete, at any instant: what main.conf leads to exists and its sites are whole."""
    etc = program.folder / "etc"
    if (etc / "main.conf").is_symlink():
        generation = (etc / "main.conf").read_text()
        assert generation == f"generation {(etc / 'tree').resolve().name};\n"
    else:
        assert (etc / "main.conf").read_text() == "the package's own\n"
    if (etc / "tree").is_symlink():
        assert (etc / "tree/main.conf").is_file()


def applied(spec: Spec) -> Outcome:
    """Predict, then do; the prediction must be what happened."""
    predicted = apply(spec, check=True)
    done = apply(spec)
    assert (predicted.changed, predicted.generation, predicted.digests) == (done.changed, done.generation, done.digests)
    assert predicted.diff == done.diff
    assert predicted.reloaded == done.reloaded
    return done


def killed_at(spec: Spec, point: str) -> bool:
    """Run in a process of its own that dies at a step, without any clean-up; returns whether the step was reached."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, point],
        input=json.dumps(dataclasses.asdict(spec)),
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        text=True,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 9
