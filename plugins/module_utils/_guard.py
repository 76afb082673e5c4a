# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The gate that every act on an app host passes: the pair of its run, and what the edges show."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _edges, _file, _pair, _retire
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, refusals
from ansible_collections.evenkeel.platform.plugins.module_utils._state import FOLDER_ARGUMENTS, Records, refuse_name

GUARD_ARGUMENTS: dict[str, t.Any] = {
    "guard": {
        "type": "dict",
        "options": {
            "app": {"type": "str", "required": True},
            "token": {"type": "int", "required": True, "no_log": False},
            "run": {"type": "str", "required": True},
            "move": {"type": "int", "default": 0},
            "colour": {"type": "str", "choices": ["blue", "green"]},
            "edges": _edges.EDGES_ARGUMENT,
            "ask": {"type": "bool", "default": True},
            "lock_seconds": {"type": "float", "default": 600.0},
        },
    },
    **FOLDER_ARGUMENTS,
}


class Guard:
    """Lets an act on this host happen only for the newest run, and only as the edges allow it."""

    def __init__(
        self,
        records: Records,
        pair: Pair,
        edges: t.Sequence[t.Mapping[str, t.Any]],
        move: int,
        colour: str = "",
        asks: bool = True,
    ) -> None:
        self.records = records
        self.pair = pair
        self.edges = edges
        self.move = move
        self.colour = colour
        self.asks = asks

    @classmethod
    def of(cls, module: t.Any, name: str) -> Guard | None:
        """Return the guard of a module's options; none where they name none."""
        params = module.params
        given = params.get("guard")
        if not given:
            return None
        refuse_name(name, given["app"], "app of the guard", "guard.app")
        records = Records(
            module=name,
            app=given["app"],
            state_dir=params["state_dir"],
            lock_dir=params["lock_dir"],
            lock_seconds=given["lock_seconds"],
            check_mode=module.check_mode,
        )
        pair = Pair(given["token"], given["run"])
        return cls(records, pair, given["edges"], given["move"], given["colour"] or "", given["ask"])

    def enter(self) -> None:
        """Let this host know the pair of the run, or refuse an older one. Never waits for an act."""
        if not self.records.check_mode:
            _pair.raise_to(self.records, self.pair)

    def check(self) -> None:
        """Refuse a run that a newer one has overtaken on this host."""
        if not self.records.check_mode:
            _pair.check(self.records, self.pair)

    def ask(self) -> None:
        """Refuse what the edges do not allow. A dry run has moved and withdrawn nothing, so it asks nobody."""
        if self.records.check_mode:
            return
        self.check()
        # Of an uninstall: no edge knows the app any more, so only the pair of the run counts.
        if not self.asks:
            return
        found = refusals(_edges.ask(self.edges), self.pair, self.move, self.colour)
        if found:
            subject = f"colour {self.colour} of app {self.records.app}" if self.colour else f"app {self.records.app}"
            need = f"{self.colour} withdrawn at move {self.move}" if self.colour else f"move {self.move}"
            raise Failure(
                sentence(
                    self.records.module,
                    "the edges do not allow this act",
                    subject,
                    ", ".join(found),
                    f"every edge to show {need}",
                    f"See 'ansible-playbook evenkeel.platform.status -e app={self.records.app}', then run it again",
                ),
                refused=True,
            )

    @contextlib.contextmanager
    def act(self) -> t.Iterator[None]:
        """Hold the app's lock on this host for an act, for the newest run only."""
        self.enter()
        with self.records.locked():
            self.check()
            yield

    def order(self, colour: str) -> Path:
        """Return the path of the order to stop a colour."""
        return Path(self.records.path(f"retire-{colour}.json"))

    def drop_order(self, colour: str) -> bool:
        """Remove the order to stop a colour whose containers an act changes; tell whether there was one."""
        if not self.order(colour).exists():
            return False
        if not self.records.check_mode:
            self.order(colour).unlink()
        return True

    def leave_order(self, colour: str, stack: str) -> list[str]:
        """Leave the order to stop a colour that this move left; return what was done."""
        path = str(self.order(colour))
        before = _file.read_text(path) or ""
        after = _retire.order_text(self.records.app, colour, self.move, stack, self.edges)
        if before == after:
            return []
        if not self.records.check_mode:
            with self.records.writing(path):
                _file.write_atomic(path, after)
        return [f"ordered to stop {colour}, left behind by move {self.move}"]

    def keep_release(self, record: t.Mapping[str, t.Any]) -> None:
        """Store what the release is on this host too, for the day the record host is lost."""
        if not self.records.check_mode and self.records.read("releases", f"{record['identity']}.json") is None:
            self.records.write(dict(record), "releases", f"{record['identity']}.json")


@contextlib.contextmanager
def acting(guard: Guard | None) -> t.Iterator[None]:
    """Hold the lock of the guard's app, if there is a guard."""
    with guard.act() if guard else contextlib.nullcontext():
        yield
