# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the roles on the hosts, and restores of the backups."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://db"]

CANARIES = ("canary-store-secret", "canary-dump-password", "canary-backup-key")
KEY = "canary-backup-key"
CONFIG = "/etc/evenkeel/backup"
STATE = "/var/lib/evenkeel/backup"
WORK = "/var/backups/evenkeel"


def faults(document):
    return {failure["fault"] for failure in document["failures"]}


# -- what the role wrote -------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("shop-backup", "backup shop"),
        ("shop-verify", "verify shop --read-data"),
        ("shop-metrics", "metrics shop"),
        ("shop-settle", "settle shop"),
        ("shop-wal-settle", "settle shop-wal"),
        ("shop-wal-full", "backup shop-wal --type=full"),
        ("shop-wal-incr", "backup shop-wal --type=incr"),
        ("uploads-backup", "backup uploads"),
    ],
)
def test_each_timer_runs_and_calls_the_program(db, unit, words):
    timer = db.service(f"evenkeel-backup-{unit}.timer")
    assert timer.is_enabled
    assert timer.is_running
    assert f"evenkeel-backup {words} " in db.check_output(
        f"systemctl show --property=ExecStart --value evenkeel-backup-{unit}.service"
    )


def test_a_timer_waits_a_random_while_and_catches_up(db):
    text = db.check_output("systemctl show --property=Persistent,RandomizedDelayUSec evenkeel-backup-shop-backup.timer")
    assert "Persistent=yes" in text
    assert "RandomizedDelayUSec=30min" in text


def test_an_interrupted_restore_is_settled_at_boot_and_each_minute(db):
    text = db.file("/etc/systemd/system/evenkeel-backup-shop-settle.timer").content_string
    assert "OnBootSec=5" in text
    text = db.file("/etc/systemd/system/evenkeel-backup-shop-settle.service").content_string
    assert f"ConditionPathExists={STATE}/shop/exchange.json" in text
    assert "After=network-online.target docker.service postgresql.service" in text


def test_timers_of_an_instance_that_is_no_more_are_gone(db):
    assert not db.file("/etc/systemd/system/evenkeel-backup-gone-backup.timer").exists
    assert not db.service("evenkeel-backup-gone-backup.timer").is_running


@pytest.mark.parametrize("host", ["db", "ops"])
def test_no_secret_can_be_read_by_others(host, request):
    host = request.getfixturevalue(host)
    holders = host.run(
        f"grep -rlE '{'|'.join(CANARIES)}' /etc /var/lib/evenkeel /var/backups /run /usr/local /srv/backup"
    )
    for path in holders.stdout.split():
        assert path.startswith(CONFIG), path
        assert host.file(path).mode in {0o400, 0o600}, path
    assert host.file(f"{CONFIG}/shop.key").mode == 0o400
    assert host.run(f"runuser -u nobody -- ls {CONFIG}").rc != 0
    assert not any(canary in host.check_output("journalctl --no-pager --output=cat") for canary in CANARIES)


def test_configuration_holds_no_secret(db):
    for name in ("shop", "shop-wal", "uploads"):
        config = db.file(f"{CONFIG}/{name}.json")
        assert config.mode == 0o600
        assert not any(canary in config.content_string for canary in CANARIES)


def test_a_secret_stands_in_no_list_of_processes_while_a_backup_runs(db):
    answer = db.run(
        "/usr/local/lib/evenkeel/evenkeel-backup backup shop >/run/backup.json & p=$!;"
        " while kill -0 $p 2>/dev/null; do ps -ewwo args >>/run/seen; sleep 0.05; done; wait $p;"
        " cat /run/seen; rm /run/seen"
    )
    assert answer.rc == 0
    assert "restic" in answer.stdout
    assert not any(canary in answer.stdout for canary in CANARIES)


def test_the_role_that_dumps_was_made_and_its_password_is_asked_for(db):
    login = "psql -XAtq -h 127.0.0.1 -U evenkeel_dump -d shop -c 'select 1'"
    assert db.run(f"PGPASSWORD=canary-dump-password {login}").stdout.strip() == "1"
    assert db.run(f"PGPASSWORD=wrong {login}").rc != 0


def test_the_role_that_dumps_is_no_superuser(db):
    query = "select rolsuper, rolbypassrls from pg_roles where rolname = 'evenkeel_dump'"
    assert db.check_output(f'runuser -u postgres -- psql -XAtq -c "{query}"') == "f|t"


# -- what was backed up --------------------------------------------------------


@pytest.mark.parametrize("instance", ["shop", "shop-wal", "uploads"])
def test_the_first_backup_was_taken_and_read_back(db, run, instance):
    code, document = run(db, f"status {instance}")
    assert code == 0, document
    assert document["status"]["newest_good"]
    for repository in document["status"]["repositories"].values():
        assert repository["level"] >= 2
        assert repository["escrow"]


def test_hooks_ran_around_the_backup(db):
    assert not db.file("/srv/uploads/at-rest").exists
    report = db.check_output(f"cat {STATE}/uploads/reports/*-backup.json")
    assert "before_backup" in report
    assert "after_backup" in report


def test_metrics_are_readable_by_the_exporter(db):
    text = db.check_output("runuser -u nobody -- cat /var/lib/prometheus/node-exporter/evenkeel_backup_shop.prom")
    assert "evenkeel_backup_last_success_timestamp_seconds" in text


def test_two_backups_at_once_are_refused(db):
    answer = db.run("flock /run/lock/evenkeel-backup-shop.lock /usr/local/lib/evenkeel/evenkeel-backup backup shop")
    assert answer.rc == 4
    assert faults(json.loads(answer.stdout)) == {"lock_held"}


@pytest.mark.parametrize("instance", ["shop", "shop-wal"])
def test_a_drill_on_a_host_that_never_held_the_data_reaches_the_last_step(ops, run, instance):
    assert ops.service(f"evenkeel-backup-{instance}-drill.timer").is_enabled
    code, document = run(ops, f"drill {instance} --key-file {CONFIG}/{instance}.key")
    assert code == 0, document["failures"]
    assert document["drill"]["level"] == 5
    assert document["drill"]["repository"] == "offsite"
    assert document["drill"]["same_host"] is False
    page = ops.file(document["page"])
    assert "L5" in page.content_string
    assert 'src="http' not in page.content_string
    assert 'href="http' not in page.content_string
    assert ops.check_output(f"ls -A {WORK}/{instance}") == ""
    text = ops.check_output(f"cat /var/lib/prometheus/node-exporter/evenkeel_backup_{instance}.prom")
    assert "evenkeel_backup_drill_last_success_timestamp_seconds" in text


def test_no_server_runs_where_drills_are_made(ops):
    assert not ops.socket("tcp://5432").is_listening
    assert ops.run("ls -A /var/lib/postgresql/17").stdout == ""


@pytest.mark.parametrize("instance", ["shop", "shop-wal"])
def test_another_key_is_refused(db, run, instance):
    code, document = run(db, f"escrow-check {instance} --key-file -", given="not the key")
    assert code != 0
    assert faults(document) == {"wrong_key"}
    code, document = run(db, f"escrow-check {instance} --key-file -", given=KEY)
    assert code == 0, document


FLIP = (
    "import sys; f = open(sys.argv[1], 'r+b'); f.seek(0, 2); at = f.tell() // 2; f.seek(at); byte = f.read(1)[0];"
    " f.seek(at); f.write(bytes([byte ^ 1]))"
)


@pytest.mark.parametrize(
    ("instance", "files"),
    [
        ("shop", "find /srv/backup/shop/data -type f -size +0"),
        (
            "shop-wal",
            "find /srv/backup/shop-wal/backup/shop-wal -path '*F/*' -type f -size +8k -not -name '*.manifest*'",
        ),
    ],
)
def test_a_flipped_byte_is_found(db, run, instance, files):
    path = db.check_output(f"{files} | xargs ls -S | head -1")
    mode = db.file(path).mode
    db.check_output(f'chmod u+w {path} && python3 -c "{FLIP}" {path}')
    try:
        code, document = run(db, f"verify {instance} --repository local --read-data")
        assert code == 3, document
        assert faults(document) & {"flipped_byte", "partial_upload"}
    finally:
        db.check_output(f'python3 -c "{FLIP}" {path} && chmod {mode:o} {path}')
    code, document = run(db, f"verify {instance} --repository local --read-data")
    assert code == 0, document["failures"]


# -- bad input -----------------------------------------------------------------


def test_every_problem_is_named_at_once_and_nothing_changes(db, play):
    before = db.check_output(f"ls -l --time-style=full-iso {CONFIG} /etc/systemd/system")
    wrong = {
        "name": "x",
        "engine": "physical",
        "encryption_key": " ",
        "repositories": [{"name": "r", "location": "srv"}],
    }
    code, said = play("refused.yml", postgres_backup_instances=[wrong], postgres_backup_drils=[])
    assert code != 0
    for sentence in (
        "unknown option on postgres_backup_drils",
        "encryption_key of instance x: found none",
        "server.data_dir of instance x: found none",
        "repository r, location of instance x: found srv, need an absolute path",
    ):
        assert sentence in said
    assert db.check_output(f"ls -l --time-style=full-iso {CONFIG} /etc/systemd/system") == before


def test_a_store_that_denies_is_named(db, run):
    path = f"{CONFIG}/shop-offsite.s3"
    db.check_output(f"cp -p {path} /run/kept.s3 && sed -i 's/canary-store-secret/other/' {path}")
    try:
        code, document = run(db, "backup shop")
        assert code == 3, document
        assert faults(document) == {"store_denied"}
        assert [copy["repository"] for copy in document["backup"]["copies"]] == ["local"]
    finally:
        db.check_output(f"cp -p /run/kept.s3 {path}; rm /run/kept.s3")


def test_a_store_that_is_gone_is_named(db, ops, run):
    ops.check_output("systemctl stop store")
    try:
        code, document = run(db, "backup shop")
        assert code == 3, document
        assert faults(document) == {"store_unreachable"}
    finally:
        ops.check_output("systemctl start store")
