"""Jobs that say which release did them."""

import os
import pathlib
import time

from celery import Celery

app = Celery("tasks", broker="redis://127.0.0.1:6379/0")
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1)


@app.task
def note(name, seconds):
    """Take some seconds, then leave a file with the number of the release that did the job."""
    time.sleep(seconds)
    (pathlib.Path.home() / f"job-{name}").write_text(os.environ["WSGI_RELEASE"])
