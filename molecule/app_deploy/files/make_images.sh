#!/bin/bash
# Makes small images from busybox, puts them into the registry and forgets them. 1.2 never gets ready; 1.3 ends once,
# and is sound when the engine has started it again; 1.0, 1.1 and 1.4 are sound.
set -euo pipefail
registry=127.0.0.1:5000
root=$(mktemp -d)
chmod 0755 "$root"  # it becomes the root folder of an image
mkdir -p "$root"/{bin,tmp,run,www/cgi-bin}
cp /bin/busybox "$root/bin/"
for applet in sh cat sleep true echo httpd; do ln -sf busybox "$root/bin/$applet"; done
chmod 1777 "$root/tmp"

for release in 1.0 1.1 1.2 1.4 1.3; do
    status="200 OK"
    [ "$release" != 1.2 ] || status="503 Service Unavailable"
    echo "{\"release\": \"$release\"}" >"$root/www/index.html"
    cat >"$root/www/cgi-bin/healthz" <<SCRIPT
#!/bin/sh
echo "Status: $status"
echo "Content-Type: application/json"
echo
cat /www/index.html
SCRIPT
    chmod 0755 "$root/www/cgi-bin/healthz"
    if [ "$release" = 1.3 ]; then
        rm "$root/bin/httpd"
        cat >"$root/bin/httpd" <<'SCRIPT'
#!/bin/sh
[ -e /www/cgi-bin/lived ] || { echo >/www/cgi-bin/lived; exit 1; }
exec /bin/busybox httpd "$@"
SCRIPT
        chmod 0755 "$root/bin/httpd"
        chmod 0777 "$root/www/cgi-bin"
    fi
    tar -C "$root" -c . | docker import --change 'USER 10001' - "$registry/demo/app:$release" >/dev/null
    docker push --quiet "$registry/demo/app:$release"
    docker image rm "$registry/demo/app:$release" >/dev/null
done
