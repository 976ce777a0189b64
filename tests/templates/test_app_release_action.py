"""What a person sees of releases that failed."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.action.app_release import ReportedError

MESSAGE = 'app "api": ValueError: x\n  app.py:1 in f\nrelease 2 was not activated\napp "reports": KeyError: \'y\''


@pytest.mark.skipif(
    not hasattr(ReportedError.__base__, "result_contribution"),
    reason="before ansible-core 2.19 the result is all there is",
)
def test_the_report_is_in_the_error_and_not_again_in_the_result() -> None:
    error = ReportedError(MESSAGE, result={"changed": False, "msg": MESSAGE})
    assert str(error) == MESSAGE
    assert error.result_contribution == {"changed": False, "failed": True, "msg": "failed: api, reports"}
