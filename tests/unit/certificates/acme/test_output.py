# SPDX-License-Identifier: GPL-3.0-or-later
"""Why certbot has failed, from what it prints."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import command
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import output as certbot_output
from certificate_stand_ins import ASK, NO_CA

SSL_ERROR = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
requests.exceptions.SSLError: HTTPSConnectionPool(host='localhost', port=14000): Max retries exceeded with url: /dir \
(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: \
self-signed certificate (_ssl.c:1029)')))
{ASK}
"""


LATE = SSL_ERROR.replace("self-signed certificate", "certificate has expired")
NO_NAME = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='no.test', port=443): Max retries exceeded with url: /d \
(Caused by NameResolutionError("<urllib3.connection.HTTPSConnection object at 0x7f05abd138c0>: Failed to resolve \
'no.test' ([Errno -2] Name or service not known)"))
{ASK}
"""


CHALLENGES = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for a.example.test and b.example.test

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: a.example.test
  Type:   unauthorized
  Detail: Non-200 status code from HTTP:
  http://a.example.test/x returned 404

  Domain: b.example.test
  Type:   dns
  Detail: no such host

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
{ASK}
"""


CHALLENGES_SINCE_5_3 = CHALLENGES.replace("Domain:", "Identifier:")
NONCE = f"""Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
JWS has an invalid anti-replay nonce: aVOK0y
{ASK}
"""


class TestCause:
    @pytest.mark.parametrize(
        ("output", "expected", "unreachable"),
        [
            (NO_CA, "the CA at ca.example.test cannot be reached: Connection refused", True),
            (
                SSL_ERROR,
                "the CA at localhost:14000 cannot be reached: certificate verify failed: self-signed certificate; "
                "name its own authority in certbot_ca_bundle",
                True,
            ),
            (
                LATE,
                "the CA at localhost:14000 cannot be reached: certificate verify failed: certificate has expired; "
                "is this host's clock right?",
                True,
            ),
            (NO_NAME, "the CA at no.test:443 cannot be reached: Failed to resolve 'no.test'", True),
            (
                CHALLENGES,
                "a.example.test: Non-200 status code from HTTP: http://a.example.test/x returned 404 (unauthorized); "
                "b.example.test: no such host (dns)",
                False,
            ),
            (
                CHALLENGES_SINCE_5_3,
                "a.example.test: Non-200 status code from HTTP: http://a.example.test/x returned 404 (unauthorized); "
                "b.example.test: no such host (dns)",
                False,
            ),
            (NONCE, "JWS has an invalid anti-replay nonce: aVOK0y", False),
            (
                "An unexpected error occurred:\nacme.errors.ClientError: <Response [503]>\n" + ASK,
                "the CA answered 503 without a reason, as a proxy in front of one does that is down",
                False,
            ),
            ("Saving debug log to /x\nYou must agree to the terms\n", "You must agree to the terms", False),
            ("", "certbot said nothing; see /var/log/letsencrypt/letsencrypt.log", False),
        ],
    )
    def test_of_a_failure(self, output: str, expected: str, unreachable: bool) -> None:
        assert certbot_output.cause(output) == expected
        assert certbot_output.unreachable(output) is unreachable

    def test_answer_that_debian_12_masks(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        log = tmp_path / "letsencrypt.log"
        log.write_text(
            "acme.messages.Error: urn:ietf:params:acme:error:badNonce :: The client sent :: JWS has an invalid one\n\n"
            "acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: There were too many requests "
            ":: too many failed authorizations recently\n\nDuring handling of the above exception\n"
            "AttributeError: can't set attribute\n"
        )
        said = f"Saving debug log to {log}\nAn unexpected error occurred:\nAttributeError: can't set attribute\n{ASK}\n"
        completed = command.run_certbot(replace(host, run=lambda *_: store.Completed(1, said)), ["certbot"])
        assert certbot_output.cause(completed.output) == "too many failed authorizations recently (rateLimited)"
