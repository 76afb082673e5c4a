# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: each fault planted from outside, for Evenkeel and for each plain tool.

A fault counts as named if a run reports its name, and as alerted if the metrics then contain it, which is
what the alert rules look at.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import backup_rig, store
from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    KEY,
    OUT,
    SMALL_DISK,
    Cluster,
    Instance,
    Shim,
    Unexpected,
)
from ansible_collections.evenkeel.platform.benchmarks.figures.backup import (
    archived_server,
    need,
    number,
    say,
    versions,
)
from ansible_collections.evenkeel.platform.benchmarks.figures.backup_peers import (
    Peers,
    Told,
    call,
    none,
    outcome_of,
    small_disk,
)
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

NAMES = ("pg_dump | gzip, gzip -t", "restic, restic check", "pgbackrest verify")
NO_DUMP = "takes no dumps"
NO_WAL = "stores no WAL"
NO_STORE = "writes to a disk of the host only"
NO_KEY = "encrypts nothing"
NOT_TRIED = "not tried"
Three = tuple[Told, Told, Told]


@dataclass
class Ground:
    """Server, instances and plain tools of one matrix."""

    folder: Path
    cluster: Cluster
    shop: Instance
    wal: Instance
    peers: Peers
    store: store.Store
    found: list[dict[str, str]] = field(default_factory=list)
    # Alert by fault.
    alerted: dict[str, str] = field(default_factory=dict)

    def run(self, instance: Instance, verb: str, *words: str, **more: Any) -> None:
        """Run the program, and return its findings and the resulting metrics."""
        _, document = instance.run(verb, *words, **more)
        self.found += [{"verb": verb, **failure} for failure in document["failures"]]
        if verb == "status":
            instance.run("metrics")
        for name, value in instance.metrics().items():
            if name.startswith("evenkeel_backup_fault{") and value == 1:
                fault, stage = (name.partition(f'{label}="')[2].partition('"')[0] for label in ("fault", "stage"))
                self.alerted[fault] = alert_of(fault, stage)


def alert_of(fault: str, stage: str) -> str:
    """Return the alert of a fault in roles/postgres_backup/files/rules/backup.yml."""
    own = {"key_not_escrowed": "BackupKeyNotEscrowed", "stale_schedule": "BackupStale"}
    return own.get(fault) or ("BackupDrillFailed" if stage in ("L3", "L4", "L5") else "BackupFailed")


# The faults, each for ours and for the three others


def truncated_dump(ground: Ground) -> Three:
    with Shim(ground.shop, ground.cluster, "pg_dump", f'{OUT}"$real" "$@" && truncate -s -100 "$out"/[0-9]*.dat'):
        ground.run(ground.shop, "backup")
    with Shim(ground.shop, ground.cluster, "pg_dump", '"$real" "$@" | head -c -2000'):
        plain = outcome_of(ground.peers.dump(), ground.peers.tested())
        stored = outcome_of(ground.peers.store(), ground.peers.checked())
    with backup_rig.kept(ground.peers.folder / "pgbackrest") as repository:
        bundle = backup_rig.biggest_bundle(repository)
        with bundle.open("r+b") as stream:
            stream.truncate(bundle.stat().st_size - 2000)
        return plain, stored, outcome_of(None, ground.peers.verified())


def flipped_byte(ground: Ground) -> Three:
    with backup_rig.kept(ground.folder / "repo" / "shop") as repository:
        for pack in backup_rig.packs(repository)[-3:]:
            backup_rig.flip(pack)
        ground.run(ground.shop, "verify", "--read-data")
    ground.peers.dump()
    backup_rig.flip(ground.peers.archive)
    plain = outcome_of(None, ground.peers.tested())
    with backup_rig.kept(ground.peers.repository) as repository:
        backup_rig.flip(backup_rig.packs(repository)[-1])
        stored = outcome_of(None, ground.peers.checked())
    with backup_rig.kept(ground.peers.folder / "pgbackrest") as repository:
        backup_rig.flip(backup_rig.biggest_bundle(repository))
        return plain, stored, outcome_of(None, ground.peers.verified())


def missing_wal(ground: Ground) -> Three:
    with backup_rig.kept(ground.folder / "repo" / "wal") as repository:
        segments = sorted(path for path in (repository / "archive").rglob("0000000*-*") if path.is_file())
        # One in the middle: what recovery from an older backup to now has to read.
        segments[len(segments) // 2].unlink()
        ground.run(ground.wal, "verify")
        config = Path(ground.wal.options["pgbackrest"]["config_file"])
        verified = outcome_of(None, ground.peers.verified(config))
    return none(NO_WAL), none(NO_WAL), verified


def wrong_key(ground: Ground) -> Three:
    ground.shop.key.write_text("another\n")
    try:
        ground.run(ground.shop, "backup")
    finally:
        ground.shop.key.write_text(KEY + "\n")
    other = ground.peers.configure(path=ground.peers.folder / "other.conf", cipher="another")
    return (
        none(NO_KEY),
        outcome_of(None, ground.peers.checked(RESTIC_PASSWORD="another")),
        outcome_of(None, ground.peers.verified(other)),
    )


def store_denied(ground: Ground) -> Three:
    with away(ground, ground.store.port) as instance:
        ground.store.credentials("ours", "no-longer-right")
        ground.run(instance, "backup")
    peers = ground.peers
    location = f"s3:https://localhost:{ground.store.port}/{store.BUCKET}/plain"
    env = {"RESTIC_REPOSITORY": location, "AWS_ACCESS_KEY_ID": store.ACCESS, "AWS_SECRET_ACCESS_KEY": "wrong"}
    ca = f"--cacert={ground.store.certificate}"
    config = peers.configure(*s3_lines(ground, ground.store.port, "wrong"), path=peers.folder / "denied.conf")
    return (
        none(NO_STORE),
        outcome_of(peers.store(ca, **env), peers.checked(ca, **env)),
        outcome_of(None, peers.verified(config)),
    )


def store_gone(ground: Ground) -> Three:
    """Gone half-way through an upload; the plain tools' checks are asked when it is back."""
    relay = store.Relay(ground.store.port)
    with away(ground, relay.port) as instance:
        instance.options["timeout_seconds"] = number("STORE_SECONDS", 60)
        instance.write()
        relay.cut_after(150_000)
        ground.run(instance, "backup")
    peers, port = ground.peers, ground.store.port
    ca = f"--cacert={ground.store.certificate}"
    env = {
        "RESTIC_REPOSITORY": f"s3:https://localhost:{port}/{store.BUCKET}/plain",
        "AWS_ACCESS_KEY_ID": store.ACCESS,
        "AWS_SECRET_ACCESS_KEY": store.SECRET,
    }
    peers.make(ca, **env)
    relay = store.Relay(port)
    relay.cut_after(150_000)
    gone = {**env, "RESTIC_REPOSITORY": f"s3:https://localhost:{relay.port}/{store.BUCKET}/plain"}
    stored = outcome_of(peers.store(ca, **gone), peers.checked(ca, **env))
    here = peers.configure(*s3_lines(ground, port), path=peers.folder / "here.conf")
    peers.pgbackrest("stanza-create", config=here)
    relay = store.Relay(port)
    relay.cut_after(1_000_000)
    config = peers.configure(*s3_lines(ground, relay.port), path=peers.folder / "gone.conf")
    return none(NO_STORE), stored, outcome_of(peers.based(config), peers.verified(here))


def disk_full(ground: Ground) -> Three:
    work = str(ground.folder / "work")
    ground.run(ground.shop, "backup", prefix=(*SMALL_DISK, "300k", work))
    peers = ground.peers
    disk = peers.folder / "small"
    plain = outcome_of(peers.dump(*small_disk("100k", disk), to=disk / "shop.sql.gz"), None)
    where = {"RESTIC_REPOSITORY": str(disk / "restic")}
    line = "restic init >/dev/null && " + peers.pipe("restic backup --stdin --stdin-filename shop.sql")[2]
    stored = call([*small_disk("300k", disk), "sh", "-c", line], peers.env(**where))
    config = peers.configure(f"repo1-path={disk / 'pgbackrest'}", path=peers.folder / "full.conf")
    words = [*backup_rig.as_server("pgbackrest", f"--config={config}", "--stanza=wal")]
    both = "; ".join(
        " ".join([*words, *verb.split()]) for verb in ("stanza-create", "--type=full --no-archive-check backup")
    )
    based = call([*small_disk("2m", disk), "sh", "-c", both])
    return plain, outcome_of(stored, None), outcome_of(based, None)


def missing_role(ground: Ground) -> Three:
    with Shim(ground.shop, ground.cluster, "pg_dumpall", '"$real" "$@" | grep -v "ROLE shop"'):
        ground.run(ground.shop, "backup")
    ground.run(ground.shop, "drill")
    return unseen(ground, pgbackrest="holds the roles in its files")


def missing_extension(ground: Ground) -> Three:
    before = ground.shop.options["where"]
    without = backup_rig.lacking(ground.folder, ground.cluster, "pgcrypto")
    ground.shop.options["where"] = {**before, "bin_dir": str(without)}
    ground.shop.write()
    try:
        ground.run(ground.shop, "drill")
    finally:
        ground.shop.options["where"] = before
        ground.shop.write()
    return unseen(ground)


def major_mismatch(ground: Ground) -> Three:
    """The words and the code with which pg_dump refuses a newer server."""
    refusal = 'echo "pg_dump: error: aborting because of server version mismatch" >&2; exit 1'
    with Shim(ground.shop, ground.cluster, "pg_dump", refusal):
        ground.run(ground.shop, "backup")
        plain = outcome_of(ground.peers.dump(), ground.peers.tested())
        stored = outcome_of(ground.peers.store(), ground.peers.checked())
    return plain, stored, none(NO_DUMP)


def empty_database(ground: Ground) -> Three:
    rows = ground.cluster.sql("select count(*) from orders")
    ground.cluster.sql("truncate orders")
    try:
        ground.run(ground.shop, "backup")
        return unseen(ground, anew=True)
    finally:
        ground.cluster.sql(f"insert into orders select i, md5(i::text) from generate_series(1, {rows}) i")


def stale_schedule(ground: Ground) -> Three:
    ground.shop.options["max_age_seconds"] = 1
    ground.shop.write()
    time.sleep(1.5)
    ground.run(ground.shop, "status")
    del ground.shop.options["max_age_seconds"]
    ground.shop.write()
    return unseen(ground)


def partial_upload(ground: Ground) -> Three:
    with backup_rig.kept(ground.folder / "repo" / "shop") as repository:
        backup_rig.packs(repository)[-1].unlink()
        ground.run(ground.shop, "verify")
    ground.peers.dump()
    with ground.peers.archive.open("r+b") as stream:
        stream.truncate(ground.peers.archive.stat().st_size // 2)
    plain = outcome_of(None, ground.peers.tested())
    with backup_rig.kept(ground.peers.repository) as repository:
        backup_rig.packs(repository)[-1].unlink()
        stored = outcome_of(None, ground.peers.checked())
    with backup_rig.kept(ground.peers.folder / "pgbackrest") as repository:
        backup_rig.biggest_bundle(repository).unlink()
        return plain, stored, outcome_of(None, ground.peers.verified())


def clock_jump(ground: Ground) -> Three:
    """Set the clock back three days by libfaketime; restic gets the time as an option."""
    back = ("faketime", "-f", "-3d")
    ground.run(ground.shop, "backup", prefix=back)
    peers = ground.peers
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 3 * 86400))
    plain = outcome_of(peers.dump(*back), peers.tested())
    stored = outcome_of(peers.store(f"--time='{moment}'"), peers.checked())
    return plain, stored, outcome_of(peers.based(prefix=back), peers.verified())


def unseen(ground: Ground, anew: bool = False, pgbackrest: str = "") -> Three:
    """What the others say of a fault that no plant changes for them: a backup as ever, and their check."""
    peers = ground.peers
    based = peers.based() if anew and not pgbackrest else None
    return (
        outcome_of(peers.dump(), peers.tested()),
        outcome_of(peers.store(), peers.checked()),
        none(pgbackrest) if pgbackrest else outcome_of(based, peers.verified()),
    )


# Faults for ours alone


def ours(plant: Callable[[Ground], None]) -> Callable[[Ground], Three]:
    """Return a fault that is not planted for the plain tools, which therefore neither meet nor miss it."""

    def planted(ground: Ground) -> Three:
        plant(ground)
        return none(NOT_TRIED), none(NOT_TRIED), none(NOT_TRIED)

    return planted


def dump_shim(program: str, script: str) -> Callable[[Ground], None]:
    def plant(ground: Ground) -> None:
        with Shim(ground.shop, ground.cluster, program, script):
            ground.run(ground.shop, "backup")

    return plant


@contextmanager
def option(instance: Instance, **options: Any) -> Iterator[None]:
    """Change options for a while."""
    before = dict(instance.options)
    instance.options |= options
    instance.write()
    try:
        yield
    finally:
        instance.options.clear()
        instance.options |= before
        instance.write()


def store_folder_gone(ground: Ground) -> None:
    ground.run(ground.shop, "backup", prefix=(*backup_rig.GONE, str(ground.folder / "repo" / "shop")))


def server_down(ground: Ground) -> None:
    ground.cluster.stop()
    try:
        ground.run(ground.shop, "backup")
    finally:
        ground.cluster.start()


def database_gone(ground: Ground) -> None:
    ground.cluster.sql("alter database shop rename to away", "postgres")
    try:
        ground.run(ground.shop, "backup")
    finally:
        ground.cluster.sql("alter database away rename to shop", "postgres")


def shrunk(ground: Ground) -> None:
    rows = ground.cluster.sql("select count(*) from orders")
    ground.cluster.sql("create table away as select * from orders limit 10")
    ground.cluster.sql("truncate orders; insert into orders table away; drop table away")
    try:
        ground.run(ground.shop, "backup")
    finally:
        ground.cluster.sql(f"insert into orders select i, md5(i::text) from generate_series(11, {rows}) i")


def pack_cut(ground: Ground) -> None:
    with backup_rig.kept(ground.folder / "repo" / "shop") as repository:
        pack = backup_rig.packs(repository)[-1]
        pack.chmod(0o600)
        os.truncate(pack, pack.stat().st_size // 2)
        ground.run(ground.shop, "verify")


def older_dump_gone(ground: Ground) -> None:
    with backup_rig.kept(ground.folder / "repo" / "shop") as repository:
        min((repository / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime).unlink()
        ground.run(ground.shop, "verify")


def base_backup(change: Callable[[Path], None]) -> Callable[[Ground], None]:
    """Change the largest file of the oldest base backup, which a newer one needs."""

    def plant(ground: Ground) -> None:
        with backup_rig.kept(ground.folder / "repo" / "wal") as repository:
            folders = sorted(path for path in (repository / "backup" / "wal").glob("*F") if path.is_dir())
            change(folders[0])
            ground.run(ground.wal, "verify")

    return plant


def cut(folder: Path) -> None:
    bundle = backup_rig.biggest_bundle(folder)
    os.truncate(bundle, bundle.stat().st_size // 2)


def flipped_segment(ground: Ground) -> None:
    with backup_rig.kept(ground.folder / "repo" / "wal") as repository:
        segments = sorted(path for path in (repository / "archive").rglob("0000000*-*") if path.is_file())
        backup_rig.flip(segments[len(segments) // 2])
        ground.run(ground.wal, "verify")


def live_page_corrupt(ground: Ground) -> None:
    sql = ground.cluster.sql
    sql(
        "create table doomed with (autovacuum_enabled = off) as"
        " select repeat('x', 500) as x from generate_series(1, 500)"
    )
    sql("vacuum (freeze) doomed")
    sql("checkpoint")
    with (ground.cluster.data / sql("select pg_relation_filepath('doomed')")).open("r+b") as stream:
        stream.seek(8192 + 4000)
        stream.write(b"spoiled")
    try:
        ground.run(ground.wal, "backup", "--type", "full")
    finally:
        sql("drop table doomed")
        ground.wal.good("backup", "--type", "full")


def archiving_off(ground: Ground) -> None:
    ground.cluster.sql("alter system set archive_command = '/bin/true'", "postgres")
    ground.cluster.sql("select pg_reload_conf()", "postgres")
    try:
        time.sleep(1)
        ground.run(ground.wal, "backup")
    finally:
        ground.cluster.sql("alter system reset archive_command", "postgres")
        ground.cluster.sql("select pg_reload_conf()", "postgres")
        time.sleep(1)
        ground.wal.good("backup", "--type", "full")


def physical_clock_jump(ground: Ground) -> None:
    ground.run(ground.wal, "backup", prefix=("faketime", "-f", "-3d"))


def key_unproven(ground: Ground) -> None:
    options = {key: value for key, value in ground.shop.options.items() if key in {"where", "server", "databases"}}
    made = Instance(ground.folder, "unproven", "logical", **options)
    made.good("prepare")
    ground.run(made, "backup")


def wrong_escrow(ground: Ground) -> None:
    try:
        ground.run(ground.shop, "escrow-check", "--key-file", "-", given="another")
    finally:
        ground.shop.good("escrow-check", "--key-file", "-", given=KEY)


def wrong_physical_key(ground: Ground) -> None:
    ground.wal.key.write_text("another\n")
    try:
        ground.run(ground.wal, "verify")
    finally:
        ground.wal.key.write_text(KEY + "\n")


def other_server(ground: Ground) -> None:
    path = Path(ground.shop.options["state_dir"], "server.json")
    before = path.read_text()
    path.write_text(json.dumps({"system": "7000000000000000001"}))
    try:
        ground.run(ground.shop, "backup")
    finally:
        path.write_text(before)


def hook_fails(ground: Ground) -> None:
    with option(ground.shop, hooks={"before_backup": [["false"]]}):
        ground.run(ground.shop, "backup")


def manifest_differs(ground: Ground) -> None:
    """A table that comes back with other rows than the backup counted."""
    newest = ground.shop.run("status")[1]["status"]["newest_good"]
    path = Path(ground.shop.options["state_dir"], "backups", f"{newest}.json")
    before = path.read_text()
    made = json.loads(before)
    made["databases"][0]["rows"]["public.orders"] += 1
    path.write_text(json.dumps(made))
    try:
        ground.run(ground.shop, "drill", "--backup", newest)
    finally:
        path.write_text(before)


def no_room_for_drill(ground: Ground) -> None:
    ground.run(ground.shop, "drill", prefix=(*SMALL_DISK, "4m", str(ground.folder / "work")))


def store_down(ground: Ground) -> None:
    relay = store.Relay(ground.store.port)
    with away(ground, relay.port) as instance:
        relay.close()
        ground.run(instance, "backup")


def object_lost(ground: Ground) -> None:
    with away(ground, ground.store.port) as instance:
        instance.good("backup")
        objects = ground.store.folder / "data" / store.BUCKET / instance.name / "data"
        max((path for path in objects.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size).unlink()
        ground.run(instance, "verify")


def certificate_of_another(ground: Ground) -> None:
    other = ground.folder / "other"
    other.mkdir()
    stranger = store.Store(other)
    with away(ground, ground.store.port) as instance:
        instance.options["repositories"][1]["ca_file"] = str(stranger.certificate)
        instance.write()
        ground.run(instance, "backup")


OURS: dict[str, tuple[str, Callable[[Ground], None]]] = {
    "cut catalogue": ("truncated_dump", dump_shim("pg_dump", f'{OUT}"$real" "$@" && truncate -s 40 "$out/toc.dat"')),
    "cut roles": ("truncated_dump", dump_shim("pg_dumpall", '"$real" "$@" | head -5')),
    "row lost in the dump": (
        "truncated_dump",
        dump_shim("pg_dump", f'{OUT}"$real" "$@" && for f in "$out"/[0-9]*.dat; do sed -i 1d "$f"; done'),
    ),
    "store folder gone": ("store_unreachable", store_folder_gone),
    "server down": ("server_unreachable", server_down),
    "database gone": ("empty_database", database_gone),
    "most rows gone": ("size_anomaly", shrunk),
    "pack cut short": ("flipped_byte", pack_cut),
    "older dump gone": ("partial_upload", older_dump_gone),
    "base backup gone": ("partial_upload", base_backup(shutil.rmtree)),
    "flipped byte in a base backup": (
        "flipped_byte",
        base_backup(lambda folder: backup_rig.flip(backup_rig.biggest_bundle(folder))),
    ),
    "base backup cut": ("flipped_byte", base_backup(cut)),
    "flipped byte in WAL": ("flipped_byte", flipped_segment),
    "page of the live server corrupt": ("corrupt_pages", live_page_corrupt),
    "archiving off": ("settings_wrong", archiving_off),
    "clock jump before a base backup": ("clock_jump", physical_clock_jump),
    "key never proven": ("key_not_escrowed", key_unproven),
    "wrong copy of the key": ("wrong_key", wrong_escrow),
    "wrong key of base backups": ("wrong_key", wrong_physical_key),
    "another server": ("other_server", other_server),
    "hook fails": ("hook_failed", hook_fails),
    "other rows than counted": ("content_mismatch", manifest_differs),
    "no room for a drill": ("no_space", no_room_for_drill),
    "S3 down": ("store_unreachable", store_down),
    "S3 object lost": ("partial_upload", object_lost),
    "certificate of another": ("certificate_wrong", certificate_of_another),
}


FAULTS: dict[str, tuple[str, Callable[[Ground], Three]]] = {
    "truncated dump": ("truncated_dump", truncated_dump),
    "flipped byte": ("flipped_byte", flipped_byte),
    "missing WAL": ("missing_wal", missing_wal),
    "wrong key": ("wrong_key", wrong_key),
    "S3 denied": ("store_denied", store_denied),
    "S3 gone half-way": ("store_unreachable", store_gone),
    "disk full": ("disk_full", disk_full),
    "missing role": ("missing_role", missing_role),
    "missing extension": ("missing_extension", missing_extension),
    "major mismatch": ("major_mismatch", major_mismatch),
    "empty database": ("empty_database", empty_database),
    "stale schedule": ("stale_schedule", stale_schedule),
    "partial upload": ("partial_upload", partial_upload),
    "clock jump": ("clock_jump", clock_jump),
    **{name: (fault, ours(plant)) for name, (fault, plant) in OURS.items()},
}


def chosen() -> dict[str, tuple[str, Callable[[Ground], Three]]]:
    """Return all faults, or those in EVENKEEL_BENCH_FAULTS."""
    names = [word.strip() for word in (os.environ.get("EVENKEEL_BENCH_FAULTS") or "").split(",") if word.strip()]
    unknown = sorted(set(names) - set(FAULTS))
    if unknown:
        raise NotMeasured(f"EVENKEEL_BENCH_FAULTS: found {', '.join(unknown)}, need some of {', '.join(FAULTS)}")
    return {name: FAULTS[name] for name in names or FAULTS}


# The ground


@contextmanager
def away(ground: Ground, port: int) -> Iterator[Instance]:
    """An instance that stores here and in the object store, proven before the fault; new for each."""
    name = f"away{len(list(ground.folder.glob('away*.key')))}"
    options = {key: value for key, value in ground.shop.options.items() if key in {"where", "server", "databases"}}
    made = Instance(ground.folder, name, "logical", **options)
    made.options["repositories"].append(
        {
            "name": "offsite",
            "kind": "s3",
            "location": f"s3:https://localhost:{port}/{store.BUCKET}/{name}",
            "key_file": str(made.key),
            "credentials_file": str(ground.store.credentials("ours")),
            "ca_file": str(ground.store.certificate),
        }
    )
    made.write()
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    made.good("backup")
    # New content, so that there is something to upload.
    ground.cluster.sql("insert into orders select i, md5(random()::text) from generate_series(1, 20000) i")
    yield made
    if not any(copy["repository"] == "local" for copy in last_copies(made)):
        raise Unexpected(f"{name} has no copy here while its object store failed")


def last_copies(instance: Instance) -> list[dict[str, Any]]:
    newest = instance.run("status")[1]["status"]["backups"][-1]["id"]
    path = instance.folder / "state" / instance.name / "backups" / f"{newest}.json"
    return list(json.loads(path.read_text())["copies"])


def s3_lines(ground: Ground, port: int, secret: str = store.SECRET) -> list[str]:
    """Return the settings of a pgBackRest repository in the object store."""
    return [
        "repo1-type=s3",
        "repo1-path=/plain-wal",
        "repo1-s3-endpoint=localhost",
        f"repo1-storage-port={port}",
        f"repo1-storage-ca-file={ground.store.certificate}",
        f"repo1-s3-bucket={store.BUCKET}",
        "repo1-s3-region=us-east-1",
        "repo1-s3-uri-style=path",
        f"repo1-s3-key={store.ACCESS}",
        f"repo1-s3-key-secret={secret}",
        "io-timeout=20",
    ]


@contextmanager
def ground_of() -> Iterator[Ground]:
    """Create servers and verified backups, without a fault."""
    with ExitStack() as stack:
        cluster, wal = stack.enter_context(archived_server())
        folder = cluster.folder
        cluster.sql("create role shop; create extension pgcrypto")
        cluster.sql("create table orders (id bigint, note text); alter table orders owner to shop")
        cluster.sql("insert into orders select i, md5(i::text) from generate_series(1, 20000) i")
        bin_ = backup_rig.links(folder, cluster)
        shop = backup_rig.logical(folder, "shop", cluster, bin_, databases=["shop"]).ready()
        shop.good("backup")
        wal.good("backup", "--type", "full")
        for _segment in range(3):
            cluster.sql("insert into orders values (0, 'a segment of its own')")
            cluster.archived()
        wal.good("backup", "--type", "incr")
        peers = Peers(folder, cluster, bin_)
        peers.configure()
        for code, text in (
            peers.dump(),
            peers.make(),
            peers.store(),
            peers.pgbackrest("stanza-create"),
            peers.based(),
            peers.checked(),
            peers.verified(),
        ):
            if code != 0:
                raise NotMeasured(f"a plain tool fails without a fault: {text}")
        s3 = stack.enter_context(store.Store(folder))
        yield Ground(folder, cluster, shop, wal, peers, s3)


def control(ground: Ground) -> dict[str, Any]:
    """Run the same verbs without a fault; any finding is a false alarm."""
    for instance in (ground.shop, ground.wal):
        for words in (("backup",), ("verify", "--read-data"), ("drill",), ("status",)):
            ground.run(instance, *words)
    false = [f"{one['verb']} {one['stage']} {one['fault']}" for one in ground.found]
    alarms = sorted(ground.alerted)
    ground.found, ground.alerted = [], {}
    return {
        "what": "backup, verify, drill and status with no fault planted, both engines",
        "false_findings": len(false),
        "false_alerts": len(alarms),
        "found": [*false, *alarms],
    }


def backup_faults(_folder: Path) -> Measured:
    need("restic", "pgbackrest", "faketime", "openssl", "gzip")
    if not store.program():
        raise NotMeasured("needs versitygw, which make lab builds")
    faults: dict[str, Any] = {}
    with ground_of() as ground:
        quiet = control(ground)
        for name, (fault, plant) in chosen().items():
            # Each starts with a verified newest backup.
            ground.shop.good("backup")
            good = {one: newest_good(one) for one in (ground.shop, ground.wal)}
            ground.found, ground.alerted = [], {}
            others = plant(ground)
            named = [one for one in ground.found if one["fault"] == fault]
            faults[name] = {
                "fault": fault,
                "detected": bool(ground.found),
                "named": bool(named),
                "detected_by": sorted({f"{one['verb']} {one['stage']}" for one in named or ground.found}),
                "alert": ground.alerted.get(fault, ""),
                "good_copy_kept": all(there(one, id_) for one, id_ in good.items()),
                "sentence": (named or ground.found or [{"sentence": ""}])[0]["sentence"].replace(
                    f"{ground.folder}/", "scratch:"
                ),
                "peers": dict(zip(NAMES, others, strict=True)),
            }
            say(f"{name}: {', '.join(faults[name]['detected_by']) or 'NOT detected'}{'' if named else ', not named'}")
    return Measured(
        results={
            "faults": len(faults),
            "detected": sum(one["detected"] for one in faults.values()),
            "named": sum(one["named"] for one in faults.values()),
            "alerted": sum(bool(one["alert"]) for one in faults.values()),
            "good_copies_kept": sum(one["good_copy_kept"] for one in faults.values()),
            "detected_by": [f"{name}: {', '.join(one['detected_by'])}" for name, one in faults.items()],
            "clock": "libfaketime",
            "small_disk": "tmpfs in a mount namespace",
            "by_fault": faults,
        },
        control=quiet,
        peers={name: summary(name, faults) for name in NAMES},
        bar=[
            *({"of": f"results.{one}", "at_least": len(faults)} for one in ("named", "alerted", "good_copies_kept")),
            {"of": "results.faults", "at_least": len(FAULTS)},
            {"of": "control.false_findings", "at_most": 0},
        ],
        versions=versions("postgres", "restic", "pgbackrest"),
    )


def newest_good(instance: Instance) -> str:
    return str(instance.run("status")[1]["status"]["newest_good"])


def there(instance: Instance, name: str) -> bool:
    return name in [entry["id"] for entry in instance.run("status")[1]["status"]["backups"]]


def summary(peer: str, faults: dict[str, Any]) -> dict[str, Any]:
    """How many of the faults that it can meet a plain tool detects, and which it does not."""
    met = {name: one["peers"][peer] for name, one in faults.items() if one["peers"][peer]["detected"] is not None}
    return {
        "faults": len(met),
        "detected": sum(one["detected"] for one in met.values()),
        "not_detected": [name for name, one in met.items() if not one["detected"]] or ["none"],
    }
