# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes that lose data without an error."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_guard as guard


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("16", 16),
        ("16.4", 16),
        ("17-bookworm", 17),
        ("v8.0.36", 8),
        ("16\n", 16),
        ("bookworm", None),
        ("pg16", 16),
        ("1:10.11.6+maria~ubu", 10),
        ("", None),
    ],
)
def test_major_of_what_images_and_data_say(version, number):
    assert guard.major(version) == number


@pytest.mark.parametrize(
    ("repository", "tag", "environment", "labels", "found"),
    [
        ("docker.io/library/postgres", "16.4", [], {}, ("postgres", 16)),
        ("registry.example.com:5000/db/postgres", "stable", ["PG_MAJOR=17"], {}, ("postgres", 17)),
        ("example/our-database", "3.2", ["PATH=/bin", "PG_MAJOR=15"], {}, ("postgres", 15)),
        ("mysql", "8.4", ["MYSQL_MAJOR=8.4"], {}, ("mysql", 8)),
        ("redis", "latest", [], {"org.opencontainers.image.version": "7.2.4"}, ("redis", 7)),
        ("postgres", "", [], {}, ("postgres", None)),
        # The image of an application that carries a client says nothing of data.
        ("redis", "7", ["PG_MAJOR=16"], {}, ("redis", 7)),
        ("shop/app", "1.0", [], {}, None),
    ],
)
def test_database_of_an_image(repository, tag, environment, labels, found):
    database = guard.database(repository, tag, environment, labels)
    assert database == (None if found is None else {"engine": found[0], "major": found[1]})


def service(*mounts, engine=None, major=None, kind="volume"):
    return {
        "mounts": [{"type": kind, "key": name, "name": f"shop_{name}", "target": target} for name, target in mounts],
        "database": {"engine": engine, "major": major} if engine else None,
    }


DATA = ("data", "/var/lib/data")


@pytest.mark.parametrize(
    ("before", "after", "tokens"),
    [
        pytest.param(service(DATA), service(DATA), [], id="same"),
        pytest.param(service(DATA), service(("data", "/var/lib/data/")), [], id="trailing-slash"),
        pytest.param({}, service(DATA), [], id="new-service"),
        pytest.param(service(DATA), service(DATA, ("more", "/more")), [], id="one-more"),
        pytest.param(service(DATA), service(("data", "/elsewhere")), ["volume-target:db/data"], id="moved"),
        pytest.param(service(DATA), service(("other", "/var/lib/data")), ["volume-target:db/data"], id="replaced"),
        pytest.param(service(DATA), service(), ["volume-target:db/data"], id="dropped"),
        pytest.param(service(DATA, kind="bind"), service(), [], id="bind-is-the-users"),
        pytest.param(
            service(DATA, engine="postgres", major=16),
            service(DATA, engine="postgres", major=17),
            ["database-major:db"],
            id="up",
        ),
        pytest.param(
            service(DATA, engine="postgres", major=17),
            service(DATA, engine="postgres", major=16),
            ["database-major:db"],
            id="down",
        ),
        pytest.param(
            service(DATA, engine="mysql", major=8),
            service(DATA, engine="mariadb", major=11),
            ["database-major:db"],
            id="other-engine",
        ),
        pytest.param(
            service(DATA, engine="postgres", major=16), service(DATA, engine="postgres", major=None), [], id="unknown"
        ),
        pytest.param(service(engine="redis", major=6), service(engine="redis", major=7), [], id="cache-without-data"),
        pytest.param(service(DATA, engine="redis", major=6), service(DATA), [], id="no-database-any-more"),
    ],
)
def test_dangers(before, after, tokens):
    assert [danger.token for danger in guard.dangers({"db": before}, {"db": after})] == tokens


def test_what_the_data_says_counts_more_than_the_release_before():
    wanted = {"db": service(DATA, engine="postgres", major=17)}
    held = {"db": {"engine": "postgres", "major": 16}}
    [danger] = guard.dangers({}, wanted, held)
    assert danger.sentence("shop") == (
        "compose_release: database version on service db of stack shop: found postgres 17, need postgres 16, which "
        "wrote its data. Dump and load, or upgrade the data first. Type database-major:db in compose_stack_allow to "
        "go on."
    )
    assert (
        guard.dangers({"db": service(DATA, engine="postgres", major=16)}, wanted, {"db": wanted["db"]["database"]})
        == []
    )


def test_mounts_know_volumes_by_their_real_name():
    normal = {
        "volumes": [
            {"type": "volume", "source": "data", "target": "/data"},
            {"type": "volume", "target": "/anonymous"},
            {"type": "bind", "source": "/srv/x", "target": "/x"},
            {"type": "bind", "source": "/srv/conf", "target": "/conf", "read_only": True},
            {"type": "tmpfs", "target": "/tmp"},
        ]
    }
    assert [(mount["name"], mount["target"]) for mount in guard.mounts(normal, {"data": {"name": "shop_data"}})] == [
        ("shop_data", "/data"),
        ("/srv/x", "/x"),
    ]
