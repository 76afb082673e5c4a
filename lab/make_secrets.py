#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create the keys, certificates and passwords of one lab, once.

    make_secrets.py FOLDER NAME=ADDRESS[,ADDRESS...] ... --registry HOST:PORT[,NAME...] --store NAME[,NAME...]

All files are below FOLDER, readable only by their owner. Existing ones are kept,
so a lab has the same keys after a restart. Prints one line for each new file.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from pathlib import Path

from build_images import write_login

DAYS = "3650"


def run(*argv: str | Path, feed: str = "") -> str:
    """Run a key tool, and return its output."""
    answer = subprocess.run([str(part) for part in argv], input=feed, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(f"lab: {argv[0]} failed with status {answer.returncode}: {answer.stderr.strip()}")
    return answer.stdout


def missing(path: Path) -> bool:
    """Return whether a file is missing, and print its name."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"made {path.name}")
    return True


def ssh_key(path: Path, comment: str) -> None:
    """Create a key pair; the private key has mode 0600."""
    if missing(path):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)


def password(path: Path) -> str:
    """Create a password that needs no quoting."""
    if missing(path):
        path.write_text(secrets.token_hex(16) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def authority(folder: Path) -> None:
    """Create the certificate authority of the lab."""
    if missing(folder / "ca.crt"):
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=Evenkeel lab", "-days", DAYS, "-keyout", folder / "ca.key", "-out", folder / "ca.crt"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )


def certificate(ca: Path, folder: Path, names: list[str]) -> None:
    """Create a server certificate, signed by the lab's authority."""
    wanted = ",".join(f"{'IP' if name[0].isdigit() or ':' in name else 'DNS'}:{name}" for name in names)
    if (folder / "names").exists() and (folder / "names").read_text(encoding="utf-8") != wanted:
        (folder / "tls.crt").unlink(missing_ok=True)
    if missing(folder / "tls.crt"):
        run(
            *("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={names[0]}", "-keyout", folder / "tls.key", "-out", folder / "tls.csr"),
        )
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName={wanted}\nextendedKeyUsage=serverAuth\n", encoding="utf-8")
        run(
            *("openssl", "x509", "-req", "-in", folder / "tls.csr", "-days", DAYS, "-extfile", extensions),
            *("-CA", ca / "ca.crt", "-CAkey", ca / "ca.key", "-CAcreateserial", "-out", folder / "tls.crt"),
        )
        (folder / "names").write_text(wanted, encoding="utf-8")


def machine(lab: Path, name: str, sudo_hash: str) -> str:
    """Create the files to mount into one machine; return its public host key."""
    folder = lab / "hosts" / name
    (folder / "ssh").mkdir(parents=True, exist_ok=True)
    ssh_key(folder / "ssh" / "ssh_host_ed25519_key", name)
    keep(folder / "authorized_keys", (lab / "id_ed25519.pub").read_text(encoding="utf-8"))
    keep(folder / "sudo_password_hash", sudo_hash + "\n")
    keep(folder / "ca.crt", (lab / "ca" / "ca.crt").read_text(encoding="utf-8"))
    public = (folder / "ssh" / "ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    return " ".join(public.split()[:2])


def keep(path: Path, text: str) -> None:
    """Write a file if its content differs."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Create missing files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("machines", nargs="+", metavar="NAME=ADDRESS[,ADDRESS...]")
    parser.add_argument("--registry", required=True, metavar="HOST:PORT[,NAME...]")
    parser.add_argument("--store", required=True, metavar="NAME[,NAME...]")
    options = parser.parse_args()
    os.umask(0o077)
    lab: Path = options.folder
    lab.mkdir(parents=True, exist_ok=True)

    ssh_key(lab / "id_ed25519", "evenkeel-lab")
    sudo = password(lab / "sudo_password")
    if missing(lab / "sudo_password_hash"):
        hashed = run("openssl", "passwd", "-6", "-stdin", feed=sudo)
        (lab / "sudo_password_hash").write_text(hashed.strip(), encoding="utf-8")
    sudo_hash = (lab / "sudo_password_hash").read_text(encoding="utf-8")
    authority(lab / "ca")

    known = []
    for item in options.machines:
        name, addresses = item.split("=", 1)
        key = machine(lab, name, sudo_hash)
        known += [f"{address} {key}\n" for address in (name, *addresses.split(","))]
    keep(lab / "known_hosts", "".join(known))

    published, *names = options.registry.split(",")
    certificate(lab / "ca", lab / "registry", [*names, published.rsplit(":", 1)[0], "localhost"])
    write_login(lab / "docker", published, "lab", password(lab / "registry" / "password"))
    certificate(lab / "ca", lab / "store", [*options.store.split(","), "localhost"])
    keep(lab / "store" / "ca.crt", (lab / "ca" / "ca.crt").read_text(encoding="utf-8"))
    for name in ("root_password", "backup_password", "shop_password"):
        password(lab / "store" / name)
    keep(lab / "docker" / "ca.crt", (lab / "ca" / "ca.crt").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
