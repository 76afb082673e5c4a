#!/bin/bash
# Makes small images from busybox, puts them into the registry and forgets them.
set -euo pipefail
registry=127.0.0.1:5000
root=$(mktemp -d)
chmod 0755 "$root"  # it becomes the root folder of an image
mkdir -p "$root"/{bin,tmp,data,run}
cp /bin/busybox "$root/bin/"
for applet in sh cat sleep echo env ls wget id httpd dd; do ln -sf busybox "$root/bin/$applet"; done
chmod 1777 "$root/tmp"
chown 10001 "$root/data"

image() {
    local name=$1
    shift
    # Something of its own in each, so that no two have one digest.
    echo "$name" >"$root/release"
    tar -C "$root" -c . | docker import "$@" - "$registry/$name" >/dev/null
    docker push --quiet "$registry/$name"
    docker image rm "$registry/$name" >/dev/null
}

sleeps=(--change 'CMD ["/bin/sleep", "infinity"]' --change 'USER 10001')
image test/app:1.0 "${sleeps[@]}"
image test/app:1.1 "${sleeps[@]}"
image test/app:broken --change 'CMD ["/bin/sh", "-c", "echo cannot read $(cat /run/secrets/token); exit 3"]' --change 'USER 10001'
image test/postgres:16 "${sleeps[@]}" --change 'ENV PG_MAJOR=16'
image test/postgres:17 "${sleeps[@]}" --change 'ENV PG_MAJOR=17'
image test/anonymous:1.0 "${sleeps[@]}" --change 'VOLUME /var/cache/app'
docker logout "$registry"
