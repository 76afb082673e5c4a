# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration, secret files, units and packages of backup instances, and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.plugins.filter import postgres_backup as made

FILES = Path(__file__).resolve().parents[4] / "roles" / "postgres_backup" / "files"
METRICS = "/var/lib/prometheus/node-exporter"
KEY = "canary-key"
SECRET = "canary-secret"
PASSWORD = "canary:pass\\word"
LOCAL = {"name": "local", "location": "/srv/backup/shop", "retention": {"last": 3}}
STORE = {
    "name": "offsite",
    "kind": "s3",
    "location": "s3:https://store.example:7070/backups/shop",
    "access_key_id": "shop",
    "secret_access_key": SECRET,
    "ca": "-----BEGIN CERTIFICATE-----\n",
}
CONTAINER = {"kind": "container", "container": "shop-data-postgres-1", "image": "postgres:17", "user": "999:999"}
LOGICAL: dict[str, Any] = {
    "name": "shop",
    "engine": "logical",
    "where": CONTAINER,
    "server": {"host": "127.0.0.1", "user": "backup", "password": PASSWORD, "admin_user": "shop"},
    "encryption_key": KEY,
    "escrow_key": KEY,
    "repositories": [LOCAL, STORE],
}
PHYSICAL: dict[str, Any] = {
    **LOGICAL,
    "name": "shop-wal",
    "engine": "physical",
    "server": {**LOGICAL["server"], "data_dir": "/var/lib/postgresql/data"},
    "pgbackrest": {"block": False},
}
FOLDERS: dict[str, Any] = {
    "name": "uploads",
    "engine": "files",
    "paths": ["/srv/uploads"],
    "encryption_key": KEY,
    "repositories": [LOCAL],
    "hooks": {"before_backup": [["true"]]},
}
BUCKETS: dict[str, Any] = {
    "name": "objects",
    "engine": "files",
    "buckets": [
        {
            "name": "pictures",
            "location": "s3:https://store.example:7070/pictures",
            "access_key_id": "shop",
            "secret_access_key": "canary-bucket",
            "ca": "-----BEGIN CERTIFICATE-----",
        }
    ],
    "encryption_key": KEY,
    "repositories": [LOCAL, STORE],
}
HOST = {"kind": "host", "bin_dir": "/usr/lib/postgresql/17/bin"}
ALL = [LOGICAL, PHYSICAL, FOLDERS, BUCKETS]

# In a separate process, because the program's package is not importable here.
ASK = (
    "import json, sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1]);"
    "from evenkeel_backup import config; data = json.load(sys.stdin);"
    "print(json.dumps(config.problems(data, data['instance'])))"
)


def the_program_says(config: dict[str, Any]) -> list[str]:
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(FILES)], input=json.dumps(config), capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(asked.stdout)
    return found


@pytest.mark.parametrize("drill", [False, True])
@pytest.mark.parametrize("instance", [LOGICAL, PHYSICAL], ids=["logical", "physical"])
def test_the_program_takes_the_configuration(instance: dict[str, Any], drill: bool) -> None:
    config = made.postgres_backup_config(instance, METRICS, "postgres@sha256:1", drill)
    assert the_program_says(config) == []
    assert config["where"]["image"] == "postgres@sha256:1"


def test_the_program_takes_the_configuration_of_folders() -> None:
    config = made.postgres_backup_config(FOLDERS, METRICS)
    assert the_program_says(config) == []
    assert config["hooks"] == {"before_backup": [["true"]]}
    assert "server" not in config


@pytest.mark.parametrize("instance", ALL, ids=["logical", "physical", "files", "buckets"])
def test_a_configuration_holds_no_secret(instance: dict[str, Any]) -> None:
    text = json.dumps(made.postgres_backup_config(instance, METRICS))
    assert "canary" not in text.replace('"canary":', "")


@pytest.mark.parametrize("drill", [False, True])
def test_the_program_takes_the_configuration_of_buckets_and_a_drill_has_none_of_their_secrets(drill: bool) -> None:
    config = made.postgres_backup_config(BUCKETS, METRICS, drill=drill)
    assert the_program_says(config) == []
    files = made.postgres_backup_secrets([BUCKETS], drill) + made.postgres_backup_certificates([BUCKETS], drill)
    named = [config["buckets"][0].get("credentials_file"), config["buckets"][0].get("ca_file")]
    assert named == (
        [None, None]
        if drill
        else [
            "/etc/evenkeel/backup/objects-bucket-pictures.s3",
            "/etc/evenkeel/backup/server/objects-bucket-pictures.crt",
        ]
    )
    assert {name for name in named if name} <= {file["path"] for file in files}
    assert any("canary-bucket" in file.get("secret_content", "") for file in files) is not drill


def test_a_drill_reads_the_store_alone_and_knows_no_password() -> None:
    config = made.postgres_backup_config(LOGICAL | {"hooks": {"stop_app": [["true"]]}}, METRICS, drill=True)
    assert [entry["name"] for entry in config["repositories"]] == ["offsite"]
    assert "password_file" not in config["server"]
    assert "hooks" not in config
    files = made.postgres_backup_secrets([LOGICAL], drill=True)
    assert [file["path"].rpartition("/")[2] for file in files] == ["shop.key", "shop-offsite.s3"]


def test_a_drill_gets_the_copy_of_the_key_that_is_kept_elsewhere() -> None:
    instance = LOGICAL | {"escrow_key": "the copy"}
    assert made.postgres_backup_secrets([instance], drill=True)[0]["secret_content"] == "the copy\n"
    assert made.postgres_backup_secrets([instance])[0]["secret_content"] == f"{KEY}\n"


def test_each_secret_has_a_file_and_each_named_file_a_content() -> None:
    files = {file["path"]: file["secret_content"] for file in made.postgres_backup_secrets(ALL)}
    files |= {file["path"]: file["content"] for file in made.postgres_backup_certificates(ALL)}
    for instance in ALL:
        config = made.postgres_backup_config(instance, METRICS)
        named = [config.get("server", {}).get("password_file", "")]
        for entry in config["repositories"]:
            named += [entry["key_file"], entry.get("credentials_file", ""), entry.get("ca_file", "")]
        assert {name for name in named if name} <= files.keys()
    assert files["/etc/evenkeel/backup/shop.pgpass"] == "*:*:*:*:canary\\:pass\\\\word\n"


def test_units_have_names_of_their_own_and_the_defaults_of_their_engine() -> None:
    units = made.postgres_backup_units(ALL, [])
    names = [unit["name"] for unit in units]
    assert len(names) == len(set(names))
    assert "evenkeel-backup-shop-wal-incr" in names
    assert "evenkeel-backup-uploads-metrics" not in names
    by_name = {unit["name"]: unit for unit in units}
    assert by_name["evenkeel-backup-shop-verify"]["arguments"] == ["verify", "shop", "--read-data"]
    assert by_name["evenkeel-backup-shop-wal-full"]["arguments"] == ["backup", "shop-wal", "--type=full"]
    assert by_name["evenkeel-backup-shop-metrics"]["jitter"] is False


def test_what_can_be_restored_in_place_is_settled_by_a_unit_that_waits_for_its_journal() -> None:
    units = {
        unit["name"]: unit for unit in made.postgres_backup_units([LOGICAL, PHYSICAL, FOLDERS, BUCKETS], [LOGICAL])
    }
    settling = {name: unit for name, unit in units.items() if unit["condition"]}
    buckets, physical = BUCKETS["name"], PHYSICAL["name"]
    assert set(settling) == {f"evenkeel-backup-{name}-settle" for name in ("shop", physical, buckets)}
    one = settling["evenkeel-backup-shop-settle"]
    assert one["condition"] == "/var/lib/evenkeel/backup/shop/exchange.json"
    assert (one["arguments"], one["jitter"]) == (["settle", "shop"], False)


def test_a_drill_has_a_timer_and_hands_the_key_over_by_file() -> None:
    (unit,) = made.postgres_backup_units([], [LOGICAL | {"drill": {"repository": "offsite"}}])
    assert unit["calendar"] == made.DRILL_CALENDAR
    assert unit["arguments"] == ["drill", "shop", "--key-file=/etc/evenkeel/backup/shop.key", "--repository=offsite"]


@pytest.mark.parametrize(
    ("instances", "drills", "packages"),
    [
        pytest.param([LOGICAL], [], ["restic"], id="dump in a container"),
        pytest.param([PHYSICAL], [], [], id="physical in a container"),
        pytest.param([LOGICAL | {"where": HOST}], [], ["postgresql-client-17", "restic"], id="dump on the host"),
        pytest.param(
            [PHYSICAL | {"where": HOST}], [], ["pgbackrest", "postgresql-client-17"], id="physical on the host"
        ),
        pytest.param([], [PHYSICAL | {"where": HOST}], ["pgbackrest", "postgresql-17"], id="drill on the host"),
        pytest.param([LOGICAL | {"where": {}}], [], ["restic"], id="programs of somebody else"),
        pytest.param([FOLDERS], [], ["restic"], id="folders"),
        pytest.param([BUCKETS], [], ["rclone", "restic"], id="buckets"),
        pytest.param([], [BUCKETS], ["restic"], id="drill of buckets"),
    ],
)
def test_packages(instances: list[dict[str, Any]], drills: list[dict[str, Any]], packages: list[str]) -> None:
    assert made.postgres_backup_packages(instances, drills) == packages


def test_good_instances_are_left_in_peace() -> None:
    assert made.postgres_backup_problems(ALL, []) == []
    assert made.postgres_backup_problems([], [LOGICAL, PHYSICAL]) == []


def changed(instance: dict[str, Any], **options: Any) -> dict[str, Any]:
    return deepcopy(instance) | options


def bucket(**options: Any) -> dict[str, Any]:
    return changed(BUCKETS, buckets=[BUCKETS["buckets"][0] | options])


@pytest.mark.parametrize(
    ("instances", "drills", "sentence"),
    [
        pytest.param([LOGICAL, LOGICAL], [], "name of instance shop: found it 2 times", id="twice"),
        pytest.param([LOGICAL], [LOGICAL], "found the host that holds the live data", id="drill on the live host"),
        pytest.param([changed(LOGICAL, name="Shop")], [], "name of instance Shop: found Shop", id="name"),
        pytest.param(
            [changed(LOGICAL, encryption_key=" ", escrow_key="")], [], "encryption_key of instance", id="no key"
        ),
        pytest.param([changed(LOGICAL, escrow_key="other")], [], "found another key than encryption_key", id="escrow"),
        pytest.param([changed(FOLDERS, paths=[])], [], "paths of instance uploads", id="no paths"),
        pytest.param([changed(BUCKETS, engine="logical", where=CONTAINER)], [], "buckets of instance", id="engine"),
        pytest.param(
            [changed(BUCKETS, buckets=BUCKETS["buckets"] * 2)], [], "found pictures 2 times", id="bucket twice"
        ),
        pytest.param([bucket(name="Pictures")], [], "bucket Pictures, name", id="bucket's name"),
        pytest.param([bucket(location="pictures")], [], "bucket pictures, location", id="bucket's place"),
        pytest.param([bucket(secret_access_key="")], [], "pictures, secret_access_key", id="bucket's secret"),
        pytest.param(
            [bucket(location=STORE["location"].rsplit("/", 1)[0])],
            [],
            "within it, need copies elsewhere",
            id="in itself",
        ),
        pytest.param([changed(LOGICAL, where={**CONTAINER, "user": "postgres"})], [], "where.user", id="user by name"),
        pytest.param([changed(LOGICAL, where={**CONTAINER, "container": ""})], [], "where.container", id="container"),
        pytest.param([], [changed(LOGICAL, where={**CONTAINER, "image": ""})], "where.image", id="image of a drill"),
        pytest.param([], [changed(LOGICAL, where={})], "where.bin_dir", id="programs of a drill"),
        pytest.param([changed(PHYSICAL, server={})], [], "server.data_dir", id="data folder"),
        pytest.param(
            [changed(LOGICAL, server={"user": "b", "admin_user": "shop"})], [], "server.password", id="no password"
        ),
        pytest.param(
            [changed(LOGICAL, server={"user": "shop", "admin_user": "shop", "password": "x"})],
            [],
            "server.user",
            id="admin",
        ),
        pytest.param(
            [changed(LOGICAL, server={"user": "evenkeel_backup", "admin_user": "shop", "password": "x"})],
            [],
            "found evenkeel_backup, need another name",
            id="the canary's role",
        ),
        pytest.param(
            [changed(PHYSICAL, encryption_key="one\ntwo", escrow_key="one\ntwo")],
            [],
            "found 2 lines, need one, as pgBackRest",
            id="key of two lines",
        ),
        pytest.param([changed(LOGICAL, repositories=[])], [], "repositories of instance shop", id="no repository"),
        pytest.param([changed(LOGICAL, repositories=[LOCAL, LOCAL])], [], "found local 2 times", id="repository twice"),
        pytest.param([], [changed(LOGICAL, repositories=[LOCAL])], "only folders of the live host", id="no store"),
        pytest.param([], [changed(LOGICAL, drill={"repository": "x"})], "drill.repository", id="drill of no store"),
        pytest.param(
            [changed(LOGICAL, repositories=[{**LOCAL, "location": "srv"}])], [], "need an absolute path", id="folder"
        ),
        pytest.param(
            [changed(LOGICAL, repositories=[{**STORE, "location": "https://x/y"}])], [], "need s3:https", id="location"
        ),
        pytest.param(
            [changed(PHYSICAL, repositories=[{**STORE, "location": "s3:http://x/y"}])], [], "without TLS", id="no TLS"
        ),
        pytest.param(
            [changed(LOGICAL, repositories=[{**STORE, "secret_access_key": ""}])], [], "secret_access_key", id="secret"
        ),
        pytest.param(
            [changed(LOGICAL, schedules=[{"verb": "backup", "type": "incr", "calendar": "daily"}])],
            [],
            "type incr for backup with engine logical",
            id="type",
        ),
        pytest.param(
            [changed(LOGICAL, schedules=[{"verb": "backup", "calendar": one} for one in ("daily", "hourly")])],
            [],
            "found 2 for backup",
            id="one unit twice",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    instances: list[dict[str, Any]], drills: list[dict[str, Any]], sentence: str
) -> None:
    found = made.postgres_backup_problems(instances, drills)
    assert len(found) == 1, found
    assert sentence in found[0]
    assert found[0].startswith("postgres_backup: ")
    assert ", need " in found[0]
    assert "canary" not in found[0]
