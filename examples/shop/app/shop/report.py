# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Write or replace one day's summary row. Takes the day as argument; default is today in UTC."""

from __future__ import annotations

import asyncio
import datetime
import sys

from shop import build, logs, stores

SUMMARY = """
    INSERT INTO daily_reports (day, orders, processed, release)
    SELECT $1::date, count(*), count(processed_at), $2 FROM orders
    WHERE received_at >= $1::date AT TIME ZONE 'UTC' AND received_at < ($1::date + 1) AT TIME ZONE 'UTC'
    ON CONFLICT (day) DO UPDATE SET
      orders = excluded.orders, processed = excluded.processed, release = excluded.release, written_at = now()
    RETURNING orders, processed"""


async def run(day: datetime.date) -> None:
    log = logs.set_up("report")
    database = stores.Database("shop-report")
    async with database.connection(patience=60) as connection:
        row = await connection.fetchrow(SUMMARY, day, build.RELEASE)
    log.info("report written", extra={"day": day.isoformat(), "orders": row["orders"], "processed": row["processed"]})
    await database.close()


def main(arguments: list[str]) -> None:
    try:
        day = datetime.date.fromisoformat(arguments[0]) if arguments else datetime.datetime.now(datetime.UTC).date()
    except ValueError:
        sys.exit(f"shop: day is wrong: found {arguments[0]!r}, need a date such as 2025-01-31.")
    asyncio.run(run(day))


if __name__ == "__main__":
    main(sys.argv[1:])
