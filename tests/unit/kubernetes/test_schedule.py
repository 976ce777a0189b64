"""Times of systemd's timers, in cron's words."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.schedule import ScheduleError, cron


@pytest.mark.parametrize(
    ("calendar", "fields"),
    [
        ("daily", "0 0 * * *"),
        ("Weekly", "0 0 * * 1"),
        ("*-*-* 03:00:00", "0 3 * * *"),
        ("03:30", "30 3 * * *"),
        ("Mon..Fri 06:30", "30 6 * * 1-5"),
        ("Sat,Sun *-*-* 08:00", "0 8 * * 6,7"),
        ("*-*-01 00:15:00", "15 0 1 * *"),
        ("*-1,7-1", "0 0 1 1,7 *"),
        ("*-*-* *:0/15", "0-59/15 * * * *"),
        ("*:*/5", "*/5 * * * *"),
        ("*-*-* 8..18:00", "0 8-18 * * *"),
    ],
)
def test_times_that_both_know(calendar: str, fields: str) -> None:
    assert cron(calendar) == fields


@pytest.mark.parametrize(
    ("calendar", "why"),
    [
        ("*-*-* 03:00:30", "seconds"),
        ("2027-01-01 00:00", "years"),
        ("Mon *-*-1 00:00", "either"),
        ("*-*~1", "end of a month"),
        ("Sat..Mon 08:00", "end of the week"),
        ("25:00", "outside 0 to 23"),
        ("Mon 08:00 Europe/Berlin", "no part of a time"),
        ("Someday 08:00", "no day of the week"),
    ],
)
def test_what_cron_cannot_say(calendar: str, why: str) -> None:
    with pytest.raises(ScheduleError, match=why):
        cron(calendar)
