# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster is reached: a kubeconfig, read by the Python package C(kubernetes) with all its ways to log in."""

from __future__ import annotations

import os
from typing import Any

USUAL = "~/.kube/config"


class ClusterError(Exception):
    """The API server refused something, or could not be asked.

    Attributes:
        status: The HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def settings_of(kubeconfig: str, context: str) -> Any:
    """Address, certificates and login of a cluster, as C(kubernetes.client.Configuration).

    Args:
        kubeconfig: File that says it; empty for the usual places.
        context: Context of that file; empty for its current one.

    Raises:
        ClusterError: The file, or the package, is not there, or the file says nothing of that context.
    """
    try:
        from kubernetes import client, config
    except ImportError:
        raise ClusterError(
            "the Python package kubernetes is missing where the API server is asked from; install python3-kubernetes, "
            "or kubernetes with pip for the Python of ansible_python_interpreter"
        ) from None
    named = kubeconfig or os.environ.get("KUBECONFIG") or USUAL
    if not any(os.path.isfile(os.path.expanduser(path)) for path in named.split(os.pathsep)):
        raise ClusterError(
            f"there is no {named}, which says how the cluster is reached; write kubernetes_kubeconfig, the path of the "
            "file that kubectl uses"
        )
    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call, unused-ignore]
            config_file=os.path.expanduser(kubeconfig) or None,
            context=context or None,
            client_configuration=settings,
        )
    except config.ConfigException as error:
        raise ClusterError(f"{named}: {error}; kubectl config get-contexts tells what it has") from None
    except Exception as error:
        # It reads a file that is something else as if it were one, and fails in its own way.
        first = str(error).splitlines()[0]
        raise ClusterError(f"{named} is no kubeconfig: {type(error).__name__}, {first}") from None
    return settings
