"""How this machine reaches packages: its mirror, its apt settings, its certificate authorities.

Hosts made here use the same ways, as hosts in a company with a private mirror or certificate authority would.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from .errors import TestbedError

APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
ARCHIVE_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHERS_OF_HOST = 8  # of them that systemd and dbus take
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def ca_bundle() -> Path | None:
    """File with the certificate authorities this machine trusts, or None where there is no such file."""
    for candidate in (os.environ.get("SSL_CERT_FILE", ""), *CA_BUNDLES):
        if candidate and Path(candidate).is_file():
            return Path(candidate).resolve()
    return None


def _entries() -> list[tuple[str, str]]:
    """All (URL, suite) pairs that apt is configured to use, in both of its file formats."""
    found: list[tuple[str, str]] = []
    for path in [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found += re.findall(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE)
            continue
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if fields.get("Enabled", "yes").strip() != "no" and "deb" in fields.get("Types", "").split():
                found += [(u, s) for u in fields.get("URIs", "").split() for s in fields.get("Suites", "").split()]
    return found


def debian_mirrors() -> dict[str, str]:
    """The mirror of Debian's archive and the one of its security updates, keys ``main`` and ``security``.

    Empty on a machine that is no Debian: images then keep the sources they came with.
    """
    about = OS_RELEASE.read_text(encoding="utf-8") if OS_RELEASE.is_file() else ""
    codename = re.search(r"^VERSION_CODENAME=(\w+)", about, re.MULTILINE)
    if "ID=debian" not in about.split() or codename is None:
        return {}
    mirrors: dict[str, str] = {}
    for url, suite in _entries():
        if suite == codename[1]:
            mirrors.setdefault("main", url)
        if suite in (f"{codename[1]}-security", f"{codename[1]}/updates"):
            mirrors.setdefault("security", url)
    return mirrors if "main" in mirrors else {}


def apt_sources(suite: str) -> str:
    """A deb822 file that makes a host of release ``suite`` use this machine's mirror; empty where it has none."""
    mirrors = debian_mirrors()
    stanza = "Types: deb\nURIs: {url}\nSuites: {suites}\nComponents: main\nSigned-By: {keys}\n"
    parts = []
    if "main" in mirrors:
        parts.append(stanza.format(url=mirrors["main"], suites=f"{suite} {suite}-updates", keys=ARCHIVE_KEYS))
    if "security" in mirrors:
        parts.append(stanza.format(url=mirrors["security"], suites=f"{suite}-security", keys=ARCHIVE_KEYS))
    return "\n".join(parts)


def apt_settings() -> str:
    """This machine's apt settings on how to fetch (proxy, date checks), as a file for a host's apt.conf.d."""
    if not APT.is_dir():
        return ""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    wanted = re.compile(r'^Acquire::(?:Check-Valid-Until|Check-Date|https?::[A-Za-z:-]+) "[^"]+";$', re.MULTILINE)
    return "".join(f"{line}\n" for line in wanted.findall(dump))


def allow_watchers(hosts: int) -> None:
    """Let the systemd of so many hosts watch files, of which the kernel lets one user's programs do little by default.

    Raises:
        TestbedError: this user may not change that; the message says what to do.
    """
    wanted = hosts * WATCHERS_OF_HOST
    if not WATCHERS.exists() or int(WATCHERS.read_text()) >= 128 + wanted:
        return
    try:
        WATCHERS.write_text(str(128 + wanted))
    except OSError as error:
        advice = f"sysctl fs.inotify.max_user_instances={128 + wanted}"
        raise TestbedError(f"{hosts} hosts need more inotify instances ({error}): run as root, {advice}") from error
