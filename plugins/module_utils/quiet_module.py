# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of all modules here: the host's logs get none of its options, and results show no secret in any spelling."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.warnings import get_warning_messages

SHORTEST = 6  # characters; masking a shorter secret would hide every other word of a message
SHORTEST_LINE = 12  # of a secret of several lines; shorter ones are words such as "end"
LONGEST = 48  # characters; a longer line may be cut off in a message, so it is recognised by its pieces too
PIECE = 32  # characters
# -vvv shows all options; a header of the health check may be a secret too, though nobody has said so.
NO_OPTIONS = {"invocation": {"module_args": "hidden: options may hold secrets"}}


# All but tabs and line ends, and the C1 set, of which some terminals take orders too.
_WRITTEN_OUT = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


class QuietModule(AnsibleModule):
    """A module whose options may hold secrets.

    Ansible writes the options of a module that runs into the host's journal. It masks values there whose option has
    C(no_log), but as they are, and the journal gets nested options in Python's notation, where a quote, a backslash
    or a line end is another character. C(no_log) of the module is of no use: the task's replaces it.
    """

    def log(self, msg: str, log_args: dict[str, Any] | None = None) -> None:
        """Log nothing. What was done is in the history of each app, and in the result."""

    def mask(self, secrets: Iterable[str]) -> None:
        """Have the result show none of these, which no option had as they are."""
        self.no_log_values |= set(secrets)

    def exit_json(self, **kwargs: Any) -> None:
        """End well; the result shows neither options nor secrets."""
        told = "\n".join(_texts([kwargs, get_warning_messages()]))
        # Ansible looks for each in every text of the result, which has one for every app.
        self.no_log_values: set[str] = {text for text in spellings(self.no_log_values) if text in told}
        super().exit_json(**{**kwargs, **NO_OPTIONS})

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        """Fail; the result shows neither options nor secrets."""
        self.no_log_values = spellings(self.no_log_values)
        if "failures" in kwargs:
            kwargs["failures"] = [visible(text) for text in kwargs["failures"]]
        super().fail_json(visible(msg), **{**kwargs, **NO_OPTIONS})


def visible(text: str) -> str:
    """A text with its control characters written out: what an app or a build printed must not steer a terminal."""
    return text.translate(_WRITTEN_OUT)


def _texts(result: Any) -> Iterator[str]:
    if isinstance(result, str):
        yield result
    elif isinstance(result, Mapping):
        yield from (text for value in result.values() for text in _texts(value))
    elif isinstance(result, Iterable):
        yield from (text for value in result for text in _texts(value))


def spellings(secrets: Iterable[str]) -> set[str]:
    """Everything that must not show so that none of the secrets does.

    Args:
        secrets: Their values. Those too short to be told from ordinary words are left out.
    """
    found: set[str] = set()
    for secret in secrets:
        whole = secret.strip()
        if len(whole) >= SHORTEST:
            found.update(spelled for part in _parts(whole) for spelled in _spelled(part))
            found.update(piece for encoded in _base64({secret, whole}) for piece in _pieces(encoded))
    return found


def _parts(secret: str) -> Iterator[str]:
    """The secret, and what of it may show alone."""
    yield secret
    for line in secret.splitlines():
        if len(line) >= SHORTEST_LINE and not line.startswith("-----"):
            yield from _pieces(line)
    yield from (password for password in _passwords(secret) if len(password) >= SHORTEST)


def _pieces(line: str) -> Iterator[str]:
    yield line
    if len(line) > LONGEST:
        yield from (line[start : start + PIECE] for start in range(0, len(line) - PIECE + 1, PIECE))


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
    yield text
    if text.isascii() and text.isalnum():
        return
    data = text.encode(errors="surrogateescape")
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


def _base64(texts: Iterable[str]) -> Iterator[str]:
    for data in (text.encode(errors="surrogateescape") for text in texts):
        yield base64.b64encode(data).decode()
        yield base64.urlsafe_b64encode(data).decode()
