# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every problem of a configuration is named, and all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evenkeel_backup import config
from evenkeel_backup.faults import BackupFailure, Failures

LOCAL = {"name": "local", "location": "/srv/backup/shop", "key_file": "/etc/key"}
S3 = {
    "name": "offsite", "kind": "s3", "location": "s3:https://store.lab:7070/backup/shop", "key_file": "/etc/key", "credentials_file": "/etc/s3",
}  # fmt: skip
BUCKET = {"name": "pictures", "location": "s3:https://store.lab:7070/pictures", "credentials_file": "/etc/b"}
FILES = {"engine": "files", "buckets": [BUCKET]}
GOOD = {"schema": 1, "instance": "shop", "engine": "logical", "repositories": [LOCAL, S3]}


def test_a_good_one_is_completed() -> None:
    assert config.problems(GOOD, "shop") == []
    made = config.complete(GOOD)
    assert made.repository("").name == "local"
    assert made.repository("offsite").number == 2
    assert str(made.state_dir) == "/var/lib/evenkeel/backup/shop"
    assert made.pgbackrest["config_file"] == "/etc/evenkeel/backup/shop.pgbackrest.conf"
    assert made["hooks"]["stop_app"] == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"schema": 2}, "schema", id="schema"),
        pytest.param({"engine": "tar"}, "engine", id="engine"),
        pytest.param({"instance": "other"}, "instance", id="instance"),
        pytest.param({"databses": []}, "databses", id="a misspelt option"),
        pytest.param({"where": {"bindir": "/x"}}, "where.bindir", id="a misspelt inner option"),
        pytest.param({"where": {"kind": "vm"}}, "where.kind", id="where"),
        pytest.param(
            {"where": {"kind": "container", "user": "999:999", "container": "x"}}, "where.image", id="no image"
        ),
        pytest.param(
            {"where": {"kind": "container", "user": "postgres", "container": "x", "image": "y"}},
            "where.user",
            id="user by name",
        ),
        pytest.param({"engine": "physical"}, "server.data_dir", id="no data folder"),
        pytest.param({"engine": "files"}, "paths", id="no paths"),
        pytest.param({"engine": "files", "paths": ["srv"]}, "paths", id="a relative path"),
        pytest.param({"buckets": [BUCKET]}, "buckets", id="buckets of a server"),
        pytest.param({**FILES, "buckets": "pictures"}, "buckets", id="buckets as a text"),
        pytest.param({**FILES, "buckets": [BUCKET, BUCKET]}, "buckets[1].name", id="a bucket twice"),
        pytest.param({**FILES, "buckets": [{**BUCKET, "name": "../x"}]}, "buckets[0].name", id="a path as a name"),
        pytest.param({**FILES, "buckets": [{**BUCKET, "location": "/srv"}]}, "buckets[0].location", id="no bucket"),
        pytest.param({**FILES, "buckets": [{**BUCKET, "user": "x"}]}, "buckets[0].user", id="a misspelt word of it"),
        pytest.param({"minimum_bytes": -1}, "minimum_bytes", id="less than nothing"),
        pytest.param({"jobs": 0}, "jobs", id="no jobs"),
        pytest.param({"hooks": {"stop_app": ["systemctl stop x"]}}, "hooks.stop_app", id="a hook as a text"),
        pytest.param({"hooks": {"before": []}}, "hooks.before", id="an unknown hook"),
        pytest.param({"repositories": []}, "repositories", id="no repository"),
        pytest.param(
            {"repositories": [LOCAL, {**LOCAL, "location": "/srv/other"}]}, "repositories[1].name", id="twice"
        ),
        pytest.param(
            {"repositories": [LOCAL, {**LOCAL, "name": "b"}]}, "repositories[1].location", id="one place twice"
        ),
        pytest.param({"repositories": [{**LOCAL, "key_file": ""}]}, "repositories[0].key_file", id="no key"),
        pytest.param(
            {"repositories": [{**LOCAL, "location": "srv"}]}, "repositories[0].location", id="a relative place"
        ),
        pytest.param(
            {"repositories": [{**LOCAL, "retention": {"fortnightly": 1}}]},
            "repositories[0].retention",
            id="an unknown tier",
        ),
        pytest.param(
            {"repositories": [{**LOCAL, "retention": {"daily": 0}}]}, "repositories[0].retention", id="nothing kept"
        ),
        pytest.param(
            {"repositories": [{**S3, "credentials_file": ""}]}, "repositories[0].credentials_file", id="no credentials"
        ),
        pytest.param({"repositories": [{**S3, "location": "s3:store/x"}]}, "repositories[0].location", id="no URL"),
    ],
)
def test_problems(change: dict, named: str) -> None:
    assert [text.partition(": found")[0] for text in config.problems({**GOOD, **change}, "shop")] == [named]


def test_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "shop.json").write_text(json.dumps({"instance": "shop", "engine": "x", "jobs": 0, "nonsense": 1}))
    with pytest.raises(Failures) as failures:
        config.load(tmp_path, "shop")
    sentences = [failure.sentence for failure in failures.value.failures]
    assert len(sentences) == 4
    assert all(sentence.startswith("evenkeel-backup: ") and ", need " in sentence for sentence in sentences)


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_what_is_no_configuration(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "shop.json").write_text(text)
    with pytest.raises((BackupFailure, Failures)):
        config.load(tmp_path, "shop")


def test_the_parts_of_a_store() -> None:
    assert config.s3_parts("s3:https://store.lab:7070/backup/shop/x") == ("store.lab", 7070, "backup", "/shop/x")
    assert config.s3_parts("s3:https://store.lab/backup") == ("store.lab", 443, "backup", "/")
    assert config.s3_parts("https://store.lab/backup") is None
