"""What the server runs."""

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notes.settings")
application = get_wsgi_application()

# Each host of the scenario has a database of its own, and before_activate migrates that of the first one alone.
call_command("migrate", interactive=False, verbosity=0)
connections.close_all()
