# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of all modules here: the host's logs get none of its options, and results show no secret in any spelling."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

SHORTEST = 6  # characters; masking a shorter secret would hide every other word of a message
SHORTEST_LINE = 12  # of a secret of several lines; shorter ones are words such as "end"
LONGEST = 128  # characters; a longer line may be cut off in a message, so it is recognised by its pieces too
PIECE = 32  # characters


class QuietModule(AnsibleModule):
    """A module whose options may hold secrets.

    Ansible writes the options of a module that runs into the host's journal. It masks values there whose option has
    C(no_log), but as they are, and the journal gets nested options in Python's notation, where a quote, a backslash
    or a line end is another character. C(no_log) of the module is of no use: the task's replaces it.
    """

    def log(self, msg: str, log_args: dict[str, Any] | None = None) -> None:
        """Log nothing. What was done is in the history of each app, and in the result."""

    def exit_json(self, **kwargs: Any) -> None:
        """End well; the result shows neither options nor secrets."""
        self._hide(kwargs)
        super().exit_json(**kwargs)

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        """Fail; the result shows neither options nor secrets."""
        self._hide(kwargs)
        super().fail_json(msg, **kwargs)

    def _hide(self, result: dict[str, Any]) -> None:
        # -vvv shows all options; a header of the health check may be a secret too, though nobody has said so.
        result["invocation"] = {"module_args": "hidden: options may hold secrets"}
        self.no_log_values: set[str] = spellings(self.no_log_values)


def spellings(secrets: Iterable[str]) -> set[str]:
    """Everything that must not show so that none of the secrets does.

    Args:
        secrets: Their values. Those too short to be told from ordinary words are left out.
    """
    long_enough = [secret for secret in map(str.strip, secrets) if len(secret) >= SHORTEST]
    encoded = {spelled for secret in long_enough for spelled in _base64(secret)}
    return encoded | {spelled for secret in long_enough for part in _parts(secret) for spelled in _spelled(part)}


def _parts(secret: str) -> Iterator[str]:
    """The secret, and what of it may show alone."""
    yield secret
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----"))
    for line in lines:
        if len(line) > LONGEST:
            yield from (line[start : start + PIECE] for start in range(0, len(line) - PIECE + 1, PIECE))
    yield from (password for password in _passwords(secret) if len(password) >= SHORTEST)


def _passwords(secret: str) -> Iterator[str]:
    """The password of a secret that is a URL, which programs show without the rest of it."""
    if "://" not in secret or "@" not in secret:
        return
    try:
        password = urlsplit(secret).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)


def _spelled(text: str) -> Iterator[str]:
    """A text as it is, and as Python, JSON, a shell, an environment file and a URL write it."""
    data = text.encode(errors="surrogateescape")
    yield text
    # With both quotes in it Python writes one of them with a backslash; which one it is depends on what is around.
    for notation in (repr(f"{text}'\"")[1:-4], ascii(f"{text}'\"")[1:-4], repr(data + b"'\"")[2:-4]):
        yield notation
        yield notation.replace("\\'", "'")
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", "'\\''")
    yield re.sub(r'([\\"$`])', r"\\\1", text)
    yield quote(data, safe="")
    yield quote(data)
    yield quote_plus(data)


def _base64(text: str) -> Iterator[str]:
    data = text.encode(errors="surrogateescape")
    yield base64.b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode()
