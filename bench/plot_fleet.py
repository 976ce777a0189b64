"""Seconds of a run without work by the number of hosts: drawn by ``fleet.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from plot import BLUE, GREY, INK, MUTED


def draw(results: Sequence[dict[str, Any]], budget: float, file: Path) -> None:
    """Draw a run without work beside a ping, and where so many times one host would be."""
    plt.rcParams.update({"font.size": 10, "axes.edgecolor": MUTED, "text.color": INK, "axes.labelcolor": INK})
    hosts = [row["hosts"] for row in results]
    most = budget * results[0]["noop_s"]
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, colour, words in (("noop_s", BLUE, "site.yml, nothing to do"), ("ping_s", GREY, "ansible -m ping")):
        seconds = [row[name] for row in results]
        axes.plot(hosts, seconds, color=colour, marker="o", label=words)
        for count, value in zip(hosts, seconds, strict=True):
            axes.annotate(f"{value:.1f}", (count, value), xytext=(0, 7), textcoords="offset points", ha="center")
    axes.axhline(most, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(f"{budget:g} times one host", (0, most), xytext=(4, -12), textcoords="offset points")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xticks(hosts)
    axes.set_xlabel("hosts behind one balancer, all on this machine's two cores")
    axes.set_ylabel("seconds")
    axes.set_title("A run without work", fontsize=11)
    axes.legend(loc="upper left", frameon=False, bbox_to_anchor=(0, 0.88))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)
