# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of systemd's timers as cron writes them, for CronJobs; what cron cannot say is refused."""

from __future__ import annotations

import re

WORDS = {
    "minutely": "* * * * *",
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "quarterly": "0 0 1 1,4,7,10 *",
    "semiannually": "0 0 1 1,7 *",
    "yearly": "0 0 1 1 *",
    "annually": "0 0 1 1 *",
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(r"(?P<from>[0-9]+|\*)(?:\.\.(?P<to>[0-9]+))?(?:/(?P<step>[0-9]+))?")


class ScheduleError(Exception):
    """A time that cron cannot say; the message says why."""


def cron(calendar: str) -> str:
    """The five fields of a CronJob.

    Args:
        calendar: When, in the words of systemd.time(7).

    Raises:
        ScheduleError: Cron has no words for it.
    """
    if calendar.lower() in WORDS:
        return WORDS[calendar.lower()]
    words = calendar.split()
    days = _days(words.pop(0)) if words and words[0][:1].isalpha() else "*"
    date = words.pop(0) if words and "-" in words[0] else "*-*-*"
    time = words.pop(0) if words and ":" in words[0] else "00:00"
    if words:
        raise ScheduleError(f"{' '.join(words)} is no part of a time that a CronJob takes")
    _year, month, day = _dates(date)
    hour, minute = _times(time)
    if days != "*" and day != "*":
        raise ScheduleError("a CronJob takes a day of the week or one of the month, and with both runs on either")
    return f"{minute} {hour} {day} {month} {days}"


def _dates(date: str) -> tuple[str, str, str]:
    parts = date.split("-")
    if "~" in date:
        raise ScheduleError("a CronJob cannot count from the end of a month")
    if len(parts) == 2:
        parts = ["*", *parts]
    if len(parts) != 3 or parts[0] != "*":
        raise ScheduleError("a CronJob has no years")
    return parts[0], _field(parts[1], 1, 12), _field(parts[2], 1, 31)


def _times(time: str) -> tuple[str, str]:
    parts = time.split(":")
    if len(parts) == 3 and parts[2] not in ("0", "00"):
        raise ScheduleError("a CronJob has no seconds")
    if len(parts) not in (2, 3):
        raise ScheduleError(f"{time} is no time of day")
    return _field(parts[0], 0, 23), _field(parts[1], 0, 59)


def _field(text: str, least: int, most: int) -> str:
    return ",".join(_part(part, least, most) for part in text.split(","))


def _part(text: str, least: int, most: int) -> str:
    found = _PART.fullmatch(text)
    if not found:
        raise ScheduleError(f"{text} is no number, list, range or step")
    start, end, step = found["from"], found["to"], found["step"]
    for number in (start, end):
        if number and number != "*" and not least <= int(number) <= most:
            raise ScheduleError(f"{number} is outside {least} to {most}")
    if start == "*":
        return f"*/{step}" if step else "*"
    begin = str(int(start))
    if step:
        return f"{begin}-{int(end) if end else most}/{int(step)}"
    return f"{begin}-{int(end)}" if end else begin


def _days(text: str) -> str:
    return ",".join(_day_range(part) for part in text.rstrip(",").split(","))


def _day_range(text: str) -> str:
    first, _dots, last = text.partition("..")
    numbers = [_day(day) for day in (first, last) if day]
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        raise ScheduleError(f"{text} goes over the end of the week")
    return "-".join(map(str, numbers))


def _day(text: str) -> int:
    """The day's number, Monday 1 and Sunday 7, which cron takes."""
    short = text.lower()[:3]
    if short not in DAYS:
        raise ScheduleError(f"{text} is no day of the week")
    return DAYS.index(short) + 1
