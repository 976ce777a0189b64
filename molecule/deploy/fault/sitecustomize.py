"""Ends the process that activates releases, by kill -9, right before one of its effects.

Python runs this file because the tests put its directory on the path of an interpreter of their own, on their hosts.
/run/fault/kill-at has the number of the effect, 0 for none; /run/fault/seen gets how many there were.
"""

import atexit
import os
import signal
import sys

EFFECTS = frozenset(
    {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "subprocess.Popen"}
)
MODULE = "ansible_collections.webops.wsgi.plugins.module_utils.release_run"

seen = 0
limit = None  # until the module is there


def hook(event, arguments):
    """Count effects once the module is being loaded."""
    global seen, limit
    if limit is None:
        if event == "import" and arguments[0] == MODULE:
            with open("/run/fault/kill-at") as stream:
                limit = int(stream.read())
            atexit.register(tell)
    elif event in EFFECTS:
        seen += 1
        if seen == limit:
            os.kill(os.getpid(), signal.SIGKILL)


def tell():
    """Leave the count behind."""
    with open("/run/fault/seen", "w") as stream:
        stream.write(str(seen))


sys.addaudithook(hook)
