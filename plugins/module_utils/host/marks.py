# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks by which the collection knows its own on a host."""

from __future__ import annotations

UNIT_MARK = "written by webops.wsgi"  # in the first lines of every unit, see the templates of the role release
USER_MARK = "app of webops.wsgi"  # the comment of every user, see users.py
KEPT = ".kept-by-webops.wsgi"  # a file in the data of an app that was removed without its data
SEEN = "seen-"  # begins the name of a file of a build that says, by its time, when the build's source was first seen
