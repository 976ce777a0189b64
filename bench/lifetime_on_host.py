"""Runs on the host of ``lifetime.py``: lets days go by, starts the timer's unit, looks at what is served.

Arguments: seconds of a day, number of days, domains. Prints what was seen of each domain (JSON).
"""

from __future__ import annotations

import datetime
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from cryptography import x509

LOOK_EVERY = 0.3  # seconds
day, days, domains = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
over = threading.Event()


@dataclass
class Seen:
    """What was seen of one domain.

    Attributes:
        serials: Serial numbers of its certificates.
        least: Percent of a certificate's life that were left when it was least.
        looks: How often was looked.
        failed: How often nothing was served.
    """

    serials: set[int] = field(default_factory=set)
    least: float = 100.0
    looks: int = 0
    failed: int = 0


seen = {name: Seen() for name in domains}


def moment(certificate: x509.Certificate, name: str) -> datetime.datetime:
    """A time of a certificate; cryptography before 42 has it without a time zone."""
    aware: datetime.datetime | None = getattr(certificate, f"{name}_utc", None)
    if aware:
        return aware
    naive: datetime.datetime = getattr(certificate, name)
    return naive.replace(tzinfo=datetime.UTC)


def look(name: str) -> None:
    """Look at the certificate that is served for a name now."""
    about = seen[name]
    about.looks += 1
    try:
        with (
            socket.create_connection(("127.0.0.1", 443), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except OSError:
        about.failed += 1
        return
    certificate = x509.load_der_x509_certificate(der or b"")
    begins, ends = moment(certificate, "not_valid_before"), moment(certificate, "not_valid_after")
    left = (ends - datetime.datetime.now(datetime.UTC)) / (ends - begins) * 100
    about.least = min(about.least, left)
    about.serials.add(certificate.serial_number)


def looking() -> None:
    """Look until the days are over."""
    while not over.is_set():
        for name in domains:
            look(name)
        over.wait(LOOK_EVERY)


def last_words() -> str:
    """What the timer's unit has said at last."""
    shown = ["journalctl", "--unit=certbot.service", "--lines=25", "--output=cat"]
    return subprocess.run(shown, capture_output=True, text=True).stdout


def renewing() -> tuple[int, list[str]]:
    """Start the timer's unit every quarter of a day, up to a quarter late, as the timer does.

    Return how many runs there were, and what those have said that failed.
    """
    start, failures, chance = time.monotonic(), [], random.Random(1)
    for quarter in range(4 * days):
        wait = start + (quarter + chance.random()) * day / 4 - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        # Two runs may follow each other at once here, and systemd starts no unit more than five times in ten seconds.
        subprocess.run(["systemctl", "reset-failed", "certbot.service"], capture_output=True)
        if subprocess.run(["systemctl", "start", "certbot.service"], capture_output=True).returncode:
            failures.append(last_words())
    time.sleep(max(0.0, start + days * day - time.monotonic()))
    return 4 * days, failures


watcher = threading.Thread(target=looking)
watcher.start()
runs, failures = renewing()
over.set()
watcher.join()
print(
    json.dumps(
        [
            {
                "issued": len(about.serials),
                "least_left_percent": round(about.least, 1),
                "looks": about.looks,
                "failed": about.failed,
                "runs": runs,
                "runs_failed": failures,
            }
            for about in seen.values()
        ]
    )
)
