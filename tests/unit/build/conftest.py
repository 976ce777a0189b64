# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests here import `bare_sandbox` and `hostile_archives` from beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
