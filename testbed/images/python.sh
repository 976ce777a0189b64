#!/bin/sh
# Turns a bare Debian into what images of apps are made on: Python, and the pip of Debian's virtual environments.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3 python3-pip-whl
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
