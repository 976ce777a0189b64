#!/usr/bin/python
# Copyright: (c) 2026, the webops.wsgi authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of webops.wsgi.app_settings; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_settings
short_description: Check every app of the inventory and resolve its settings
version_added: "0.1.0"
description:
  - Reads C(wsgi_apps) and the variables of the roles C(python_app), C(gunicorn), C(release), C(nginx_proxy) and
    C(certbot) from the inventory, checks them against the roles' argument specs and against each other, and returns
    every app with its effective settings.
  - A setting is the app's own override, or else the inventory's variable, or else the role's default, decided for each
    key by itself.
  - Everything that is wrong is reported at once, one problem a line, each with app, key, value and fix.
  - A variable that begins like a role's and is nearly one of its variables is an error. One that is like none of them
    is a warning.
  - Runs on the controller only; no host is connected to.
options: {}
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed, so check mode makes no difference.
  diff_mode:
    support: none
    description: Nothing is ever changed, so there is nothing to show.
notes:
  - The result holds the apps' secrets and is therefore never displayed, at any verbosity. When checks fail, the
    problems are displayed; they do not show secrets.
  - The apps are returned to be registered and not as facts, because the facts of a module are written to the fact cache
    where one is configured, secrets included.
  - Relative paths of an app count from the directory of the file that it is written in (the directory that has
    C(group_vars) or C(host_vars), for files in these), then from those of the inventories and of the playbook.
seealso:
  - module: webops.wsgi.host_state
author:
  - The webops.wsgi authors (@webops)
"""

EXAMPLES = r"""
- name: Check every app of the inventory
  webops.wsgi.app_settings:
  register: __wsgi_settings

- name: Keep the resolved apps for the roles
  ansible.builtin.set_fact:
    __wsgi_apps: "{{ __wsgi_settings.apps }}"
  no_log: true
"""

RETURN = r"""
elsewhere:
  description: Names of apps that other hosts have, by their C(hosts).
  returned: success
  type: list
  elements: str
apps:
  description: Every entry of C(wsgi_apps), those to be removed included, with defaults and overrides merged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the app, its system user and its units.
      type: str
      sample: api
    state:
      description: V(present) or V(absent).
      type: str
    purge:
      description: Whether removing the app removes its data.
      type: bool
    source:
      description:
        - C(kind), which is V(path), V(git), V(archive) or V(package), and the keys of that kind; paths are absolute.
        - Empty for an app to be removed.
      type: dict
      sample: {kind: package, package: httpbin, version: "0.10.4"}
    entrypoint:
      description: WSGI callable or factory.
      type: str
      sample: app:create_app()
    domains:
      description: Host names of the app.
      type: list
      elements: str
    below:
      description: Name of the app whose domains it has, as the inventory gives it.
      type: str
    tls:
      description: V(letsencrypt), V(selfsigned), V(provided) or V(off), from the app or from C(nginx_proxy_tls).
      type: str
    certificate:
      description: Absolute paths C(cert) and C(key) on the controller, empty unless O(ignore:tls) is V(provided).
      type: dict
    env:
      description: Visible environment variables, every value a text.
      type: dict
    secrets:
      description: Secret environment variables, every value a text.
      type: dict
    persistent:
      description: Directories kept outside the releases, relative to the source tree.
      type: list
      elements: str
    persistent_files:
      description: Files kept outside the releases, relative to the source tree.
      type: list
      elements: str
    python:
      description: Effective C(python_app_*) settings without the prefix.
      type: dict
    gunicorn:
      description: Effective C(gunicorn_*) settings without the prefix.
      type: dict
    release:
      description: Effective C(release_*) settings without the prefix.
      type: dict
    nginx:
      description: Effective C(nginx_proxy_*) settings without the prefix.
      type: dict
    certbot:
      description: Effective C(certbot_*) settings without the prefix.
      type: dict
on_host:
  description: What only the host can judge, for O(webops.wsgi.host_state#module:wanted).
  returned: success
  type: dict
  sample: {calendars: [], listens: {api: "127.0.0.1:8000"}, paths: []}
msg:
  description: What is wrong, one problem a line.
  returned: failure
  type: str
  sample: 'app "api": gunicorn.worker_class is "eventlet", which gunicorn 26 removed; use gevent or gthread'
"""
