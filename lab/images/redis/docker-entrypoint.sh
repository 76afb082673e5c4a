#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Starts Redis with a password, or not at all.
set -euo pipefail

if [[ ${1:-} == -* ]]; then
    set -- redis-server "$@"
fi
if [[ ${1:-} == redis-server ]]; then
    if [[ ! -s ${REDIS_PASSWORD_FILE:-} ]]; then
        echo "entrypoint: no password: set REDIS_PASSWORD_FILE to a file that holds one" >&2
        exit 1
    fi
    shift
    exec redis-server - "$@" <<CONFIG
bind * -::*
protected-mode yes
dir /data
appendonly yes
requirepass "$(sed 's/[\\"]/\\&/g' "$REDIS_PASSWORD_FILE")"
CONFIG
fi
exec "$@"
