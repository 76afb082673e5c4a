# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logical engine: pg_dump in directory format on an exported snapshot, and roles with passwords, in restic."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evenkeel_backup import (
    account,
    canary,
    census,
    command,
    comparison,
    connections,
    content,
    database,
    disk,
    extensions,
    identity,
    ladder,
    left_out,
    load,
    manifest,
    owned,
    safepath,
    snapshots,
    target,
)
from evenkeel_backup.config import Repository
from evenkeel_backup.database import ROLES, Server, describe, releasing, session
from evenkeel_backup.engine import Restored
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.ladder import Ladder
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.progress import Progress
from evenkeel_backup.scratch import Scratch, place, running
from evenkeel_backup.state import now

SNAPSHOT = "begin isolation level repeatable read read only; select pg_export_snapshot()"


END_OF_DATA = b"\\.\n\n\n"


def archive_of(name: str) -> str:
    """Return the folder of a database within a backup; its name may hold any character."""
    # A name of dots only would be a folder's own or its parent.
    return f"databases/{quote(name, safe='') if name.strip('.') else name.replace('.', '%2E')}"


def grants_of_the_first(roles: str, bootstrap: str) -> str:
    """Return the roles without the grantor if that is the server's bootstrap superuser.

    From version 16 on, a server accepts a named grantor only if it is its own bootstrap superuser or holds the admin
    option: https://www.postgresql.org/docs/16/sql-grant.html.
    """
    if not bootstrap:
        return roles
    names = "|".join(re.escape(name) for name in (bootstrap, database.identifier(bootstrap)))
    return re.sub(rf"(?m)^(GRANT .+) GRANTED BY (?:{names});$", r"\1;", roles)


def roles_of(roles: str, wanted: Iterable[str]) -> str:
    """Return the statements of the roles' dump that create, alter and grant some roles. Pure.

    pg_dumpall writes one statement a line.
    """
    names = "|".join(re.escape(form) for name in wanted for form in {name, database.identifier(name)})
    if not names:
        return ""
    pattern = (
        rf"(?:CREATE ROLE (?:{names});|ALTER ROLE (?:{names}) .*"
        rf"|GRANT (?:{names}) TO .+;|GRANT .+ TO (?:{names})(?: .*)?;)"
    )
    return "".join(f"{line}\n" for line in roles.splitlines() if re.fullmatch(pattern, line))


def cut_files(folder: Path, subject: str) -> list[BackupFailure]:
    """Return data files without pg_dump's end marker, which were truncated regardless of its exit code."""
    found = []
    for path in sorted(folder.glob("*.dat")):
        if not re.fullmatch(r"\d+\.dat", path.name):
            continue
        with safepath.reading(path) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - len(END_OF_DATA)))
            tail = stream.read()
        if tail != END_OF_DATA:
            need = "the mark at the end of the data"
            remedy = "Take a new backup and look at the disk of work_dir"
            found.append(
                BackupFailure("truncated_dump", "a dump file is cut", f"{subject}: {path.name}", "no end", need, remedy)
            )
    return found


# An entry of the manifest, what its sums need, and what could not be dumped.
Dumped = tuple[dict[str, Any], content.Survey, list[BackupFailure]]


class Logical(snapshots.SnapshotEngine):
    """Dumps that any later major version can load."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.loaded: dict[str, load.Loaded] = {}

    def system(self) -> str:
        with self.job.server() as server:
            return str(server.facts()["system"])

    def prepare(self, check: bool, new_server: bool = False) -> tuple[bool, list[dict[str, Any]]]:
        changed = snapshots.prepare(self.job, check)
        if not check:
            changed = identity.check(self.job, self, new_server=new_server) or changed
        with self.job.server() as server:
            facts = server.facts()
            client = self._client_major(server)
            version = {"name": "client_major", "found": client, "need": facts["major"], "ok": client == facts["major"]}
            room = connections.setting(server, self.job.config["jobs"])
            self.warnings = census.warnings(census.left_out(server, server.ask(database.DATABASES)))
            return changed, [account.setting(facts), version, room]

    def _client_major(self, server: Server) -> int:
        done = server.tool("pg_dump", "--version", seconds=60)
        command.need(
            done,
            "pg_dump does not run",
            self.job.config.instance,
            "it",
            "Install the client, or set where.bin_dir",
            "tool_missing",
        )
        return target.major_of(done.out)

    def backup(self, made: Manifest, kind: str) -> list[BackupFailure]:  # noqa: ARG002 - the engines have one shape
        job = self.job
        partial = job.config.work_dir / f"{made['id']}.partial"
        whole = job.config.work_dir / made["id"]
        with job.server() as server:
            facts = server.facts()
            account.check(facts, job.config.server["user"])
            names = job.databases(server)
            made["left_out"] = census.left_out(server, names)
            made["warnings"] = [one.as_dict() for one in census.warnings(made["left_out"])]
            jobs = connections.jobs(server, job.config["jobs"])
            self._room()
            safepath.make(partial, 0o711)
            job.where.own(partial / "databases")
            made["server"] = {
                key: facts[key]
                for key in ("version", "major", "system", "checksums", "standby", "preload", "bootstrap")
            }
            made["tablespaces"] = server.ask(database.TABLESPACES)
            made["roles"] = server.ask(ROLES)
            made["databases"] = []
            lost: list[BackupFailure] = []
            dumped: dict[str, tuple[content.Survey, str, bool]] = {}
            for name in names:
                reason = canary.write(server.at(name), made["sequence"], made["token"]) if job.config["canary"] else ""
                if reason:
                    made["warnings"].append(canary.warning(name, reason).as_dict())
                entry, here, missing = self._dump(server.at(name), partial / archive_of(name), jobs)
                made["databases"].append(entry)
                listing = self._listing(partial / archive_of(name)) if job.config["content_sums"] else ""
                dumped[name] = here, listing, not missing
                lost += missing
            # From here on the server's user cannot change the files.
            safepath.take(partial / "databases")
            for name in names:
                ladder.refuse(cut_files(partial / archive_of(name), name))
            if job.config["content_sums"]:
                for entry in made["databases"]:
                    content.add_dump(entry, *dumped[entry["name"]], partial / archive_of(entry["name"]), job.config)
            self._globals(server, partial / "roles.sql", "--roles-only")
        made["files"] = disk.inventory(partial, sync=True)
        made["bytes"] = sum(entry["bytes"] for entry in made["files"].values())
        made["finished_at"] = manifest.stamp(now())
        disk.write_json(
            partial / "manifest.json", {key: value for key, value in made.items() if key not in {"copies", "proofs"}}
        )
        partial.rename(whole)
        disk.fsync_folder(whole.parent)
        made["copies"], failures = snapshots.store(job, made, whole)
        snapshots.clear(whole)
        return lost + failures

    def _room(self) -> None:
        before = self.job.state.good()
        free = disk.free_bytes(self.job.config.work_dir)
        if before and free < before["bytes"] * 1.1:
            raise BackupFailure(
                "disk_full",
                "there is no room for the dump",
                str(self.job.config.work_dir),
                f"{free / 1e6:.1f} MB free",
                f"{before['bytes'] * 1.1 / 1e6:.1f} MB, as {before['id']} took",
                "Free space, or set work_dir",
                "dump",
            )

    def _dump(self, server: Server, folder: Path, jobs: int) -> Dumped:
        """Dump one database and count its rows in the same snapshot; return what could not be dumped, too."""
        for attempt in (1, 2):
            try:
                return self._dump_once(server, folder, jobs)
            except BackupFailure as failure:
                # Whatever holds a lock for a minute, such as a migration, may be done by now.
                if failure.fault != "lock_timeout" or attempt == 2:
                    raise
                self.job.actions.append(f"dumped {server.database} again after a lock timeout")
                safepath.remove(folder)
        raise AssertionError("the second attempt returns or raises")

    def _dump_once(self, server: Server, folder: Path, jobs: int) -> Dumped:
        options = self.job.config
        # Close the session first, so that a failed dump does not wait for its counts.
        with ThreadPoolExecutor(1) as pool, session(server) as held:
            snapshot = held.run(SNAPSHOT)
            total = int(held.run("select pg_database_size(current_database())"))
            missing = account.unreadable(held, server.database)
            # A standby has no data of unlogged tables, and pg_dump leaves it out there.
            standby = held.run("select pg_is_in_recovery()") == "t"
            encoding = held.run("select getdatabaseencoding()")
            counted = pool.submit(_counted, releasing(held), standby)
            progress = Progress(f"dump {server.database}", total)
            done = server.tool(
                "pg_dump",
                "--format=directory",
                f"--jobs={jobs}",
                f"--snapshot={snapshot}",
                # A database's own setting of client_encoding would be part of the dump's text.
                f"--encoding={encoding}",
                f"--compress={options['compress']}",
                "--no-password",
                "--lock-wait-timeout=60s",
                *(["--no-blobs"] if missing else []),
                f"--file={folder}",
                seconds=options["timeout_seconds"],
                watch=lambda: progress.show(disk.size_below(folder)),
            )
            entry, here = counted.result(options["timeout_seconds"])
        command.need(
            done,
            "the dump failed",
            server.database,
            "pg_dump ending with code 0",
            "Look at the server's log and the disk",
        )
        progress.show(disk.size_below(folder), last=True)
        return entry, here, missing

    def _listing(self, folder: Path) -> str:
        """Return the catalogue of an archive, as pg_restore prints it."""
        return command.need(
            command.run(self.job.where.argv("pg_restore", "--list", str(folder), network="none"), seconds=600),
            "the archive's catalogue cannot be read",
            folder.name,
            "pg_restore --list to read it",
            "Take a new backup now",
            "catalogue_unreadable",
        ).out

    def _globals(self, server: Server, path: Path, part: str) -> None:
        done = server.tool("pg_dumpall", part, "--no-password", seconds=600)
        command.need(
            done,
            "the roles were not dumped",
            self.job.config.instance,
            "pg_dumpall ending with code 0",
            "Look at the server's log",
        )
        if "-- PostgreSQL database cluster dump complete" not in done.out:
            raise BackupFailure(
                "truncated_dump",
                "the roles' dump is cut",
                self.job.config.instance,
                "no last line",
                "the whole dump",
                "Take a new backup",
                "dump",
            )
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(done.out)

    def readable(self, made: Manifest, repository: Repository, key: bytes | None) -> str:
        """Read back each table of contents, and parse it by pg_restore."""
        job = self.job
        names = [f"{archive_of(entry['name'])}/toc.dat" for entry in made["databases"]]
        with place(job, f"part-{made['sequence']:06d}") as folder:
            root = snapshots.fetch(job, made, repository, key, folder, [*names, "roles.sql", "manifest.json"])
            wanted = {name: entry for name, entry in made["files"].items() if name in {*names, "roles.sql"}}
            ladder.refuse(
                manifest.file_problems(
                    {**made, "files": wanted}, disk.inventory(root), f"{repository.name} {made['id']}"
                )
            )
            self._same_manifest(made, root)
            give(job, folder)
            for name in names:
                self._listing(root / name.removesuffix("/toc.dat"))
        return f"the catalogues of {len(names)} databases and the roles read back from {repository.name}"

    def _same_manifest(self, made: Manifest, root: Path) -> None:
        stored = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
        differing = [key for key in stored if key in made and stored[key] != made[key]]
        if differing:
            raise BackupFailure(
                "content_mismatch",
                "the stored manifest differs",
                made["id"],
                f"other {', '.join(differing)}",
                "the one of this host",
                "Find out who wrote to the store",
            )

    def drill(self, made: Manifest, repository: Repository, key: bytes | None, climb: Ladder) -> Restored:
        job, restored = self.job, Restored()
        with place(job, f"drill-{made['sequence']:06d}", passable=True) as folder:
            scratch = Scratch(job, folder)
            with running(scratch):
                began = time.monotonic()

                def restore() -> str:
                    ladder.refuse(
                        [
                            problem
                            for problem in [
                                target.space_problem(self.needed_bytes(made), disk.free_bytes(folder), str(folder))
                            ]
                            if problem
                        ]
                    )
                    # Nobody else may pass through it while root writes to it.
                    safepath.make(folder / "copy", 0o700)
                    root = snapshots.fetch(job, made, repository, key, folder / "copy")
                    ladder.refuse(manifest.file_problems(made, disk.inventory(root), f"{repository.name} {made['id']}"))
                    give(job, folder / "copy")
                    fetched = time.monotonic() - began
                    self._here(made, scratch)
                    scratch.make()
                    scratch.start(
                        {
                            "fsync": "off",
                            "full_page_writes": "off",
                            "max_wal_size": "4GB",
                            "shared_preload_libraries": extensions.preload(made["server"].get("preload", "")),
                        }
                    )
                    notes = self.load(made, root, scratch.server())
                    restored.seconds = time.monotonic() - began
                    restored.bytes = made["bytes"]
                    restored.figures = {"fetch_seconds": round(fetched, 3), "network": "none", "notes": notes}
                    rate = made["bytes"] / 1e6 / restored.seconds
                    return f"{len(made['databases'])} databases restored in {restored.seconds:.1f} s, {rate:.1f} MB/s"

                climb.step("L3", restore)
                climb.step("L4", lambda: scratch.amcheck(jobs=job.config["jobs"]))

                def same() -> str:
                    found = self.compare(made, scratch.server())
                    restored.figures["compared"] = found.figures
                    ladder.refuse(found.problems)
                    return f"{found.text}, {len(made['roles'])} roles and the canary as in the manifest{found.but_for}"

                climb.step("L5", same)
        return restored

    def _here(self, made: Manifest, scratch: Scratch) -> None:
        done = command.need(
            scratch.tool("postgres", "--version"),
            "no server program",
            "the drill's host",
            "postgres",
            "Install the server, or set where.bin_dir",
            "tool_missing",
        )
        here = target.major_of(done.out)
        problem = target.major_problem(made["server"]["major"], here, "logical")
        if problem:
            raise problem

    def load(self, made: Manifest, root: Path, server: Server) -> list[str]:
        """Load everything into an empty server, as a restore does; return notes, and raise every failed statement.

        A drill is strict: what fails here would be missing after a restore.
        """
        with safepath.reading(root / "roles.sql") as stream:
            text = stream.read().decode("utf-8", "surrogateescape")
        roles = grants_of_the_first(text, made["server"].get("bootstrap", ""))
        done = server.tool(
            "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", "-", given=roles, seconds=600
        )
        command.need(
            done, "the roles were not restored", made["id"], "no error", "Look at the roles of the live server"
        )
        records = owned.Records(None)
        notes: list[str] = []
        failures: list[BackupFailure] = []
        for entry in made["databases"]:
            # initdb made some databases, which keep another name.
            if owned.oid_of(server, entry["name"]):
                server.run(f"alter database {database.identifier(entry['name'])} rename to evenkeel_of_initdb")
            begun = owned.begin(records, self.job, entry, entry["name"])
            loaded = load.load(self.job, server, records, begun, entry, root / archive_of(entry["name"]))
            notes += loaded.notes
            failures += load.failures(entry["name"], loaded.failed)
            self.loaded[entry["name"]] = loaded
        ladder.refuse(failures)
        for entry in made["databases"]:
            loaded = self.loaded[entry["name"]]
            loaded.own = owned.finish(server, records, loaded.own, entry, entry["name"], close=False)
        return notes

    def compare(self, made: Manifest, server: Server) -> comparison.Compared:
        """L5: compare the restored content with the manifest."""
        found = comparison.compare(self.job, {**made, "databases": []}, {}, server.ask(ROLES))
        for entry in made["databases"]:
            one = load.compared(self.job, server, server, made, entry, self.loaded[entry["name"]])
            found.problems += one.problems
            found.left_out += one.left_out
            found.tables += one.tables
            found.rows += one.rows
            found.sums += one.sums
            found.large_objects += one.large_objects
        return found


def _counted(run: Callable[[str], str], standby: bool) -> tuple[dict[str, Any], content.Survey]:
    """Return a database's entry in the manifest, and what its sums need."""
    # A standby cannot read unlogged tables, and pg_dump leaves their rows out.
    entry = describe(run, unlogged=not standby)
    entry["left_out"] = left_out.facts(run)
    return entry, content.survey(run, unlogged=not standby)


def give(job: Job, folder: Path) -> None:
    """Change the owner of a folder with its content to the server's user."""
    safepath.give(folder, job.where.uid, job.where.gid)
