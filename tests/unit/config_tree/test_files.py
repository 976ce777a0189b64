"""Digests of a tree's files, and their way to the host."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.config_tree import files as config_tree_files
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeFile
from tree_program import Program, tree_only


def test_digests_by_top_level_entry_do_not_depend_on_the_others(program: Program) -> None:
    one = apply(tree_only(program, TreeFile("api/start", "a"), TreeFile("api/conf", "b"))).digests
    two = apply(tree_only(program, TreeFile("api/conf", "b"), TreeFile("api/start", "a"), TreeFile("z", "c"))).digests
    assert set(one) == {"main.conf", "api"}
    assert set(two) == {"main.conf", "api", "z"}
    assert one["api"] == two["api"]
    assert len(one["api"]) == 64


def test_packing_is_small_and_exact() -> None:
    files = [TreeFile(f"sites/{n}.conf", f"server_name {n}.example.com;\n" * 50, 0o600, "é") for n in range(200)]
    packed = config_tree_files.pack(files)
    assert config_tree_files.unpack(packed) == files
    assert len(packed) < 40_000
