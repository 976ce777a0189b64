#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: app_certificates
short_description: Certificates of all apps of a host, issued, served and renewed
version_added: "0.1.0"
description:
  - Every site of nginx names O(links)C(/<app>/fullchain.pem) and C(privkey.pem). This module decides what
    O(links)C(/<app>), a symbolic link, leads to, for all apps of a host in one call.
  - It works in two phases around the start of nginx, so that the first run needs neither DNS nor a certificate
    authority. With O(ensure=placeholder) every file that nginx will name is there. With O(ensure=issued) certificates
    are asked for where the one on disk is not the one that is wanted, put in service, and looked at on the wire.
  - Before an authority is asked, the path of its challenge is fetched through every domain as it would do. Domains that
    fail are named with what was seen, and no attempt is spent on them. What was asked is noted in a ledger on the host,
    so that a broken set-up does not use up what the authority allows.
  - A certificate is identified by its names, its key type and its certificate authority. When these are as wanted, and
    less than five sixths of its life are over, the authority is not asked. Renewal is the job of certbot's timer.
  - When no certificate can be issued, the site keeps the one it has, the other apps go on, and the module fails at
    the end, naming the app, its domains and the cause.
options:
  ensure:
    description:
      - V(placeholder) makes the files that nginx names. A certificate of C(certbot) that is not there yet is stood in
        for by one that is signed by itself, or taken over from another name under which C(certbot) has just that one.
        It needs no nginx and asks no authority.
      - V(issued) runs C(certbot) where needed, puts the result in service, compares for each domain the certificate
        on the wire with the one on disk (and reloads nginx when they differ), and removes what belongs to apps that
        are gone.
    type: str
    choices: [placeholder, issued]
    required: true
  apps:
    description:
      - The apps of the host, present and absent. Other keys than these are not sent to the host.
      - Required on the host; the action plugin takes those of the fact C(__wsgi_apps) when it is given none.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the app; also the name of its certificate in C(certbot).
        type: str
        required: true
      state:
        description: With V(absent) the certificate is removed, once nginx does not name it any more.
        type: str
        choices: [present, absent]
        default: present
      domains:
        description: All names the certificate is for, the main one first.
        type: list
        elements: str
        default: []
      tls:
        description: Where the certificate comes from.
        type: str
        choices: [letsencrypt, selfsigned, provided, "off"]
        default: letsencrypt
      certificate:
        description:
          - The certificate of an app with C(tls=provided); files on the controller, which may be encrypted with
            ansible-vault.
        type: dict
        suboptions:
          cert:
            description: PEM file with the site's certificate first, then each issuer in order.
            type: path
            required: true
          key:
            description: PEM file with the private key, without a passphrase.
            type: path
            required: true
      certbot:
        description: How the certificate of an app with C(tls=letsencrypt) is asked for.
        type: dict
        default: {}
        suboptions:
          acme_directory:
            description: URL of the ACME directory of the certificate authority.
            type: str
            default: https://acme-v02.api.letsencrypt.org/directory
          staging:
            description: Use the staging directory of Let's Encrypt instead of O(apps[].certbot.acme_directory).
            type: bool
            default: false
          email:
            description: Address of the account. Without one the account has none.
            type: str
            default: ""
          key_type:
            description: Type of the private key.
            type: str
            choices: [ecdsa, rsa]
            default: ecdsa
          profile:
            description: Name of the profile to ask for, which the authority must offer. Empty for its default.
            type: str
            default: ""
          dns_plugin:
            description:
              - Plugin of C(certbot) that answers the challenge in DNS. Empty for http-01, answered from O(webroot).
            type: str
            default: ""
          dns_propagation:
            description: Seconds from the answer in DNS until the authority looks. V(0) for the plugin's own.
            type: int
            default: 0
          eab_kid:
            description: Name of the key with which the authority binds a new account to one that you have there.
            type: str
            default: ""
          eab_hmac_key:
            description: The key itself, in base64url.
            type: str
            default: ""
          fallbacks:
            description: Other authorities, in the order in which they are asked when one refuses or cannot be reached.
            type: list
            elements: dict
            default: []
            suboptions:
              acme_directory:
                description: URL of its ACME directory.
                type: str
                required: true
              eab_kid:
                description: As O(apps[].certbot.eab_kid).
                type: str
                default: ""
              eab_hmac_key:
                description: As O(apps[].certbot.eab_hmac_key).
                type: str
                default: ""
              ca_bundle:
                description: As O(ca_bundle), for this authority.
                type: str
                default: ""
          preflight:
            description: Whether the path of the challenge is fetched through each domain before the authority is asked.
            type: bool
            default: true
          preflight_holds_back:
            description:
              - What a domain holds back that cannot be reached. With V(app) its app gets no certificate in this run,
                with V(domain) the app gets one for its other domains, with V(host) no app of the host gets one.
            type: str
            choices: [domain, app, host]
            default: app
  provided:
    description:
      - Contents of the files named in O(apps[].certificate), by app. Filled in by the action plugin; not for use by
        people.
    type: dict
    default: {}
  credentials:
    description:
      - Contents of the files that O(apps[].certbot.dns_plugin) needs, by app. Filled in by the action plugin; not for
        use by people.
    type: dict
    default: {}
  files:
    description: Small files around C(certbot), brought to their content when an app uses C(certbot).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      content:
        description: Content. When empty the file must not exist.
        type: str
        default: ""
      template:
        description: Template to render on the controller, instead of O(files[].content).
        type: str
        default: ""
      mode:
        description: Permissions, in octal.
        type: str
        default: "0644"
      always:
        description: Bring it to its content whether an app uses C(certbot) or not.
        type: bool
        default: false
  timer:
    description: Systemd unit that renews, enabled and started when an app uses C(certbot). Empty to leave it alone.
    type: str
    default: ""
  watch:
    description: Systemd timer among O(files) that looks at model, enabled and started in any case.
    type: str
    default: ""
  webroot:
    description: Directory from which nginx answers C(/.well-known/acme-challenge/).
    type: path
    default: /var/www/acme
  renew_left:
    description:
      - Per cent of a certificate's life that is left when C(certbot) renews it. A C(certbot) that knows ARI (4.1 and
        newer) renews earlier when the authority says so.
    type: int
    default: 33
  agree_tos:
    description: Whether you agree to the terms of service of the certificate authorities.
    type: bool
    default: true
  ca_bundle:
    description: PEM file on the host with the authorities that C(certbot) trusts when it talks to the ACME directory.
    type: str
    default: ""
  resolver:
    description:
      - DNS servers that the preflight asks for the addresses of domains, as C(address) or C(address:port), separated by
        spaces. Empty for those of the host. The host's C(/etc/hosts) is passed over.
    type: str
    default: ""
  max_failures:
    description: How often a domain may fail within an hour before the authority is not asked for it. V(0) for any.
    type: int
    default: 3
  max_certificates:
    description:
      - How many certificates for the same set of names are asked for within 7 days. V(0) for any.
    type: int
    default: 4
  certbot:
    description: The program C(certbot).
    type: str
    default: certbot
  links:
    description: Directory of the symbolic links that nginx names.
    type: path
    default: /etc/nginx/tls
  store:
    description: Directory of the pairs that are made here or provided.
    type: path
    default: /etc/nginx/tls.d
  letsencrypt:
    description: Configuration directory of C(certbot).
    type: path
    default: /etc/letsencrypt
  address:
    description: Address at which the host itself reaches nginx.
    type: str
    default: 127.0.0.1
  https_port:
    description: Port at which nginx serves HTTPS.
    type: int
    default: 443
  reload_timeout:
    description: Seconds until a reload of nginx must show on the wire.
    type: float
    default: 10.0
  nginx_reloads:
    description:
      - In check mode, whether nginx would be reloaded by an earlier task of the same play, for example because a site
        changes. Then no further reload is predicted for a certificate that changes in place.
    type: bool
    default: false
  options:
    description: Options that a role keeps together; those of the task itself win.
    type: dict
    default: {}
  in_place:
    description:
      - What M(webops.wsgi.host_state) said of the phases, by O(ensure). The action plugin does not ask the host where
        that is what the options come to.
    type: dict
    default: {}
attributes:
  check_mode:
    description:
      - Can run in check mode and predicts exactly what the run changes, also on a host without nginx and certbot.
    support: full
  diff_mode:
    description: Shows the certificates by app, kind and names, and the content of O(files). Never a key.
    support: full
  idempotency:
    description: Changes nothing, and asks no authority, when disk and wire are as wanted.
    support: full
requirements:
  - python3-cryptography (38 or newer) on the host
author:
  - webops.wsgi contributors (@webops)
"""

EXAMPLES = r"""
- name: Have the files that nginx names
  webops.wsgi.app_certificates:
    ensure: placeholder
    apps: "{{ __wsgi_apps }}"

- name: Have every certificate issued, served and renewed
  webops.wsgi.app_certificates:
    ensure: issued
    apps: "{{ __wsgi_apps }}"
    timer: certbot.timer

- name: A site with a certificate of the host's own CA
  webops.wsgi.app_certificates:
    ensure: placeholder
    apps:
      - name: intranet
        domains: [intranet.example.com]
        tls: selfsigned
"""

RETURN = r"""
model:
  description: What nginx finds behind the link of each app that is served over TLS. In check mode, what it finds now.
  returned: always
  type: dict
  sample:
    api:
      kind: letsencrypt
      domains: [api.example.com]
      issuer: Let's Encrypt E7
      not_after: "2026-03-01T10:00:00Z"
      fingerprint: 0f3c…
actions:
  description: What was, or in check mode would be, done; one line each.
  returned: always
  type: list
  elements: str
  sample: ["api: placeholder certificate put in place: no placeholder certificate yet"]
issued:
  description: Names of the apps for which the certificate authority issued a certificate.
  returned: always
  type: list
  elements: str
  sample: [api]
errors:
  description: What failed; one line each, naming app and domains.
  returned: failure
  type: list
  elements: str
  sample: []
"""

import os
import traceback
import typing as t

from ansible_collections.webops.wsgi.plugins.module_utils.certificates import call, model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as certificate_store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import setup
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import outgoing
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule


def main() -> None:
    """Run the module."""
    module = QuietModule(argument_spec=call.argument_spec(), supports_check_mode=True)
    params = module.params

    # As the timer's certbot, which has no session of a person.
    own = outgoing("", ())
    module.mask(own.secrets)
    surroundings = {**own.variables(), "LC_ALL": "C.UTF-8"}

    def run(command: t.Sequence[str], environment: t.Mapping[str, str]) -> certificate_store.Completed:
        rc, out, err = module.run_command(
            list(command), environ_update={**surroundings, **environment}, handle_exceptions=False
        )
        return certificate_store.Completed(rc, out + err)

    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    host = call.host_of(params, run)
    try:
        apps = call.apps_of(params)
        if params["ensure"] == "placeholder":
            outcome = call.have_files(host, apps, module.check_mode)
        else:
            outcome = call.have_issued(params, host, apps, module.check_mode, params["nginx_reloads"])
    except model.CertificateError as error:
        module.fail_json(msg=str(error), actions=[], issued=[], certificates={}, errors=[str(error)])
    except OSError as error:
        module.fail_json(
            msg=f"{error.filename or 'system'}: {error.strerror or error}", exception=traceback.format_exc()
        )
    for warning in outcome.warnings:
        module.warn(warning)
    result = {
        "changed": outcome.changed,
        "actions": outcome.actions,
        "issued": outcome.issued,
        "certificates": certificate_store.table(host, apps),
        "diff": diff(outcome),
    }
    if outcome.errors:
        module.fail_json(msg="\n".join(outcome.errors), errors=outcome.errors, **result)
    if params["ensure"] == "issued" and not module.check_mode:
        setup.remove_earlier(params["certbot"])
    module.exit_json(**result)


def diff(outcome: certificate_store.Outcome) -> dict[str, str]:
    """Return the lines before and after for diff mode."""
    return {
        "before": "".join(f"{line}\n" for line in outcome.before),
        "after": "".join(f"{line}\n" for line in outcome.after),
    }


if __name__ == "__main__":
    main()
