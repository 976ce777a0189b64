# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration tree before it is live: a preview for its validator, and where a mistake is that this one finds."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.commands import run, tidy
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TOKEN, TreeError, TreeFile
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.plan import Plan
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec


def validate(spec: Spec, plan: Plan, tree: str, preview: str) -> list[str]:
    """Run the validator over a preview.

    :returns: the validator's warnings.
    :raises TreeError: the validator refuses the tree; the message names file, line, its text and its owner.
    """
    build_preview(spec, preview, tree)
    try:
        command = spec.validate.replace("{preview}", shlex.quote(preview))
        # nginx opens its logs to validate them, in a check run as well.
        result = run(command, umask=0o027)
    finally:
        shutil.rmtree(preview, ignore_errors=True)
    output = (result.stderr.strip() + "\n" + result.stdout.strip()).strip()
    if result.returncode == 0:
        return [plain(spec, line, preview, tree) for line in output.splitlines() if "[warn]" in line]
    raise explain(spec, plan, output, result.returncode, preview, tree)


def build_preview(spec: Spec, path: str, tree: str) -> None:
    """Show root's parent directory as it will be: siblings by symlink, ``root`` -> ``tree``, links applied."""
    changes: dict[str, Any] = {spec.base: tree}
    for link, target in spec.links.items():
        if not link.startswith(spec.parent + "/"):
            continue
        if target.startswith(spec.parent + "/"):
            target = path + target[len(spec.parent) :]
        spot = changes
        *above, name = link[len(spec.parent) + 1 :].split("/")
        for part in above:
            spot = spot.setdefault(part, {})
        spot[name] = target
    _mirror(spec.parent, path, changes)


def _mirror(source: str, target: str, changes: Mapping[str, Any]) -> None:
    os.mkdir(target, 0o700)
    present = os.listdir(source) if os.path.isdir(source) else []
    for name in sorted(set(present) | set(changes)):
        change, to = changes.get(name), posixpath.join(target, name)
        if isinstance(change, dict):
            _mirror(posixpath.join(source, name), to, change)
        else:
            os.symlink(change if change is not None else posixpath.join(source, name), to)


def plain(spec: Spec, text: str, preview: str, tree: str) -> str:
    """Replace scratch paths in a validator's output by the paths a person knows, and drop times and process ids."""
    text = text.replace(tree, spec.root).replace(preview, spec.parent)
    return "\n".join(tidy(line) for line in text.splitlines())


def explain(spec: Spec, plan: Plan, output: str, rc: int, preview: str, tree: str) -> TreeError:
    """Turn a validator's output into an error that names the file, the line, its text and its owner."""
    text = plain(spec, output, preview, tree)
    command = spec.validate.replace("{preview}", spec.parent)
    details: dict[str, Any] = {"rc": rc, "stderr": text}
    parts = []
    found = locate(spec, plan, text)
    if found:
        item, number = found
        details.update(file=item.dest, line=number, owner=item.owner)
        where = f"{item.dest}, line {number}" if number else item.dest
        parts.append(f"{item.owner}: {where}" if item.owner else where)
        lines = item.content.replace(TOKEN, plan.generation).splitlines()
        if number and number <= len(lines) and item.mode & 0o004:
            parts.append(f"    {number} | {lines[number - 1].strip()}")
            parts.extend(_also_in_kept(spec, plan, item, lines[number - 1].strip()))
    parts.append(f"`{command}` refused the new configuration; {spec.root} is as it was:")
    parts.extend("    " + line for line in text.splitlines()[-20:])
    return TreeError("\n".join(parts), **details)


def _also_in_kept(spec: Spec, plan: Plan, item: TreeFile, line: str) -> list[str]:
    """Kept files that have the line too: what is refused is mostly that there are two of it."""
    owners = set(spec.keep.values()) - {item.owner}
    others = [other for other in plan.files.values() if other.owner in owners]
    return [
        f"    {other.dest} has it too, {other.owner}"
        for other in sorted(others, key=lambda other: other.dest)
        if line in (text.strip() for text in other.content.splitlines())
    ]


def locate(spec: Spec, plan: Plan, text: str) -> tuple[TreeFile, int] | None:
    """Find the file (and line, 0 when unknown) a validator complains of."""
    # nginx names its main file in a line of its own, wherever the mistake is.
    no_place = r"\[(warn|notice|info)\]|configuration file \S+ (test failed|syntax is ok)"
    text = "\n".join(line for line in text.splitlines() if not re.search(no_place, line))
    names = _known_paths(spec, plan)
    for pattern in (r"(?:\"?, line |:)(\d+)", r"(?![\w.-])()"):
        for path in sorted(names, key=len, reverse=True):
            match = re.search(re.escape(path) + pattern, text)
            if match:
                found = names[path], int(match.group(1) or 0)
                return (_locate_by_value(plan, text) or found) if _is_closing(*found) else found
    return _locate_by_value(plan, text)


def _is_closing(item: TreeFile, number: int) -> bool:
    """Whether a line only closes a block: nginx names that one for what it finds when it puts blocks together."""
    lines = item.content.splitlines()
    return 0 < number <= len(lines) and lines[number - 1].strip() == "}"


def _known_paths(spec: Spec, plan: Plan) -> dict[str, TreeFile]:
    """Every path by which a validator may call a file: below root, and through a link."""
    names = {posixpath.join(spec.root, dest): item for dest, item in plan.files.items()}
    for link, target in spec.links.items():
        full = posixpath.normpath(posixpath.join(posixpath.dirname(link), target))
        if full in names:
            names[link] = names[full]
    return names


def _locate_by_value(plan: Plan, text: str) -> tuple[TreeFile, int] | None:
    """The first line that has all values the validator quotes, or else one; nginx gives no place for a certificate that
    it cannot load."""
    values = re.findall(r'"([^"\n]{3,})"', text)
    for wanted in [values, *([value] for value in values)] if values else []:
        for _dest, item in sorted(plan.files.items()):
            for number, line in enumerate(item.content.splitlines(), 1):
                if all(value in line for value in wanted) and not line.lstrip().startswith("#"):
                    return item, number
    return None
