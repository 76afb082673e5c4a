# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores on Debian 12: side by side, in place, to a point in time, and on a bare host."""

from __future__ import annotations

import os
import re
from pathlib import Path

testinfra_hosts = ["ansible://db"]

WORK = "/var/backups/evenkeel"


def read(host, major, folder, query):
    """Query a restored data folder without network; Debian stores a server's settings elsewhere."""
    host.check_output(
        f"install -d -o postgres /run/read && : >/run/read/empty && echo 'local all all trust' >/run/read/hba"
        f" && runuser -u postgres -- /usr/lib/postgresql/{major}/bin/pg_ctl -s -w -D {folder}/data -l /run/read/log"
        f" -o '-c config_file=/run/read/empty -c data_directory={folder}/data -c hba_file=/run/read/hba"
        f" -c unix_socket_directories=/run/read -c listen_addresses= -c archive_mode=off' start"
    )
    try:
        return host.check_output(f'runuser -u postgres -- psql -XAtq -h /run/read -d shop -c "{query}"')
    finally:
        host.run(f"runuser -u postgres -- /usr/lib/postgresql/{major}/bin/pg_ctl -s -m fast -D {folder}/data stop")
        host.run("rm -rf /run/read")


def faults(document):
    return {failure["fault"] for failure in document["failures"]}


def test_side_by_side_is_the_default_and_leaves_the_live_database(db, sql, play):
    before = sql("select count(*), max(id) from orders")
    code, said = play("restore.yml", restore_instance="shop", restore_as="shop_beside")
    assert code == 0, said
    assert sql("select count(*) from orders", database="shop_beside") == "5000"
    assert sql("select count(*), max(id) from orders") == before
    db.check_output("runuser -u postgres -- dropdb shop_beside")


def test_the_live_name_is_refused_beside(play, sql):
    code, said = play("restore.yml", restore_instance="shop", restore_as="shop")
    assert code != 0
    assert "the name 'shop', which a live database has" in said


def test_in_place_wants_the_name_typed(play, sql):
    for typed in ("", "shopp"):
        code, said = play("restore.yml", restore_instance="shop", restore_mode="in_place", restore_confirm=typed)
        assert code != 0
        assert "need the name of the database" in said or "typed out" in said
    assert sql("select count(*) from pg_database where datname like 'shop\\_%'") == "0"


def test_in_place_brings_the_data_back_and_keeps_what_was_live(db, run, sql, play):
    sql("delete from orders where id > 4000")
    code, said = play("restore.yml", restore_instance="shop", restore_mode="in_place", restore_confirm="shop")
    assert code == 0, said
    assert sql("select count(*) from orders") == "5000"
    kept = sql("select datname from pg_database where datname like 'shop\\_before\\_%'")
    assert sql("select count(*) from orders", database=kept) == "4000"
    db.check_output(f"runuser -u postgres -- dropdb {kept}")


def test_a_point_in_time_has_the_row_before_and_not_the_row_after(db, sql, play, major):
    sql("insert into orders (what) values ('before')")
    at = db.check_output("sleep 1; date --utc '+%Y-%m-%d %H:%M:%S.%6N+00'; sleep 1")
    sql("insert into orders (what) values ('after')")
    # Archive the segment with both rows.
    sql("select pg_switch_wal(), pg_sleep(3)", database="postgres")
    code, said = play(
        "restore.yml",
        restore_instance="shop-wal",
        restore_mode="pitr",
        restore_target_time=at,
        restore_into="/var/lib/postgresql/pitr",
    )
    assert code == 0, said
    rows = read(db, major, "/var/lib/postgresql/pitr", "select what from orders where what in ('before', 'after')")
    db.check_output("rm -rf /var/lib/postgresql/pitr")
    assert rows.split() == ["before"]


def test_a_point_that_cannot_be_reached_is_refused_with_the_range(play):
    code, said = play(
        "restore.yml", restore_instance="shop-wal", restore_mode="pitr", restore_target_time="2001-01-01 00:00:00+00"
    )
    assert code != 0
    assert "the target cannot be reached" in said
    assert "which is LSN" in said


def test_files_come_back_with_their_content(db, play):
    code, said = play("restore.yml", restore_instance="uploads", restore_into="/srv/restored")
    assert code == 0, said
    assert db.check_output("find /srv/restored -name photo -exec cat {} +") == "a photo"
    db.check_output("rm -rf /srv/restored")


# -- on a bare host ----------------------------------------------------------------


def test_dry_run_changes_nothing_and_says_the_plan(db, bare, play, sql):
    code, said = play(
        "restore.yml", "--check", restore_instance="shop", restore_mode="in_place", restore_confirm="shop"
    )
    assert code == 0, said
    assert "take a safety backup" in said
    assert sql("select count(*) from pg_database where datname like 'shop\\_%'") == "0"
    code, said = play("restore.yml", "--check", on_host="bare", restore_instance="shop-wal")
    assert code == 0, said
    assert not bare.file("/etc/evenkeel").exists


def test_bare_host_brings_the_server_back_from_the_store_alone(bare, sql, play, major):
    for trace in ("/etc/evenkeel", "/var/lib/evenkeel", WORK, "/etc/postgresql"):
        assert not bare.file(trace).exists, trace
    place = "/var/lib/postgresql/back"
    code, said = play(
        "restore.yml",
        on_host="bare",
        restore_instance="shop-wal",
        restore_repository="offsite",
        restore_into=place,
    )
    assert code == 0, said
    before = "select count(*), md5(string_agg(o::text, '|' order by id)) from orders o where id <= 4000"
    assert read(bare, major, place, before) == sql(before)
    bare.check_output(f"rm -rf {place}")


def test_bare_host_tries_the_dump_to_the_last_step(bare, play):
    code, said = play(
        "restore.yml", on_host="bare", restore_instance="shop", restore_repository="offsite", restore_mode="drill"
    )
    assert code == 0, said
    assert "level: 5" in said
    assert not bare.socket("tcp://5432").is_listening


# -- a new server ------------------------------------------------------------------


def test_server_made_anew_is_backed_up_only_when_that_is_said(db, run, sql, play, major):
    backups = run(db, "status shop")[1]["status"]["newest_good"]
    db.check_output(
        f"systemctl stop postgresql@{major}-main && runuser -u postgres -- rm -rf /var/lib/postgresql/{major}/main &&"
        f" runuser -u postgres -- /usr/lib/postgresql/{major}/bin/initdb -k -D /var/lib/postgresql/{major}/main &&"
        f" systemctl start postgresql@{major}-main && runuser -u postgres -- createdb shop"
    )
    code, said = play("converge.yml")
    assert code != 0
    for instance in ("shop", "shop-wal"):
        assert f"set postgres_backup_new_servers to [{instance}]" in said
    # Runs by its timer are refused, too.
    code, document = run(db, "backup shop")
    assert code == 1
    assert faults(document) == {"other_server"}
    assert run(db, "status shop")[1]["status"]["newest_good"] == backups
    # Restore over the empty database, and continue the archive.
    code, said = play("restore.yml", restore_instance="shop", restore_mode="in_place", restore_confirm="shop")
    assert code == 0, said
    assert sql("select count(*) from orders") == "5000"
    code, said = play("converge.yml", postgres_backup_new_servers=["shop-wal"])
    assert code == 0, said
    code, document = run(db, "backup shop-wal")
    assert (code, document["backup"]["type"]) == (0, "full"), document


# -- with only the store and the key -------------------------------------------------


def test_guide_brings_the_dump_back_by_hand(db, bare, ops, run, major):
    # restic's newest snapshot is the safety backup of the empty database.
    assert run(db, "backup shop")[0] == 0
    guide = (Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "docs/guides/restore.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"^```sh\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    bare.check_output(
        f"apt-get install -y -qq postgresql-{major} && (pg_lsclusters -h | grep -q main"
        f" || pg_createcluster {major} main --start)"
        " && install -d /srv/back && printf canary-backup-key >/srv/back/key"
    )
    certificate = ops.file("/srv/store/store.pem").content_string
    bare.check_output(f"printf '%s' '{certificate}' >/srv/back/ca.pem")
    given = {
        "STORE": "s3:https://ops:7070/backups/shop",
        "INSTANCE": "shop",
        "CA": "ca.pem",
        "AWS_ACCESS_KEY_ID": "backup",
        "AWS_SECRET_ACCESS_KEY": "canary-store-secret",
    }
    words = " ".join(f"{name}={value}" for name, value in given.items())
    answer = bare.run(f"cd /srv/back && env {words} bash -e <<'EOF'\n{commands}EOF")
    assert answer.rc == 0, answer.stderr
    assert bare.check_output("runuser -u postgres -- psql -XAtq -d shop -c 'select count(*) from orders'") == "5000"
    assert (
        bare.check_output(
            "runuser -u postgres -- psql -XAtq -c \"select rolpassword like 'SCRAM%' from pg_authid where rolname = 'shop'\""
        )
        == "t"
    )
