"""Memory of an app's instances, sampled: runs on the host as the app's user, which may read its own processes' maps.

    runuser -u api python3 memory.py --app api < pipe > samples.tsv

Until its standard input ends, prints lines of: seconds since the epoch, release, PSS in KiB of all its processes,
their number. PSS counts a page that n processes share as 1/n of one, so that sums are what the machine really spends
(proc_pid_smaps(5)).
"""

from __future__ import annotations

import argparse
import os
import re
import select
import sys
import time
from pathlib import Path

INTERVAL = 0.1  # seconds


def instances(app: str) -> dict[str, list[int]]:
    """Processes of the app's instances, by release."""
    unit = re.compile(rf"{re.escape(app)}@(\d+)\.service")
    found: dict[str, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            release = unit.search(Path("/proc", entry, "cgroup").read_text())
        except OSError:
            continue  # it has ended
        if release:
            found.setdefault(release[1], []).append(int(entry))
    return found


def pss(process: int) -> int:
    """KiB of a process; 0 when it has ended, or is still systemd's that becomes the app's."""
    try:
        text = Path("/proc", str(process), "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--app", required=True)
    app = parser.parse_args().app
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        now = time.time()  # one for all releases of a sample, by which their lines belong together
        for release, processes in instances(app).items():
            print(f"{now:.2f}\t{release}\t{sum(map(pss, processes))}\t{len(processes)}", flush=True)


if __name__ == "__main__":
    main()
