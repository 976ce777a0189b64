# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that a server shows, in the words of explain."""

from __future__ import annotations

import ssl

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.wire import fetch
from ansible_collections.webops.wsgi.plugins.module_utils.explain.model import Certificate
from ansible_collections.webops.wsgi.plugins.module_utils.host.tls import distrusting


def certificate(found: model.Certificate, distrust: str = "") -> Certificate:
    """What is said of a certificate."""
    return Certificate(
        names=found.names,
        issuer=found.issuer,
        begins=found.not_before.timestamp(),
        ends=found.not_after.timestamp(),
        self_signed=found.issuer_name == found.subject_name,
        fingerprint=found.fingerprint,
        distrust=distrust,
    )


def shown(address: str, port: int, name: str, distrust: str = "") -> Certificate:
    """The certificate that a server shows to a client that wants a name."""
    try:
        der = fetch(address, port, name, distrusting())
        return certificate(model.parse(ssl.DER_cert_to_PEM_cert(der)), distrust)
    except (OSError, ValueError, model.CertificateError) as error:
        return Certificate(error=str(error) or type(error).__name__)
