"""What the clients of a load ask for, and what Django sees of a request."""

import asyncio
import os

from django.http import HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import path

RELEASE = os.environ.get("RELEASE", "")


async def index(_request):
    return JsonResponse({"release": RELEASE, "style": static("shop.css")})


async def slow(_request):
    await asyncio.sleep(1)
    return JsonResponse({"release": RELEASE})


async def echo(request):
    return JsonResponse({"bytes": len(request.body)})


async def seen(request):
    return JsonResponse(
        {
            "address": request.META["REMOTE_ADDR"],
            "scheme": request.scheme,
            "host": request.get_host(),
            "secure": request.is_secure(),
            "url": request.build_absolute_uri(),
        }
    )


async def healthz(_request):
    return HttpResponse("ok")


urlpatterns = [
    path("", index),
    path("slow", slow),
    path("echo", echo),
    path("seen", seen),
    path("healthz", healthz),
]
