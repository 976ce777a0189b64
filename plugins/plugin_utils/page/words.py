# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as the page writes them."""

from __future__ import annotations


def number(value: float) -> str:
    """A count, with separators, or a small number with two digits."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """A latency in the unit that suits it."""
    if value is None:
        return "-"
    value = float(f"{value:.2g}")  # more digits would be made up, see traffic.day
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def megabytes(value: float | None) -> str:
    """A size as the table of status has it."""
    return "-" if value is None else f"{value / 1_000_000:,.0f} MB"


def duration(seconds: float) -> str:
    """How long something has been, in its largest unit."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def moment(text: str) -> str:
    """A moment of an app's history for people."""
    return text.replace("T", " ").replace("Z", " UTC")
