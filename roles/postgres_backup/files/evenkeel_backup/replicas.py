# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the lag of streaming replicas, on their primary or on a replica.

The lag is the age of the oldest recorded position that a replica has not replayed. So it is correct for a
disconnected replica, of which only the slot remains, and 0 without writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evenkeel_backup.database import Server
from evenkeel_backup.manifest import moment, stamp
from evenkeel_backup.wal import lsn

NOTED = 1500

# A slot remains without its replica. Base backups also stream, but are not replicas.
_PRIMARY = """
json_build_object('lsn', pg_current_wal_insert_lsn()::text, 'replicas', (
  select coalesce(json_agg(json_build_object('name', name, 'connected', connected, 'lsn', replayed)
    order by name), '[]')
  from (
    select coalesce(s.slot_name, r.application_name) as name, r.pid is not null as connected,
      coalesce(r.replay_lsn, s.restart_lsn)::text as replayed
    from (select * from pg_stat_replication where state <> 'backup') r
    full join (select * from pg_replication_slots where slot_type = 'physical' and not temporary) s
      on s.active_pid = r.pid) seen))
"""
_STANDBY = """
json_build_object('standby', true,
  'connected', coalesce((select status = 'streaming' from pg_stat_wal_receiver), false),
  'bytes', coalesce((select pg_wal_lsn_diff(latest_end_lsn, pg_last_wal_replay_lsn()) from pg_stat_wal_receiver), 0),
  'seconds', coalesce(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0))
"""


def behind(positions: list[dict[str, str]], replayed: int, at: datetime) -> float:
    """Return the seconds since the oldest position that is not replayed. Pure."""
    for entry in positions:
        if lsn(entry["lsn"]) > replayed:
            return max(0.0, (at - moment(entry["at"])).total_seconds())
    return 0.0


def judged(found: Mapping[str, Any], before: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Return the new record of a primary's replicas from the former one. Pure."""
    positions = list(before.get("positions", []))
    replicas = []
    for entry in found["replicas"]:
        replayed = lsn(entry["lsn"]) if entry["lsn"] else 0
        replicas.append(
            {
                "name": entry["name"],
                "connected": entry["connected"],
                "seconds": behind(positions, replayed, at),
                "bytes": max(0, lsn(found["lsn"]) - replayed) if replayed else 0,
            }
        )
    if not positions or positions[-1]["lsn"] != found["lsn"]:
        positions.append({"at": stamp(at), "lsn": found["lsn"]})
    return {"replicas": replicas, "positions": positions[-NOTED:] if replicas else []}


def measure(server: Server, before: Mapping[str, Any], host: str, at: datetime) -> dict[str, Any]:
    """Query the server, a primary or a replica."""
    found = server.ask(f"select case when pg_is_in_recovery() then {_STANDBY} else {_PRIMARY} end")
    if not found.get("standby"):
        return judged(found, before, at)
    late = found["bytes"] > 0 or not found["connected"]
    entry = {
        "name": host,
        "connected": found["connected"],
        "seconds": found["seconds"] if late else 0,
        "bytes": max(0, int(found["bytes"])),
    }
    return {"replicas": [entry], "positions": []}
