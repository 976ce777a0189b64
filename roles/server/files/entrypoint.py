# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the app that an entry point names, for servers that do not take one with arguments themselves."""

from __future__ import annotations

import ast
import importlib
from typing import Any


def load(entrypoint: str) -> Any:
    """The app of C(module:callable), or what C(module:factory(arguments)) returns; arguments are literals.

    Raises:
        ImportError, AttributeError, TypeError: There is no such module, no such name in it, or it is not callable.
    """
    module, _colon, attribute = entrypoint.partition(":")
    expression = ast.parse(attribute, mode="eval").body
    called = isinstance(expression, ast.Call)
    app = getattr(importlib.import_module(module), ast.unparse(expression.func if called else expression))
    if called:
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in expression.keywords}
        app = app(*map(ast.literal_eval, expression.args), **keywords)
    if not callable(app):
        raise TypeError(f"{entrypoint} is not callable, it is of type {type(app).__name__}")
    return app
