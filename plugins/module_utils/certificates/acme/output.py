# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What certbot prints: why it has failed, which domains have, and whether it reached the authority at all."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.webops.wsgi.plugins.module_utils.certificates.store import read_text

HAS_ACCOUNT = "There is an existing account"
WRONG_USE = "certbot: error: "
_NOISE = re.compile(
    r"^(Saving debug log|Plugins selected|Requesting a certificate|Renewing an existing|Performing the following|"
    r"Account registered|Waiting for|Cleaning up|Hint:|Some challenges have failed|Ask for help|- - -|$)"
)
_FAILED = re.compile(
    r"(?:Domain|Identifier):\s*(?P<domain>\S+)\s+Type:\s*(?P<type>\S+)\s+Detail:\s*(?P<detail>.+?)"
    r"(?=\n\s*\n|\n\s*(?:Domain|Identifier):|\Z)",
    re.S,
)  # from 5.3 on certbot says Identifier
_NO_ANSWER = (
    re.compile(r"HTTPS?ConnectionPool\(host='(?P<host>[^']+)', port=(?P<port>\d+)\): (?P<why>.+)", re.S),
    re.compile(r"ValueError: Requesting (?P<host>[^/\s]+)\S*: (?P<why>.+)", re.S),
)
_WHY = re.compile(
    r"(?P<tls>certificate verify failed: [^('\"]*[^('\" ])|(?P<dns>Failed to resolve '[^']+')|"
    r"\[Errno -?\d+\] (?P<errno>[^'\")\]]+)|(?P<timeout>[Tt]imed out)"
)
_STATUS = re.compile(r"ClientError: <Response \[(\d+)\]>")
_MASKED = "AttributeError: can't set attribute"
_REFUSED = re.compile(r"urn:ietf:params:acme:error:(?P<type>\w+) :: (?P<title>[^\n]*?) :: (?P<detail>[^\n]+)")


def _no_answer(output: str) -> str:
    """Return why certbot had no answer from the CA at all, or nothing when it had one."""
    for pattern in _NO_ANSWER:
        found = pattern.search(output)
        if not found:
            continue
        at = ":".join(filter(None, (found["host"], found.groupdict().get("port"))))
        why = _WHY.search(found["why"])
        text = why.group(why.lastgroup or 0) if why else found["why"].strip().splitlines()[0]
        hint = ""
        if why and why.lastgroup == "tls":
            of_time = "expired" in text or "not yet valid" in text
            hint = "; is this host's clock right?" if of_time else "; name its own authority in certbot_ca_bundle"
        return f"the CA at {at} cannot be reached: {text}{hint}"
    return ""


def failed_domains(output: str, domains: Iterable[str]) -> tuple[str, ...]:
    """Return those of the domains that the CA could not verify; it names a wildcard without its asterisk."""
    named = {found["domain"] for found in _FAILED.finditer(output)}
    return tuple(domain for domain in domains if domain.removeprefix("*.") in named)


def cause(output: str) -> str:
    """Return why certbot failed, in one line, from what it printed."""
    failed = [
        f"{found['domain']}: {' '.join(found['detail'].split())} ({found['type']})"
        for found in _FAILED.finditer(output)
    ]
    if failed:
        return "; ".join(failed)
    refused = _REFUSED.search(output)
    if refused:
        return f"{refused['detail']} ({refused['type']})"
    _, unexpected, text = output.partition("An unexpected error occurred:")
    lines = [line.strip() for line in (text or output).splitlines() if not _NOISE.match(line.strip())]
    line = " ".join(lines[:3] if unexpected else lines[-3:])
    status = _STATUS.search(output)
    if status:
        return f"the CA answered {status[1]} without a reason, as a proxy in front of one does that is down"
    return _no_answer(output) or line or "certbot said nothing; see /var/log/letsencrypt/letsencrypt.log"


def hinted(output: str) -> str:
    """Return why certbot failed, and what to do where that is a matter of settings."""
    if "external account binding" in output:
        return f"{cause(output)}; set certbot_eab_kid and certbot_eab_hmac_key to what the CA gave you"
    if "unrecognized arguments: --preferred-profile" in output:
        return "this certbot knows no profiles; set certbot_install_method: venv"
    return cause(output)


def unreachable(output: str) -> bool:
    """Return whether certbot never reached the CA, so that asking it for the next app is pointless in this run."""
    return not _FAILED.search(output) and bool(_no_answer(output))


def refuses(output: str) -> bool:
    """Return whether it is the CA that has not done what was asked: no domain has failed, and certbot was used well."""
    return not _FAILED.search(output) and WRONG_USE not in output


def unmasked(output: str) -> str:
    """Return certbot's output with the CA's own answer in it.

    certbot before 2.2 under Python 3.11, which is Debian 12's, says "can't set attribute" for every error that the CA
    returns (https://github.com/certbot/certbot/issues/9539). The answer itself is in its log.
    """
    log = re.search(r"Saving debug log to (\S+)", output)
    if _MASKED not in output or not log:
        return output
    answers = re.findall(r"^acme\.messages\.Error: (.+)$", read_text(log[1]), re.M)
    return output.replace(_MASKED, answers[-1]) if answers else output
