# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a whole tree of configuration files on a host as one transaction.

The tree a program reads is a symlink, ``root``, to one immutable directory, a *generation*:

    /etc/nginx/wsgi                      -> wsgi.d/3f2a9c0d11e4b7a6       (root)
    /etc/nginx/wsgi.d/3f2a9c0d11e4b7a6/  the generation the program reads
    /etc/nginx/wsgi.d/previous           -> the generation before it
    /etc/nginx/wsgi.d/served             -> the last generation known to be in service
    /etc/nginx/wsgi.d/replaced/…         files that stood where a link of ours now stands

A change writes a complete new generation beside the old one, shows it to the validator in a preview of
root's parent directory, and goes live by a single rename of ``root``. A process killed at any instant leaves
either the old tree or the new one, both valid; scratch entries start with a dot and the next run removes them.

Nothing here imports Ansible: the functions are called by the module and by unit tests alike.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.access import close, loose
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.commands import has_program, run
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.generation import (
    Live,
    flush,
    read_live,
    write_generation,
)
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.links import (
    check_links,
    put_link,
    restore_links,
    sweep_links,
)
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.plan import Plan, entry, make_diff, make_plan
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.reload import Evidence, stale, wait
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec, check_spec
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.store import (
    SCRATCH_NEW,
    SCRATCH_PREVIEW,
    Store,
    locked,
    scratch_name,
)
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.validation import validate


@dataclass
class Outcome:
    """What was done, or in check mode would be done; C(due) is what the program has to be told of."""

    changed: bool
    generation: str
    digests: Mapping[str, str]
    reloaded: bool = False
    due: bool = False
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


Step = Callable[[str], None]


def no_step(_name: str) -> None:
    """Default for ``step``: tests replace it to stop at a named point."""


def apply(spec: Spec, *, check: bool = False, step: Step = no_step) -> Outcome:
    """Make the host's tree the wanted one.

    :param check: only say what would be done; the preview is written to a temporary directory then.
    :param step: called with the name of every point that has been reached.
    :raises TreeError: with the host's tree and its running program as they were.
    """
    check_spec(spec)
    check_links(spec)
    if check:
        return _predict(spec)
    read_live(spec)
    fresh = not os.path.isdir(spec.store)
    os.makedirs(spec.parent, exist_ok=True)
    if fresh:
        os.mkdir(spec.store)
        os.chmod(spec.store, 0o755)
        close(item for item in loose(spec) if item.path == spec.store)
    with locked(spec.store):
        try:
            return _Transaction(spec, step).run()
        finally:
            if fresh and not os.listdir(spec.store):
                os.rmdir(spec.store)


def _compare(spec: Spec) -> tuple[Live, Plan, Outcome]:
    """Look at the host and its program: what is there, what differs, and what has to be done about it."""
    live = read_live(spec)
    plan = make_plan(spec, live)
    outcome = Outcome(plan.changed, plan.generation, plan.digests, diff=make_diff(spec, live, plan))
    reason = "" if plan.changed else stale(spec, plan.generation)
    if reason:
        outcome.changed = True
        outcome.diff.append(entry(f"{spec.base} in service", f"{reason}\n", f"{plan.generation}\n"))
    outcome.due = outcome.changed
    for item in loose(spec):
        outcome.changed = True
        outcome.diff.append(entry(f"{item.path} (access)", str(item.found or ""), str(item.wanted)))
    return live, plan, outcome


def _predict(spec: Spec) -> Outcome:
    _live, plan, outcome = _compare(spec)
    outcome.reloaded = outcome.due and bool(spec.reload)
    if outcome.due and spec.validate:
        if has_program(spec.validate):
            folder = tempfile.mkdtemp(prefix="config_tree-")
            try:
                tree = posixpath.join(folder, "tree")
                write_generation(tree, plan.files, plan.generation)
                outcome.warnings += validate(spec, plan, tree, posixpath.join(folder, "preview"))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            program = shlex.split(spec.validate)[0]
            outcome.warnings.append(f"{spec.root} was not validated: {program} is not on this host yet")
    return outcome


class _Transaction:
    """One run on the host, under the lock."""

    def __init__(self, spec: Spec, step: Step) -> None:
        self.spec = spec
        self.store = Store(spec)
        self.step = step

    def run(self) -> Outcome:
        spec = self.spec
        self.sweep()
        live, plan, outcome = _compare(spec)
        if outcome.changed:
            close(loose(spec))
            self.step("closed")
        if not outcome.due:
            self.mark(live, plan)
            return outcome
        tree = self.write(plan) if plan.tree_changed else self.store.path(live.name)
        try:
            if spec.validate:
                preview = scratch_name(SCRATCH_PREVIEW, spec.store)
                outcome.warnings += validate(spec, plan, tree, preview)
                self.step("validated")
        except BaseException:
            if plan.tree_changed:
                shutil.rmtree(tree, ignore_errors=True)
            raise
        self.switch(plan, tree)
        if spec.reload:
            self.reload(live, plan)
            outcome.reloaded = True
        self.mark(live, plan)
        self.sweep()
        self.step("swept")
        return outcome

    def write(self, plan: Plan) -> str:
        tree = scratch_name(SCRATCH_NEW, self.spec.store)
        try:
            write_generation(tree, plan.files, plan.generation)
            self.step("written")
            flush(tree)
        except BaseException:
            shutil.rmtree(tree, ignore_errors=True)
            raise
        return tree

    def switch(self, plan: Plan, tree: str) -> None:
        """Go live: name the generation, rename root, then the links that lead to it."""
        spec = self.spec
        if plan.tree_changed:
            final = self.store.path(plan.generation)
            if os.path.lexists(final):
                shutil.rmtree(final)
            os.rename(tree, final)
            self.step("named")
            if os.path.isdir(spec.root) and not os.path.islink(spec.root):
                os.rmdir(spec.root)
            self.store.put_live(plan.generation)
            self.step("switched")
        for link, target in plan.links_changed.items():
            put_link(self.store, link, target)
            self.step("linked")
        flush(spec.store)

    def reload(self, live: Live, plan: Plan) -> None:
        """Reload and wait until the new generation answers; otherwise go back and raise."""
        spec, evidence = self.spec, Evidence(self.spec)
        trouble, details = "", {}
        try:
            result = run(spec.reload)
            self.step("reloaded")
            if result.returncode != 0:
                text = (result.stderr.strip() or result.stdout.strip()).splitlines()[-10:]
                trouble = "\n".join([f"`{spec.reload}` ended with {result.returncode}:", *("    " + t for t in text)])
                details = {"rc": result.returncode, "stderr": result.stderr}
            elif spec.running:
                trouble = wait(spec, plan.generation, evidence)
        except TreeError as error:
            trouble = str(error)
        if not trouble:
            return
        lines = evidence.lines()
        ending = self.go_back(live, plan)
        message = "\n".join([trouble, *("    " + line for line in lines), ending])
        raise TreeError(message, log=lines, **details)

    def go_back(self, live: Live, plan: Plan) -> str:
        """Put the last generation known to serve back in place and reload; returns a sentence that says so."""
        spec, store = self.spec, self.store
        served = store.served
        if served == plan.generation:
            if not plan.links_changed:
                return f"Generation {plan.generation} is unchanged and has served before: look at the program itself."
            restore_links(store, plan.links_changed)
            before = plan.generation
        else:
            before = next((name for name in (served, live.name) if name != plan.generation and store.has(name)), "")
            if before:
                store.put_live(before)
                restore_links(store, plan.links_changed)
            else:
                restore_links(store, spec.links)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(spec.root)
            shutil.rmtree(store.path(plan.generation), ignore_errors=True)
        self.step("returned")
        return self.reload_again(before)

    def reload_again(self, before: str) -> str:
        """Reload after going back; says whether the program serves again."""
        spec = self.spec
        name = f"generation {before}" if before else "what was there before this tree"
        try:
            result = run(spec.reload)
            trouble = (result.stderr.strip() or f"it ended with {result.returncode}") if result.returncode else ""
            if not trouble and before and spec.running:
                trouble = wait(spec, before, Evidence(spec))
        except TreeError as error:
            trouble = str(error)
        if trouble:
            return f"Put back {name}, but reloading it failed as well: {trouble}"
        return f"Put back {name} and reloaded it: it serves as before."

    def mark(self, live: Live, plan: Plan) -> None:
        if self.store.mark(live.name, plan.generation):
            self.step("marked")

    def sweep(self) -> None:
        self.store.sweep()
        sweep_links(self.spec)
