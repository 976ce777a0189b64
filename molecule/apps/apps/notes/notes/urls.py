"""One page: it has a note for each visit."""

from django.conf import settings
from django.shortcuts import render
from django.urls import path

from notes.models import Note


def index(request):
    """Keep the visit, and show how many there were."""
    Note.objects.create(text=request.path)
    return render(request, "notes.html", {"count": Note.objects.count(), "title": settings.TITLE})


urlpatterns = [path("", index)]
