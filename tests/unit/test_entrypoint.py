"""How an app is found, and what it is taken to be written for."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    """The module as a server's launcher loads it: a file beside its settings."""
    spec = importlib.util.spec_from_file_location("entrypoint", ROOT / "roles/server/files/entrypoint.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


entrypoint = load()


def wsgi(environ: Any, start_response: Any) -> Any:
    """As most frameworks' apps are called."""


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """As most frameworks' apps are called."""


class WSGI:
    """An app as Flask, Pyramid, Bottle, Falcon and Django have it."""

    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class ASGI:
    """An app as Starlette, FastAPI, Quart, Litestar, Falcon and Django have it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class OnePerRequest:
    """The class is the app, as PEP 3333 shows it."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...


class AwaitedPerRequest:
    """The class is the app."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...


class SecondVersion:
    """An app of ASGI 2."""

    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class ChosenLater:
    """As Sentry's middleware does it."""

    __slots__ = ("__call__",)

    def __init__(self) -> None:
        self.__call__ = asgi


class Anything:
    """A wrapper that passes on whatever it gets."""

    def __call__(self, *arguments: Any, **more: Any) -> Any: ...


def not_async(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


async def any_number(*arguments: Any) -> None: ...


@functools.wraps(wsgi)
def adapted(scope: Any, receive: Any, send: Any) -> Any: ...


@functools.wraps(asgi)
def adapted_back(environ: Any, start_response: Any) -> Any: ...


@pytest.mark.parametrize(
    ("app", "interface"),
    [
        (wsgi, "wsgi"),
        (WSGI(), "wsgi"),
        (WSGI().__call__, "wsgi"),
        (OnePerRequest, "wsgi"),
        (functools.partial(wsgi), "wsgi"),
        (adapted_back, "wsgi"),
        (asgi, "asgi"),
        (ASGI(), "asgi"),
        (ASGI().__call__, "asgi"),
        (AwaitedPerRequest, "asgi"),
        (SecondVersion, "asgi"),
        (ChosenLater(), "asgi"),
        (functools.partial(asgi), "asgi"),
        (not_async, "asgi"),
        (any_number, "asgi"),
        (adapted, "asgi"),
        # These may be either, or none, and only a call would tell.
        (Anything(), ""),
        (lambda *arguments: None, ""),
        (lambda environ, start_response, more=None: None, ""),
        (lambda scope: None, ""),
        (lambda: None, ""),
        (dict, ""),
    ],
)
def test_what_an_app_is_written_for(app: Any, interface: str) -> None:
    assert entrypoint.written_for(app) == interface


@pytest.mark.parametrize(
    ("app", "interface", "words"),
    [
        (asgi, "wsgi", "app:app is an ASGI app, and the app's interface is wsgi"),
        (wsgi, "asgi", "app:app is a WSGI app, and the app's interface is asgi"),
    ],
)
def test_an_app_for_the_other_interface_is_refused(app: Any, interface: str, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        entrypoint.check(app, interface, "app:app")


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_an_app_that_may_be_either_is_not_refused(interface: str) -> None:
    entrypoint.check(Anything(), interface, "app:app")


def test_an_app_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "found_here.py").write_text(
        "async def app(scope, receive, send): ...\ndef create(number, *, by): return [number, by].append\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert entrypoint.load("found_here:app", "asgi").__name__ == "app"
    assert entrypoint.load("found_here:create(1, by='x')").__self__ == [1, "x"]
    with pytest.raises(TypeError, match="found_here:app is an ASGI app"):
        entrypoint.load("found_here:app", "wsgi")
    with pytest.raises(TypeError, match="found_here:__name__ is not callable, it is of type str"):
        entrypoint.load("found_here:__name__")
