#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Hashes the login that was mounted and serves.
set -euo pipefail
umask 077
htpasswd -iBn lab </etc/evenkeel-lab/password >/run/htpasswd
exec docker-registry serve /etc/docker/registry/lab.yml
