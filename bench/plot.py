"""Latency over time, deployments beside restarts: ``python bench/plot.py`` draws what the last run recorded again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from lab import RESULTS, WORK
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from traffic import GOOD, ORDINARY, read

INK, MUTED, BLUE, GREY, RED = "#1f2933", "#7b8794", "#2f6db5", "#b8c0ca", "#c4281c"
PANELS = {
    "deploy": "webops.wsgi: deployments and rollbacks",
    "restart": "systemctl restart",
}
LOWEST, HIGHEST = 0.5, 20_000  # milliseconds


def draw(results: dict[str, Any], file: Path) -> None:
    """Draw both panels, a second as wide in one as in the other."""
    plt.rcParams.update({"font.size": 10, "axes.edgecolor": MUTED, "text.color": INK, "axes.labelcolor": INK})
    widths = [results[section]["seconds"] for section in PANELS]
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(15, 6.5), width_ratios=widths, layout="constrained")
    for axes, section in zip(panels, PANELS, strict=True):
        _panel(axes, section, results[section])
    panels[0].set_ylabel("time until the whole answer had come")
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=3, frameon=False)
    figure.suptitle(
        "What clients notice when an app is replaced: the same load, two ways", fontsize=15, fontweight="bold"
    )
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _panel(axes: Axes, section: str, numbers: dict[str, Any]) -> None:
    requests, _ = read(WORK / f"{section}.tsv")
    began = requests[0].start
    good = [request for request in requests if request.outcome in GOOD]
    series = {
        "1-second requests, streams, 20 MB uploads": ([r for r in good if r.kind not in ORDINARY], GREY, 5, "o"),
        "GET and POST": ([r for r in good if r.kind in ORDINARY], BLUE, 1.5, "o"),
        "failed": ([r for r in requests if r.outcome not in GOOD], RED, 16, "x"),
    }
    for label, (points, colour, size, marker) in series.items():
        times, latencies = [p.start - began for p in points], [max(p.ms, LOWEST) for p in points]
        axes.scatter(times, latencies, s=size, c=colour, marker=marker, linewidths=0.8, label=label, rasterized=True)
    for moment, word in numbers["marks"]:
        _mark(axes, moment - began, word)
    axes.set_yscale("log")
    axes.set_ylim(LOWEST, HIGHEST)
    axes.set_xlim(0, numbers["seconds"])
    axes.yaxis.set_major_formatter(FuncFormatter(_duration))
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("seconds")
    failed = f"{numbers['failed']:,} of {numbers['requests']:,} requests failed"
    axes.set_title(f"{PANELS[section]}\n{failed}", fontsize=11)


def _mark(axes: Axes, at: float, word: str) -> None:
    axes.axvline(at, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(word, (at, HIGHEST), xytext=(-3, -4), textcoords="offset points", rotation=90, ha="right", va="top")


def _duration(ms: float, _position: int) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


if __name__ == "__main__":
    draw(json.loads((RESULTS / "deploy.json").read_text()), RESULTS / "deploy.png")
    sys.exit(0)
