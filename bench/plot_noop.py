"""How long a run takes that has nothing to do, by the number of apps: ``python bench/plot_noop.py`` draws it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from lab import RESULTS, ROOT
from plot import BLUE, GREY, INK, MUTED

PICTURE = ROOT / "docs" / "img" / "noop.png"


def draw(runs: list[dict[str, Any]], file: Path) -> None:
    """Draw the runs beside what Ansible takes for a ping."""
    plt.rcParams.update({"font.size": 10, "axes.edgecolor": MUTED, "text.color": INK, "axes.labelcolor": INK})
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    ordered = runs[1:]  # the first is that of two apps as people have them
    apps = [run["apps"] for run in ordered]
    axes.plot(apps, [run["run_s"] for run in ordered], color=BLUE, marker="o", label="site.yml with nothing to do")
    axes.plot(apps, [run["ping_s"] for run in ordered], color=GREY, marker="o", label="ansible -m ping")
    for run in ordered:
        at = run["apps"], run["run_s"]
        axes.annotate(f"{run['ratio']:g} times", at, xytext=(0, 7), textcoords="offset points", ha="center", color=BLUE)
    axes.set_xlabel("apps on the host")
    axes.set_ylabel("seconds")
    axes.set_ylim(0, max(run["run_s"] for run in ordered) * 1.2)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title("A run with nothing to do, in times of a ping", fontsize=12)
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads((RESULTS / "noop.json").read_text())["noop"], PICTURE)
