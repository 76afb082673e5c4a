# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of a release through the modules, in real, check and diff mode."""

from __future__ import annotations

import json
import threading
import time
import typing as t
from pathlib import Path

import pytest

Run = t.Callable[..., dict[str, t.Any]]
LIVE = "blue:0:1.0:"
CONTENT = {"release": "1.1", "images": {"api": "sha256:1"}, "migration": []}


def lease(run: Run, name: str = "r1", **params: t.Any) -> dict[str, t.Any]:
    return run("release_lease", owner="alice", run=name, **params)


def deploy(run: Run, release: str, live: str, token: int, result: str = "live", **params: t.Any) -> dict[str, t.Any]:
    """Take a release through the journal in one go."""
    opened = run(
        "release_journal",
        state="opened",
        token_floor=token - 1,
        run=f"run {token}",
        owner="alice",
        content={"release": release, **params.pop("content", {})},
        live=live,
        **params,
    )
    assert not opened.get("failed"), opened
    sealed = run(
        "release_journal",
        state="sealed",
        token=token,
        free_lease=True,
        keep=params.get("keep", 5),
        result=result,
        live=f"{opened['to']}:0:{opened['identity']}:" if result == "live" else live,
    )
    assert not sealed.get("failed"), sealed
    return sealed


def test_lease_from_taken_to_freed(run: Run, tmp_path: Path) -> None:
    planned = lease(run, _check=True, _diff=True)
    assert (planned["changed"], planned["token"]) == (True, 1)
    assert list(tmp_path.iterdir()) == []
    taken = lease(run, _diff=True)
    assert planned.keys() == taken.keys()
    assert (taken["token"], taken["held"]) == (1, True)
    assert "boot" not in taken["lease"]
    refused = lease(run, "r2")
    assert refused["failed"]
    assert "run r1 of alice" in refused["msg"]
    assert lease(run, "r2", _check=True)["failed"]
    assert run("release_lease", state="renewed", token=1)["token"] == 1
    assert run("release_lease", state="freed", token=1)["changed"]
    again = run("release_lease", state="freed", token=1)
    assert (again["changed"], again["held"]) == (False, False)
    assert lease(run, "r2")["token"] == 2
    stale = run("release_lease", state="renewed", token=1)
    assert "this run stops here and changes nothing more" in stale["msg"]
    assert stale["token"] == 2


def test_lease_waits_for_the_holder(run: Run) -> None:
    lease(run, lease_seconds=1)
    started = time.monotonic()
    assert lease(run, "r2", wait_seconds=5)["token"] == 2
    assert 0.5 < time.monotonic() - started < 4


def test_lease_is_preempted_and_broken(run: Run) -> None:
    lease(run)
    assert lease(run, "r2", preempt=True, token_floor=7)["token"] == 8
    assert run("release_lease", state="broken", owner="bob", reason=" ")["failed"]
    broken = run("release_lease", state="broken", owner="bob", reason="lost")
    assert (broken["changed"], broken["lease"]["broken"]["by"]) == (True, "bob")
    assert not run("release_lease", state="broken", owner="bob", reason="lost")["changed"]
    assert broken["token"] == 9
    assert "taken away by bob" in run("release_lease", state="renewed", token=8)["msg"]
    assert "taken away by bob" in run("release_journal", state="appended", token=8, boundary="fetched")["msg"]


def test_lease_of_a_process_that_is_gone_is_taken_at_once(run: Run) -> None:
    lease(run, controller={"machine": "m", "pid": 1})
    refused = lease(run, "r2", dead_run="r0")
    assert "ansible-playbook evenkeel.platform.unlock -e app=shop -e reason=" in refused["msg"]
    taken = lease(run, "r2", dead_run="r1")
    assert (taken["token"], taken["lease"]["broken"]["reason"]) == (2, "its process is gone")


def test_a_lost_lease_file_lowers_no_token(run: Run, tmp_path: Path) -> None:
    lease(run, token_floor=40)
    (tmp_path / "shop" / "lease.json").write_text("{")
    taken = lease(run)
    assert taken["token"] == 42
    assert (tmp_path / "shop" / "lease.json.broken-1").read_text() == "{"


def test_lease_has_one_winner(run: Run, tmp_path: Path) -> None:
    """Twenty runs at once: one takes it, nineteen are told who has it."""
    from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
    from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records
    from ansible_collections.evenkeel.platform.plugins.modules import release_lease

    outcomes: list[str] = []

    def contend(name: str) -> None:
        books = Records("release_lease", "shop", str(tmp_path), str(tmp_path / "lock"), 20, False)
        params = {
            "state": "taken",
            "app": "shop",
            "owner": name,
            "run": name,
            "reason": "",
            "lease_seconds": 60,
            "token_floor": 0,
            "preempt": False,
            "dead_run": "",
            "controller": {},
        }
        try:
            release_lease.once(books, params)
            outcomes.append("won")
        except Failure as failure:
            outcomes.append(failure.sentence)

    threads = [threading.Thread(target=contend, args=(f"r{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 1
    assert sum("another run holds the lease" in each for each in outcomes) == 19


def test_journal_of_a_release(run: Run, tmp_path: Path) -> None:
    token = lease(run)["token"]
    opening = {"state": "opened", "token": token, "run": "r1", "owner": "alice", "content": CONTENT, "live": LIVE}
    planned = run("release_journal", **opening, _check=True, _diff=True)
    assert (planned["changed"], planned["identity"]) == (True, "1.1")
    assert not (tmp_path / "shop" / "releases").exists()
    opened = run("release_journal", **opening, _diff=True)
    assert planned.keys() == opened.keys()
    assert (opened["from"], opened["to"], opened["resume"]["boundary"]) == ("blue", "green", "")
    kept = json.loads((tmp_path / "shop" / "releases" / "1.1.json").read_text())
    assert (kept["content"], kept["hash"]) == (CONTENT, opened["hash"])
    for boundary in ("leased", "recorded", "fetched", "migrated", "started", "gated"):
        noted = run("release_journal", state="appended", token=token, boundary=boundary)
        assert noted["changed"] is (boundary != "leased")
        assert not run("release_journal", state="appended", token=token, boundary=boundary)["changed"]
    assert "goes back" in run("release_journal", state="appended", token=token, boundary="fetched")["msg"]
    assert run("release_journal", state="appended", token=token, boundary="sealed")["failed"]
    assert "another run holds the lease" in run("release_journal", **{**opening, "run": "r2"})["msg"]
    resumed = run("release_journal", **{**opening, "run": "r2", "preempt": True})
    token = resumed["token"]
    assert (resumed["resume"]["boundary"], resumed["resume"]["from_run"]) == ("started", "r1")
    sealing = {"state": "sealed", "token": token, "result": "live", "live": "green:0:1.1:1.0", "evidence": {"gate": 3}}
    assert run("release_journal", **sealing, _check=True)["changed"]
    sealed = run("release_journal", **sealing)
    assert (sealed["ledger_row"]["run"], sealed["ledger_row"]["previous"]) == ("r2", "1.0")
    assert not run("release_journal", **sealing)["changed"]
    done = run("release_journal", **{**opening, "run": "r3", "preempt": True, "live": "green:0:1.1:1.0"})
    assert (done["unchanged"], done["changed"]) == (True, False)
    assert not run("release_info")["lease"]["held"]  # nothing to do, so the lease is free again
    done = run("release_journal", state="planned", content=CONTENT, live="green:0:1.1:1.0")
    assert (done["unchanged"], done["changed"]) == (True, False)
    assert done["former"] == CONTENT  # the last run was sealed, so what is live is known whole
    assert (opened["former"], resumed["former"]) == ({}, {})
    other = run("release_journal", state="planned", content={**CONTENT, "images": {}}, live="green:0:1.1:1.0")
    assert (other["unchanged"], other["identity"], other["to"]) == (False, "1.1+2", "blue")


def test_a_changed_secret_is_a_new_release_and_is_written_nowhere(run: Run, tmp_path: Path) -> None:
    opening = {"state": "opened", "token": 1, "run": "r", "owner": "a", "content": {"release": "1.1"}, "live": LIVE}
    first = run("release_journal", **opening, secrets={"password": "alpha-secret"})
    run("release_journal", state="appended", token=1, boundary=["fetched", "migrating", "migrated"])
    run("release_journal", state="sealed", token=1, result="live", live="green:0:1.1:1.0")
    opening.update(state="planned", live="green:0:1.1:1.0")
    same = run("release_journal", **opening, secrets={"password": "alpha-secret"})
    assert (same["unchanged"], same["migrated"], same["hash"]) == (True, True, first["hash"])
    other = run("release_journal", **opening, secrets={"password": "beta-secret"})
    assert (other["unchanged"], other["migrated"], other["identity"]) == (False, False, "1.1+2")
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    for result in (first, same, other):
        written += json.dumps(result)
    assert "alpha-secret" not in written
    assert "beta-secret" not in written
    assert (tmp_path / "hash.key").stat().st_mode & 0o777 == 0o600


def test_a_stale_token_writes_nothing(run: Run, tmp_path: Path) -> None:
    lease(run)
    lease(run, "r2", preempt=True)
    refused = run("release_journal", state="appended", token=1, boundary="fetched")
    assert "A newer run by alice took over at" in refused["msg"]
    assert not (tmp_path / "shop" / "journal.jsonl").exists()


def test_another_release_closes_the_unfinished_one(run: Run) -> None:
    run("release_journal", state="opened", token=1, run="r1", owner="alice", content=CONTENT, live=LIVE)
    run("release_journal", state="appended", token=1, boundary="fetched")
    opened = run(
        "release_journal",
        state="opened",
        preempt=True,
        run="r2",
        owner="bob",
        content={"release": "1.2"},
        live=LIVE,
    )
    assert (opened["abandoned"], opened["resume"]["boundary"]) == ("1.1", "")
    info = run("release_info")
    row = info["ledger"][0]
    assert (row["identity"], row["result"], row["live"], row["at_boundary"]) == ("1.1", "abandoned", LIVE, "fetched")
    assert (info["unfinished"]["identity"], info["unfinished"]["boundary"], info["held"]) == ("1.2", "leased", [])


@pytest.mark.parametrize("result", ["refused", "rolled_back"])
def test_a_held_release_needs_a_retry_or_other_content(run: Run, result: str) -> None:
    deploy(run, "1.1", LIVE, 1, result=result)
    opening = {"state": "opened", "token": 2, "run": "r2", "owner": "bob", "live": LIVE, "content": {"release": "1.1"}}
    refused = run("release_journal", **opening)
    assert refused["held"]
    assert f"found it {result} at" in refused["msg"]
    assert "retry=1.1" in refused["msg"]
    tolerated = run("release_journal", **opening, held_ok=True)
    assert (tolerated["held"], tolerated["changed"], tolerated["held_reason"]) == (True, False, refused["msg"])
    assert run("release_info")["held"][0]["identity"] == "1.1"
    again = run("release_journal", **opening, retry="1.1")
    assert again["changed"]
    run("release_journal", state="sealed", token=again["token"], result="live", live="green:0:1.1:1.0")
    assert run("release_info")["held"] == []
    other = run("release_journal", state="planned", content={"release": "1.1", "env": 1}, live=LIVE)
    assert (other["held"], other["identity"]) == (False, "1.1+2")


def test_a_retry_that_was_broken_off_goes_on_without_another_one(run: Run) -> None:
    """It was let past the hold when it began. A retry named again would also repeat a migration."""
    step = {"phase": "expand", "service": "api", "command": ["migrate"]}
    content = {"release": "1.1", "migration": [step]}
    deploy(run, "1.1", LIVE, 1, result="refused", content=content)
    opening = {"state": "opened", "owner": "bob", "live": LIVE, "content": content, "preempt": True}
    token = run("release_journal", **opening, run="r2", retry="1.1")["token"]
    run("release_journal", state="appended", token=token, boundary="fetched")
    again = run("release_journal", **opening, run="r3")
    assert (again["held"], again["resume"]["boundary"]) == (False, "fetched"), again
    run("release_journal", state="appended", token=again["token"], boundary="migrating")
    unknown = run("release_journal", **opening, run="r4")
    assert "retry=1.1 to run it again" in unknown["msg"]
    last = run("release_journal", **opening, run="r5", retry="1.1")
    run("release_journal", state="sealed", token=last["token"], result="refused", live=LIVE)
    assert run("release_journal", **opening, run="r6")["held"]


def test_rollback_holds_what_it_replaces_and_refuses_across_a_contract(run: Run) -> None:
    deploy(run, "1.0", "", 1)
    deploy(run, "1.1", "blue:0:1.0:", 2, content={"migration": [{"phase": "contract", "service": "api"}]})
    assert run("release_info")["pending_contract"][0]["identity"] == "1.1"
    deploy(run, "1.0", "green:0:1.1:1.0", 3, kind="rollback")
    info = run("release_info")
    assert [each["identity"] for each in info["held"]] == ["1.1"]
    assert [row["identity"] for row in info["ledger"]] == ["1.0", "1.1", "1.0"]
    content = {"migration": [{"phase": "contract", "service": "api"}]}
    deploy(run, "1.1", "blue:0:1.0:1.1", 4, retry="1.1", content=content)
    deploy(run, "1.1", "green:0:1.1:1.0", 5, kind="contract", content=content)
    assert run("release_info")["pending_contract"] == []
    back = {
        "state": "opened",
        "token": 6,
        "run": "r",
        "owner": "bob",
        "kind": "rollback",
        "live": "green:0:1.1:1.0",
        "content": {"release": "1.0"},
    }
    assert "is older than a contract migration" in run("release_journal", **back)["msg"]
    assert run("release_journal", **back, retry="1.0")["changed"]


@pytest.mark.parametrize(
    "crashed", [pytest.param(False, id="after-a-sealed-deploy"), pytest.param(True, id="amid-a-deploy")]
)
def test_records_follow_a_rollback_that_moved_first(run: Run, crashed: bool) -> None:
    deploy(run, "1.0", "", 1)
    if crashed:
        run(
            "release_journal",
            state="opened",
            run="r2",
            owner="a",
            content={"release": "1.1"},
            live="blue:0:1.0:",
        )
        run("release_journal", state="appended", token=2, boundary=["gated", "intended", "moved"])
    else:
        deploy(run, "1.1", "blue:0:1.0:", 2)
    moved = "blue:0:1.0:1.1"
    opened = run(
        "release_journal",
        state="opened",
        preempt=True,
        run="r3",
        owner="b",
        kind="rollback",
        content={"release": "1.0"},
        live=moved,
    )
    assert (opened["unchanged"], opened["from"], opened["to"]) == (False, "green", "blue")
    assert opened["abandoned"] == ("1.1" if crashed else "")
    sealed = run("release_journal", state="sealed", token=3, result="live", live=moved)
    assert (sealed["ledger_row"]["previous"], sealed["ledger_row"]["hold"]) == ("1.1", ["1.1"])
    again = run("release_journal", state="planned", kind="rollback", content={"release": "1.0"}, live=moved)
    assert again["unchanged"]
    assert run("release_journal", state="planned", content={"release": "1.1"}, live=moved)["held"]


def test_retention(run: Run, tmp_path: Path) -> None:
    live = ""
    for number in range(1, 8):
        sealed = deploy(run, f"1.{number}", live, number, keep=5)
        live = sealed["ledger_row"]["live"]
    run("release_journal", state="opened", run="r", owner="a", content={"release": "2.0"}, live=live)
    run("release_journal", state="sealed", token=8, result="refused", live=live, keep=1)
    names = sorted(path.stem for path in (tmp_path / "shop" / "releases").iterdir())
    assert names == ["1.6", "1.7", "2.0"]


def test_a_broken_record_keeps_its_name_and_is_set_aside(run: Run, tmp_path: Path) -> None:
    deploy(run, "1.1", LIVE, 1)
    (tmp_path / "shop" / "releases" / "1.1.json").write_text("{")
    seen = run("release_info")
    assert seen["releases"] == []
    assert (tmp_path / "shop" / "releases" / "1.1.json").read_text() == "{"
    opened = run("release_journal", state="opened", token=2, run="r", owner="a", content={"release": "1.1"}, live=LIVE)
    assert opened["identity"] == "1.1+2"
    assert (tmp_path / "shop" / "releases" / "1.1.json.broken-1").read_text() == "{"


def test_first_release_goes_to_blue(run: Run) -> None:
    planned = run("release_journal", state="planned", content=CONTENT, live="")
    assert (planned["from"], planned["to"], planned["changed"]) == ("", "blue", False)


@pytest.mark.parametrize(
    ("module", "params", "text"),
    [
        pytest.param("release_info", {"app": "Shop"}, "the name is not usable on app", id="app"),
        pytest.param("release_info", {"state_dir": "/a b"}, "the folder is not usable", id="folder"),
        pytest.param("release_info", {"app": "../x"}, "the name is not usable on app", id="traversal"),
        pytest.param(
            "blue_green",
            {"colour": "blue", "release": "a;b", "token": 1, "run": "r", "move": 0},
            "release is not usable",
            id="release",
        ),
        pytest.param(
            "blue_green",
            {"colour": "blue", "run": "r", "move": 0, "adapter_options": {"x": 1}},
            "options of the adapter",
            id="options",
        ),
        pytest.param(
            "release_journal", {"state": "planned", "content": {"release": "a/b"}}, "name of the release", id="name"
        ),
        pytest.param(
            "release_journal", {"state": "planned", "content": CONTENT, "live": "red"}, "live entry", id="entry"
        ),
        pytest.param("release_lease", {"state": "taken"}, "state is taken but all of", id="required"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(run: Run, module: str, params: dict[str, t.Any], text: str) -> None:
    refused = run(module, **params)
    assert refused["failed"]
    assert text in refused["msg"]


def test_info_of_an_unknown_app_is_empty(run: Run, tmp_path: Path) -> None:
    info = run("release_info")
    assert (info["releases"], info["ledger"], info["unfinished"], info["warm"]) == ([], [], {}, {})
    assert info["lease"]["held"] is False
    assert list(tmp_path.iterdir()) == []


def test_singleton_leaves_only_a_host_that_can_be_asked(run: Run, tmp_path: Path) -> None:
    opening = {"state": "opened", "run": "r1", "owner": "alice", "content": CONTENT, "live": LIVE}
    hosts = ["app1", "app2"]
    first = run("release_journal", **opening, homes={"bot": "app1"}, hosts=hosts)
    assert first["rehomed"] == {}
    noted = {"state": "appended", "token": 1, "boundary": "handed_over", "homes": {"bot": "app1"}}
    assert not run("release_journal", **noted).get("failed")
    written = (tmp_path / "shop" / "homes.json").read_text(encoding="utf-8")
    assert json.loads(written)["homes"] == {"bot": "app1"}

    moved = run("release_journal", **opening, homes={"bot": "app2"}, hosts=hosts, _check=True)
    assert moved["rehomed"] == {"bot": "app1"}
    alone = {**opening, "homes": {"bot": "app2"}, "hosts": ["app2"]}
    refused = run("release_journal", **alone)
    assert refused["failed"]
    assert "shop/bot: found it recorded on app1, need proof that it is stopped there" in refused["msg"]
    assert "set app_deploy_singleton_moved=bot@app1." in refused["msg"]
    assert run("release_journal", **alone, singleton_moved="bot@app9")["failed"]
    assert run("release_journal", **alone, singleton_moved="bot@app1")["rehomed"] == {"bot": "app1"}

    token = run("release_journal", **alone, singleton_moved="bot@app1")["token"]
    run("release_journal", state="appended", token=token, boundary="drained", homes={"bot": "app2"})
    assert run("release_journal", **alone)["rehomed"] == {}


def test_rollback_names_the_secrets_that_changed_and_keeps_the_release(run: Run, tmp_path: Path) -> None:
    first = deploy(run, "1.0", "", 1, secrets={"api/key": "canary-old", "api/word": "same"})
    assert first["other_secrets"] == []
    deploy(run, "1.1", "blue:0:1.0:", 2, secrets={"api/key": "canary-new", "api/word": "same"})
    kept = json.loads((tmp_path / "shop" / "releases" / "1.0.json").read_text(encoding="utf-8"))
    back = {"state": "planned", "kind": "rollback", "content": kept["content"], "live": "green:0:1.1:"}
    same = run("release_journal", **back, secrets={"api/key": "canary-old", "api/word": "same"})
    assert (same["identity"], same["other_secrets"]) == ("1.0", [])
    other = run("release_journal", **back, secrets={"api/key": "canary-new", "api/word": "same"})
    assert (other["identity"], other["other_secrets"]) == ("1.0", ["api/key"])
    assert "canary" not in json.dumps(other)


def test_an_identity_is_never_given_twice(run: Run, tmp_path: Path) -> None:
    """Also once the records of the earlier contents were removed."""
    live = ""
    for number in range(1, 6):
        sealed = deploy(run, "1.0", live, number, content={"env": number}, keep=1)
        live = sealed["ledger_row"]["live"]
    assert sealed["identity"] == "1.0+5"
    assert sorted(path.stem for path in (tmp_path / "shop" / "releases").iterdir()) == ["1.0+4", "1.0+5"]
    (tmp_path / "shop" / "names.json").unlink()
    planned = run("release_journal", state="planned", content={"release": "1.0", "env": 1}, live=live)
    assert planned["identity"] == "1.0+6"


def test_live_release_deployed_again_after_a_killed_run_is_no_new_release(run: Run) -> None:
    deploy(run, "1.0", "", 1)
    deploy(run, "1.1", "blue:0:1.0:", 2)
    live = "green:0:1.1:1.0"
    killed = run("release_journal", state="opened", run="r3", owner="a", content={"release": "1.0"}, live=live)
    run("release_journal", state="appended", token=killed["token"], boundary=["started"])
    again = run(
        "release_journal", state="opened", run="r4", owner="a", preempt=True, content={"release": "1.1"}, live=live
    )
    assert (again["unchanged"], again["abandoned"], again["to"]) == (True, "1.0", "green")
    info = run("release_info")
    assert (info["unfinished"], info["live_rows"][0]["previous"]) == ({}, "1.0")


def test_contract_that_died_is_not_closed_by_a_deploy_of_the_same_release(run: Run) -> None:
    contract = {"migration": [{"phase": "contract", "service": "api", "idempotent": True}]}
    deploy(run, "1.0", "", 1, content=contract)
    opening = {"state": "opened", "owner": "a", "content": {"release": "1.0", **contract}, "live": "blue:0:1.0:"}
    run("release_journal", **opening, run="r2", kind="contract")
    run("release_journal", state="appended", token=2, boundary=["migrating"])
    assert run("release_journal", **opening, run="r3", preempt=True)["unchanged"]
    info = run("release_info")
    assert (info["ledger"][0]["kind"], info["ledger"][0]["result"]) == ("contract", "abandoned")
    assert info["pending_contract"]


def test_release_that_failed_for_want_of_a_host_is_not_held(run: Run) -> None:
    deploy(run, "1.0", "", 1)
    deploy(run, "1.1", "blue:0:1.0:", 2, result="failed")
    assert run("release_info")["held"] == []
    assert not run("release_journal", state="planned", content={"release": "1.1"}, live="blue:0:1.0:")["held"]


def test_lost_record_host_is_rebuilt_from_what_the_others_keep(run: Run, tmp_path: Path) -> None:
    deploy(run, "1.0", "", 1)
    deploy(run, "1.1", "blue:0:1.0:", 2)
    kept = run("release_info")["releases"]
    for path in (tmp_path / "shop").rglob("*"):
        if path.is_file():
            path.unlink()
    live = "green:0:1.1:1.0"
    rebuilt = run("release_journal", state="rebuilt", run="r", owner="a", token_floor=40, live=live, releases=kept)
    assert (rebuilt["changed"], rebuilt["token"]) == (True, 41)
    info = run("release_info")
    assert sorted(each["identity"] for each in info["releases"]) == ["1.0", "1.1"]
    assert info["live_rows"][0]["previous"] == "1.0"
    assert not info["lease"]["held"]
    again = run("release_journal", state="rebuilt", run="r2", owner="a", live=live, releases=kept)
    assert not again["changed"]
    assert run("release_journal", state="planned", content={"release": "1.1"}, live=live)["unchanged"]
