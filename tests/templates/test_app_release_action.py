"""What a person sees of releases that failed."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.webops.wsgi.plugins.action.app_release import ReportedError

MESSAGE = 'app "api": ValueError: x\n  app.py:1 in f\nrelease 2 was not activated\napp "reports": KeyError: \'y\''


def test_the_report_is_in_the_error_and_not_again_in_the_result() -> None:
    error = ReportedError(MESSAGE, result={"changed": False, "msg": MESSAGE})
    assert str(error) == MESSAGE
    # ansible-core before 2.19 asks the error for nothing else, and shows the result alone.
    newer = hasattr(AnsibleActionFail, "result_contribution")
    asked = error.result_contribution if newer else error.result
    assert (asked["failed"], asked["changed"]) == (True, False)
    assert asked["msg"] == ("failed: api, reports" if newer else MESSAGE)
