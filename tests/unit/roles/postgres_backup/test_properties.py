# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of a database as SQL, and what differs in them; extensions with needs of their own."""

from __future__ import annotations

import typing as t

import pytest

from evenkeel_backup import database, extensions, properties

ENTRY: dict[str, t.Any] = {
    "name": "shop",
    "owner": "shop",
    "settings": [],
    "grants": [],
    "grants_default": True,
    "connection_limit": -1,
    "comment": "",
    "tablespace": "pg_default",
    "is_template": False,
    "allow_connections": True,
}


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        pytest.param('search_path=""', "search_path to ''", id="empty"),
        pytest.param("search_path=", "search_path to ''", id="nothing"),
        pytest.param("search_path=public, x", "search_path to 'public', 'x'", id="two"),
        pytest.param('search_path="$user", "a, b", "q""q"', "search_path to '$user', 'a, b', 'q\"q'", id="quoted"),
        pytest.param("temp_tablespaces=a, b", "temp_tablespaces to 'a', 'b'", id="another list"),
        pytest.param("DateStyle=ISO, MDY", "DateStyle to 'ISO, MDY'", id="no list of names"),
        pytest.param("work_mem=8MB", "work_mem to '8MB'", id="plain"),
        pytest.param("my.own=a=b, 'c'", "my.own to 'a=b, ''c'''", id="of the user"),
        pytest.param('my.od"d=1', '"my.od""d" to \'1\'', id="a name to quote"),
    ],
)
def test_a_setting_is_set_as_it_is_stored(stored: str, text: str) -> None:
    assert properties.setting_statement('database "x"', stored) == f'alter database "x" set {text}'


def statements(**more: t.Any) -> list[str]:
    return [sql for _label, sql in properties.statements({**ENTRY, **more}, "x")]


def test_grants_are_those_of_the_backup() -> None:
    default = ['grant connect, temporary on database "x" to public']
    assert statements() == default
    # Manifests of older versions do not tell the default from none at all.
    assert [sql for _label, sql in properties.statements({"owner": "shop"}, "x")] == default
    assert statements(grants_default=False) == ['revoke all on database "x" from public, "shop"']
    grants = [
        {"role": "", "privilege": "CONNECT", "grantable": False},
        {"role": "a b", "privilege": "CREATE", "grantable": True},
    ]
    assert statements(grants=grants, grants_default=False)[1:] == [
        'grant CONNECT on database "x" to public',
        'grant CREATE on database "x" to "a b" with grant option',
    ]


def test_what_closes_a_database_is_set_last() -> None:
    closed = {"connection_limit": 0, "is_template": True, "allow_connections": False}
    assert statements(**closed) == statements()
    assert properties.closing_statements({**ENTRY, **closed}, "x") == [
        'alter database "x" connection limit 0',
        'alter database "x" is_template true',
        'alter database "x" allow_connections false',
    ]
    assert properties.closing_statements({}, "x") == []


@pytest.mark.parametrize(
    ("wanted", "have", "found"),
    [
        pytest.param({}, {}, [], id="equal"),
        pytest.param({"comment": "x"}, {}, ["comment: found '', need 'x'"], id="comment"),
        pytest.param({"connection_limit": 3}, {}, ["connection_limit: found -1, need 3"], id="limit"),
        pytest.param(
            {"settings": [{"role": "a", "setting": "work_mem=1MB"}]},
            {},
            ["setting: found none, need work_mem=1MB of a"],
            id="setting",
        ),
        pytest.param(
            {"grants_default": False},
            {"grants": [{"role": "", "privilege": "CONNECT", "grantable": False}]},
            ["grant: found one, need none of CONNECT to public"],
            id="one grant too many",
        ),
    ],
)
def test_differences(wanted: dict, have: dict, found: list[str]) -> None:
    assert properties.differences({**ENTRY, **wanted}, {**ENTRY, **have}) == found
    assert properties.differences({}, {**ENTRY, **have}) == []


LISTING = """;
; Archive created at 2026-01-01
;
2; 3079 16385 EXTENSION - pg_cron 
3401; 0 0 COMMENT - EXTENSION pg_cron 
3; 3079 16386 EXTENSION - pg_cron_tools 
3390; 0 16400 TABLE DATA cron job postgres
3391; 0 0 SEQUENCE SET cron jobid_seq postgres
3392; 0 0 ACL - SCHEMA cron postgres
3395; 3256 16401 POLICY cron job cron_job_policy postgres
3396; 0 16402 ROW SECURITY cron job postgres
3393; 0 0 TABLE DATA public cron postgres
3394; 0 0 TABLE DATA cronies job postgres
"""  # noqa: W291 - pg_restore prints the empty owner


def test_pg_cron_is_left_out_of_copies() -> None:
    entry = {"extensions": [{"name": "pg_cron", "version": "1.4"}, {"name": "vector", "version": "0.5"}]}
    left = extensions.lines_without(LISTING, extensions.left_out(entry))
    assert [line.split(";")[0] for line in left.splitlines() if line[0] != ";"] == ["3", "3393", "3394"]
    assert extensions.without(entry)["extensions"] == [{"name": "vector", "version": "0.5"}]
    assert "cron.database_name" in extensions.notes(entry)[0]
    assert extensions.before(entry) == extensions.after(entry) == []
    assert extensions.preload('pg_stat_statements, pg_cron,"x y"') == 'pg_stat_statements,"x y"'
    assert extensions.preload("") == ""


def test_timescaledb_is_told_of_the_restore() -> None:
    entry = {"extensions": [{"name": "timescaledb", "version": "2.11'"}]}
    assert [sql for _name, sql in extensions.before(entry)] == [
        "create extension if not exists timescaledb with version '2.11'''",
        "select public.timescaledb_pre_restore()",
    ]
    assert extensions.after(entry) == [("timescaledb", "select public.timescaledb_post_restore()")]
    assert extensions.left_out(entry) == []
    assert extensions.lines_without(LISTING, []) == LISTING


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a=b", "dbname='a=b'"),
        ("postgresql://x", "dbname='postgresql://x'"),
        ("q'u\\", "dbname='q\\'u\\\\'"),
        ("", "dbname=''"),
    ],
)
def test_a_name_is_no_connection_string(name: str, text: str) -> None:
    assert database.conninfo(name) == text
