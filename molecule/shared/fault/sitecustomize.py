"""Ends the process of a module of Ansible, by kill -9, right before one of its effects.

Python runs this file because the tests put its directory on the path of an interpreter of their own, on their hosts.
/run/fault/module names what only the modules in question import, /run/fault/kill-at has the number of the effect, 0
for none; /run/fault/seen gets how many there were in all runs since it was emptied. /run/fault/killed is there after.
"""

import atexit
import os
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
limit = None  # until the module is there


def hook(event, arguments):
    """Count effects once the module is being loaded."""
    global seen, limit
    if limit is None:
        if event == "import" and arguments[0] == module:
            limit, seen = int(read("kill-at")), int(read("seen"))
            atexit.register(lambda: write("seen", str(seen)))
    elif event in EFFECTS:
        seen += 1
        if seen == limit:
            write("killed", str(seen))
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
