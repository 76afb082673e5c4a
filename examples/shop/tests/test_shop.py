# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# ruff: noqa: S101
"""The pure parts of the example shop. They need none of the packages its images carry."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import signal
import sys

import pytest

SHOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SHOP / "app"))

# The app is found through the path that was just set.
from shop import build, faults, health, metrics, migrate, orders, settings, trace  # noqa: E402

_spec = importlib.util.spec_from_file_location("shop_bot_upstream", SHOP / "bot-upstream" / "upstream.py")
upstream = importlib.util.module_from_spec(_spec)

V10, V11 = (1, 0), (1, 1)


@pytest.fixture(scope="module")
def polls_class():
    # The program takes SIGTERM as soon as it is loaded; a test run keeps its own.
    before = signal.getsignal(signal.SIGTERM)
    _spec.loader.exec_module(upstream)
    signal.signal(signal.SIGTERM, before)
    return upstream.Polls


@pytest.mark.parametrize(
    ("release", "number"),
    [("1.0", (1, 0)), ("1.2-oom", (1, 2)), ("1.10", (1, 10)), ("2", (2,))],
)
def test_release_is_ordered_by_its_number(release, number):
    assert build.version(release) == number


@pytest.mark.parametrize("release", ["", "v1", "latest"])
def test_release_without_number_is_refused(release):
    with pytest.raises(ValueError, match="does not start with a number"):
        build.version(release)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f" 00-{TRACE}-00f067aa0ba902b7-00 ", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_trace_is_continued_when_the_header_is_valid(header, trace_id):
    parent = trace.parse(header)
    assert (parent.trace_id if parent else None) == trace_id
    span = trace.continued(header)
    assert trace.parse(span.header()) == span._replace(parent_id="")
    assert span.parent_id == (parent.span_id if parent else "")
    assert (span.trace_id == trace_id) is (trace_id is not None)
    assert span.span_id != "00f067aa0ba902b7"


def test_metrics_are_in_the_text_format():
    registry = metrics.Registry(release="1.0")
    counter = registry.counter("hits_total", "Hits.", "path")
    histogram = registry.histogram("took_seconds", "Time.", "path", buckets=(0.1, 1.0))
    registry.gauge("busy", "Busy.", lambda: True)
    counter.add('/a"\\\n', by=2)
    for seconds in (0.1, 0.5, 7):
        histogram.observe(seconds, "/")
    assert registry.render() == (
        "# HELP hits_total Hits.\n# TYPE hits_total counter\n"
        'hits_total{path="/a\\"\\\\\\n",release="1.0"} 2\n'
        "# HELP took_seconds Time.\n# TYPE took_seconds histogram\n"
        'took_seconds_bucket{path="/",release="1.0",le="0.1"} 1\n'
        'took_seconds_bucket{path="/",release="1.0",le="1"} 2\n'
        'took_seconds_bucket{path="/",release="1.0",le="+Inf"} 3\n'
        'took_seconds_sum{path="/",release="1.0"} 7.6\n'
        'took_seconds_count{path="/",release="1.0"} 3\n'
        "# HELP busy Busy.\n# TYPE busy gauge\n"
        'busy{release="1.0"} 1\n'
    )


def test_secret_comes_from_the_named_file_then_the_folder_then_the_variable(tmp_path):
    (tmp_path / "database_password").write_text("from folder\n")
    (tmp_path / "other").write_text(" kept \n")
    folder = str(tmp_path)
    both = {"DATABASE_PASSWORD": "from variable", "DATABASE_PASSWORD_FILE": str(tmp_path / "other")}
    assert settings.secret("DATABASE_PASSWORD", both, folder) == " kept "
    assert settings.secret("DATABASE_PASSWORD", {"DATABASE_PASSWORD": "x"}, folder) == "from folder"
    assert settings.secret("REDIS_PASSWORD", {"REDIS_PASSWORD": "x"}, folder) == "x"
    assert settings.secret("REDIS_PASSWORD", {}, folder) is None


def test_secret_file_that_was_named_and_is_missing_is_an_error(tmp_path):
    with pytest.raises(settings.SettingsError, match="REDIS_PASSWORD_FILE is wrong"):
        settings.secret("REDIS_PASSWORD", {"REDIS_PASSWORD_FILE": str(tmp_path / "none"), "REDIS_PASSWORD": "x"})


@pytest.mark.parametrize("text", ["x", "0", "70000", "nan"])
def test_number_out_of_range_is_named(text):
    with pytest.raises(settings.SettingsError, match="PORT is wrong: found"):
        settings.whole("PORT", 8000, 1, 65535, {"PORT": text})


@pytest.mark.parametrize(
    ("version", "body", "header", "row"),
    [
        (V10, {"id": " A-b "}, None, (" A-b ", "", "shop", "r")),
        (V10, {"id": "a", "item": "i", "channel": "tel", "note": "n"}, None, ("a", "i", "tel", "r")),
        (V11, {"id": "a", "item": "i", "channel": "tel", "note": "n"}, None, ("a", "i", "n", "r")),
        (V11, {}, "h", ("h", "", "", "r")),
        (V11, {"id": "h"}, "h", ("h", "", "", "r")),
    ],
)
def test_order_is_taken_exactly_as_received(version, body, header, row):
    assert orders.values(version, "r", body, header) == row


@pytest.mark.parametrize(
    ("body", "header", "message"),
    [
        ([], None, "JSON object"),
        ({}, None, "missing"),
        ({"id": ""}, None, "missing"),
        ({"id": 5}, None, "need a text"),
        ({"id": "a\x00"}, None, "need a text"),
        ({"id": "\ud800"}, None, "need a text"),
        ({"id": "a" * 201}, None, "too long: found 201"),
        ({"id": "a"}, "b", "differ"),
        ({"id": "a", "note": 1}, None, "note of the order"),
    ],
)
def test_order_that_cannot_be_stored_as_received_is_refused(body, header, message):
    with pytest.raises(orders.BadOrder, match=message):
        orders.values(V11, "r", body, header)


def test_old_release_writes_only_columns_that_have_a_default_in_the_new_one():
    sql = "".join(m.sql for m in migrate.load(SHOP / "app" / "migrations") if m.phase == "expand")
    for name in set(orders.columns(V10)) ^ set(orders.columns(V11)):
        assert f"{name} text NOT NULL DEFAULT '" in sql


@pytest.mark.parametrize("start", [0, 7, 1000])
def test_fault_errors_fails_one_in_five_in_any_stretch_and_rhythm(start):
    assert sum(faults.fails(n, "errors") for n in range(start, start + 1000)) == pytest.approx(200, abs=3)
    assert sum(faults.fails(n, "errors") for n in range(start, start + 5000, 5)) == pytest.approx(200, abs=20)
    assert not any(faults.fails(n, "") for n in range(start, start + 1000))


def test_fault_slow_is_five_times_slower():
    assert faults.work("slow") == pytest.approx(5 * faults.work(""))


def _names(found):
    return [m.name for m in found]


@pytest.mark.parametrize(
    ("release", "phase", "done", "todo"),
    [
        ("1.0", "expand", [], ["1.0_orders.expand.sql"]),
        ("1.0", "contract", ["1.0_orders.expand.sql"], []),
        ("1.1", "expand", [], ["1.0_orders.expand.sql", "1.1_note.expand.sql"]),
        ("1.1", "expand", ["1.0_orders.expand.sql"], ["1.1_note.expand.sql"]),
        ("1.1", "contract", ["1.0_orders.expand.sql", "1.1_note.expand.sql"], ["1.1_drop_channel.contract.sql"]),
        ("1.2-oom", "expand", ["1.0_orders.expand.sql", "1.1_note.expand.sql"], []),
    ],
)
def test_migrations_of_this_release_and_before_are_run_once(release, phase, done, todo):
    found = migrate.load(SHOP / "app" / "migrations")
    applied = {m.name: m.sha256 for m in found if m.name in done}
    assert _names(migrate.pending(found, phase, release, applied)) == todo


def test_contract_before_expand_is_refused():
    found = migrate.load(SHOP / "app" / "migrations")
    with pytest.raises(migrate.MigrationError, match=r"1\.1_note\.expand\.sql was not run"):
        migrate.pending(found, "contract", "1.1", {found[0].name: found[0].sha256})


def test_migration_changed_after_it_was_run_is_refused():
    found = migrate.load(SHOP / "app" / "migrations")
    with pytest.raises(migrate.MigrationError, match="was changed after it was run"):
        migrate.pending(found, "expand", "1.0", {"1.0_orders.expand.sql": "0" * 64})


def test_migration_with_a_wrong_name_is_refused(tmp_path):
    (tmp_path / "orders.sql").write_text("SELECT 1")
    with pytest.raises(migrate.MigrationError, match=r"name of orders\.sql is wrong"):
        migrate.load(tmp_path)


@pytest.mark.parametrize(
    ("target", "ready", "code", "status"),
    [
        ("/healthz", False, 200, "ok"),
        ("/healthz?x=1", True, 200, "ok"),
        ("/readyz", True, 200, "ok"),
        ("/readyz", False, 503, "unready"),
    ],
)
def test_health_tells_state_and_release(target, ready, code, status):
    found, _, body = health.answer(target, lambda: {"polls": 1}, lambda: ready, metrics.Registry())
    assert (found, json.loads(body)) == (code, {"status": status, "release": build.RELEASE, "polls": 1})


def test_health_knows_no_other_path():
    assert health.answer("/", dict, lambda: True, metrics.Registry())[0] == 404


def test_one_poller_after_the_other_is_no_overlap(polls_class):
    polls = polls_class(0.5)
    assert polls.begin("a", 0)
    polls.end("a", 2, answered=True)
    assert polls.begin("a", 2.1)
    polls.end("a", 4.1, answered=True)
    assert polls.begin("b", 4.7)
    assert (polls.polls, polls.overlaps, polls.instances) == (3, 0, ["a", "b"])


def test_poll_beside_an_open_one_is_an_overlap_and_gets_no_hold(polls_class):
    polls = polls_class(0.5)
    assert polls.begin("a", 0)
    assert not polls.begin("b", 1, wall=99.0)
    assert polls.last_overlaps == [{"at": 99.0, "bot": "b", "others": ["a"]}]
    polls.end("a", 2, answered=True)
    assert polls.stats(2)["holder"] == ["a"]
    assert polls.overlaps == 1


def test_poll_within_another_ones_lease_is_an_overlap(polls_class):
    polls = polls_class(0.5)
    polls.begin("a", 0)
    polls.end("a", 2, answered=True)
    assert not polls.begin("b", 2.4)
    assert polls.overlaps == 1


@pytest.mark.parametrize("way", ["release", "broken connection"])
def test_lease_ends_with_a_release_or_a_broken_connection(polls_class, way):
    polls = polls_class(0.5)
    polls.begin("a", 0)
    polls.end("a", 2, answered=way == "release")
    if way == "release":
        polls.release("a")
    assert polls.begin("b", 2.01)
    assert polls.overlaps == 0


def test_images_bake_in_the_release_their_tag_names():
    yaml = pytest.importorskip("yaml")
    images = yaml.safe_load((SHOP / "images.yml").read_text())["images"]
    seen = set()
    for image in images:
        assert (SHOP / image["context"] / "Dockerfile").is_file()
        assert (image["name"], image["tag"]) not in seen
        seen.add((image["name"], image["tag"]))
        if image["name"] != "shop/bot-upstream":
            assert image["args"]["RELEASE"] == image["tag"]
        if image["name"] == "shop/app":
            assert image["args"]["FAULT"] == image["tag"].partition("-")[2]
    tags = {name: {tag for found, tag in seen if found == name} for name, _ in seen}
    assert tags["shop/app"] == tags["shop/web"] == {"1.0", "1.1", *(f"1.2-{f}" for f in build.FAULTS if f)}
