#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes an apt source in the form of Docker's own: Debian's programs under the
# names and versions of Docker's packages, signed by a key made for the test.
#   make_source.sh FOLDER SUITE
set -euo pipefail
root=$1 suite=$2
export GNUPGHOME=~/source-key
install -d -m 0700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key docker@example.org ed25519 sign never

work=$(mktemp -d)
cd "$work"
apt-get download --quiet docker.io docker-cli docker-compose containerd runc
pool=$root/dists/$suite/pool
mkdir -p "$pool"

# repack SOURCE PACKAGE VERSION: the same files under another name.
repack() {
    dpkg-deb --raw-extract "$work/$1"_*.deb "$work/$2"
    sed -i -E "s/^Package: .*/Package: $2/; s/^Version: .*/Version: $3/" "$work/$2/DEBIAN/control"
    sed -i -E '/^(Source|Recommends|Suggests|Conflicts|Breaks|Replaces|Provides):/d' "$work/$2/DEBIAN/control"
    rm -f "$work/$2/DEBIAN/md5sums"
}
repack docker.io docker-ce "$4"
sed -i -E '/^Depends:/s/containerd[^,]*/containerd.io/; /^Depends:/s/(, runc[^,]*| runc[^,]*,)//' docker-ce/DEBIAN/control
repack docker-cli docker-ce-cli "$4"
repack docker-compose docker-compose-plugin "$5"
sed -i -E '/^Depends:/s/docker-cli[^,]*/docker-ce-cli/' docker-compose-plugin/DEBIAN/control
repack containerd containerd.io "$3"
sed -i -E '/^Depends:/s/(, runc[^,]*| runc[^,]*,)//' containerd.io/DEBIAN/control
dpkg-deb --extract runc_*.deb containerd.io
for package in docker-ce docker-ce-cli docker-compose-plugin containerd.io; do
    dpkg-deb --root-owner-group --build "$package" "$pool" >/dev/null
done
# A newer engine that the pin has to keep away.
sed -i -E 's/^Version: .*/Version: 5:99.0.0-1/' docker-ce-cli/DEBIAN/control
dpkg-deb --root-owner-group --build docker-ce-cli "$pool" >/dev/null

cd "$root"
architecture=$(dpkg --print-architecture)
packages=dists/$suite/test/binary-$architecture
mkdir -p "$packages"
apt-ftparchive packages "dists/$suite/pool" >"$packages/Packages"
apt-ftparchive -o "APT::FTPArchive::Release::Suite=$suite" -o "APT::FTPArchive::Release::Components=test" \
    -o "APT::FTPArchive::Release::Architectures=$architecture" release "dists/$suite" >"dists/$suite/Release"
gpg --batch --quiet --clearsign --output "dists/$suite/InRelease" "dists/$suite/Release"
gpg --batch --quiet --armor --export >"$root/gpg"
gpg --batch --with-colons --fingerprint | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -n 1 >"$root/fingerprint"
