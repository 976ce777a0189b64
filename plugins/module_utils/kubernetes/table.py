# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clusters have of apps, as a table."""

from __future__ import annotations

from typing import Any

_HEADS = ("APP", "NAMESPACE", "RELEASE", "PODS", "SINCE", "IMAGE", "KEPT")


def overview(rows: list[dict[str, Any]]) -> str:
    """A line for each app."""
    table = [_HEADS, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADS))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    if not row["release"]:
        return (row["app"], row["namespace"], "none", "", "", "", "")
    kept = [str(one["number"]) for one in row["releases"] if one["proved"] and not one["current"]]
    return (
        row["app"],
        row["namespace"],
        f"{row['number']} ({row['release']}){', closed' if row['closed'] else ''}",
        f"{row['ready']}/{row['pods']}",
        row["proved"] or "not proved",
        row["image"],
        ", ".join(kept),
    )
