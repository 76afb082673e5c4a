#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Turns a container into a machine: gives systemd its control groups, keeps
# the kernel's own settings out of reach, takes away every way out of the lab,
# puts in the keys, and hands over to systemd.
set -euo pipefail
lab=/etc/evenkeel-lab

control_groups() {
    if [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; then
        mount -o remount,rw /sys/fs/cgroup
        return
    fi
    # Version 1: the controllers Docker shows are read-only views. Mount our
    # own below a fresh tmpfs; the shared one is never touched.
    mount -o remount,rw /sys
    umount -R /sys/fs/cgroup
    mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs /sys/fs/cgroup
    local name hierarchy groups enabled
    while read -r name hierarchy groups enabled; do
        # A hierarchy of 0 belongs to version 2 or to nobody.
        [[ $name == \#* || $enabled != 1 || $hierarchy == 0 ]] && continue
        mkdir "/sys/fs/cgroup/$name"
        mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name" ||
            rmdir "/sys/fs/cgroup/$name"
    done </proc/cgroups
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified || rmdir /sys/fs/cgroup/unified
    mount -o remount,bind,ro /sys
}

kernel_settings() {
    # Everything in /proc/sys but net belongs to the machine, not to us. Docker
    # shows all of it read-only; net has to be writable for a nested engine.
    while mountpoint -q /proc/sys; do umount /proc/sys; done
    mount --bind /proc/sys /mnt
    mount -o remount,bind,ro /mnt
    mount --bind /proc/sys/net /mnt/net
    mount --move /mnt /proc/sys
}

no_way_out() {
    ip -4 route flush default
    ip -6 route flush default
    # Router advertisements must not bring one back.
    local setting
    for setting in /proc/sys/net/ipv6/conf/*/accept_ra; do
        echo 0 >"$setting"
    done
    # No resolver beyond /etc/hosts: the engine's own would ask the machine's.
    printf 'nameserver %s\noptions timeout:1 attempts:1\n' \
        "${EVENKEEL_LAB_PACKAGES:-127.0.0.1}" >/etc/resolv.conf
}

packages() {
    [[ -n ${EVENKEEL_LAB_PACKAGES:-} ]] || return 0
    printf 'Acquire::http::Proxy "http://%s:3142";\nAcquire::Retries "3";\n' \
        "$EVENKEEL_LAB_PACKAGES" >/etc/apt/apt.conf.d/90-lab-packages
    # A mirror spoken to by TLS is asked through the cache all the same.
    sed -i 's|https://|http://HTTPS///|' /etc/apt/sources.list
}

access() {
    mkdir -p /run/sshd
    if [[ -d $lab/ssh ]]; then
        install -m 0600 "$lab"/ssh/ssh_host_*_key /etc/ssh/
        install -m 0644 "$lab"/ssh/ssh_host_*_key.pub /etc/ssh/
    else
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key <<<n >/dev/null || true
    fi
    if [[ -f $lab/authorized_keys ]]; then
        install -d -m 0700 -o ops -g ops ~ops/.ssh
        install -m 0600 -o ops -g ops "$lab/authorized_keys" ~ops/.ssh/authorized_keys
    fi
    # As a firm's own authority would come with its machines.
    if [[ -f $lab/ca.crt ]]; then
        install -m 0644 "$lab/ca.crt" /usr/local/share/ca-certificates/evenkeel-lab.crt
        update-ca-certificates >/dev/null 2>&1
    fi
    if [[ -f $lab/sudo_password_hash ]]; then
        usermod --password "$(<"$lab/sudo_password_hash")" ops
    fi
}

control_groups
kernel_settings
no_way_out
packages
access
exec /sbin/init "$@"
