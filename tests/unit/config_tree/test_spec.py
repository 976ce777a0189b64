"""Trees that could never be."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TreeError, TreeFile
from tree_program import Program, make_spec, site


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        ([TreeFile("../up", "")], {}, r'files\[\].dest: "../up" must be a normal path inside the tree'),
        ([TreeFile("/abs", "")], {}, "must be a normal path inside the tree"),
        ([TreeFile("a//b", "")], {}, "must be a normal path inside the tree"),
        ([site("api"), site("api")], {}, r'"sites/api.conf" is given twice \(app "api" and app "api"\)'),
        ([TreeFile("a", ""), TreeFile("a/b", "")], {}, '"a" is a file and, for "a/b", also a directory'),
        ([], {"keep": {"../x": ""}}, 'keep: "../x"'),
        ([], {"root": "relative"}, "must be an absolute, normal path"),
        ([], {"links": {"relative": "x"}}, 'links: "relative" must be an absolute'),
        ([], {"running": "https://127.0.0.1/"}, "must be a plain http:// address"),
    ],
)
def test_a_wish_that_makes_no_sense(program: Program, files: list[TreeFile], changes: Any, message: str) -> None:
    with pytest.raises(TreeError, match=message):
        apply(make_spec(program, *files, **changes))
