#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a Debian root file system and imports it as an image.
# Public image registries are not needed: mmdebstrap and the machine's own
# package mirror are enough.
#   build.sh SUITE MIRROR SECURITY_MIRROR IMAGE LABEL
set -euo pipefail
suite=$1 mirror=$2 security=$3 image=$4 label=$5
docker=${EVENKEEL_DOCKER:-docker}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# docker import takes a stream; a file in between lets a failed bootstrap
# leave no half image behind.
mmdebstrap --quiet --variant=minbase \
    --include=ca-certificates,python3-minimal \
    --aptopt="$here/apt.conf" \
    --dpkgopt="$here/dpkg.cfg" \
    "$suite" "$work/root.tar" \
    "deb $mirror $suite main" \
    "deb $mirror $suite-updates main" \
    "deb $security $suite-security main"
"$docker" import --change "LABEL $label" --change 'ENV LC_ALL=C.UTF-8' \
    --change 'CMD ["/bin/bash"]' "$work/root.tar" "$image"
