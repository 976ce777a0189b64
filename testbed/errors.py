"""The one exception this package raises on purpose."""

from __future__ import annotations


class TestbedError(Exception):
    """Something the person at the keyboard can fix; the message says how."""
