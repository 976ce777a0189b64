# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Accounts at authorities that these have forgotten: certbot goes on using such a one, and every renewal fails.

An authority of one's own that was set up anew is like that, and a host that was given the accounts of another CA.
"""

from __future__ import annotations

import datetime
import glob
import json
import os
import re
import threading
import typing as t
import urllib.parse

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import Host, read_text
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

FORGOTTEN = re.compile(r"accountDoesNotExist|Account \S+ not found")
"""What certbot prints of an account that the authority does not know: the error's type (RFC 8555, 6.7) or its text."""
SEVERAL = "Please choose an account"
"""What certbot prints when it has several for an authority: one that was started between the loss of an account and the
registration of another, side by side with the one that saw to it, has registered its own."""
RENEWING = threading.Lock()  # certificates may be asked for side by side, with the same account


def set_aside(host: Host, directory: str, output: str, now: datetime.datetime) -> bool:
    """Move the accounts that the authority has said not to know out of certbot's way; return whether there were any.

    Certificates that were issued for them are renewed with the account that is there then.

    :param output: of certbot; the authority names the account by its URL
    """
    accounts = os.path.realpath(os.path.join(host.letsencrypt, "accounts"))
    forgotten = [os.path.dirname(path) for path in _registrations(host, directory) if _named(path, output)]
    for path in forgotten:
        _without(os.path.dirname(accounts), os.path.basename(path))
        aside = os.path.join(os.path.dirname(accounts), "damaged", f"account-{now:%Y%m%dT%H%M%S}")
        os.makedirs(aside, mode=0o700, exist_ok=True)
        os.rename(path, os.path.join(aside, os.path.basename(path)))
    return bool(forgotten)


def newest(host: Host, directory: str) -> str:
    """Return the name by which certbot knows the account that was registered last at an authority."""
    return os.path.basename(os.path.dirname(max(_registrations(host, directory), key=os.path.getmtime)))


def _registrations(host: Host, directory: str) -> list[str]:
    """Return the files in which certbot keeps what an authority has said of each account."""
    accounts = os.path.realpath(os.path.join(host.letsencrypt, "accounts"))
    parts = urllib.parse.urlsplit(directory)
    return glob.glob(f"{glob.escape(os.path.join(accounts, parts.netloc + parts.path))}/*/regr.json")


def _named(registration: str, output: str) -> bool:
    """Return whether the account of one of certbot's files is the one that the authority spoke of."""
    try:
        told: t.Any = json.loads(read_text(registration))
        return re.search(rf"{re.escape(told['uri'])}(?![\w-])", output) is not None
    except (ValueError, KeyError, TypeError):
        return False


def _without(letsencrypt: str, account: str) -> None:
    """Let no renewal name the account any more: certbot then takes the only one that there is."""
    for path in glob.glob(f"{glob.escape(letsencrypt)}/renewal/*.conf"):
        text = read_text(path)
        left = re.sub(rf"^account = {re.escape(account)}\n", "", text, flags=re.M)
        if left != text:
            write_file(path, left, 0o644)
