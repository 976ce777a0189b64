#!/bin/sh
# Turns a bare Debian into an image of nginx, for pods.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends nginx-light
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
