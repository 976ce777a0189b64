# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which profiles an authority offers, from its ACME directory (draft-ietf-acme-profiles).

certbot takes one that is not offered for the authority's default, and an authority that knows no profiles at all takes
it for nothing: a certificate that was to live six days would live ninety, and nobody would notice.
"""

from __future__ import annotations

import json
import typing as t

TIMEOUT = 10.0
"""Seconds until an authority that does not answer is left to certbot, which says why."""


def offered(directory: str, ca_bundle: str = "") -> list[str] | None:
    """Return the names of the profiles that an authority offers; None when it does not tell.

    :param ca_bundle: PEM file with the authorities to trust instead of the public ones
    """
    from ansible.module_utils import urls  # a large one, and only needed where a profile is asked for

    try:
        told: t.Any = json.load(urls.open_url(directory, timeout=TIMEOUT, ca_path=ca_bundle or None))
        return sorted(told.get("meta", {}).get("profiles", {}))
    except (OSError, ValueError, AttributeError, TypeError, urls.ConnectionError):
        return None


def problem(profile: str, directory: str, ca_bundle: str = "") -> str:
    """Return why an authority is not to be asked for a profile, or nothing."""
    found = offered(directory, ca_bundle) if profile else None
    if found is None or profile in found:
        return ""
    others = f"it has {', '.join(found)}" if found else "it has none"
    return f'it offers no profile "{profile}", {others}; correct certbot_profile, or leave it empty'
