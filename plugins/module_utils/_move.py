# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What C(blue_green) does on one edge: move the entry, read it back, ask the app, move back; or note something."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _adapter,
    _clock,
    _edge_state,
    _edge_store,
    _edges,
    _entry,
    _http,
    _switch,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

MODULE = "blue_green"


class TooFewServers(Failure):
    """The colour has not enough servers that passed a check, yet."""


class Act:
    """One call on one edge: what was read, what is to be, and what was done."""

    def __init__(self, params: dict[str, t.Any], records: Records) -> None:
        self.params, self.records, self.app = params, records, records.app
        self.check_mode = records.check_mode
        self.adapter = _adapter.of(params, MODULE, self.app, records.folder)
        tolerant = self.params["backward"] and self.params["state"] != "withdrawn"
        self.holder = _edge_store.EdgeStore(records, self.adapter, tolerant=tolerant)
        self.result = empty()
        self.moved = self.kept = False
        self.confirmed = True

    def settle(self) -> None:
        """Put what is held now into the result."""
        self.result.update(
            _edge_state.as_result(self.holder.held, self.holder.pair),
            running=self.holder.running,
            unrecorded=self.holder.unrecorded,
        )

    def load(self) -> _edge_state.EdgeState:
        held = self.holder.load(down_ok=self.params["allow_down"] or self.params["state"] != "moved" or self.check_mode)
        if not self.holder.running and not self.params["allow_down"] and self.params["state"] == "moved":
            self.records.warnings.append(f"{MODULE}: HAProxy does not run, so the check is made on the file alone.")
        entry = _entry.as_dict(held.entry)
        self.result.update(before=entry, after=entry)
        self.settle()
        return held

    # -- everything but a move ---------------------------------------------------

    def note(self) -> None:
        """Change what is held beside the entry."""
        params, app = self.params, self.app
        with self.records.locked(edge=True):
            held = self.load()
            pair = Pair(params["token"], params["run"])
            self.holder.check(pair)
            colour, move, state = params["colour"], params["move"], params["state"]
            if state == "withdrawn":
                after = _edge_state.withdraw(held, app, colour, move)
                text = f"Withdrew {colour} of {app} at move {move}."
            elif state == "restored":
                after = _edge_state.restore(held, app, colour, move, params["warm"])
                text = f"Made {colour} of {app} warm again."
            elif state == "out":
                about = {**pair._asdict(), "at": _clock.iso(time.time())}
                about.update(owner=params["owner"], reason=params["reason"])
                after, text = _edge_state.declared(held, params["edge"], about), f"Declared edge {params['edge']} out."
            elif state == "in":
                after = _edge_state.admitted(held, params["edge"])
                text = f"Removed the declaration of edge {params['edge']}."
            else:
                after, text = held, f"Made {pair} known for {app}."
            own = params["own"] == params["edge"]
            confirmed = self.holder.confirmed and not (state == "out" and own)
            # The run has just moved it, but an edge that had not let it in yet may have told it since that it is out.
            confirmed = confirmed or (state == "in" and own and self.holder.pair == pair)
            if after != held or self.holder.stale(after, pair, confirmed):
                self.result["changed"] = True
                self.result["actions"].append(text)
                if not self.check_mode:
                    if state in ("raised", "withdrawn"):
                        self.holder.attempt(self.records.reserve)
                    self.holder.raise_pair(pair)
                    self.holder.keep(after, confirmed)
            self.holder.held = after
            self.settle()

    # -- a move --------------------------------------------------------------------

    def run(self) -> None:
        if self.params["state"] != "moved":
            self.note()
            return
        self.peers = _edges.ask(self.params["peers"]) if self.params["colour"] == "previous" else {}
        deadline = time.monotonic() + self.params["check_wait_seconds"]
        while True:
            try:
                with self.records.locked(edge=True):
                    self.move()
                break
            except TooFewServers as exc:
                if self.check_mode or time.monotonic() >= deadline:
                    if self.params["colour"] != "previous":
                        raise
                    # It was left running, but it died or is ill: to go back there it must be started again.
                    self.cold(exc.sentence)
                    return
            time.sleep(0.1)  # no lock is held while the checks go on
        if not self.result["cold"]:
            self.confirm()

    def cold(self, why: str) -> None:
        self.records.warnings.append(f"{MODULE}: nothing of {self.app} can be gone back to at once: {why.rstrip('.')}.")
        self.result.update(cold=True, after=self.result["before"])

    def plan(self, held: _edge_state.EdgeState) -> tuple[Entry, Pair, int] | None:
        """Return the entry to make live with its pair and move; nothing when no side is warm."""
        params, before = self.params, held.entry
        colour, release = params["colour"], params["release"]
        if colour == "previous":
            colour, release, why = _edge_state.warm_side(held, time.time(), params["assume_release"])
            if why:
                self.cold(why)
                return None
        after = _switch.target(before, self.app, colour, params["weight"], release, params["other_release"])
        if params["colour"] == "previous":
            known = [
                _switch.Known(each.status.pair, each.status.move, _entry.readable(each.entry))
                for each in self.peers.values()
                if each is not None
            ]
            own = _switch.Known(self.holder.pair, held.move, before)
            return after, *_switch.takeover(params["run"], params["token"], own, known, after)
        pair = Pair(params["token"], params["run"])
        self.holder.check(pair)
        assumed = params["assume_entry"]
        assumed = None if assumed is None else _entry.parse(assumed, MODULE, "assume_entry")
        number = _switch.next_move(held, after, params["move"], assumed, self.app)
        return after, pair, max(number, params["new_move"])

    def move(self) -> None:
        """Decide and move under the locks."""
        held = self.held_before = self.load()
        planned = self.plan(held)
        if planned is None:
            return
        after, pair, number = planned
        before, value, holder = held.entry, str(after), self.holder
        self.raw = holder.served
        # A dry run has started and gated nothing; only what is warm already can be judged.
        if not self.check_mode or self.params["colour"] == "previous":
            _switch.refuse_withdrawn(self.app, after, held.withdrawn)
            self.refuse_too_few(before, after)
        self.left_healthy = self.adapter.healthy(before.colour) if holder.running and before.serves else {}
        now = time.time()
        until = int(now) + self.params["warm_seconds"] if self.params["warm_seconds"] else 0
        # A move that was killed before its record is recorded now, with what it left.
        wanted = _edge_state.moved(
            held if held.entry_recorded else dataclasses.replace(held, entry=held.left),
            after,
            move=number,
            pair=pair,
            moved_at=_clock.iso(now),
            warm_until=until,
            back=self.params["colour"] == "previous",
        )
        self.moved = before != after
        if not self.moved and held.entry_recorded:
            wanted = dataclasses.replace(held, move=number, moved_at=held.moved_at or wanted.moved_at)
        moving = any(worker["value"] != value for worker in holder.workers) or (not holder.workers and self.moved)
        saving = self.adapter.read_saved() != value
        # One that serves already goes on.
        self.confirmed = self.params["confirm"] or holder.confirmed
        recording = holder.stale(wanted, pair, self.confirmed)
        self.result.update(
            after=_entry.as_dict(after),
            changed=moving or saving or recording,
            repaired=not self.moved and (moving or saving or recording),
        )
        if self.moved:
            self.result["actions"].append(f"Moved {self.app} from {before} to {after}.")
        elif self.result["changed"]:
            self.result["actions"].append(f"Made the records of {self.app} equal to {after}, which is served already.")
        if not self.check_mode and self.result["changed"]:
            self.write(value, wanted, pair, moving, saving)
        holder.held, holder.pair = wanted, max(holder.pair, pair)
        self.settle()

    def refuse_too_few(self, before: Entry, after: Entry) -> None:
        colour = _switch.gaining(before, after)
        if colour and self.holder.running:
            need = _switch.minimum(self.params["min_servers"], self.app)
            lacking = _switch.too_few(self.app, colour, self.adapter.healthy(colour), need)
            if lacking:
                raise TooFewServers(" ".join(lacking), **self.result)

    def write(self, value: str, wanted: _edge_state.EdgeState, pair: Pair, moving: bool, saving: bool) -> None:
        holder = self.holder
        if not self.params["backward"]:
            # The pair comes first: a run that was overtaken stays so though this one should die right here.
            holder.raise_pair(pair)
        try:
            problems = holder.write_entry(value, moving)
            if not problems:
                holder.raise_pair(pair)
                if saving:
                    holder.attempt(lambda: self.adapter.save(value))
                self.kept = True
                holder.keep(wanted, self.confirmed)
        except (Failure, OSError) as exc:
            problems = [str(exc)]
        if problems:
            self.back(wanted, "the move was not read back", problems)

    def back(self, wanted: _edge_state.EdgeState, what: str, problems: list[str]) -> t.NoReturn:
        """Put the former entry back where its side is still well, and fail with what was seen."""
        before, holder = self.held_before, self.holder
        dead = ""
        try:
            if self.moved and holder.running and before.entry.serves:
                dead = _switch.dead(before.entry, self.left_healthy, self.adapter.healthy(before.entry.colour))
            left = [dead] if dead else holder.write_entry(self.raw)
        except Failure as failure:
            left = [failure.sentence]
        holder.tolerant = True  # what serves is decided; a record that cannot be written is reported
        if not left:
            # The number goes on: another edge may have seen that of the move.
            number = wanted.move + 1 if self.kept else before.move
            after = dataclasses.replace(before, move=number, moved_at=_clock.iso(time.time()))
            holder.attempt(lambda: self.adapter.save(self.raw))
        else:
            after = wanted
        holder.keep(after, confirmed=True)
        if dead:
            done = f"The entry stays, as {dead}; deploy a release that works"
        elif left:
            done = f"Moving back failed too ({'; '.join(left)}); run blue_green_info and move by hand"
        elif holder.unrecorded:
            done = f"The entry was moved back to {self.raw}, but not its records; run it again once the disk has room"
        else:
            done = f"The entry was moved back to {self.raw or 'nothing'}, see the probe and the log of the app"
        self.settle()
        raise Failure(
            sentence(MODULE, what, self.app, "; ".join(problems), f"the entry {wanted.entry}", done),
            **{
                **self.result,
                "after": self.result["after"] if left else self.result["before"],
                "moved_back": not left,
                "changed": bool(left),
            },
        )

    def confirm(self) -> None:
        """Ask through the public listener with no lock held; move back when the answer is wrong."""
        if not self.params["probe"] or self.check_mode or not self.result["running"]:
            return
        wanted, pair = self.holder.held, self.holder.pair
        self.result["probe"], why = probe(self.params["probe"], wanted.entry)
        if not why:
            return
        what, done = "the probe through the public listener failed", ""
        why = f"{why} after {self.result['probe']['tries']} tries"
        if not self.moved:
            done = "Nothing was moved by this call, so nothing was moved back; decide which colour is to serve"
        with self.records.locked(edge=True):
            held = self.holder.load()
            if not done and (held.entry, held.move, self.holder.pair) != (wanted.entry, wanted.move, pair):
                done = "A newer run has taken over, so this run changes nothing more"
            if not done:
                self.back(wanted, what, [why])
        raise Failure(sentence(MODULE, what, self.app, why, f"the entry {wanted.entry} to answer", done), **self.result)


def empty() -> dict[str, t.Any]:
    nothing = _entry.as_dict(Entry())
    return {
        "changed": False,
        "before": nothing,
        "after": nothing,
        **_edge_state.as_result(_edge_state.EdgeState(), Pair()),
        "cold": False,
        "moved_back": False,
        "repaired": False,
        "running": True,
        "unrecorded": False,
        "probe": {"ok": None, "tries": 0, "seconds": 0.0, "answer": ""},
        "actions": [],
    }


def probe(options: dict[str, t.Any], entry: Entry) -> tuple[dict[str, t.Any], str]:
    """Return what the public listener answered, and why that is wrong or an empty string."""
    release = options["release"] or _switch.base_release(entry.release)
    started = time.monotonic()
    tries, why = 0, ""
    answer = _http.Answer(0, "", "not asked")
    while True:
        left = options["within_seconds"] - (time.monotonic() - started)
        if tries and left <= 0:
            break
        tries += 1
        answer = _http.get(
            options["url"],
            host=options["host"],
            connect_to=options["connect_to"],
            ca_file=options["ca_file"],
            verify=options["verify"],
            timeout=max(0.2, left),
        )
        why = _http.problem(
            answer,
            status=options["status"],
            release="" if entry.weight or not options["release_key"] else release,
            release_key=options["release_key"],
        )
        if not why:
            break
        time.sleep(0.05)
    seen = {"ok": not why, "tries": tries, "seconds": round(time.monotonic() - started, 4), "answer": answer.brief()}
    return seen, why
