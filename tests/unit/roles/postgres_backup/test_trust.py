# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is touched in a database whose owner may be an attacker, and by which account."""

from __future__ import annotations

import copy

import pytest

from evenkeel_backup import account, default_privileges, restore_role, trust
from evenkeel_backup.database import Server
from evenkeel_backup.where import Host

GOOD: dict = {
    "standby": False, "read_only": False, "event_triggers": [],
    "schema": {"owner": "evenkeel_backup", "ours": True},
    "table": {
        "owner": "evenkeel_backup", "ours": True, "kind": "r", "persistence": "p", "columns": dict(trust.COLUMNS),
        **dict.fromkeys(trust.FOREIGN, False),
    },
}  # fmt: skip


def changed(part: str, **change: object) -> dict:
    made = copy.deepcopy(GOOD)
    made[part] = {**made[part], **change}
    return made


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        pytest.param(GOOD, "", id="ours"),
        pytest.param({**GOOD, "schema": None, "table": None}, "", id="nothing yet"),
        pytest.param(changed("schema", ours=False, owner="shop"), "schema evenkeel_backup, owned by shop", id="their schema"),
        pytest.param(changed("table", ours=False, owner="shop"), "canary, owned by shop", id="their table"),
        pytest.param(changed("table", kind="v"), "a view", id="a view"),
        pytest.param(changed("table", kind="f"), "a foreign table", id="a foreign table"),
        pytest.param(changed("table", persistence="u"), "not permanent", id="unlogged"),
        pytest.param(changed("table", columns={"written": "shop.domain"}), "with the columns written", id="other columns"),
        *(pytest.param(changed("table", **{what: True}), f"with {what}", id=what) for what in trust.FOREIGN),
    ],
)  # fmt: skip
def test_our_table_is_used_only_as_we_made_it(state: dict, problem: str) -> None:
    found = trust.table_problem(state)
    assert found.endswith(problem)
    assert bool(found) is bool(problem)
    assert trust.trusted(state) is (not problem and state["table"] is not None)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        pytest.param(GOOD, "", id="well"),
        pytest.param({**GOOD, "standby": True}, "a standby", id="standby"),
        pytest.param({**GOOD, "read_only": True}, "default_transaction_read_only on", id="read-only"),
        pytest.param({**GOOD, "event_triggers": ["log"]}, "", id="an event trigger, and nothing to create"),
        pytest.param(
            {**GOOD, "table": None, "event_triggers": ["log"]},
            "event trigger log, whose function is not a superuser's",
            id="an event trigger that would run",
        ),
    ],
)
def test_a_canary_is_written_where_it_runs_nothing_of_others(state: dict, problem: str) -> None:
    assert trust.write_problem(state) == problem


def test_settings_of_roles_and_databases_are_overridden_on_each_connection() -> None:
    options = Server(Host("", "root"), "/s", 5432, "u", "d").env["PGOPTIONS"]
    for setting in ("search_path=pg_catalog", "role=none", "row_security=off", "local_preload_libraries="):
        assert f"-c {setting}" in options
    # A read-only database is respected.
    assert "read_only" not in options


FACTS = {"superuser": False, "major": 15, "reads_all": True, "reads_passwords": True, "bypassrls": True}


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        pytest.param({}, [], id="enough"),
        pytest.param({"superuser": True, "reads_all": False}, [], id="a superuser"),
        pytest.param({"bypassrls": False}, ["BYPASSRLS"], id="row security applies"),
        pytest.param({"reads_all": False, "reads_passwords": False}, ["pg_read_all_data"], id="not all data"),
        pytest.param({"reads_passwords": False}, ["SELECT on pg_authid, where the passwords of roles are"], id="no passwords"),
        pytest.param({"major": 13}, ["SUPERUSER, which PostgreSQL 13 needs for the passwords of roles"], id="too old"),
    ],
)  # fmt: skip
def test_what_the_account_lacks(change: dict, lacking: list[str]) -> None:
    assert account.lacking({**FACTS, **change}) == lacking
    assert account.setting({**FACTS, **change})["ok"] is not lacking or not lacking


EXTENDED = {
    "extensions": [
        {"name": "plpgsql", "version": "1.0", "schema": "pg_catalog"},
        {"name": "pgcrypto", "version": "1.3", "schema": "public"},
        {"name": "hstore", "version": "1.8", "schema": "ext"},
        {"name": "pg_cron", "version": "1.5", "schema": "cron", "owns_schema": True},
    ]
}
LISTING = """;
; Archive created
2; 3079 16390 EXTENSION - pgcrypto
3300; 0 0 COMMENT - EXTENSION pgcrypto
8; 2615 16500 SCHEMA - ext postgres
9; 2615 16501 SCHEMA - ext2 shop
3301; 0 0 COMMENT - SCHEMA public pg_database_owner
215; 1259 16427 TABLE public orders shop
"""


def test_default_privileges_are_statements_of_ours() -> None:
    entry = {
        "default_privileges": [
            {"role": "postgres", "schema": "", "kind": "r", "grants": []},
            {"role": "shop", "schema": "", "kind": "f", "grants": []},
            {
                "role": 'a"b',
                "schema": "s",
                "kind": "r",
                "grants": [
                    {"role": "", "privilege": "SELECT", "grantable": False},
                    {"role": "x", "privilege": "INSERT", "grantable": True},
                    {"role": "x", "privilege": "SELECT on tables to y; drop table z", "grantable": True},
                ],
            },
        ]
    }
    quiet = "set session_replication_role = 'replica';\n"
    head = 'alter default privileges for role "a""b" in schema "s" grant'
    assert default_privileges.statements(entry, ["postgres"]) == [
        (
            "default privileges of shop on functions",
            f'{quiet}alter default privileges for role "shop" revoke all on functions from public, "shop"',
        ),
        (
            'default privileges of a"b on tables',
            f'{quiet}{head} SELECT on tables to public;\n{head} INSERT on tables to "x" with grant option',
        ),
    ]
    listing = (
        "3391; 826 16400 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES shop\n215; 1259 16427 TABLE public o shop\n"
    )
    assert default_privileges.without(listing) == "215; 1259 16427 TABLE public o shop\n"


def test_extensions_are_made_before_any_object_of_a_user() -> None:
    assert restore_role.extension_statements(EXTENDED, "r") == [
        'create schema "ext" authorization r',
        'create extension "pgcrypto" with schema "public" cascade',
        'create extension "hstore" with schema "ext" cascade',
        'create extension "pg_cron" with schema "cron" cascade',
    ]
    left = restore_role.chosen(LISTING, EXTENDED)
    assert [line.split(" ", 3)[3] for line in left.splitlines() if line[0] != ";"] == [
        "SCHEMA - ext2 shop", "COMMENT - SCHEMA public pg_database_owner", "TABLE public orders shop",
    ]  # fmt: skip
    # A manifest of a former version does not name the schemas.
    old = {"extensions": [{"name": "pgcrypto", "version": "1.3"}]}
    assert restore_role.extension_statements(old, "r") == []
    assert restore_role.chosen(LISTING, old) == LISTING
