# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS to servers whose certificate is looked at, compared or of no interest, and not judged."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def distrusting() -> ssl.SSLContext:
    """What connects to any server, without authorities, which take 20 ms to load. One for all: making it takes 3 ms."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
