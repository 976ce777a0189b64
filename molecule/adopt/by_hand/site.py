"""A Django project in one module: settings, and a page that reads a database of SQLite."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from django.http import HttpRequest, JsonResponse
from django.urls import path

BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_of"
INSTALLED_APPS = ["django.contrib.staticfiles"]
MIDDLEWARE: list[str] = []
STATIC_URL, STATIC_ROOT = "/static/", BASE_DIR / "collected"


def index(_request: HttpRequest) -> JsonResponse:
    """What the environment says, and how many notes there are."""
    with sqlite3.connect(BASE_DIR / "db.sqlite3") as database:
        (count,) = database.execute("SELECT count(*) FROM notes").fetchone()
    return JsonResponse({"app": os.environ["APP"], "known": SECRET_KEY == "horse", "notes": count})


urlpatterns = [path("", index)]
