# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""python3 -m shop.migrate expand|contract|status

Runs the pending SQL files of this release and earlier ones, each in its own
transaction, all under one advisory lock. expand only adds, so the former release
keeps working; contract removes what no release in use needs any more."""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
import re
import sys
from typing import NamedTuple

from shop import build

LOCK = 0x73686F70  # "shop"
PHASES = ("expand", "contract")
LOCK_TIMEOUT_SECONDS = 3
LOCK_TRIES = 10
_NAME = re.compile(r"(\d+(?:\.\d+)*)_([a-z0-9_]+)\.(expand|contract)\.sql")

TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
      name text PRIMARY KEY,
      phase text NOT NULL,
      sha256 text NOT NULL,
      release text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    )"""


class MigrationError(Exception):
    pass


class Migration(NamedTuple):
    version: tuple[int, ...]
    name: str
    phase: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load(folder: pathlib.Path) -> list[Migration]:
    found = []
    for path in folder.glob("*.sql"):
        match = _NAME.fullmatch(path.name)
        if not match:
            raise MigrationError(
                f"migrate: name of {path.name} is wrong: need <release>_<what>.expand.sql or .contract.sql."
            )
        found.append(Migration(build.version(match[1]), path.name, match[3], path.read_text(encoding="utf-8")))
    return sorted(found, key=lambda m: (m.version, PHASES.index(m.phase), m.name))


def pending(migrations: list[Migration], phase: str, release: str, applied: dict[str, str]) -> list[Migration]:
    """Return the pending files in order; applied maps names to checksums."""
    mine = [m for m in migrations if m.version <= build.version(release)]
    for migration in mine:
        if migration.name in applied and applied[migration.name] != migration.sha256:
            raise MigrationError(f"migrate: {migration.name} was changed after it was run. Write a new file instead.")
    todo = [m for m in mine if m.name not in applied]
    behind = [m.name for m in todo if m.phase == "expand"]
    if phase == "contract" and behind:
        raise MigrationError(f"migrate: contract refused: {', '.join(behind)} was not run. Run expand first.")
    return [m for m in todo if m.phase == phase]


async def connect(patience: float = 60):
    import asyncpg

    from shop import settings, stores

    pause = 0.1
    until = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await asyncpg.connect(
                **stores.database_arguments(), server_settings={"application_name": "shop-migrate"}
            )
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as exc:
            if asyncio.get_running_loop().time() + pause > until:
                raise MigrationError(f"migrate: PostgreSQL was not reached within {patience:g} s: {exc}") from exc
        except (asyncpg.PostgresError, settings.SettingsError) as exc:
            raise MigrationError(f"migrate: PostgreSQL refused: {exc}") from exc
        await asyncio.sleep(pause)
        pause = min(2.0, pause * 2)


async def apply(connection, migration: Migration) -> None:
    """Apply one file in one transaction. The lock timeout is short, because other queries
    queue behind a waiting ALTER TABLE; on a timeout, retry."""
    import asyncpg

    for attempt in range(1, LOCK_TRIES + 1):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (name, phase, sha256, release) VALUES ($1, $2, $3, $4)",
                    migration.name, migration.phase, migration.sha256, build.RELEASE,
                )  # fmt: skip
            return
        except asyncpg.LockNotAvailableError as exc:
            if attempt == LOCK_TRIES:
                raise MigrationError(f"migrate: {migration.name} got no lock in {LOCK_TRIES} tries: {exc}") from exc
            await asyncio.sleep(1)
        except asyncpg.PostgresError as exc:
            raise MigrationError(f"migrate: {migration.name} failed and was rolled back: {exc}") from exc


async def run(command: str, log) -> None:
    migrations = load(build.ROOT / "migrations")
    if build.FAULT == "badmigration":
        migrations += load(build.ROOT / "faults" / "badmigration")
    connection = await connect()
    try:
        log.info("waiting for the advisory lock")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute(TABLE)
        applied = {
            row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM schema_migrations")
        }
        if command == "status":
            names = [m.name for m in migrations if m.version <= build.version(build.RELEASE) and m.name not in applied]
            log.info("status", extra={"applied": sorted(applied), "pending": names})
            return
        todo = pending(migrations, command, build.RELEASE, applied)
        for migration in todo:
            await apply(connection, migration)
            log.info("applied", extra={"migration": migration.name})
        log.info("done", extra={"phase": command, "applied": len(todo)})
    finally:
        await connection.close(timeout=5)


def main(arguments: list[str]) -> None:
    from shop import logs

    if len(arguments) != 1 or arguments[0] not in (*PHASES, "status"):
        sys.exit("usage: python3 -m shop.migrate expand|contract|status")
    log = logs.set_up("migrate")
    try:
        asyncio.run(run(arguments[0], log))
    except MigrationError as exc:
        log.critical("%s", exc)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
