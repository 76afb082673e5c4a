# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recorded copy counts only as long as it is there and whole."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel_backup import config, metrics, physical, retain, survey
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.outcome import OK, UNPROVEN, Outcome
from evenkeel_backup.retention import Copy, decide
from evenkeel_backup.state import State, level_of

AT = datetime(2026, 1, 2, 3, tzinfo=UTC)


class FakeJob:
    def __init__(self, folder: Path) -> None:
        self.config = config.complete(
            {
                "instance": "shop",
                "engine": "logical",
                "repositories": [
                    {"name": "local", "location": "/srv", "key_file": "/k", "retention": {"last": 1}},
                ],
                "state_dir": str(folder),
            }
        )
        self.state, self.host, self.actions = State(folder), "data1", t.cast("list[str]", [])


class Repository:
    """An engine whose repository lost or spoiled some copies."""

    def __init__(self, absent: t.AbstractSet[str] = frozenset(), bad: t.Mapping[str, str] | None = None) -> None:
        self.gone, self.bad = absent, bad or {}
        self.doubts: list[bool] = []
        self.forgotten: list[str] = []

    def absent(self, _repository: object, entries: list[dict]) -> set[str]:
        return {entry["id"] for entry in entries if entry["id"] in self.gone}

    def examine(self, _repository: object, entries: list[dict], doubt: bool) -> dict[str, BackupFailure]:
        self.doubts.append(doubt)
        return {
            entry["id"]: BackupFailure(self.bad[entry["id"]], "x", entry["id"], "a", "b", "c")
            for entry in entries
            if entry["id"] in self.bad
        }

    def orphans(self, _repository: object) -> list[str]:
        return []

    def forget(self, _repository: object, copies: list[dict]) -> None:
        self.forgotten += [copy["snapshot"] for copy in copies]


def job_with(folder: Path, levels: dict[str, int], needs: t.Mapping[str, list[str]] | None = None) -> Job:
    job = FakeJob(folder)
    for number, (name, level) in enumerate(levels.items(), 1):
        job.state.keep(
            {
                "id": name, "sequence": number, "reason": "schedule", "keep": False, "bytes": 1, "engine": "logical",
                "started_at": (AT + timedelta(days=number)).isoformat(),
                "finished_at": (AT + timedelta(days=number)).isoformat(),
                "copies": [{"repository": "local", "snapshot": f"s-{name}", "needs": (needs or {}).get(name, [])}],
                "proofs": [{"repository": "local", "level": level, "host": "data1", "at": AT.isoformat()}],
            }
        )  # fmt: skip
    return t.cast("Job", job)


def levels(job: Job) -> dict[str, int]:
    return {entry["id"]: level_of(entry) for entry in job.state.backups()}


def look(job: Job, repository: Repository, judged: dict[str, str]) -> Outcome:
    outcome = Outcome("verify", "shop")
    survey.everything(
        job, t.cast("t.Any", repository), job.config.repositories[0], outcome, judged, any(judged.values())
    )
    return outcome


def test_an_older_copy_that_is_damaged_loses_its_level_and_is_told(tmp_path: Path) -> None:
    job = job_with(tmp_path, {"a": 5, "b": 2, "c": 2})
    outcome = look(job, Repository(bad={"a": "flipped_byte"}), {"c": ""})
    assert outcome.exit == UNPROVEN
    assert [(one.stage, one.fault) for one in outcome.failures] == [("copies", "flipped_byte")]
    assert levels(job) == {"a": 0, "b": 2, "c": 2}
    assert outcome.more["copies"] == {"local": {"a": "flipped_byte", "b": "good"}}
    stage = job.state.last()["stages"]["copies"]
    assert (stage["ok"], stage["fault"]) == (False, "flipped_byte")
    found = metrics.samples(
        "shop",
        "logical",
        job.state.backups(),
        {**job.state.last(), "archive": {}},
        job.config.options,
        ["local"],
        {},
        AT,
    )
    assert [value for name, _labels, value in found if name == "backup_copies_bad"] == [1]


def test_a_copy_that_is_whole_again_counts_again_as_far_as_it_was_seen(tmp_path: Path) -> None:
    job = job_with(tmp_path, {"a": 5, "b": 2})
    look(job, Repository(bad={"a": "partial_upload"}), {"b": ""})
    assert levels(job)["a"] == 0
    assert look(job, Repository(), {"b": ""}).exit == OK
    assert levels(job) == {"a": 1, "b": 2}
    assert job.state.last()["stages"]["copies"]["ok"]


def test_what_needs_a_damaged_copy_is_damaged(tmp_path: Path) -> None:
    job = job_with(
        tmp_path, {"full": 5, "incr": 2, "other": 2, "newest": 2}, {"incr": ["s-full"], "newest": ["s-other"]}
    )
    look(job, Repository(bad={"full": "flipped_byte"}), {"newest": ""})
    assert levels(job) == {"full": 0, "incr": 0, "other": 2, "newest": 2}
    # Also where the damaged one is the one that verify was called for.
    look(job, Repository(), {"full": "flipped_byte"})
    assert levels(job)["incr"] == 0


def test_damage_found_at_the_newest_has_the_data_of_all_read(tmp_path: Path) -> None:
    job = job_with(tmp_path, {"a": 5, "b": 2})
    repository = Repository()
    look(job, repository, {"b": "flipped_byte"})
    look(job, repository, {"b": ""})
    assert repository.doubts == [True, False]
    assert levels(job)["a"] == 5


def retained(job: Job, repository: Repository, monkeypatch: pytest.MonkeyPatch, **options: bool) -> Outcome:
    monkeypatch.setattr(retain, "engine_of", lambda _job: repository)
    outcome = Outcome("retain", "shop")
    retain.run(job, outcome, **options)
    return outcome


def test_retention_sees_that_a_copy_is_gone_before_it_counts_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_with(tmp_path, {"a": 2, "b": 2, "c": 2})
    repository = Repository(absent={"c"})
    outcome = retained(job, repository, monkeypatch)
    # Only one is kept by the tiers: it has to be one that is there.
    assert repository.forgotten == ["s-a"]
    assert levels(job) == {"b": 2, "c": 0}
    assert [(one.stage, one.fault) for one in outcome.failures] == [("copies", "partial_upload")]
    assert "retain shop --lost" in outcome.failures[0].sentence


def test_a_lost_copy_is_forgotten_when_a_person_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_with(tmp_path, {"a": 2, "b": 2})
    retained(job, Repository(absent={"b"}), monkeypatch)
    assert retained(job, Repository(absent={"b"}), monkeypatch, plan=True).more["plan"]["local"]["remove"] == []
    assert retained(job, Repository(absent={"b"}), monkeypatch, lost=True).exit == OK
    assert levels(job) == {"a": 2}
    assert job.state.last()["stages"]["copies"]["ok"]
    assert retained(job, Repository(), monkeypatch).exit == OK


def test_a_store_that_cannot_be_asked_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_with(tmp_path, {"a": 2, "b": 2})
    repository = Repository()

    def refuses(*_words: object) -> set[str]:
        raise BackupFailure("store_unreachable", "x", "y", "a", "b", "c")

    monkeypatch.setattr(repository, "absent", refuses)
    outcome = retained(job, repository, monkeypatch)
    assert [(one.stage, one.fault) for one in outcome.failures] == [("retain", "store_unreachable")]
    assert repository.forgotten == []
    assert levels(job) == {"a": 2, "b": 2}


copies_of = st.lists(
    st.builds(
        lambda day, level, bad: (day, level, bad), st.integers(0, 400), st.sampled_from([0, 1, 2, 5]), st.booleans()
    ),
    max_size=25,
)


@given(
    copies_of, st.dictionaries(st.sampled_from(["last", "daily", "weekly", "monthly"]), st.integers(1, 4), min_size=1)
)
def test_bad_copies_never_cost_a_good_one_its_place(found: list[tuple[int, int, bool]], tiers: dict[str, int]) -> None:
    copies = [
        Copy(f"b{number}", number, AT + timedelta(days=day), level, bad=bad)
        for number, (day, level, bad) in enumerate(sorted(found), 1)
    ]
    now = AT + timedelta(days=500)
    verdict = decide(copies, tiers, now)
    good = [copy for copy in copies if not copy.bad]
    alone = decide(good, tiers, now)
    assert set(alone.keep) == {copy.id for copy in good} & set(verdict.keep)
    for level in (2, 5):
        proven = [copy.id for copy in good if copy.level >= level]
        assert not proven or set(proven) & set(verdict.keep)
        assert not proven or proven[-1] in verdict.keep
    assert set(verdict.keep) | set(verdict.remove) == {copy.id for copy in copies}


@pytest.mark.parametrize(
    ("sizes", "verified", "fault"),
    [
        pytest.param({"F": 100, "F_I": 10}, {}, "", id="all there"),
        pytest.param({"F_I": 10}, {}, "partial_upload", id="the folder of the full one is gone"),
        pytest.param({"F": 100}, {}, "partial_upload", id="its own folder is gone"),
        pytest.param({"F": 100, "F_I": 9}, {}, "partial_upload", id="a file of its own is gone"),
        pytest.param(
            {"F": 100, "F_I": 10}, {"F": {"checksum invalid": 1}}, "flipped_byte", id="a byte of the full one"
        ),
        pytest.param({"F": 100, "F_I": 10}, {"F_I": {"missing": 2}}, "partial_upload", id="files missing"),
        pytest.param({"F": 100, "F_I": 10}, {"other": {"missing": 2}}, "", id="another backup"),
    ],
)
def test_a_physical_backup_needs_every_folder_that_it_refers_to(
    sizes: dict[str, int], verified: dict, fault: str, tmp_path: Path
) -> None:
    engine = physical.Physical(t.cast("Job", FakeJob(tmp_path)))
    made = {"id": "b2", "copies": [{"repository": "local", "snapshot": "F_I", "needs": ["F"], "bytes": 10}]}
    repository = engine.job.config.repositories[0]
    if not fault:
        engine._sound(repository, made, sizes, verified)
        return
    with pytest.raises(BackupFailure) as caught:
        engine._sound(repository, made, sizes, verified)
    assert caught.value.fault == fault
