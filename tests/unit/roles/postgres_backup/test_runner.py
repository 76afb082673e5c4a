# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner's other decisions: commands, metrics, pages, proofs of keys, texts of pgBackRest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from evenkeel_backup import (
    cli,
    command,
    config,
    database,
    disk,
    escrow,
    ladder,
    lock,
    logical,
    metrics,
    pgbackrest,
    progress,
    recovery,
    replicas,
    report,
    wal,
)
from evenkeel_backup.faults import BackupFailure, Interrupted
from evenkeel_backup.job import Job
from evenkeel_backup.outcome import Outcome
from evenkeel_backup.state import State
from evenkeel_backup.target import Point
from evenkeel_backup.where import NONE, STORE, Container

AT = datetime(2026, 1, 2, 3, tzinfo=UTC)
S3 = {
    "name": "offsite", "kind": "s3", "location": "s3:https://store.lab:7070/backup/shop", "key_file": "/k", "credentials_file": "/c", "ca_file": "/ca.pem",
}  # fmt: skip
CONFIG = config.complete(
    {
        "instance": "shop",
        "engine": "physical",
        "server": {"data_dir": "/data", "host": "/run/postgresql"},
        "repositories": [{"name": "local", "location": "/srv/backup", "key_file": "/k"}, S3],
    }
)


def test_a_client_runs_in_a_container_of_the_servers_image() -> None:
    where = Container("docker", "shop-db", "postgres@sha256:1", "999:999", [Path("/dumps")])
    argv = where.argv("pg_dump", "--file=/dumps/x", env=["PGHOST", "PGPASSFILE"])
    assert argv[:3] == ["docker", "run", "--rm"]
    text = " ".join(argv)
    assert "--network container:shop-db" in text
    assert "--volume /dumps:/dumps" in text
    assert "--env PGHOST --env PGPASSFILE" in text
    assert text.endswith("--entrypoint pg_dump postgres@sha256:1 --file=/dumps/x")
    assert "--network none" in " ".join(where.argv("postgres", network=NONE))
    assert "--network host" in " ".join(where.argv("pgbackrest", network=STORE))
    assert where.inside("pgbackrest", "info")[:5] == ["docker", "exec", "--interactive", "--user", "999:999"]


def test_a_host_that_only_restores_needs_no_server() -> None:
    where = Container("docker", "", "postgres@sha256:1", "999:999", [Path("/dumps")])
    assert "--network none" in " ".join(where.argv("postgres", network=NONE))
    for asked in (lambda: where.argv("psql"), lambda: where.inside("pgbackrest")):
        with pytest.raises(BackupFailure, match=r"there is no live server on where\.container"):
            asked()


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ("GRANT a TO b WITH INHERIT TRUE GRANTED BY shop;", "GRANT a TO b WITH INHERIT TRUE;"),
        ("GRANT a TO b GRANTED BY shop;", "GRANT a TO b;"),
        ("GRANT a TO b GRANTED BY shopper;", "GRANT a TO b GRANTED BY shopper;"),
        ("ALTER ROLE a PASSWORD 'x GRANTED BY shop;", "ALTER ROLE a PASSWORD 'x GRANTED BY shop;"),
    ],
)
def test_what_the_first_superuser_granted_is_left_to_that_of_the_new_server(grant: str, expected: str) -> None:
    assert logical.grants_of_the_first(f"CREATE ROLE a;\n{grant}\n", "shop") == f"CREATE ROLE a;\n{expected}\n"
    assert logical.grants_of_the_first(grant, "") == grant
    quoted = grant.replace(" shop;", ' "Shop one";')
    assert logical.grants_of_the_first(quoted, "Shop one") == expected.replace(" shop;", ' "Shop one";')


def test_the_latest_backup_is_not_what_a_restore_replaced(tmp_path: Path) -> None:
    kept = State(tmp_path)
    (tmp_path / "backups").mkdir()

    def entry(sequence: int, reason: str) -> dict[str, object]:
        return {"id": f"{sequence}", "sequence": sequence, "reason": reason, "copies": [{"repository": "local"}]}

    kept.keep(entry(1, "safety"))
    assert kept.find("latest", "local")["id"] == "1"
    kept.keep(entry(2, "schedule"))
    kept.keep(entry(3, "safety"))
    assert kept.find("latest", "local")["id"] == "2"
    assert kept.find("3", "local")["id"] == "3"


def test_roles_that_are_missing_come_with_all_that_was_said_of_them() -> None:
    lines = (
        "CREATE ROLE shop;",
        "ALTER ROLE shop WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:x;y';",
        "ALTER ROLE shop SET work_mem TO '8MB';",
        "GRANT shop TO reader GRANTED BY postgres;",
        "GRANT readers TO shop WITH INHERIT TRUE GRANTED BY postgres;",
        'CREATE ROLE "Shop one";',
    )
    others = (
        "CREATE ROLE shopper;",
        "ALTER ROLE shopper WITH LOGIN;",
        "GRANT readers TO shopper;",
        "-- CREATE ROLE shop;",
    )
    text = "\n".join(word for pair in zip(lines, others, strict=False) for word in pair) + "\n" + "\n".join(lines[4:])
    assert logical.roles_of(text, ["shop", "Shop one"]).splitlines() == list(lines)
    assert logical.roles_of(text, []) == ""


@pytest.mark.parametrize(("said", "calls"), [("OCI runtime create failed: read init-p", 2), ("no such image", 1)])
def test_a_container_the_engine_could_not_make_is_asked_for_once_more(
    said: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RETRY_SECONDS", 0)
    log = tmp_path / "log"
    done = command.run(["sh", "-c", f"echo x >>{log}; echo {said} >&2; exit 125"])
    assert done.code == command.NO_CONTAINER
    assert len(log.read_text().split()) == calls


def test_a_run_takes_away_its_own_secrets_only(tmp_path: Path) -> None:
    config = SimpleNamespace(work_dir=tmp_path, state_dir=tmp_path / "state")
    # Only what clearing up reads.
    made = Job(config, None, SimpleNamespace(leftovers=list), [])  # type: ignore[arg-type]
    mine, other = os.getpid(), os.getppid()
    gone = 2**22 + 1  # above every number that Linux gives
    for pid in (mine, other, gone):
        for name in (f".pgpass-{pid}", f".key-local-{pid}", f".key-pgbackrest-{pid}.conf"):
            (tmp_path / name).touch()
    made.remove_secrets()
    assert not list(tmp_path.glob(f".*-{mine}*"))
    assert len(list(tmp_path.glob(".*"))) == 6
    made.remove_leftovers()
    assert sorted(path.name for path in tmp_path.glob(".*")) == [
        f".key-local-{other}", f".key-pgbackrest-{other}.conf", f".pgpass-{other}",
    ]  # fmt: skip


def test_a_folder_that_was_named_is_mounted_once() -> None:
    where = Container("docker", "shop-db", "postgres@sha256:1", "999:999", [Path("/dumps")])
    for folder in ("/dumps/restored-3", "/srv/beside", "/srv/beside"):
        where.reach(Path(folder))
    assert [word for word in where.argv("postgres") if word.startswith("/") and ":" in word] == [
        "/dumps:/dumps",
        "/srv/beside:/srv/beside",
    ]


def test_containers_of_runs_at_work_are_left_alone(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho mine {os.getpid()}\necho gone {2**22 + 1}\necho 'unnamed '\n")
    docker.chmod(0o755)
    where = Container(str(docker), "shop-db", "postgres@sha256:1", "999:999", [tmp_path])
    assert [argv[-1] for argv in where.leftovers()] == ["gone", "unnamed"]
    assert f"org.evenkeel.backup.run={os.getpid()}" in where.argv("psql")


def test_two_writers_of_a_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "shop.prom"
    script = (
        "import sys; from pathlib import Path; from evenkeel_backup import disk\n"
        "for _ in range(60): disk.write_atomic(Path(sys.argv[1]), sys.argv[2] * 20000)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(disk.__file__).parents[1])}
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), letter], env=env) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"a" * 20000, "b" * 20000}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    left, other = tmp_path / f".x.json.{2**22 + 1}.new", tmp_path / f".x.json.{os.getppid()}.new"
    left.touch()
    other.touch()
    disk.write_atomic(tmp_path / "x.json", "{}")
    assert not left.exists()
    assert other.exists()


def test_the_lock_is_a_file_of_our_own(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "lock"
    precious.write_text("kept")
    path.symlink_to(precious)
    with lock.held(path, "shop"):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(BackupFailure, match="another run holds the lock"), lock.held(path, "shop"):
            pass
    assert precious.read_text() == "kept"
    with lock.held(path, "shop"):
        pass


def test_a_program_that_takes_too_long_has_said_why() -> None:
    done = command.run(["sh", "-c", "echo dial tcp: connection refused >&2; sleep 60"], seconds=0.5)
    assert done.code == command.TIMED_OUT
    assert "connection refused not finished within 0.5 s" in done.err


@pytest.mark.parametrize(("store", "fault"), [(True, "store_unreachable"), (False, "partial_upload")])
def test_a_store_that_never_answers_is_named(store: bool, fault: str) -> None:
    with pytest.raises(BackupFailure) as caught:
        command.need(
            command.Done(command.TIMED_OUT, "", "not finished within 60 s"),
            "no copy",
            "shop",
            "one",
            "Look",
            "partial_upload",
            store=store,
        )
    assert caught.value.fault == fault


def test_a_run_that_is_asked_to_end_unwinds_once() -> None:
    before = [signal.getsignal(number) for number in cli.STOP_SIGNALS]
    try:
        with pytest.raises(Interrupted, match="SIGTERM"):
            cli.interrupt(signal.SIGTERM, None)
        assert {signal.getsignal(number) for number in cli.STOP_SIGNALS} == {signal.SIG_IGN}
    finally:
        for number, handler in zip(cli.STOP_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_counting_may_take_as_long_as_a_run() -> None:
    limits: set[float] = set()

    def run(sql: str, seconds: float = 600) -> str:
        limits.add(seconds)
        return "{}" if "d.datname" in sql else "[]"

    # All that is asked of a server here.
    assert database.described(SimpleNamespace(run=run), 21600)["rows"] == {}  # type: ignore[arg-type]
    assert limits == {21600}


def at(minutes: int) -> datetime:
    return AT + timedelta(minutes=minutes)


def test_a_replica_is_as_far_behind_as_what_it_has_not_replayed() -> None:
    noted: dict = {}
    for minute, position in enumerate(("0/100", "0/200", "0/200", "0/300")):
        noted = replicas.judged(
            {"lsn": position, "replicas": [{"name": "data2", "connected": True, "lsn": "0/100"}]}, noted, at(minute)
        )
    assert [entry["lsn"] for entry in noted["positions"]] == ["0/100", "0/200", "0/300"]
    assert noted["replicas"] == [{"name": "data2", "connected": True, "seconds": 120.0, "bytes": 512}]
    caught_up = replicas.judged(
        {"lsn": "0/300", "replicas": [{"name": "data2", "connected": True, "lsn": "0/300"}]}, noted, at(60)
    )
    assert caught_up["replicas"][0]["seconds"] == 0
    gone = replicas.judged(
        {"lsn": "0/400", "replicas": [{"name": "data2", "connected": False, "lsn": "0/200"}]}, noted, at(10)
    )
    assert gone["replicas"][0] == {"name": "data2", "connected": False, "seconds": 420.0, "bytes": 512}
    assert replicas.judged({"lsn": "0/400", "replicas": []}, noted, at(11)) == {"replicas": [], "positions": []}
    text = metrics.render(
        metrics.samples(
            "shop", "logical", [], {"verbs": {}, "stages": {}, "drill": {}, "archive": gone}, CONFIG.options, [], {}, AT
        )
    )
    labels = 'backup="shop",engine="logical",replica="data2"'
    assert f"evenkeel_backup_replica_connected{{{labels}}} 0" in text
    assert f"evenkeel_backup_replica_lag_seconds{{{labels}}} 420" in text


def test_a_restored_server_does_not_see_the_repositories() -> None:
    where = Container("docker", "shop-db", "postgres@sha256:1", "999:999", [Path("/dumps")], [Path("/srv/repository")])
    assert "/srv/repository:/srv/repository" in where.argv("pgbackrest", network=STORE)
    assert "/srv/repository:/srv/repository" not in where.argv("postgres", network=NONE)


VERIFIED = """stanza: wal
status: {status}
  archiveId: 15-1, total WAL checked: 6, total valid WAL: 6
    missing: {wal}, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261121-153302F, status: {first}, total files checked: 1265, total valid files: 1264
    missing: 0, checksum invalid: {bad}, size invalid: 0, other: 0
  backup: 20261121-153308F, status: valid, total files checked: 1275, total valid files: 1275
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""


@pytest.mark.parametrize(
    ("text", "code", "found"),
    [
        pytest.param(VERIFIED.format(status="ok", wal=0, first="valid", bad=0), 0, {}, id="2.45, ok"),
        pytest.param(
            VERIFIED.format(status="error", wal=0, first="invalid", bad=1),
            0,
            {"20261121-153302F": {"checksum invalid": 1}},
            id="2.45, an error with code 0",
        ),
        pytest.param(
            VERIFIED.format(status="ok", wal=2, first="valid", bad=0),
            0,
            {"15-1": {"missing": 2}},
            id="2.45, ok over missing WAL",
        ),
        pytest.param(
            VERIFIED.format(status="ok", wal=0, first="in-progress", bad=0),
            0,
            {"20261121-153302F": {}},
            id="2.45, one that is not whole",
        ),
        pytest.param("stanza: wal\nstatus: error\n", 0, {"": {"other": 1}}, id="an error without a place"),
        pytest.param("", 0, {"": {"other": 1}}, id="nothing said"),
        pytest.param("status: ok", 1, {"": {"other": 1}}, id="another code"),
    ],
)
def test_the_verdict_of_pgbackrest_is_its_text(text: str, code: int, found: dict) -> None:
    assert pgbackrest.verify_findings(text, code) == found


def test_the_configuration_of_pgbackrest() -> None:
    secrets = {"local": {}, "offsite": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}}
    text = pgbackrest.render(CONFIG, {"local": "one", "offsite": "two"}, secrets, (2, 45))
    lines = text.splitlines()
    for line in (
        "repo1-path=/srv/backup", "repo1-cipher-type=aes-256-cbc", "repo1-cipher-pass=one", "repo2-type=s3", "repo2-s3-endpoint=store.lab",
        "repo2-storage-port=7070", "repo2-s3-bucket=backup", "repo2-path=/shop", "repo2-storage-ca-file=/ca.pem", "[shop]", "pg1-path=/data",
    ):  # fmt: skip
        assert line in lines
    assert "repo1-block=y" not in lines
    assert (
        "repo1-block=y" in pgbackrest.render(CONFIG, {"local": "one", "offsite": "two"}, secrets, (2, 46)).splitlines()
    )


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        pytest.param(
            Point(lsn=0x3000060), {"recovery_target_lsn": "0/3000060", "recovery_target_inclusive": "off"}, id="lsn"
        ),
        pytest.param(
            Point(time=AT),
            {"recovery_target_time": "2026-01-02 03:00:00+00:00", "recovery_target_inclusive": "on"},
            id="time",
        ),
        pytest.param(Point(name="release"), {"recovery_target_name": "release"}, id="name"),
        pytest.param(Point(xid="742"), {"recovery_target_xid": "742", "recovery_target_inclusive": "on"}, id="xid"),
        pytest.param(Point(), {}, id="the end"),
    ],
)
def test_the_settings_of_a_recovery(point: Point, expected: dict[str, str]) -> None:
    archive = recovery.Archive("p", frozenset(), frozenset(), (wal.Leg(1, None),), 0, 1, AT, "", 1)
    found = recovery.settings(point, archive, Path("/w"), "")
    assert {
        key: value
        for key, value in found.items()
        if key.startswith("recovery_target_") and key not in {"recovery_target_timeline", "recovery_target_action"}
    } == expected
    assert found["recovery_target_timeline"] == "current"


def backup(sequence: int, level: int, **more: object) -> dict:
    made = {
        "id": f"b{sequence}", "sequence": sequence, "bytes": 1000 * sequence, "started_at": (AT + timedelta(days=sequence)).isoformat(),
        "finished_at": (AT + timedelta(days=sequence, seconds=60)).isoformat(), "copies": [{"repository": "local"}],
        "proofs": [{"repository": "local", "level": level}], "engine": "logical", "server": {},
    }  # fmt: skip
    return {**made, **more}


def test_metrics_tell_freshness_by_what_was_read_back() -> None:
    last: dict = {"verbs": {}, "stages": {"L1": {"ok": False, "fault": "flipped_byte"}}, "drill": {}, "archive": {}}
    options = {"max_age_seconds": 90000, "drill_max_age_seconds": 691200}
    found = metrics.samples(
        "shop",
        "logical",
        [backup(1, 2), backup(2, 1)],
        last,
        options,
        ["local"],
        {"local": True},
        AT + timedelta(days=2, hours=1),
    )
    values = {name: value for name, labels, value in found if set(labels) == {"backup", "engine"}}
    assert values["backup_last_success_timestamp_seconds"] == (AT + timedelta(days=1, seconds=60)).timestamp()
    assert values["backup_bytes"] == 2000
    assert values["backup_previous_bytes"] == 1000
    assert values["backup_recovery_point_seconds"] == 90000
    text = metrics.render(found)
    assert 'evenkeel_backup_fault{backup="shop",engine="logical",fault="flipped_byte",stage="L1"} 1' in text
    assert 'evenkeel_backup_proof_level{backup="shop",engine="logical",repository="local"} 1' in text
    assert text.count("# TYPE evenkeel_backup_bytes gauge") == 1


def test_metrics_without_a_backup_say_never() -> None:
    last: dict = {"verbs": {}, "stages": {}, "drill": {}, "archive": {}}
    found = metrics.samples(
        "shop", "logical", [], last, {"max_age_seconds": 1, "drill_max_age_seconds": 1}, ["local"], {}, AT
    )
    assert ("backup_last_success_timestamp_seconds", {"backup": "shop", "engine": "logical"}, 0) in found


def test_labels_are_escaped() -> None:
    assert metrics.render([("backup_bytes", {"backup": 'a"b\\c'}, 1)]).endswith(
        'evenkeel_backup_bytes{backup="a\\"b\\\\c"} 1\n'
    )


@pytest.mark.parametrize(
    ("noted", "found"),
    [
        pytest.param({}, "no proof", id="never"),
        pytest.param({"local": {"fingerprint": "x", "at": AT.isoformat()}}, "a proof of another key", id="another key"),
        pytest.param(
            {
                "local": {
                    "fingerprint": escrow.fingerprint(CONFIG.repository("local"), b"key"),
                    "at": "2020-01-01T00:00:00+00:00",
                }
            },
            "a proof of 2020",
            id="old",
        ),
        pytest.param(
            {"local": {"fingerprint": escrow.fingerprint(CONFIG.repository("local"), b"key\n"), "at": AT.isoformat()}},
            "",
            id="proven",
        ),
    ],
)
def test_a_key_counts_once_its_copy_is_proven(noted: dict, found: str) -> None:
    failure = escrow.problem(CONFIG, CONFIG.repository("local"), noted, b"key", AT)
    assert (found in failure.sentence) if failure else not found


@pytest.mark.parametrize(
    ("change", "minutes", "news"),
    [
        pytest.param({}, 1, False, id="the same again"),
        pytest.param({"fingerprint": "x"}, 1, True, id="another key"),
        pytest.param({"host": "data2"}, 1, True, id="another host"),
        pytest.param({"identity": "y"}, 1, True, id="another repository"),
        pytest.param({}, 200 * 1440, True, id="the one before had run out"),
    ],
)
def test_a_proof_of_a_key_is_news_where_it_says_more(change: dict, minutes: int, news: bool) -> None:
    local = CONFIG.repository("local")
    before = {"local": {**escrow.proof(local, b"key", "id", AT, "data1"), **change}}
    proven = escrow.proof(local, b"key", "id", at(minutes), "data1")
    assert escrow.news(CONFIG, local, before, proven, b"key", at(minutes)) is news
    assert escrow.news(CONFIG, local, {}, proven, b"key", at(minutes))


def test_a_ladder_ends_at_the_first_failed_step() -> None:
    def bad() -> str:
        raise BackupFailure("flipped_byte", "x", "y", "a", "b", "c")

    climb = ladder.Ladder("b1")
    assert climb.step("L0", lambda: "there")
    assert not climb.step("L1", bad)
    assert not climb.step("L2", lambda: "never")
    assert [step["step"] for step in climb.steps] == ["L0", "L1"]
    assert climb.level == 0
    assert climb.failures[0].stage == "L1"


def test_a_page_loads_nothing_and_escapes_all() -> None:
    made = {
        **backup(1, 5),
        "type": "full",
        "host": "data1",
        "databases": [{"name": "<script>", "rows": {"public.orders": 3}}],
    }
    drill = {
        "level": 5,
        "repository": "local",
        "host": "ops1",
        "same_host": False,
        "seconds": 3.0,
        "rate": 1e6,
        "at": AT.isoformat(),
        "compared": {"left_out": ["shop: unlogged tables (<b>) are empty"]},
    }
    steps = [{"step": "L5", "ok": True, "evidence": "3 rows & all", "seconds": 0.1, "faults": []}]
    text = report.page(
        {
            "instance": "shop",
            "seconds": 5.0,
            "drill": drill,
            "manifest": made,
            "ladder": {"local": steps},
            "failures": [],
        }
    )
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "number of rows" in text
    assert "unlogged tables (&lt;b&gt;) are empty" in text
    assert not any(word in text for word in ("src=", "href=", "http", "@import"))
    assert "proven to L5" in text.replace("</span>", "")


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (0, 0, 0, "dump: 0.0 MB, 0.0 MB/s"),
        (50_000_000, 100_000_000, 5, "dump: 50.0 MB of 100.0 MB (50 %), 10.0 MB/s, 5 s left"),
        (110_000_000, 100_000_000, 10, "dump: 110.0 MB of 100.0 MB (100 %), 11.0 MB/s"),
    ],
)
def test_progress(done: int, total: int, seconds: float, expected: str) -> None:
    assert progress.line("dump", done, total, seconds) == expected


def test_names_and_texts_as_sql() -> None:
    assert database.literal("o'clock") == "'o''clock'"
    assert database.literal("a\\b") == "E'a\\\\b'"
    assert database.identifier('a"b') == '"a""b"'
    entry = {"owner": "shop", "encoding": "UTF8", "collate": "C", "ctype": "C", "provider": "c", "locale": ""}
    assert (
        database.create_statements(entry, "x")
        == "create database \"x\" template template0 owner \"shop\" encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"
    )
    assert "locale_provider icu icu_locale 'de'" in database.create_statements(
        {**entry, "provider": "i", "locale": "de"}, "x"
    )


def test_a_wrong_call_is_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    mask = os.umask(0o022)
    try:
        assert cli.main(["nonsense"]) == 2
        assert cli.main(["backup", "shop", "--config-dir", "/nowhere"]) == 1
    finally:
        os.umask(mask)
    document = json.loads(capsys.readouterr().out)
    assert document["failures"][0]["fault"] == "config_wrong"


@pytest.mark.parametrize(("codes", "final"), [((3,), 3), ((1, 3), 1), ((3, 1), 1), ((5,), 5), ((1, 6), 6), ((0, 3), 3)])
def test_the_graver_code_stays(codes: tuple[int, ...], final: int) -> None:
    outcome = Outcome("backup", "shop")
    for code in codes:
        outcome.fail(code)
    assert outcome.exit == final
