# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a restored server from acting on anything outside: what it can reach, and what it may start by itself. Pure.

On a host a program runs in namespaces of its own: without network, without the host's processes and shared memory,
and with a root folder that holds the programs, read-only, and the work folders. So no socket of the host can be
reached, wherever it is, and no file outside the work folders be changed, such as a live tablespace that recovery
would write to.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# Programs, libraries, time zones, dictionaries and the names of users; nothing here is a socket or holds data.
SYSTEM = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/var/cache/postgresql")
# The program is no first process, because the kernel ignores signals to that one; the shell ends with it, and the
# namespace with the shell.
SCRIPT = """
set -eu
mask=$(umask)
umask 022
root=/sys
mount -t tmpfs -o mode=0755,nosuid none "$root"
show() {
    [ -e "$2" ] || return 0
    if [ -L "$2" ]; then
        mkdir -p "$root${2%/*}"
        ln -s "$(readlink "$2")" "$root$2"
        return 0
    fi
    mkdir -p "$root$2"
    mount --rbind "$2" "$root$2"
    [ "$1" = rw ] || mount -o "remount,bind,ro,nosuid" "$root$2"
}
mkdir "$root/dev" "$root/proc" "$root/tmp" "$root/run"
mount -t tmpfs -o mode=0755,nosuid none "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
for folder in dev/shm tmp; do
    mount -t tmpfs -o mode=1777,nosuid,nodev none "$root/$folder"
done
ln -s /proc/self/fd "$root/dev/fd"
mount -t proc -o nosuid,nodev,noexec none "$root/proc"
for kind in ro rw; do
    many=$1
    shift
    while [ "$many" -gt 0 ]; do
        show "$kind" "$1"
        shift
        many=$((many - 1))
    done
done
umask "$mask"
chroot "$root" "$@"
exit $?
"""


def programs(bin_dir: str) -> list[str]:
    """Return the folders of a server's programs that lie outside the system's: programs, libraries, shared files."""
    if not bin_dir or Path(bin_dir).is_relative_to("/usr"):
        return []
    prefix = Path(bin_dir).parent
    # Debian's programs are three levels below the folder of shared files.
    roots = [prefix, *([prefix.parents[2]] if prefix.parent.name == "postgresql" else [])]
    return [bin_dir, *(str(root / name) for root in roots for name in ("lib", "share"))]


def isolated(argv: Iterable[str], bin_dir: str, folders: Iterable[Path], uid: int, gid: int, root: bool) -> list[str]:
    """Return the command that runs a program as a user, in isolation; *root* is whether root starts it."""
    shown = [*SYSTEM, *programs(bin_dir)]
    writable = [str(folder) for folder in folders]
    namespaces = ["--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child"]
    if not root:
        namespaces = ["--map-current-user", "--keep-caps", *namespaces]
    user = ["--inh-caps=-all", "--ambient-caps=-all"]
    if root and uid != 0:
        user = [f"--reuid={uid}", f"--regid={gid}", "--init-groups"]
    return [
        # A program must end with its run, because the lock ends with the run.
        *("setpriv", "--pdeathsig=KILL", "--", "unshare", *namespaces, "--"),
        *("sh", "-c", SCRIPT, "evenkeel-isolated"),
        *(str(len(shown)), *shown, str(len(writable)), *writable),
        *("setpriv", *user, "--no-new-privs", "--", *argv),
    ]


def settings(major: int) -> dict[str, str]:
    """Return settings with which a restored server starts nothing by itself. They override all others.

    Libraries stay preloaded as on the server of the backup: the data may not be readable without them (timescaledb,
    custom resource managers of the WAL). But no background worker can start, so no scheduled job of pg_cron, pg_partman
    or timescaledb runs, and no subscription is applied.
    """
    found = {
        "max_worker_processes": "0",
        "max_parallel_workers": "0",
        "max_logical_replication_workers": "0",
        "max_sync_workers_per_subscription": "0",
        # Without it, a standby's minimum of worker processes is not required during recovery.
        "hot_standby": "off",
        "hot_standby_feedback": "off",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "listen_addresses": "",
        "ssl": "off",
        "bonjour": "off",
        "archive_mode": "off",
        "archive_command": "",
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        "session_preload_libraries": "",
        "local_preload_libraries": "",
        "logging_collector": "off",
        "log_destination": "stderr",
        "external_pid_file": "",
        "autovacuum": "off",
    }
    if major >= 15:
        found["archive_library"] = ""
    if major >= 17:
        found |= {"sync_replication_slots": "off", "event_triggers": "off"}
    return found
