# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shop's database: backups by both engines, drills, restores side by side, to a point in time, and on a bare host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

BACKUP = "playbooks/backup.yml"
DRILL = "playbooks/drill.yml"
RESTORE = "playbooks/restore.yml"
LIVE = "docker exec -i shop-data-postgres-1 psql -XAtq -U shop"
WORK = "/var/backups/evenkeel/shop-wal"
CONTENT = "select count(*), md5(coalesce(string_agg(o::text, '|' order by seq), '')) from orders o"
# Reads a data folder with programs of the server's own image and no network.
READ = """
image=$(python3 -c 'import json; print(json.load(open("/etc/evenkeel/backup/shop-wal.json"))["where"]["image"])');
docker run --rm --pull never --network none --user 999:999 --tmpfs /tmp --tmpfs /run/postgresql:uid=999,gid=999
 --volume {folder}:{folder} --entrypoint bash $image -c
 "pg_ctl -s -w -D {folder}/data -l /tmp/log -o '-c listen_addresses= -c archive_mode=off' start >&2
 && psql -XAtq -U shop -d shop -c \\"{query}\\"; pg_ctl -s -m fast -D {folder}/data stop >&2"
"""


def sql(query: str, database: str = "shop") -> str:
    """Query the live server."""
    (answer,) = rig.on_hosts("data1", f"{LIVE} -d {database} -c {shlex.quote(query)}").values()
    return answer


def read(host: str, folder: str, query: str) -> str:
    """Query a restored data folder."""
    script = " ".join(READ.format(folder=folder, query=query).split())
    (answer,) = rig.on_hosts(host, script, 120).values()
    return answer


def drop_what_was_live() -> None:
    """Remove the former database of an in-place restore; there is exactly one."""
    kept = sql("select datname from pg_database where datname like 'shop\\_before\\_%'", "postgres")
    sql(f"drop database {kept}", "postgres")


def restore(folder: Path, *arguments: str, **options: object) -> rig.Play:
    return rig.play(RESTORE, "-e", json.dumps(options), *arguments, folder=folder)


@pytest.fixture(scope="module")
def content() -> str:
    """Return the current orders, some of them new, which every restore must contain."""
    sql(
        "insert into orders (id, item, release, processed_at) select 'kept-' || n, 'tea', '1.0', now()"
        " from generate_series(1, 50) n where not exists (select from orders where id = 'kept-1')"
    )
    found = sql(CONTENT)
    assert int(found.split("|")[0]) >= 50
    return found


@pytest.fixture(scope="module")
def backed_up(content: str, folder: Path) -> rig.Play:
    assert content
    return rig.play(BACKUP, folder=folder)


def test_both_engines_take_a_backup_and_read_it_back(backed_up: rig.Play) -> None:
    assert backed_up.code == 0, backed_up.tail()
    for instance in ("shop", "shop-wal", "shop-redis", "shop-uploads"):
        shop.assert_says(backed_up, rf"{instance}: backup \S+ proven to L2")


def test_drill_on_a_host_that_never_held_the_data_reaches_the_last_step(backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    run = rig.play(DRILL, folder=folder)
    assert run.code == 0, run.tail()
    for instance in ("shop", "shop-wal", "shop-redis", "shop-uploads"):
        shop.assert_says(run, rf"{instance}: backup \S+ of repository offsite proven to L5")


def test_side_by_side_brings_every_row_back_and_leaves_the_live_database(
    backed_up: rig.Play, content: str, folder: Path
) -> None:
    assert backed_up.code == 0
    run = restore(folder, restore_instance="shop", restore_as="shop_beside")
    try:
        assert run.code == 0, run.tail()
        assert sql(CONTENT, "shop_beside") == content
        assert sql(CONTENT) == content
    finally:
        sql("drop database if exists shop_beside", "postgres")


@pytest.mark.long
def test_in_place_stops_the_app_behind_its_maintenance_page_and_brings_both_back(
    backed_up: rig.Play, content: str, folder: Path
) -> None:
    assert backed_up.code == 0
    release = rig.live_release()
    sql("create table in_place_probe (what text)")
    options = {
        "restore_instance": "shop",
        "restore_mode": "in_place",
        "restore_confirm": "shop",
        "restore_stop_apps": ["shop"],
    }
    run = rig.begin(RESTORE, "-e", json.dumps(options), folder=folder)
    with rig.ended(run):
        run.wait_for_task(r".*service \| Restore$")
        status, page = rig.get("/api/version")
        run.wait()
    assert (run.code, status) == (0, 503), run.tail()
    assert "maintenance" in page
    assert sql(CONTENT) == content
    assert sql("select to_regclass('in_place_probe') is null") == "t"
    drop_what_was_live()
    assert rig.live_release() == release
    assert rig.bot_overlaps()["overlaps"] == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"restore_as": "shop"}, r"the name 'shop', which a live database has", id="live name"),
        pytest.param({"restore_mode": "in_place"}, r"found no name typed, need the name of the database", id="no name"),
        pytest.param({"restore_mode": "in_place", "restore_confirm": "shopp"}, r"'shop' typed out", id="other name"),
        pytest.param({"restore_mode": "pitr"}, r"target of shop: found none, need one", id="no target"),
        pytest.param({"restore_backup": "19990101T000000Z-000001"}, r"there is no such backup", id="no such backup"),
    ],
)
def test_what_would_hurt_is_refused(options: dict[str, str], sentence: str, backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    run = restore(folder, restore_instance="shop", **options)
    assert run.code != 0
    shop.assert_says(run, sentence)
    assert sql("select count(*) from pg_database where datname like 'shop\\_%'") == "0"


def test_point_in_time_has_the_row_before_and_not_the_row_after(backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    sql("create table if not exists pitr_probe (what text)")
    sql("insert into pitr_probe values ('before')")
    moment = sql("select pg_sleep(1); select clock_timestamp()").split("\n")[-1]
    sql("select pg_sleep(1); insert into pitr_probe values ('after')")
    sql("select pg_switch_wal()", "postgres")
    sql("select pg_sleep(5)")
    place = f"{WORK}/pitr"
    run = restore(
        folder, restore_instance="shop-wal", restore_mode="pitr", restore_target_time=moment, restore_into=place
    )
    try:
        assert run.code == 0, run.tail()
        assert read("data1", place, "select what from pitr_probe") == "before"
    finally:
        rig.on_hosts("data1", f"rm -rf {place}")
        sql("drop table pitr_probe")


def test_point_that_cannot_be_reached_is_refused_with_the_range(backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    run = restore(
        folder, restore_instance="shop-wal", restore_mode="pitr", restore_target_time="2001-01-01 00:00:00+00"
    )
    assert run.code != 0
    shop.assert_says(run, r"the target cannot be reached .* which is LSN \S+ to \S+")


# All that is left after the loss of every host: the repository, its key, and the image of the programs.
DESCRIBED = (
    "{{ [shop_archive | combine({'where': {'kind': 'container', 'image': shop_postgres_image, 'user': '999:999'},"
    " 'server': {'user': 'shop', 'data_dir': '/var/lib/postgresql/data'}})] }}"
)
BARE_FILES = (
    "/etc/evenkeel/backup /var/lib/evenkeel/backup /var/backups/evenkeel /usr/local/lib/evenkeel/evenkeel_backup"
)


@pytest.fixture
def bare_host() -> Iterator[str]:
    """Provide a host without any backup files, and remove them afterwards."""
    clean = (
        f"rm -rf {BARE_FILES} /usr/local/lib/evenkeel/evenkeel-backup /etc/systemd/system/evenkeel-backup-*;"
        " systemctl daemon-reload"
    )
    rig.on_hosts("app1", clean)
    yield "app1"
    rig.on_hosts("app1", clean)


@pytest.mark.long
def test_bare_host_brings_the_database_back_from_the_store_alone(
    backed_up: rig.Play, bare_host: str, content: str, folder: Path
) -> None:
    assert backed_up.code == 0
    place = f"{WORK}/bare"
    described = {
        "postgres_backup_drills": DESCRIBED,
        "postgres_backup_registries": "{{ lab_registries }}",
        "restore_instance": "shop-wal",
        "restore_into": place,
    }
    run = restore(folder, "--limit", bare_host, **described)
    assert run.code == 0, run.tail()
    assert read(bare_host, place, CONTENT) == content


REPLICA = "docker exec -i shop-replica-postgres-1 psql -XAtq -h /run/postgresql -U shop"
# A dump from the replica; its role was created on the primary.
OF_THE_REPLICA = (
    "{{ [shop_backup | combine({'name': 'shop-replica', 'repositories': [lab_store | combine("
    "{'location': 's3:https://store.lab:7070/backups/shop-replica'})],"
    " 'where': {'kind': 'container', 'container': 'shop-replica-postgres-1', 'user': '999:999'},"
    " 'server': {'host': '127.0.0.1', 'user': 'evenkeel_dump', 'password': lab_secrets.dump_password}})] }}"
)


def on_replica(query: str) -> str:
    """Query the replica."""
    (answer,) = rig.on_hosts("app1", f"{REPLICA} -d shop -c {shlex.quote(query)}").values()
    return answer


def test_replica_follows_and_is_watched(content: str) -> None:
    assert rig.until(lambda: on_replica(CONTENT) == content)
    script = "systemctl start evenkeel-backup-shop-metrics.service && cat /var/lib/prometheus/node-exporter/{}.prom"
    (figures,) = rig.on_hosts("data1", script.format("evenkeel_backup_shop")).values()
    assert 'evenkeel_backup_replica_connected{backup="shop",engine="logical",replica="app1"} 1' in figures


@pytest.mark.long
def test_replica_does_the_backing_up(bare_host: str, folder: Path) -> None:
    described = {"postgres_backup_instances": OF_THE_REPLICA, "postgres_backup_registries": "{{ lab_registries }}"}
    run = rig.play(
        "site.yml", "--limit", bare_host, "--tags", "postgres_backup", "-e", json.dumps(described), folder=folder
    )
    assert run.code == 0, run.tail()
    program = "/usr/local/lib/evenkeel/evenkeel-backup"
    (status,) = rig.on_hosts(bare_host, f"{program} drill shop-replica", 240).values()
    assert json.loads(status)["drill"]["level"] == 5


def test_folder_of_another_service_comes_back(backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    client = (
        "docker exec -i shop-data-redis-1 sh -c 'REDISCLI_AUTH=\"$(cat /run/secrets/redis_password)\" redis-cli {}'"
    )
    rig.on_hosts("data1", client.format("set kept-word row-by-row"))
    run = rig.play(BACKUP, "-e", "postgres_backup_only=shop-redis", folder=folder)
    assert run.code == 0, run.tail()
    place = "/var/backups/evenkeel/shop-redis/beside"
    run = restore(folder, restore_instance="shop-redis", restore_into=place)
    try:
        assert run.code == 0, run.tail()
        (found,) = rig.on_hosts("data1", f"grep -rl kept-word {place}").values()
        assert found.endswith(".rdb")
    finally:
        rig.on_hosts("data1", f"rm -rf {place}; {client.format('del kept-word')}")


# The store with the app's address, from the host that backs it up.
UPLOADS = (
    ". /etc/evenkeel/backup/shop-uploads-bucket-uploads.s3; export RCLONE_CONFIG= RCLONE_CONFIG_APP_TYPE=s3"
    " RCLONE_CONFIG_APP_PROVIDER=Other RCLONE_CONFIG_APP_ENDPOINT=https://store.lab:7070"
    " RCLONE_CONFIG_APP_REGION=us-east-1 RCLONE_CONFIG_APP_NO_CHECK_BUCKET=true"
    " RCLONE_CONFIG_APP_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID RCLONE_CONFIG_APP_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY"
    " RCLONE_CA_CERT=/etc/evenkeel/backup/server/shop-uploads-bucket-uploads.crt;"
)
# Name, type and content of every object.
OBJECTS = (
    f"{UPLOADS} rclone lsjson -R --files-only --no-modtime app:uploads | grep -o '\"Path.*MimeType[^,]*'; "
    "rclone hashsum sha256 --download app:uploads | sort"
)


def test_objects_of_the_store_come_back_in_their_bucket(backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    put = "head -c 20000 /dev/urandom | rclone rcat --header-upload 'Content-Type: image/x-own' app:uploads/2026/{}"
    rig.on_hosts("data1", f"{UPLOADS} " + "; ".join(put.format(number) for number in range(5)))
    (before,) = rig.on_hosts("data1", OBJECTS).values()
    assert before.count("image/x-own") == 5
    run = rig.play(BACKUP, "-e", "postgres_backup_only=shop-uploads", folder=folder)
    assert run.code == 0, run.tail()
    rig.on_hosts("data1", f"{UPLOADS} rclone delete app:uploads/2026; {put.format('planted')}")
    options = {"restore_instance": "shop-uploads", "restore_mode": "in_place", "restore_repository": "local"}
    run = restore(folder, **options, restore_confirm="shop-uploads")
    assert run.code != 0
    shop.assert_says(run, r"'uploads' typed out")
    run = restore(folder, **options, restore_confirm="uploads")
    assert run.code == 0, run.tail()
    assert rig.on_hosts("data1", OBJECTS)["data1"] == before


# Remove the database and its backups on the host, and the replica.
LOSS = (
    "docker rm -f shop-data-postgres-1 && docker volume rm shop-data_postgres &&"
    " systemctl stop 'evenkeel-backup-*.timer' && rm -rf /srv/backup {files} /usr/local/lib/evenkeel/evenkeel-backup"
    " /etc/systemd/system/evenkeel-backup-* && systemctl daemon-reload"
)
LOSS_OF_THE_REPLICA = "docker rm -f shop-replica-postgres-1 && docker volume rm shop-replica_postgres"


@pytest.mark.long
def test_data_lost_for_good_comes_back_row_for_row(backed_up: rig.Play, content: str, folder: Path) -> None:
    assert backed_up.code == 0
    rig.on_hosts("data1", LOSS.format(files=BARE_FILES))
    rig.on_hosts("app1", LOSS_OF_THE_REPLICA)
    # Like a user: site.yml, which refuses to back up the empty database; the restore; site.yml again.
    run = rig.play("site.yml", "--limit", "data1", folder=folder)
    assert run.code != 0
    for instance in ("shop", "shop-wal"):
        shop.assert_says(run, rf"other data on {instance}: .* set postgres_backup_new_servers to \[{instance}\]")
    assert sql("select to_regclass('orders') is null") == "t"
    run = restore(
        folder,
        restore_instance="shop",
        restore_repository="offsite",
        restore_mode="in_place",
        restore_confirm="shop",
        restore_stop_apps=["shop"],
    )
    assert run.code == 0, run.tail()
    assert sql(CONTENT) == content
    drop_what_was_live()
    run = rig.play("site.yml", "-e", json.dumps({"postgres_backup_new_servers": ["shop-wal"]}), folder=folder)
    assert run.code == 0, run.tail()
    assert rig.get("/api/version")[0] == 200
    assert sql(CONTENT) == content
    assert rig.until(lambda: on_replica(CONTENT) == content)
    run = rig.play(BACKUP, folder=folder)
    assert run.code == 0, run.tail()


def test_no_secret_is_said_by_any_of_these(backed_up: rig.Play, folder: Path) -> None:
    assert backed_up.code == 0
    secrets = [path.read_text(encoding="utf-8").split()[0] for path in (rig.ROOT / ".cache").glob("lab*/secrets/*")]
    assert secrets
    for log in folder.glob("play-*.log"):
        text = log.read_text(encoding="utf-8", errors="replace")
        assert not any(secret in text for secret in secrets), log
