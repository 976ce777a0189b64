"""Requests a second of each server, for JSON and for an answer that waits: drawn by ``servers.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from plot import BLUE, GREY, INK, MUTED

PANELS = {
    "json": "JSON, 16 clients",
    "wait": "an answer that waits 50 ms, 64 clients",
}


def draw(results: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Draw both questions and the memory beside each other, a bar for each server."""
    plt.rcParams.update({"font.size": 10, "axes.edgecolor": MUTED, "text.color": INK, "axes.labelcolor": INK})
    names = list(reversed(list(results)))
    size = (13, 1.6 + 0.36 * len(names))
    figure, panels = plt.subplots(1, 3, sharey=True, figsize=size, layout="constrained")
    for axes, (question, title) in zip(panels, PANELS.items(), strict=False):
        rates = [results[name][question]["per_s"] for name in names]
        _bars(axes, names, rates, BLUE, title, "requests/s through nginx")
    _bars(panels[2], names, [results[name]["all_mb"] for name in names], GREY, "memory", "MB, all processes")
    figure.suptitle("The same app under each server, on two cores", fontsize=14, fontweight="bold")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _bars(axes: Axes, names: list[str], values: list[float], colour: str, title: str, unit: str) -> None:
    bars = axes.barh(names, values, color=colour)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=3, color=INK)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(unit)
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)
