# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests here import `bare_sandbox` from beside them, and the archives that scenarios use too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3] / "molecule/shared/hostile")]
