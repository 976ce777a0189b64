"""Ends the process of a module of Ansible, by kill -9, right before one of its effects.

Python runs this file because the tests put its directory on the path of an interpreter of their own, on their hosts.
/run/fault/module names what only the modules in question import, /run/fault/kill-at has the number of the effect, 0
for none, or a pattern for what it is; /run/fault/seen gets how many there were, /run/fault/killed the one it was.
"""

import atexit
import os
import re
import signal
import sys

EFFECTS = frozenset(
    {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "subprocess.Popen"}
)


def read(name):
    """What a test has left for this file."""
    with open(f"/run/fault/{name}") as stream:
        return stream.read().strip()


def write(name, text):
    """Leave something for a test."""
    with open(f"/run/fault/{name}", "w") as stream:
        stream.write(text)


module = read("module")
seen = 0
kill_at = None  # until the module is there


def hook(event, arguments):
    """Count effects once the module is being loaded."""
    global seen, kill_at
    if kill_at is None:
        if event == "import" and arguments[0] == module:
            kill_at, seen = read("kill-at"), int(read("seen"))
            atexit.register(lambda: write("seen", str(seen)))
    elif event in EFFECTS:
        seen += 1
        effect = " ".join(map(str, (event, *arguments)))
        if seen == int(kill_at) if kill_at.isdigit() else re.search(kill_at, effect):
            write("killed", effect)
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
