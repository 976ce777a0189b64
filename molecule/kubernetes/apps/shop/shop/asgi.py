"""Django, and a WebSocket that gives back what it gets, which Django itself has none of."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django = get_asgi_application()


async def talk(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{os.environ.get('RELEASE', '')} {message['text']}"})


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await talk(receive, send)
    else:
        await django(scope, receive, send)
