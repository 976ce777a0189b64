"""What clients lose when something changes on a cluster: drawn from what the last run of its scenario recorded.

Run it as ``python bench/kubernetes.py`` after ``make test-kubernetes``. Writes ``bench/results/kubernetes.json`` and
``docs/img/kubernetes.png``, and prints the table of ``docs/kubernetes.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from lab import RESULTS, ROOT
from plot import BLUE, INK, MUTED, RED

RECORDED = ROOT / ".cache" / "reports" / "kubernetes.json"
RESULT = RESULTS / "kubernetes.json"
PICTURE = ROOT / "docs" / "img" / "kubernetes.png"
CARELESS = "without care"
NAMES = {"ingress": "Ingress", "gateway": "Gateway"}


def draw(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw how many of ten thousand requests failed by each change."""
    plt.rcParams.update({"font.size": 10, "axes.edgecolor": MUTED, "text.color": INK, "axes.labelcolor": INK})
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(rows) + 1.2), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        colour = RED if CARELESS in row["change"] else BLUE
        lost = row["failed"] / row["requests"] * 10_000
        axes.barh(place, lost, color=colour, height=0.6)
        axes.plot(0, place, marker="|", color=colour, markersize=11, markeredgewidth=3)
        text = f"{row['failed']:,} of {row['requests']:,}"
        axes.annotate(text, (lost, place), xytext=(7, 0), textcoords="offset points", va="center", color=colour)
    axes.set_yticks(range(len(rows)), [f"{row['change']}, {NAMES[row['by']]}" for row in reversed(rows)])
    most = max(row["failed"] / row["requests"] for row in rows) * 10_000
    axes.set_xlim(0, max(most, 10) * 1.3)
    axes.set_xlabel("failed requests of ten thousand")
    axes.set_title("What clients lose on a cluster of two nodes, with and without care", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [f"| {row['change']} | {NAMES[row['by']]} | {row['failed']:,} of {row['requests']:,} |" for row in rows]
    return "\n".join(["| change | by | failed of |", "|---|---|---|", *lines])


def main() -> int:
    """Keep what was recorded, and draw it; without a record, draw what was kept."""
    if RECORDED.is_file():
        RESULT.write_text(RECORDED.read_text(encoding="utf-8"), encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(RESULT.read_text(encoding="utf-8"))
    draw(rows, PICTURE)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
