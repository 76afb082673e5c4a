# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server in a container: the same runs through docker's command line, which a fake runs on this host.

The fake refuses unknown options, so that a change is noticed; the scenario uses a real engine.
"""

from __future__ import annotations

import pwd
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import KEY, Cluster, Instance, missing

REASON = missing("restic", "pgbackrest")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")

ENGINE = """#!/bin/bash
export PATH={bin}:$PATH
verb=$1; shift
if [[ $verb == ps ]]; then echo "stray 4194305"; exit; fi
if [[ $verb == rm ]]; then echo "$verb $*" >>{log}; exit; fi
network=; program=; log={log}
while [[ $1 == --* ]]; do
    case $1 in
        --rm|--interactive|--init|--read-only) shift ;;
        --network) network=$2; shift 2 ;;
        --entrypoint) program=$2; shift 2 ;;
        --volume) echo "volume $2" >>{log}; shift 2 ;;
        --pull|--tmpfs|--label|--cap-drop|--security-opt|--user|--env) shift 2 ;;
        *) echo "unknown option $1" >&2; exit 125 ;;
    esac
done
shift  # the image, or the container
[[ $verb == run ]] || {{ program=$1; shift; }}
echo "$verb $network $program" >>$log
prefix=(setpriv --reuid=postgres --regid=postgres --init-groups)
[[ $network == none ]] && prefix=(unshare --net "${{prefix[@]}}")
exec "${{prefix[@]}}" "$program" "$@"
"""


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    config = folder / "etc" / "boxwal.pgbackrest.conf"
    command = f"pgbackrest --config={config} --stanza=boxwal archive-push %p"
    made = Cluster(folder, archive_mode="on", wal_level="replica", archive_command=command)
    made.sql("create database shop", "postgres")
    made.sql(
        "create role shop; create table orders as select i as id from generate_series(1, 1000) i; alter table orders owner to shop"
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def options(folder: Path, cluster: Cluster) -> dict[str, t.Any]:
    docker = folder / "docker"
    docker.write_text(ENGINE.format(bin=cluster.bin, log=folder / "docker.log"))
    docker.chmod(0o755)
    user = pwd.getpwnam("postgres")
    password = folder / "pgpass"
    password.write_text("*:*:*:*:not-asked-for\n")
    password.chmod(0o600)
    (folder / "repo").mkdir()
    (folder / "repo").chmod(0o711)
    return {
        "where": {
            "kind": "container",
            "container": "shop-db",
            "image": "postgres",
            "user": f"{user.pw_uid}:{user.pw_gid}",
            "docker": str(docker),
        },
        "server": {
            "host": str(cluster.socket),
            "user": "postgres",
            "data_dir": str(cluster.data),
            "password_file": str(password),
        },
    }


@pytest.mark.parametrize("engine", ["logical", "physical"])
def test_a_server_in_a_container_is_backed_up_and_drilled(folder: Path, options: dict[str, t.Any], engine: str) -> None:
    name = "boxwal" if engine == "physical" else "box"
    more = {
        "pgbackrest": {
            "config_file": str(folder / "etc" / f"{name}.pgbackrest.conf"),
            "lock_path": str(folder / "sock" / "lock"),
        }
    }
    made = Instance(folder, name, engine, **options, **(more if engine == "physical" else {}))
    made.configs.chmod(0o711)
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    assert made.good("backup")["backup"]["level"] == 2
    assert made.good("drill")["drill"]["level"] == 5
    calls = (folder / "docker.log").read_text().splitlines()
    assert "rm --force stray" in calls
    assert "run none postgres" in calls
    assert ("run container:shop-db pg_dump" if engine == "logical" else "exec  pgbackrest") in calls
    assert not list(Path(made.options["work_dir"]).iterdir())
    if engine == "physical":
        for words in ((), ("--into", str(folder / "beside"))):
            restored = Path(made.good("restore", *words)["restored"]["at"])
            assert (restored / "PG_VERSION").exists()
            volumes = [
                line.split()[1].split(":")[0]
                for line in (folder / "docker.log").read_text().splitlines()
                if line.startswith("volume")
            ]
            assert any(restored.is_relative_to(volume) for volume in volumes)
