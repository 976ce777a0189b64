"""What a scanner finds at a site with the defaults: Mozilla's "intermediate", and keys that are nobody else's.

No finding is let pass: the scanner knows the authority, and the guideline demands no OCSP. The guideline that comes
with sslyze is 5.7; the one we follow, 5.8, asks for more on Debian 13 and for nothing less.
"""

from __future__ import annotations

import dataclasses

import pytest
import sslyze
from sslyze.mozilla_tls_profile import tls_config_checker as mozilla


@pytest.fixture(scope="module")
def scans(hosts, authority_root, tmp_path_factory):
    """Everything sslyze looks at, of a default site on each host."""
    root = tmp_path_factory.mktemp("scan") / "root.pem"
    root.write_text(authority_root, encoding="utf-8")
    trusted = sslyze.CertificateInfoExtraArgument(custom_ca_file=root)
    extra = sslyze.ScanCommandsExtraArguments(certificate_info=trusted)
    places = [sslyze.ServerNetworkLocation(host.domain("grow"), ip_address=host.ipv4) for host in hosts]
    scanner = sslyze.Scanner()
    scanner.queue_scans([sslyze.ServerScanRequest(place, scan_commands_extra_arguments=extra) for place in places])
    return list(scanner.get_results())


def test_mozilla_intermediate(hosts, scans):
    assert len(scans) == len(hosts)
    wanted = mozilla.MozillaTlsConfiguration.get(mozilla.TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
    for scan in scans:
        issues = {}
        try:
            mozilla.check_server_against_tls_configuration(scan, wanted)
        except mozilla.ServerNotCompliantWithTlsConfiguration as error:
            issues = error.issues
        assert issues == {}, f"{scan.server_location.hostname}: {issues}"


def test_nothing_old_and_nothing_half_done(scans):
    for scan in scans:
        found = scan.scan_result
        failed = [field.name for field in dataclasses.fields(found) if getattr(found, field.name).error_reason]
        assert failed == [], "the scanner could not look at everything"
        suites = {name: getattr(found, f"{name}_cipher_suites").result for name in ("tls_1_2", "tls_1_3")}
        assert all(suite.is_tls_version_supported for suite in suites.values()), "a version is missing"
        for suite in suites["tls_1_2"].accepted_cipher_suites:
            assert suite.cipher_suite.name.startswith("TLS_ECDHE_"), "no forward secrecy"
        assert not found.tls_1_3_early_data.result.supports_early_data, "requests that can be replayed"
        assert not found.session_renegotiation.result.is_vulnerable_to_client_renegotiation_dos
        deployment = found.certificate_info.result.certificate_deployments[0]
        assert deployment.verified_chain_has_sha1_signature is False
        assert deployment.received_chain_has_valid_order
        assert not deployment.received_chain_contains_anchor_certificate, "the root is sent for nothing"
        assert found.http_headers.result.strict_transport_security_header.max_age >= 63072000


def test_keys_are_root_s_alone(host):
    folders = "/etc/letsencrypt /etc/nginx/tls.d"
    names = "-name 'privkey*.pem' -o -name private_key.json"
    keys = host.run(f"find {folders} -type f \\( {names} \\) -printf '%m %u:%g %p\\n'").splitlines()
    assert len(keys) > 3, keys
    assert [key for key in keys if not key.startswith(("600 root:root ", "400 root:root "))] == []
