# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the archive of one database: the same code for drills and restores.

pg_restore goes on after a statement that fails. What failed is listed by name and reason, so that one view does not
cost all other tables. Statements that fail for a lack of search_path are tried again with that of the database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenkeel_backup import (
    command,
    comparison,
    default_privileges,
    extensions,
    owned,
    properties,
    restore_role,
    safepath,
    trust,
)
from evenkeel_backup.database import Server, conninfo, identifier, literal
from evenkeel_backup.destroy import OwnDatabase
from evenkeel_backup.faults import BackupFailure, fault_of
from evenkeel_backup.job import Job
from evenkeel_backup.where import NONE

# Each message is written in parts, between which another worker may write: a line may lack its beginning.
ENTRY = re.compile(r"(?:^|: )from TOC entry (\d+); \d+ \d+ ")
ERROR = re.compile(r"(?:^|error: )((?:could not execute query: |COPY failed for table ).*)|^pg_restore: .*?error: (.*)")
IGNORED = re.compile(r"pg_restore: warning: errors ignored on restore: (\d+)")
CAUSE = re.compile(r"(?:ERROR|[A-Z]{3,}):\s+(.*)")
# Faults that a single statement can have. Any other word of its message is the user's own.
OF_STATEMENTS = frozenset({"missing_role", "missing_extension", "major_mismatch"})
# Faults of the server as a whole, after which the rest cannot be loaded either.
OF_SERVERS = frozenset({"disk_full", "server_unreachable"})
LOST = re.compile(r"server closed the connection|no connection to the server|terminating connection")
FAULT = "statement_failed"
SHOWN = 20
TRIED_AGAIN = 500
DEFAULT_PATH = '"$user", public'
RESET_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);"
HEAD_BYTES = 8192
# Files in the work folder, which no other run uses at the same time.
LIST, SCRIPT = "part-list", "part-again"


@dataclass(frozen=True)
class Statement:
    """A statement that failed: the archive's entry as pg_restore --list names it, and the server's reason."""

    name: str
    reason: str
    fault: str = FAULT
    entry: int = 0

    def as_dict(self) -> dict[str, str]:
        """Return the statement as it appears in reports."""
        return {"name": self.name, "reason": self.reason, "fault": self.fault}


@dataclass
class Loaded:
    """A database that was loaded under its scratch name, what failed, and what is different on purpose."""

    own: OwnDatabase
    failed: list[Statement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def failed_statements(errors: str, listing: str) -> list[Statement]:
    """Parse the statements that failed from the standard error of pg_restore and the archive's list. Pure.

    Workers of pg_restore share one stream, so a line may begin with a part of another one, and an entry and its error
    may have others between them.
    """
    names = {int(match[1]): match[2] for match in re.finditer(r"(?m)^(\d+); \d+ \d+ (.+?) *$", listing)}
    lines = errors.splitlines()
    found: list[Statement] = []
    entry, waiting = 0, list[int]()
    for line in lines:
        if match := ENTRY.search(line):
            waiting.append(int(match[1]))
        elif match := ERROR.search(line):
            # An entry is printed before its first error only.
            entry = waiting.pop(0) if waiting else entry
            text = match[1] or match[2]
            cause = CAUSE.search(text)
            found.append(statement(names.get(entry, "the settings of the session"), cause[1] if cause else text, entry))
    found += [Statement(names.get(one, str(one)), "an error that could not be read", entry=one) for one in waiting]
    # Workers report in the order in which they finish.
    places = {number: place for place, number in enumerate(names)}
    found.sort(key=lambda one: places.get(one.entry, -1))
    # With several jobs, pg_restore counts the errors of workers and their entries.
    counted = max((int(match[1]) for line in lines if (match := IGNORED.match(line))), default=0)
    if counted > len(found) + len({one.entry for one in found}):
        found.append(Statement("others", "errors that could not be read"))
    return found


def fatal_lines(errors: str) -> str:
    """Return why pg_restore could not go on, without the statements that failed before. Pure."""
    lines = errors.strip().splitlines()
    own = [
        line
        for line in lines[:-1]
        if re.match(r"pg_restore: (?:error|detail|hint): (?!could not execute query|COPY failed)", line)
    ]
    return "\n".join([*own, *lines[-1:]])


def statement(name: str, reason: str, entry: int = 0) -> Statement:
    """Return a failed statement with its fault. Pure."""
    fault = "server_unreachable" if LOST.search(reason) else fault_of(reason, FAULT, OF_STATEMENTS | OF_SERVERS)
    return Statement(name, reason, fault, entry)


def failures(database: str, failed: Iterable[Statement]) -> list[BackupFailure]:
    """Return one failure for each statement, and one for all beyond the first ones. Pure."""
    remedies = {
        "missing_extension": "Install the extension where it is restored",
        "missing_role": "Create the role",
    }
    known = list(failed)
    found = [
        BackupFailure(
            one.fault,
            "a statement of the archive failed",
            f"{database}: {one.name}",
            one.reason,
            "it restored",
            remedies.get(one.fault, "Correct its definition, or add it by hand with pg_restore --use-list"),
        )
        for one in known[:SHOWN]
    ]
    if len(known) > SHOWN:
        found.append(
            BackupFailure(
                FAULT,
                "statements of the archive failed",
                database,
                f"{len(known) - SHOWN} more than these",
                "them restored",
                "See failed in the report",
            )
        )
    return found


def load(
    job: Job,
    server: Server,
    records: owned.Records,
    begun: owned.Begun,
    entry: Mapping[str, Any],
    archive: Path,
    *,
    live: bool = False,
) -> Loaded:
    """Create a database under its scratch name, and load its archive and properties.

    On a live server, a role without further rights runs what the archive contains; a drill's server has nobody else.
    """
    own = owned.create(server, records, begun, entry)
    at = server.at(own.name)
    loaded = Loaded(own, notes=extensions.notes(entry))
    if live:
        wanted = extensions.without(entry)
        with restore_role.restorer(job, server, own.name, entry) as by:
            # The next run drops the role of a killed one by this mark, too.
            server.run(f"comment on role {identifier(by.role)} is {literal(begun.mark)}")
            for sql in restore_role.extension_statements(wanted, by.role):
                _try(at, sql, sql, loaded)
            _fill(job, at, by.server, entry, archive, loaded, _chosen_live, ("--no-owner",))
        for label, sql in default_privileges.statements(entry, default_privileges.superusers(server)):
            _try(at, label, sql, loaded)
    else:
        _fill(job, at, at, entry, archive, loaded, lambda listing, _entry: listing, ())
    for label, sql in properties.statements(entry, own.name):
        _try(server, f"property {label}", sql, loaded)
    for one in loaded.failed:
        if one.fault in OF_SERVERS:
            raise BackupFailure(
                one.fault,
                "the archive was not restored",
                f"{entry['name']}: {one.name}",
                one.reason,
                "a server that takes all of it",
                "Correct that, and restore again",
            )
    return loaded


def _chosen_live(listing: str, entry: Mapping[str, Any]) -> str:
    """Return the list of an archive without what the administrator does in a live server. Pure."""
    use = restore_role.chosen(listing, entry)
    # A manifest of before holds none, so they fail and are named.
    return default_privileges.without(use) if "default_privileges" in entry else use


def _fill(
    job: Job,
    at: Server,
    by: Server,
    entry: Mapping[str, Any],
    archive: Path,
    loaded: Loaded,
    choose: Callable[[str, Mapping[str, Any]], str],
    arguments: Sequence[str],
) -> None:
    """Load an archive as *by*, between the hooks of its extensions."""
    for name, sql in extensions.before(entry):
        _try(at, f"before restore of extension {name}", sql, loaded)
    listing = _listing(job, archive)
    use = choose(extensions.lines_without(listing, extensions.left_out(entry)), entry)
    try:
        failed = _restore(job, by, entry, archive, use, arguments)
        loaded.failed += _again(job, by, entry, archive, failed, arguments)
    finally:
        for name in (LIST, SCRIPT):
            safepath.remove(job.config.work_dir / name)
    for name, sql in extensions.after(entry):
        _try(at, f"after restore of extension {name}", sql, loaded)


def _try(server: Server, name: str, sql: str, loaded: Loaded) -> None:
    done = server.tool("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-", given=sql, seconds=3600)
    if done.code != 0:
        cause = CAUSE.search(done.err)
        loaded.failed.append(statement(name, cause[1] if cause else done.tail))


def _restore(
    job: Job, by: Server, entry: Mapping[str, Any], archive: Path, use: str, arguments: Sequence[str]
) -> list[Statement]:
    """Run pg_restore to its end with a list of entries; raise only if it could not go on."""
    done = by.tool(
        "pg_restore",
        # From version 15 on, it names the entry of an error only then.
        "--verbose",
        "--no-tablespaces",
        *arguments,
        f"--jobs={job.config['jobs']}",
        f"--use-list={_write(job, LIST, use)}",
        f"--dbname={conninfo(by.database)}",
        str(archive),
        seconds=job.config["timeout_seconds"],
    )
    last = done.err.strip().splitlines()[-1:]
    if done.code == 0 or not last or not IGNORED.fullmatch(last[0]):
        command.need(
            command.Done(done.code, done.out, fatal_lines(done.err)),
            "the archive was not restored",
            entry["name"],
            "pg_restore reading it to its end",
            "Fix the problem in the message, or restore an older backup",
        )
        return []
    return failed_statements(done.err, use)


def _listing(job: Job, archive: Path) -> str:
    done = command.run(job.where.argv("pg_restore", "--list", str(archive), network=NONE), seconds=600)
    return command.need(
        done,
        "the archive's catalogue cannot be read",
        archive.name,
        "pg_restore --list to read it",
        "Restore an older backup",
        "catalogue_unreadable",
    ).out


def _again(
    job: Job,
    by: Server,
    entry: Mapping[str, Any],
    archive: Path,
    failed: list[Statement],
    arguments: Sequence[str],
) -> list[Statement]:
    """Try failed statements again in their order, with the search_path of the database; return those that fail still.

    pg_restore sets an empty one, and functions of users and extensions often do not name their schema. All names in
    the archive itself are complete, so nothing else is resolved through it.
    """
    # Each entry is one transaction. Large objects are not: a second try could meet half of them.
    tried = [one for one in failed if one.entry and "BLOB" not in one.name][:TRIED_AGAIN]
    good: set[int] = set()
    for number in dict.fromkeys(one.entry for one in tried):
        script = _write(job, SCRIPT, "")
        words = [f"--use-list={_write(job, LIST, f'{number};')}", "--no-tablespaces", *arguments, f"--file={script}"]
        done = command.run(
            job.where.argv("pg_restore", *words, str(archive), network=NONE), seconds=job.config["timeout_seconds"]
        )
        if done.code != 0 or not _keep_path(script):
            continue
        done = by.tool(
            "psql",
            *("-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction"),
            *("-c", f"set search_path to {_path(entry)}", "-f", str(script)),
            seconds=job.config["timeout_seconds"],
        )
        if done.code == 0:
            good.add(number)
    return [one for one in failed if one.entry not in good or not one.entry]


def _path(entry: Mapping[str, Any]) -> str:
    """Return the search_path of a database for SET."""
    for one in entry.get("settings", []):
        key, _, value = one["setting"].partition("=")
        if key == "search_path" and not one["role"]:
            return ", ".join(map(literal, properties.names_of(value)))
    return DEFAULT_PATH


def _keep_path(script: Path) -> bool:
    """Make the script's statement that empties search_path a comment; return whether the script may be run.

    Without \\restrict, psql would run its own commands if the archive's author put some there (CVE-2025-8714).
    """
    handle = os.open(script, os.O_RDWR | os.O_NOFOLLOW)
    try:
        head = os.pread(handle, HEAD_BYTES, 0)
        at = head.find(RESET_PATH)
        if at < 0 or b"\n\\restrict " not in head[:at]:
            return False
        os.pwrite(handle, b"--", at)
        return True
    finally:
        os.close(handle)


def _write(job: Job, name: str, text: str) -> Path:
    """Write a file in the work folder that the server's user can read and write."""
    path = job.config.work_dir / name
    safepath.create(path, text, 0o600, job.where.uid, job.where.gid)
    return path


def compared(
    job: Job, server: Server, reader: Server, made: Mapping[str, Any], entry: Mapping[str, Any], loaded: Loaded
) -> comparison.Compared:
    """Compare a loaded database with the manifest, and return what was compared with every difference.

    *reader* is the account that reads the tables, which need not be the one that created the database.
    """
    name = entry["name"]
    alone = extensions.without(entry)
    problem = trust.table_problem(reader.at(loaded.own.name).ask(trust.STATE)) if alone.get("canary") else ""
    if problem:
        # A restore gives a superuser's table to the owner of the database, and then it is not read.
        alone["canary"] = None
        loaded.notes.append(f"the canary was not compared: found {problem}")
    wanted = {**made, "databases": [alone]}
    found = comparison.compare(job, wanted, {name: reader.at(loaded.own.name)}, None)
    # The comment and what closes the database are set with its name.
    without = ["comment", *properties.CLOSING]
    present = server.ask(properties.query(loaded.own.oid))
    if entry.get("tablespace") and entry["tablespace"] != present["tablespace"]:
        without.append("tablespace")
        loaded.notes.append(
            f"tablespace {entry['tablespace']} is not on this server, the data is in {present['tablespace']}"
        )
    for text in properties.differences(entry, present, tuple(without)):
        what, _, rest = text.partition(": found ")
        have, _, need = rest.partition(", need ")
        found.problems.append(
            BackupFailure(
                "content_mismatch",
                "a property of the restored database differs",
                f"{name}: {what}",
                have,
                need,
                "Set it by hand",
            )
        )
    return found
