#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cache_purge
short_description: Remove answers from nginx's cache
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - Removes the answers to one URL, to URLs with a common beginning, or all of one app.
  - nginx asks the app again for what has gone; it is not reloaded.
options:
  folder:
    description: Directory of the app's cache.
    type: path
    required: true
  url:
    description:
      - The URL as clients write it, with its query.
      - With C(*) at its end, every URL that begins so. Empty for all.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what would be removed.
    support: full
  diff_mode:
    description: Shows the keys of what was removed.
    support: full
  idempotent:
    description: What has been removed is not removed again.
    support: full
  platform:
    description: Target systems.
    support: full
    platforms: posix
seealso:
  - module: webops.wsgi.config_tree
"""

EXAMPLES = r"""
- name: Forget one answer
  webops.wsgi.cache_purge:
    folder: /var/cache/nginx-api
    url: https://api.example.com/items?page=2

- name: Forget all answers of the app
  webops.wsgi.cache_purge:
    folder: /var/cache/nginx-api
"""

RETURN = r"""
purged:
  description: Keys of the answers that were, or in check mode would be, removed.
  returned: success
  type: list
  elements: str
  sample: ["https://api.example.com/items?page=2"]
"""

import time
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.proxy.purge import KEPT_OPEN, purge
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule


def main() -> None:
    module = QuietModule(
        argument_spec={"folder": {"type": "path", "required": True}, "url": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    folder = Path(module.params["folder"])
    try:
        purged = purge(folder, module.params["url"], check=module.check_mode)
    except OSError as error:
        module.fail_json(msg=f"{folder}: {error}")
    if purged and not module.check_mode:
        time.sleep(KEPT_OPEN)
    result = {"changed": bool(purged), "purged": purged}
    if module._diff:
        result["diff"] = {
            "before_header": str(folder),
            "after_header": str(folder),
            "before": "".join(f"{key}\n" for key in purged),
            "after": "",
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
