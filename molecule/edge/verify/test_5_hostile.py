"""Requests that mean harm: none reaches a file or an app that it should not. They are listed in data/hostile.yml."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path

import yaml

CORPUS = yaml.safe_load((Path(__file__).parents[1] / "data/hostile.yml").read_text(encoding="utf-8"))["hostile"]
RUN = f"hostile-{time.time_ns()}-"  # begins the ids of this run's requests
REFUSED = [400, 403, 404]
# Lines of /etc/passwd, of a file that begins with a dot, of the app's source, and of nginx's own page for the host.
SECRETS = ("root:x:0", "SECRET=1", "from flask import", "wsgi.internal")

SEND = """
import base64, concurrent.futures, json, socket, ssl, sys
host, root = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
def send(line):
    told, answer = json.loads(line), b""
    try:
        wire = socket.create_connection((host, 80 if told["plain"] else 443), timeout=10)
        wire = wire if told["plain"] else context.wrap_socket(wire, server_hostname=host)
        with wire:
            wire.sendall(base64.b64decode(told["bytes"]))
            while piece := wire.recv(65536):
                answer += piece
                if answer.startswith(b"HTTP/1.1 101"):
                    break
    except OSError:
        pass
    return json.dumps(base64.b64encode(answer).decode())
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(*pool.map(send, DATA.splitlines()), sep="\\n")
"""


def test_there_are_many():
    assert len(CORPUS) >= 60


def test_none_gets_through(host, client, python):
    host_name = host.domain("probe")
    sent = [_bytes(entry, host_name, number) for number, entry in enumerate(CORPUS)]
    lines = [
        json.dumps({"plain": entry.get("plain", False), "bytes": base64.b64encode(data).decode()})
        for entry, data in zip(CORPUS, sent, strict=True)
    ]
    script = f"DATA = {chr(10).join(lines)!r}\n{SEND}"
    answers = [base64.b64decode(json.loads(line)) for line in python(script, host_name, client.root).splitlines()]
    assert len(answers) == len(CORPUS)
    seen = _seen_by_the_app(host)
    wrong = [
        f"{entry.get('get') or entry['raw'][:60]!r} {entry.get('headers', '')}: {problem}"
        for number, (entry, answer) in enumerate(zip(CORPUS, answers, strict=True))
        for problem in _problems(entry, answer.decode("latin-1"), number in seen)
    ]
    assert not wrong, "\n".join(wrong)


def _bytes(entry, host, number):
    """The request as it goes over the wire. Its id tells in the log whether the app saw it."""
    if "raw" in entry:
        head, end, body = entry["raw"].partition("\r\n\r\n")
        text = f"{head}\r\nConnection: close\r\nX-Request-ID: {RUN}{number}{end}{body}"
    else:
        own_host = any(line.startswith("Host:") for line in entry.get("headers", []))
        lines = [f"GET {entry['get']} HTTP/1.1", *([] if own_host else ["Host: {host}"])]
        lines += [] if any(line.startswith("X-Request-ID") for line in entry.get("headers", [])) else [_id(number)]
        lines += entry.get("headers", [])
        lines += [] if any(line.startswith("Connection") for line in lines) else ["Connection: close"]
        text = "\r\n".join([*lines, "", ""])
    text = re.sub(r"\{(\d+) (\w)\}", lambda found: found[2] * int(found[1]), text.replace("{host}", host))
    return text.encode("latin-1")


def _id(number):
    return f"X-Request-ID: {RUN}{number}"


def _seen_by_the_app(host):
    """Numbers of the requests that were passed on to an app, as the access logs have them."""
    time.sleep(1.2)  # nginx writes what it has collected once a second
    lines = host.run("cd /var/log/nginx && tail -qn 400 probe.access.log below.access.log").splitlines()
    log = [json.loads(line) for line in lines]
    passed = [line["http.request.id"] for line in log if line["nginx.upstream.status"]]
    return {int(name.removeprefix(RUN)) for name in passed if name.startswith(RUN)}


def _problems(entry, answer, seen):
    status = int(answer.split(" ", 2)[1]) if answer.startswith("HTTP/1.") else 0
    if answer and not answer.startswith("HTTP/1."):
        yield f"something else than HTTP: {answer[:60]!r}"
    elif status not in entry.get("answer", REFUSED):
        yield f"answered {status}"
    if seen and not entry.get("app"):
        yield "the app saw it"
    for text in (*SECRETS, *([entry["without"]] if "without" in entry else [])):
        if text in answer:
            yield f"the answer has {text!r}"
