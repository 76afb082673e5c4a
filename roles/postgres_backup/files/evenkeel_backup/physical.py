# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The physical engine: pgBackRest with WAL archiving, and a canary at a recorded position."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenkeel_backup import (
    canary,
    census,
    command,
    comparison,
    content,
    disk,
    identity,
    ladder,
    left_out,
    manifest,
    quiet,
    survey,
    target,
    wal,
)
from evenkeel_backup.config import Repository
from evenkeel_backup.database import DATABASES, ROLES, TABLESPACES, Server, describe, described, releasing
from evenkeel_backup.destroy import remove
from evenkeel_backup.engine import Engine, Restored
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.job import Job
from evenkeel_backup.ladder import Ladder
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.pgbackrest import PgBackRest, keys_of, render, secrets_of, verify_findings
from evenkeel_backup.recovery import Archive, archive_of, backup_entry, candidate, needed_wal, recover
from evenkeel_backup.scratch import Scratch, place, running
from evenkeel_backup.snapshots import OF_STORE
from evenkeel_backup.state import copy_of, now
from evenkeel_backup.target import Point

ANNOTATION = "evenkeel"
ARCHIVE_SECONDS = 120
ARCHIVE_TIMEOUT = 60
EVERY_DATABASE = "select json_agg(datname) from pg_database"


def names_of_lines(names: list[str]) -> list[BackupFailure]:
    """Return the names that pgBackRest writes to its manifest and cannot read back: nothing of it is restored. Pure."""
    return [
        BackupFailure(
            "settings_wrong",
            "pgBackRest cannot read back a backup with this database",
            repr(name),
            "a name of several lines",
            "a name of one line",
            "Rename it (ALTER DATABASE ... RENAME TO)",
            "server",
        )
        for name in names
        if "\n" in name
    ]


class Physical(Engine):
    """Files of the whole server, and its WAL."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        # What pgBackRest's verify said of each repository in this run; it reads every byte of all backups.
        self.findings: dict[str, dict[str, dict[str, int]]] = {}

    @contextmanager
    def tool(self, key: bytes | None = None) -> Iterator[PgBackRest]:
        """Provide pgBackRest for the repositories, with the configured key or its external copy."""
        job = self.job
        path = job.config.work_dir / f".key-pgbackrest-{os.getpid()}.conf"
        if not path.parent.exists():
            job.folders()
        secrets = secrets_of(job.config)
        text = render(job.config, keys_of(job.config, key), secrets, PgBackRest(job, path).version())
        remove(path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        job.where.give(path)
        try:
            yield PgBackRest(job, path)
        finally:
            remove(path)

    def inside(self) -> PgBackRest:
        """Return pgBackRest where the server runs, with the server's configuration file."""
        return PgBackRest(self.job, Path(self.job.config.pgbackrest["config_file"]), inside=True)

    def system(self) -> str:
        with self.job.server() as server:
            return str(server.facts()["system"])

    def prepare(self, check: bool, new_server: bool = False) -> tuple[bool, list[dict[str, Any]]]:
        job, changed = self.job, False
        inside = self.inside()
        text = render(job.config, keys_of(job.config, None), secrets_of(job.config), inside.version())
        path = inside.config_file
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed = True
            job.actions.append(f"wrote {path}")
            if not check:
                disk.write_atomic(path, text)
                job.where.give(path)
        for repository in job.config.repositories:
            if repository.kind == "local" and not Path(repository.location).is_dir():
                changed = True
                job.actions.append(f"made {repository.location}")
                if not check:
                    job.where.own(Path(repository.location), 0o750)
        settings = self._settings()
        if check or not path.exists():
            return changed, settings
        return self._stanzas(inside, new_server) or changed, settings

    def _stanzas(self, inside: PgBackRest, new_server: bool) -> bool:
        """Create or upgrade the stanza in each repository; return whether anything changed."""
        job, here = self.job, self.system()
        there = {one.name: inside.info(one) for one in job.config.repositories}
        others = {
            name: str(info["db"][-1]["system-id"])
            for name, info in there.items()
            if info.get("db") and str(info["db"][-1]["system-id"]) != here
        }
        if others and not new_server:
            raise identity.refusal(job, next(iter(others.values())), here)
        identity.check(job, self, new_server=new_server)
        for repository in job.config.repositories:
            if repository.name in others:
                self._stanza(inside, repository, "stanza-upgrade")
                job.actions.append(f"let the archive of {repository.name} go on with this server's data")
            elif there[repository.name]["status"]["code"] == 1:
                self._stanza(inside, repository, "stanza-create")
                job.actions.append(f"made stanza {job.config.instance} in {repository.name}")
            else:
                continue
            there[repository.name] = {}
        return {} in there.values()

    def _stanza(self, inside: PgBackRest, repository: Repository, verb: str) -> None:
        """Configure a single repository in a separate file, because pgBackRest has no option to select it."""
        job = self.job
        config = dataclasses.replace(job.config, repositories=(dataclasses.replace(repository, number=1),))
        path = inside.config_file.with_name(f".{job.config.instance}-{repository.name}.conf")
        disk.write_atomic(path, render(config, keys_of(config, None), secrets_of(config), inside.version()))
        job.where.give(path)
        try:
            one = PgBackRest(job, path, inside=True)
            one.need(
                one.run(verb, seconds=300),
                "the stanza was not made",
                f"it in {repository.name}",
                "settings_wrong",
            )
        finally:
            remove(path)

    def _settings(self) -> list[dict[str, Any]]:
        file = self.job.config.pgbackrest["config_file"]
        wanted = f"pgbackrest --config={file} --stanza={self.job.config.instance} archive-push %p"
        with self.job.server() as server:
            found = server.ask(
                "select json_object_agg(name, setting) from pg_settings where name in"
                " ('archive_mode', 'archive_command', 'archive_timeout', 'wal_level')"
            )
        have = str(found["archive_command"])
        fits = (
            f"--stanza={self.job.config.instance}" in have
            and "archive-push" in have
            and self.job.config.pgbackrest["config_file"] in have
        )
        timeout = int(found["archive_timeout"])
        return [
            {
                "name": "archive_mode",
                "found": found["archive_mode"],
                "need": "on",
                "ok": found["archive_mode"] in {"on", "always"},
            },
            {"name": "archive_command", "found": have, "need": wanted, "ok": fits},
            {
                "name": "archive_timeout",
                "found": timeout,
                "need": ARCHIVE_TIMEOUT,
                "ok": 0 < timeout <= ARCHIVE_TIMEOUT,
            },
            {
                "name": "wal_level",
                "found": found["wal_level"],
                "need": "replica",
                "ok": found["wal_level"] in {"replica", "logical"},
            },
        ]

    def backup(self, made: Manifest, kind: str) -> list[BackupFailure]:
        job, failures = self.job, []
        wrong = [one for one in self._settings() if not one["ok"] and one["name"] != "archive_timeout"]
        if wrong:
            raise Failures(
                [
                    BackupFailure(
                        "settings_wrong",
                        "the server does not archive",
                        f"{job.config.instance}: {one['name']}",
                        str(one["found"]) or "nothing",
                        str(one["need"]),
                        "Set it and restart the server",
                        "server",
                    )
                    for one in wrong
                ]
            )
        with job.server() as server:
            ladder.refuse(names_of_lines(server.ask(EVERY_DATABASE)))
        inside = self.inside()
        copies = []
        for repository in job.config.repositories:
            try:
                began = time.monotonic()
                done = inside.run(
                    "backup",
                    f"--repo={repository.number}",
                    f"--type={kind or 'incr'}",
                    "--no-expire-auto",
                    f"--annotation={ANNOTATION}-id={made['id']}",
                )
                inside.need(done, f"the backup to {repository.name} failed", "pgbackrest backup ending with code 0")
                entry = inside.info(repository)["backup"][-1]
                copies.append(self._copy(repository, entry, time.monotonic() - began))
            except BackupFailure as failure:
                failure.stage = "store"
                failures.append(failure)
        if not copies:
            raise Failures(failures)
        with job.server() as server:
            made["type"] = copies[0]["type"]
            self._describe(server, made)
            made["bytes"] = max(copy["size"] for copy in copies)
            made["wal"] |= {key: copies[0][key] for key in ("timeline", "start_lsn", "stop_lsn")}
            made["files"] = {}
            self._archived(server, made)
        made["finished_at"] = manifest.stamp(now())
        annotation = content.pack({key: value for key, value in made.items() if key not in {"copies", "proofs"}})
        for copy in copies:
            repository = job.config.repository(copy["repository"])
            done = inside.run(
                "annotate",
                f"--repo={repository.number}",
                f"--set={copy['snapshot']}",
                f"--annotation={ANNOTATION}={annotation}",
                seconds=300,
            )
            inside.need(done, "the manifest was not stored", f"it beside {copy['snapshot']}")
        made["copies"] = copies
        return failures

    def _copy(self, repository: Repository, entry: dict[str, Any], seconds: float) -> dict[str, Any]:
        return {
            "repository": repository.name,
            "snapshot": entry["label"],
            "bytes": entry["info"]["repository"]["delta"],
            "size": entry["info"]["size"],
            "type": entry["type"],
            "needs": list(entry.get("reference") or []),
            "timeline": int(entry["archive"]["start"][:8], 16),
            "start_lsn": entry["lsn"]["start"],
            "stop_lsn": entry["lsn"]["stop"],
            "seconds": round(seconds, 3),
            "stored_at": manifest.stamp(datetime.fromtimestamp(entry["timestamp"]["stop"], UTC)),
        }

    def _describe(self, server: Server, made: Manifest) -> None:
        """Record the content, the canary before the position, and a row after it that a drill must not find."""
        facts = server.facts()
        made["server"] = {
            key: facts[key]
            for key in ("version", "major", "system", "checksums", "standby", "preload", "segment_bytes")
        }
        made["roles"], made["tablespaces"] = server.ask(ROLES), server.ask(TABLESPACES)
        names = self.job.databases(server)
        made["warnings"] = [one.as_dict() for name in names for one in census.unlogged(server.at(name))]
        written = self._canaries(server, names if self.job.config["canary"] else [], made)
        made["wal"], made["databases"] = {}, []
        with quiet.moment(server, [] if facts["standby"] else names) as held:
            if held.position:
                made["wal"]["canary_lsn"] = held.position
                self._canaries(server, written, made, "-after")
                made["databases"] = self._exact(server, held, made)
        if made["databases"]:
            return
        # The server was never quiet: rows may change between their count and the position.
        self._canaries(server, written, made)
        limit = self.job.config["timeout_seconds"]
        for name in names:
            entry = described(server.at(name), limit, unlogged=False)
            made["databases"].append({**entry, "left_out": left_out.facts(server.at(name).run)})
        position = "pg_last_wal_replay_lsn()" if facts["standby"] else "pg_current_wal_insert_lsn()"
        made["wal"]["canary_lsn"] = server.run(f"select {position}")
        self._canaries(server, written, made, "-after")

    def _canaries(self, server: Server, names: list[str], made: Manifest, behind: str = "") -> list[str]:
        """Write a row to each database, and return those where that worked.

        A recovery must find the one before the position, and not the one behind it.
        """
        written = []
        for name in names:
            reason = canary.write(server.at(name), made["sequence"], made["token"] + behind)
            if not reason:
                written.append(name)
            elif not behind:
                made["warnings"].append(canary.warning(name, reason).as_dict())
        return written

    def _exact(self, server: Server, held: quiet.Held, made: Manifest) -> list[dict[str, Any]]:
        """Describe the databases as of the position; return nothing if a table was rewritten or dropped meanwhile."""
        entries = []
        for name, snapshot in held.sessions.items():
            try:
                # No snapshot can be exported behind a savepoint.
                exported = snapshot.run("select pg_export_snapshot()")
                entry = describe(releasing(snapshot), unlogged=False)
                entry["left_out"], entry["exact"] = left_out.facts(snapshot.run), True
                # A full backup reads everything once; the ones in between only count.
                if self.job.config["content_sums"] and made["type"] == "full":
                    content.add_live(entry, server.at(name), snapshot.run, exported, self.job.config)
                if json.loads(snapshot.run(quiet.REWRITTEN)):
                    return []
            except BackupFailure:
                return []
            entries.append(entry)
        return entries

    def _archived(self, server: Server, made: Manifest) -> None:
        """Wait until the position is archived; a backup without its WAL is unusable."""
        if made["server"]["standby"]:
            return
        server.run("select pg_switch_wal()")
        size = made["server"]["segment_bytes"]
        name = wal.segment_name(made["wal"]["timeline"], wal.lsn(made["wal"]["canary_lsn"]), size)
        began = time.monotonic()
        while time.monotonic() - began < ARCHIVE_SECONDS:
            found = server.ask(
                "select json_build_object('last', coalesce(last_archived_wal, ''),"
                " 'failed', coalesce(last_failed_wal, '')) from pg_stat_archiver"
            )
            if found["last"][:24] >= name:
                made["wal"]["archived_seconds"] = round(time.monotonic() - began, 3)
                return
            time.sleep(0.3)
        raise BackupFailure(
            "missing_wal",
            "the archive does not follow",
            self.job.config.instance,
            f"last {found['last'] or 'nothing'}, failing at {found['failed'] or 'none'}",
            f"{name} within {ARCHIVE_SECONDS} s",
            "Look at the server's log for archive_command",
            "archive",
        )

    def stored(self, made: Manifest, repository: Repository, key: bytes | None, read_data: bool) -> str:
        """Run pgBackRest's verify and parse its text. It reads every byte, so off-site only on request."""
        copy = copy_of(made, repository.name)
        with self.tool(key) as tool:
            entry = backup_entry(tool.info(repository), copy["snapshot"])
            if entry.get("error"):
                raise BackupFailure(
                    "corrupt_pages",
                    "pages were corrupt when they were backed up",
                    copy["snapshot"],
                    "page checksum errors",
                    "none",
                    "Run pg_amcheck on the live server now; older backups are kept",
                )
            self._whole(tool, repository, copy)
            if repository.kind != "local" and not read_data:
                return f"every file of {copy['snapshot']} in the list of {repository.name}"
            done = tool.run("verify", "--output=text", "--verbose", f"--repo={repository.number}")
        found = verify_findings(done.out, done.code)
        self.findings[repository.name] = dict(found)
        others = self._others(repository, {copy["snapshot"], *copy["needs"]}, found)
        if others:
            text = f"damage of {', '.join(others)}"
            self.doubts[repository.name] = survey.problem(self.job, made, repository.name, "flipped_byte", text)
        if found:
            missing = any("missing" in counts for counts in found.values())
            of_wal = all(re.fullmatch(r"\d+-\d+", name) for name in found)
            text = "; ".join(f"{name or 'verify'}: {counts or 'not whole'}" for name, counts in found.items())
            raise BackupFailure(
                "missing_wal" if missing and of_wal else "partial_upload" if missing else "flipped_byte",
                "the repository is damaged",
                repository.name,
                f"{text} {done.err}"[:400],
                "status: ok",
                "Take a full backup now and look at the store's disk",
            )
        doubt = f", but not of {', '.join(others)}" if others else ""
        return f"pgbackrest verify says ok of {copy['snapshot']} in {repository.name}{doubt}"

    def _whole(self, tool: PgBackRest, repository: Repository, copy: dict[str, Any]) -> None:
        """Compare the total size of the backup's files with pgBackRest's record."""
        listing = tool.listing(repository, f"backup/{self.job.config.instance}/{copy['snapshot']}")
        total = sum(entry["size"] for name, entry in listing.items() if not name.startswith("backup.manifest"))
        if total < copy["bytes"]:
            raise BackupFailure(
                "partial_upload",
                "files of the backup are missing",
                f"{copy['snapshot']} in {repository.name}",
                f"{total} bytes",
                f"{copy['bytes']}",
                "Take a full backup now and look at the store",
            )

    def _others(self, repository: Repository, needed: set[str], found: dict[str, dict[str, int]]) -> list[str]:
        """Remove the findings of other backups, and return the names of those."""
        labels = {
            one["snapshot"]
            for entry in self.job.state.backups()
            for one in entry["copies"]
            if one["repository"] == repository.name
        }
        others = [name for name in found if name in labels and name not in needed]
        for name in others:
            del found[name]
        return others

    def absent(self, repository: Repository, entries: list[Manifest]) -> set[str]:
        with self.tool() as tool:
            folders = tool.folders(repository, f"backup/{self.job.config.instance}")
            # The list of backups is a file, which does not change when a folder goes.
            listed = {entry["label"] for entry in tool.info(repository)["backup"]}
        return {entry["id"] for entry in entries if copy_of(entry, repository.name)["snapshot"] not in folders & listed}

    def examine(self, repository: Repository, entries: list[Manifest], doubt: bool) -> dict[str, BackupFailure]:
        found: dict[str, BackupFailure] = {}
        with self.tool() as tool:
            info = tool.info(repository)
            sizes = self._sizes(tool, repository, info)
            verified = self.findings.get(repository.name)
            if verified is None and (doubt or repository.kind == "local") and entries:
                done = tool.run("verify", "--output=text", "--verbose", f"--repo={repository.number}")
                verified = verify_findings(done.out, done.code)
            for entry in entries:
                try:
                    self._sound(repository, entry, sizes, verified or {})
                    own = backup_entry(info, copy_of(entry, repository.name)["snapshot"])
                    archive = archive_of(tool, repository, own, info, entry["server"]["segment_bytes"])
                    needed_wal(archive, wal.lsn(entry["wal"]["canary_lsn"]))
                except BackupFailure as failure:
                    if failure.fault in OF_STORE:
                        raise
                    found[entry["id"]] = failure
        return found

    def _sizes(self, tool: PgBackRest, repository: Repository, info: dict[str, Any]) -> dict[str, int]:
        """Return the stored bytes of each listed backup that has a folder with a manifest."""
        sizes: dict[str, int] = {}
        whole = set()
        for path, entry in tool.listing(repository, f"backup/{self.job.config.instance}").items():
            label, _, name = path.partition("/")
            if name == "backup.manifest":
                whole.add(label)
            elif name and not name.startswith("backup.manifest"):
                sizes[label] = sizes.get(label, 0) + int(entry["size"])
        return {entry["label"]: sizes.get(entry["label"], 0) for entry in info["backup"] if entry["label"] in whole}

    def _sound(
        self, repository: Repository, made: Manifest, sizes: dict[str, int], verified: dict[str, dict[str, int]]
    ) -> None:
        """Check one backup and those that it needs: their folders, and what pgBackRest's verify said of them."""
        copy = copy_of(made, repository.name)
        for label in (*copy["needs"], copy["snapshot"]):
            counts = verified.get(label)
            if label not in sizes:
                fault, text = "partial_upload", f"no {label} in the repository"
            elif label == copy["snapshot"] and sizes[label] < copy["bytes"]:
                fault, text = "partial_upload", f"{sizes[label]} bytes of {copy['bytes']}"
            elif counts is not None:
                fault = "partial_upload" if "missing" in counts or not counts else "flipped_byte"
                text = f"{label}: " + (", ".join(f"{many} {kind}" for kind, many in counts.items()) or "not whole")
            else:
                continue
            raise survey.problem(self.job, made, repository.name, fault, text)

    def readable(self, made: Manifest, repository: Repository, key: bytes | None) -> str:
        copy = copy_of(made, repository.name)
        with self.tool(key) as tool:
            entry, archive = self._archive(tool, repository, made, copy["snapshot"])
            annotation = (entry.get("annotation") or {}).get(ANNOTATION)
            if not annotation or manifest.unpack(annotation)["id"] != made["id"]:
                raise BackupFailure(
                    "catalogue_unreadable",
                    "the backup has no manifest",
                    copy["snapshot"],
                    "no annotation of ours" if not annotation else "another's",
                    made["id"],
                    "Take a new backup now",
                )
            names = needed_wal(archive, wal.lsn(made["wal"]["canary_lsn"]))
        return f"{copy['snapshot']} with its manifest, and {len(names)} WAL segments without a gap"

    def gaps(self, repository: Repository) -> list[BackupFailure]:
        """Find gaps in the WAL since the oldest backup; points in time inside a gap cannot be restored."""
        with self.tool() as tool:
            info = tool.info(repository)
            # A new server starts a new archive after the old one.
            firsts = {entry["database"]["id"]: entry for entry in reversed(info["backup"])}
            archives = [
                (entry, archive_of(tool, repository, entry, info, self._segment_bytes())) for entry in firsts.values()
            ]
        return [
            BackupFailure(
                "missing_wal",
                "the archive has a hole",
                repository.name,
                f"no {archive.hole}",
                f"every segment since {first['label']}",
                "No point in time from there to the end of the next backup can be reached; take a full backup now",
                "archive",
            )
            for first, archive in archives
            if archive.hole
        ]

    def _archive(
        self, tool: PgBackRest, repository: Repository, made: Manifest, label: str
    ) -> tuple[dict[str, Any], Archive]:
        info = tool.info(repository)
        entry = backup_entry(info, label)
        return entry, archive_of(tool, repository, entry, info, made["server"]["segment_bytes"])

    def drill(self, made: Manifest, repository: Repository, key: bytes | None, climb: Ladder) -> Restored:
        job, restored = self.job, Restored()
        user = job.config.server["user"]
        with place(job, f"drill-{made['sequence']:06d}", passable=True) as folder, self.tool(key) as tool:
            scratch = Scratch(job, folder)
            with running(scratch):

                def restore() -> str:
                    began = time.monotonic()
                    figures = self.bring_back(
                        tool, made, repository, Point(lsn=wal.lsn(made["wal"]["canary_lsn"])), scratch
                    )
                    restored.seconds, restored.bytes, restored.figures = (
                        time.monotonic() - began,
                        made["bytes"],
                        figures,
                    )
                    rate = made["bytes"] / 1e6 / restored.seconds
                    return f"recovered to {made['wal']['canary_lsn']} in {restored.seconds:.1f} s, {rate:.1f} MB/s"

                def sound() -> str:
                    text = scratch.amcheck(user, job.config["jobs"])
                    scratch.stop()
                    pages = scratch.checksums()
                    scratch.start(
                        {**scratch.inherited(), "shared_preload_libraries": made["server"].get("preload", "")},
                        user=user,
                    )
                    return f"{text}, {pages}"

                climb.step("L3", restore)
                climb.step("L4", sound)

                def same() -> str:
                    found = self.compare(made, scratch.server(user=user), job.config["tolerance"])
                    restored.figures["compared"] = found.figures
                    ladder.refuse(found.problems)
                    exactly = f"exactly the canary rows up to {made['wal']['canary_lsn']}"
                    return f"{found.text} as in the manifest, and {exactly}{found.but_for}"

                climb.step("L5", same)
        return restored

    def bring_back(
        self, tool: PgBackRest, made: Manifest, repository: Repository, point: Point, scratch: Scratch
    ) -> dict[str, Any]:
        """Check all preconditions, then recover."""
        job = self.job
        entry, archive = self._archive(tool, repository, made, copy_of(made, repository.name)["snapshot"])
        done = command.need(
            scratch.tool("postgres", "--version"),
            "no server program",
            "this host",
            "postgres",
            "Install the server, or set where.bin_dir",
            "tool_missing",
        )
        here = target.major_of(done.out)
        span = (point.lsn if point.lsn is not None else archive.end) - archive.start
        problems = [
            target.major_problem(made["server"]["major"], here, "physical"),
            target.space_problem(
                int(entry["info"]["size"]) + max(0, span) + 2 * archive.size,
                disk.free_bytes(scratch.folder),
                str(scratch.folder),
            ),
        ]
        ladder.refuse([problem for problem in problems if problem])
        began = time.monotonic()
        figures: dict[str, Any] = {"network": "none"}
        recover(
            tool,
            repository,
            entry,
            archive,
            point,
            scratch,
            preload=made["server"].get("preload", ""),
            user=job.config.server["user"],
            jobs=job.config["jobs"],
            ready_seconds=job.config["timeout_seconds"],
            fetched=lambda: figures.update(fetch_seconds=round(time.monotonic() - began, 3)),
        )
        return figures

    def compare(self, made: Manifest, server: Server, tolerance: float) -> comparison.Compared:
        """L5: compare the canary exactly, all else too if it was recorded at the position, or within the tolerance."""
        present = set(server.ask(DATABASES))
        names = [entry["name"] for entry in made["databases"] if entry["name"] in present]
        servers = {name: server.at(name) for name in names}
        found = comparison.compare(self.job, made, servers, server.ask(ROLES), tolerance)
        inexact = [entry["name"] for entry in made["databases"] if not entry.get("exact")]
        if inexact:
            found.left_out.append(f"rows of {', '.join(inexact)} may differ by {tolerance:.0%}, as they were written")
        return found

    def range(self, repository: Repository, key: bytes | None = None) -> dict[str, Any]:
        """Return the time range of possible recoveries."""
        with self.tool(key) as tool:
            info = tool.info(repository)
            if not info["backup"]:
                return {}
            first, last = info["backup"][0], info["backup"][-1]
            size = self._segment_bytes()
            archive = archive_of(tool, repository, last, info, size)
            start = candidate(first)
        return {
            "from": manifest.stamp(start.stopped_at),
            "from_lsn": wal.lsn_text(start.stop_lsn),
            "to": manifest.stamp(archive.end_at),
            "to_lsn": wal.lsn_text(archive.end),
            "timeline": archive.timeline,
            "hole": archive.hole,
        }

    def _segment_bytes(self) -> int:
        for entry in reversed(self.job.state.backups()):
            return int(entry["server"]["segment_bytes"])
        return wal.SEGMENT_BYTES

    def catalogue(self, repository: Repository, key: bytes | None) -> list[Manifest]:
        known = {entry["id"]: entry for entry in self.job.state.backups()}
        found = []
        with self.tool(key) as tool:
            for entry in tool.info(repository)["backup"]:
                annotation = (entry.get("annotation") or {}).get(ANNOTATION)
                if not annotation:
                    continue
                made = manifest.unpack(annotation)
                made = known.get(made["id"]) or {**made, "copies": [], "proofs": []}
                if not any(copy["repository"] == repository.name for copy in made["copies"]):
                    made["copies"] = [*made["copies"], self._copy(repository, entry, 0)]
                known[made["id"]] = made
                found.append(made)
        return found

    def forget(self, repository: Repository, copies: list[dict[str, Any]]) -> None:
        """Remove backups, newest first because dependants go too, then the WAL that no backup needs."""
        with self.tool() as tool:
            for copy in sorted(copies, key=lambda one: one["snapshot"], reverse=True):
                if any(entry["label"] == copy["snapshot"] for entry in tool.info(repository)["backup"]):
                    done = tool.run("expire", f"--repo={repository.number}", f"--set={copy['snapshot']}")
                    tool.need(done, f"{copy['snapshot']} was not removed", "it removed")
            fulls = sum(1 for entry in tool.info(repository)["backup"] if re.fullmatch(r"\d{8}-\d{6}F", entry["label"]))
            done = tool.run(
                "expire", f"--repo={repository.number}", f"--repo{repository.number}-retention-full={max(1, fulls)}"
            )
            tool.need(done, "old WAL was not removed", "it removed")

    def orphans(self, repository: Repository) -> list[str]:
        with self.tool() as tool:
            entries = tool.info(repository)["backup"]
        needed = {label for entry in entries for label in entry.get("reference") or []}
        whole = [entry["label"] for entry in entries if (entry.get("annotation") or {}).get(ANNOTATION)]
        return [
            entry["label"]
            for entry in entries
            # Only our own. One newer than all complete backups is kept: pgBackRest resumes from it.
            if f"{ANNOTATION}-id" in (entry.get("annotation") or {})
            and entry["label"] not in {*whole, *needed}
            and entry["label"] < max(whole, default="")
        ]

    def opens(self, repository: Repository, key: bytes) -> str:
        with self.tool(key) as tool:
            info = tool.info(repository)
            if info["status"]["code"] == 1:
                raise BackupFailure(
                    "store_unreachable",
                    "there is no stanza",
                    repository.name,
                    info["status"]["message"],
                    "the stanza",
                    "Run 'evenkeel-backup prepare'",
                )
            return str(info["db"][-1]["system-id"]) if info.get("db") else repository.location

    def needed_bytes(self, made: Manifest) -> int:
        return int(made["bytes"])
