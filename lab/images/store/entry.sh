#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Serves S3 over a folder by TLS: a user `backup`, and its bucket `backups` with versions and object lock; a user `shop`
# and its bucket `uploads`, for what an app keeps in a store.
set -euo pipefail
umask 077
lab=/etc/evenkeel-lab
store=/var/lib/store
mkdir -p $store/data $store/versions $store/iam
user() { printf '"%s":{"access":"%s","secret":"%s","role":"user","userID":0,"groupID":0}' "$1" "$1" "$(<"$lab/$1_password")"; }
printf '{"accessAccounts":{%s,%s}}\n' "$(user backup)" "$(user shop)" >$store/iam/users.json

export ROOT_ACCESS_KEY=root SSL_CERT_FILE=$lab/ca.crt
ROOT_SECRET_KEY=$(<$lab/root_password)
export ROOT_SECRET_KEY
versitygw --port :7070 --cert $lab/tls.crt --key $lab/tls.key --iam-dir $store/iam --health /healthz --quiet \
    posix --versioning-dir $store/versions $store/data &
server=$!
trap 'kill -TERM $server; wait $server' TERM INT

admin() {
    ADMIN_ACCESS_KEY=root ADMIN_SECRET_KEY=$ROOT_SECRET_KEY ADMIN_ENDPOINT_URL=https://localhost:7070 \
        versitygw admin "$@"
}
for ((tried = 0; tried < 50; tried++)); do
    if buckets=$(admin list-buckets 2>/dev/null); then break; fi
    sleep 0.2
done
if ! grep -q '^backups ' <<<"${buckets-}"; then
    admin create-bucket --owner backup --bucket backups --object-lock-enabled-for-bucket
fi
if ! grep -q '^uploads ' <<<"${buckets-}"; then
    admin create-bucket --owner shop --bucket uploads
fi
wait $server
