#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_finish
short_description: Stop what was set up by hand, once its successor serves
version_added: 0.2.0
description:
  - Asks nginx for each app that has taken over. When one does not answer well, nginx gets its old configuration back,
    nothing is stopped, and the module fails.
  - Waits until no process of nginx serves requests by the old configuration, then stops and disables the old programs.
    Nothing is removed.
  - Has certbot renew the old certificates through the new nginx.
author: webops.wsgi contributors (@webops)
options:
  programs:
    description: Units of systemd, programs of Supervisor and files of uWSGI's emperor.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Its name., type: str, required: true}
      where: {description: Its file., type: path, required: true}
      manager:
        description: Who runs it.
        type: str
        choices: [systemd, supervisor, emperor]
        required: true
      sockets: {description: Units of systemd that listen for it., type: list, elements: str, default: []}
  questions:
    description: What clients must get.
    type: list
    elements: dict
    default: []
    suboptions:
      app: {description: Name of the app., type: str, required: true}
      domain: {description: Name that is asked for., type: str, required: true}
      path: {description: Path that is asked for., type: str, default: /}
      statuses: {description: "Accepted statuses, as C(200) or C(200-399).", type: list, elements: str, required: true}
      tls: {description: Whether by HTTPS., type: bool, default: true}
  lineages:
    description: Names under which certbot has the old certificates.
    type: list
    elements: str
    default: []
  webroot:
    description: Directory from which nginx answers C(/.well-known/acme-challenge/).
    type: path
    default: /var/www/acme
  http_port: {description: nginx' port for HTTP., type: int, default: 80}
  https_port: {description: nginx' port for HTTPS., type: int, default: 443}
  wait:
    description: Seconds to wait for requests that the old configuration still serves. After them the programs go on.
    type: float
    default: 60
attributes:
  check_mode:
    description: Says what would be stopped.
    support: full
  diff_mode:
    description: There is none.
    support: none
"""

EXAMPLES = r"""
- name: Stop what served before
  webops.wsgi.adopt_finish:
    programs:
      - {name: shop, where: /etc/systemd/system/shop.service, manager: systemd}
    questions:
      - {app: shop, domain: shop.example.com, statuses: ["200"]}
"""

RETURN = r"""
stopped:
  description: What was, or in check mode would be, stopped and disabled.
  returned: success
  type: list
  elements: str
back:
  description: Commands that lead back to it.
  returned: success
  type: list
  elements: str
busy:
  description: Whether requests were still served by the old configuration, so that nothing was stopped.
  returned: success
  type: bool
"""

from ansible_collections.webops.wsgi.plugins.module_utils.adopt import finish
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule

PROGRAM = {
    "name": {"type": "str", "required": True},
    "where": {"type": "path", "required": True},
    "manager": {"type": "str", "choices": ["systemd", "supervisor", "emperor"], "required": True},
    "sockets": {"type": "list", "elements": "str", "default": []},
}
QUESTION = {
    "app": {"type": "str", "required": True},
    "domain": {"type": "str", "required": True},
    "path": {"type": "str", "default": "/"},
    "statuses": {"type": "list", "elements": "str", "required": True},
    "tls": {"type": "bool", "default": True},
}


def main() -> None:
    module = QuietModule(
        argument_spec={
            "programs": {"type": "list", "elements": "dict", "required": True, "options": PROGRAM},
            "questions": {"type": "list", "elements": "dict", "default": [], "options": QUESTION},
            "lineages": {"type": "list", "elements": "str", "default": []},
            "webroot": {"type": "path", "default": "/var/www/acme"},
            "http_port": {"type": "int", "default": 80},
            "https_port": {"type": "int", "default": 443},
            "wait": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    old = [finish.Old(**program) for program in given["programs"]]
    asked = [finish.Question(**question) for question in given["questions"]]
    host = finish.Host(webroot=given["webroot"], ports=(given["http_port"], given["https_port"]))
    try:
        done = finish.finish(host, old, asked, given["lineages"], given["wait"], module.check_mode)
    except finish.FinishError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=done.changed, stopped=done.stopped, back=done.back, busy=done.busy)


if __name__ == "__main__":
    main()
