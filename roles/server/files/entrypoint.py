# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the app that an entry point names, for servers that do not take one with arguments themselves, and says what an
app is written for."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any


def load(entrypoint: str, interface: str = "wsgi") -> Any:
    """The app of C(module:callable), or what C(module:factory(arguments)) returns; arguments are literals.

    Raises:
        ImportError, AttributeError, TypeError: There is no such module, no such name in it, or it is not an app for the
            interface.
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
    check(app, interface, entrypoint)
    return app


def check(app: Any, interface: str, entrypoint: str) -> None:
    """Refuse an app that is certainly written for the other interface.

    Raises:
        TypeError: It is.
    """
    found = written_for(app)
    if found and found != interface:
        what = {"asgi": "an ASGI app", "wsgi": "a WSGI app"}[found]
        raise TypeError(f"{entrypoint} is {what}, and the app's interface is {interface}")


def written_for(app: Any) -> str:
    """C(asgi), C(wsgi), or nothing where only a call would tell.

    A WSGI app is called with two arguments, an ASGI app with three, one of ASGI 2 with one.
    """
    called = app if inspect.isroutine(app) or inspect.isclass(app) else app.__call__
    takes = [count for count in (1, 2, 3) if _takes(app, count)]
    if inspect.isclass(app):
        if takes == [1] and inspect.iscoroutinefunction(vars(app).get("__call__")):
            return "asgi"
    elif inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(called):
        return "asgi" if 3 in takes else ""
    return {(2,): "wsgi", (3,): "asgi"}.get(tuple(takes), "")


def _takes(app: Any, count: int) -> bool:
    """Whether it can be called with so many arguments; true when it does not say."""
    try:
        # What a decorator wraps may take other arguments than the decorator's own function.
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
