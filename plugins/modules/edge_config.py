#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_config
short_description: Validate and write HAProxy's configuration and the records of its apps
version_added: 0.1.0
description:
  - Validates the whole configuration with C(haproxy -c) before any file is replaced. If HAProxy refuses it, nothing
    changes and the failure names the line and the reason.
  - Reloads HAProxy only when the files differ from those it has loaded. If the reload fails, the former files are
    restored.
  - Updates routes in the memory of every worker, without a reload.
  - The live entry and the maintenance flag of an app are created when absent and not changed afterwards.
author: The Evenkeel authors (@evenkeel)
options:
  files:
    description:
      - Content of each file by its path below O(config_dir). C(conf.d/50-app-*.cfg) and C(conf.d/20-sites.cfg) that
        are not named here are removed; other files there are kept and validated with the rest.
    type: dict
    required: true
  records:
    description:
      - The records of all apps of this edge, as M(evenkeel.platform.edge_record_info) returned them. Files of
        an app without a record are removed once HAProxy no longer reads them.
    type: list
    elements: dict
    required: true
  fingerprint:
    description:
      - What M(evenkeel.platform.edge_record_info) returned as
        RV(evenkeel.platform.edge_record_info#module:fingerprint). If the records changed since then, the module
        fails without a change.
    type: str
    required: true
  config_dir:
    description:
      - HAProxy's configuration folder.
    type: path
    default: /etc/haproxy
  state_dir:
    description:
      - The folder with one folder per app.
    type: path
    default: /var/lib/evenkeel
  lock_dir:
    description:
      - The folder of the edge's lock.
    type: path
    default: /run/lock
  master_socket:
    description:
      - The socket of HAProxy's master.
    type: path
    default: /run/haproxy-master.sock
  loaded:
    description:
      - The file in which C(edge-sync) records which configuration HAProxy has loaded.
    type: path
    default: /run/evenkeel/edge-loaded
  haproxy:
    description:
      - The program that validates the configuration.
    type: path
    default: /usr/sbin/haproxy
  service:
    description:
      - The unit to reload. Nothing is reloaded if it is not running or if this is empty.
    type: str
    default: haproxy.service
  app:
    description:
      - The app that a run changes, with O(token) and O(run). Refused when this edge has met a higher pair for it.
    type: str
  token:
    description: The token of the run.
    type: int
  run:
    description: The identifier of the run.
    type: str
attributes:
  check_mode:
    description: Validates the configuration if HAProxy is set up already, and writes nothing.
    support: full
  diff_mode:
    description: Shows every changed file.
    support: full
"""

EXAMPLES = r"""
- name: Write the configuration
  evenkeel.platform.edge_config:
    files:
      haproxy.cfg: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
    records: "{{ edge_records.records }}"
    fingerprint: "{{ edge_records.fingerprint }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, one sentence each.
  returned: always
  type: list
  elements: str
  sample: [wrote /etc/haproxy/conf.d/50-app-shop.cfg, reloaded haproxy.service]
reloaded:
  description: Whether HAProxy was reloaded, or would be in check mode.
  returned: always
  type: bool
  sample: true
checked:
  description: Whether HAProxy validated the configuration.
  returned: always
  type: bool
  sample: true
"""

import json
import os
import shutil
import tempfile
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge, _file, _haproxy, _pair
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, ProxyDown, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Status
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

ARGUMENT_SPEC = {
    "files": {"type": "dict", "required": True},
    "records": {"type": "list", "elements": "dict", "required": True},
    "fingerprint": {"type": "str", "required": True, "no_log": False},
    "config_dir": {"type": "path", "default": "/etc/haproxy"},
    "state_dir": {"type": "path", "default": "/var/lib/evenkeel"},
    "lock_dir": {"type": "path", "default": "/run/lock"},
    "master_socket": {"type": "path", "default": "/run/haproxy-master.sock"},
    "loaded": {"type": "path", "default": "/run/evenkeel/edge-loaded"},
    "haproxy": {"type": "path", "default": "/usr/sbin/haproxy"},
    "service": {"type": "str", "default": "haproxy.service"},
    "app": {"type": "str"},
    "token": {"type": "int", "no_log": False},
    "run": {"type": "str"},
}
OUR_FRAGMENTS = ("20-sites.cfg", "50-app-*.cfg")
OURS = ("edge.json", "live.map", "status.map", "maintenance.map", "routes-blue.map", "routes-green.map")


class Edge:
    """The files and the process of an edge."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.config_dir = Path(module.params["config_dir"])
        self.state_dir = Path(module.params["state_dir"])
        self.records = module.params["records"]
        self.master = _haproxy.Master(module.params["master_socket"], 5, "edge_config")
        self.actions: list[str] = []
        self.diff: list[dict[str, str]] = []
        self.checked = False
        self.reloaded = False
        # Former content of changed files, to restore.
        self.former: dict[Path, str | None] = {}

    # -- current and wanted files ------------------------------------------------

    def wanted(self) -> dict[Path, str | None]:
        """Return the wanted content of every file; None means that it is removed."""
        files: dict[Path, str | None] = {}
        for pattern in OUR_FRAGMENTS:
            for path in sorted((self.config_dir / "conf.d").glob(pattern)):
                files[path] = None
        for name, content in self.module.params["files"].items():
            files[self.config_dir / name] = content
        for record in self.records:
            folder = self.state_dir / record["app"]
            files[folder / "edge.json"] = _edge.record_text(record)
            for colour in _edge.COLOURS:
                files[folder / f"routes-{colour}.map"] = _edge.map_text(_edge.routes(record, colour))
            for name, first in (("live.map", "none:0::"), ("status.map", Status().text()), ("maintenance.map", "off")):
                if not (folder / name).exists():
                    files[folder / name] = f"{record['app']} {first}\n"
        for name, first in (("servers.state", "1\n"), ("acme.map", "")):
            if not (self.state_dir / "edge" / name).exists():
                files[self.state_dir / "edge" / name] = first
        apps = {record["app"] for record in self.records}
        for path in sorted(self.state_dir.glob("*/edge.json")):
            if path.parent.name not in apps:
                files[path] = None
        return files

    def changes(self, wanted: dict[Path, str | None]) -> dict[Path, str | None]:
        """Return the wanted files that differ from those in place."""
        different = {}
        for path, content in wanted.items():
            before = _file.read_text(str(path))
            if before != content:
                self.former[path] = before
                different[path] = content
        return different

    def leftovers(self) -> list[Path]:
        """Return files of apps that this edge no longer serves."""
        apps = {record["app"] for record in self.records}
        return [
            path for name in OURS for path in sorted(self.state_dir.glob(f"*/{name}")) if path.parent.name not in apps
        ]

    # -- validation -----------------------------------------------------------

    def check(self, wanted: dict[Path, str | None]) -> None:
        """Let HAProxy validate the configuration in a folder of its own."""
        haproxy = self.module.params["haproxy"]
        set_up = Path(self.module.params["loaded"]).exists()
        if not os.access(haproxy, os.X_OK) or (self.module.check_mode and not set_up):
            return
        stage = tempfile.mkdtemp(prefix="evenkeel-edge-", dir=self.module.tmpdir)
        try:
            places = ((self.config_dir, Path(stage, "etc")), (self.state_dir, Path(stage, "state")))
            moved = [(f"{self.config_dir}/{part}", f"{stage}/etc/{part}") for part in ("pages/", "conf.d/")]
            moved.append((f"{self.state_dir}/", f"{stage}/state/"))
            candidate = dict(wanted)
            for pattern in ("conf.d/*.cfg", "pages/*.html"):
                for path in self.config_dir.glob(pattern):
                    candidate.setdefault(path, _file.read_text(str(path)))
            for record in self.records:
                for name in ("live.map", "status.map", "maintenance.map"):
                    path = self.state_dir / record["app"] / name
                    candidate.setdefault(path, _file.read_text(str(path)))
            path = self.state_dir / "edge" / "acme.map"
            candidate.setdefault(path, _file.read_text(str(path)))
            for path, content in candidate.items():
                if content is None:
                    continue
                for place, staged in places:
                    if path.is_relative_to(place):
                        target = staged / path.relative_to(place)
                text = content
                if target.suffix == ".cfg":
                    for old, new in moved:
                        text = text.replace(old, new)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            command = [haproxy, "-c", "-f", f"{stage}/etc/haproxy.cfg", "-f", f"{stage}/etc/conf.d"]
            status, out, err = self.module.run_command(command, environ_update={"LC_ALL": "C"})
            self.checked = True
            if status:
                line = _edge.refusal(out + err, stage, str(self.config_dir))
                line = line.replace(f"{stage}/state", str(self.state_dir))
                raise Failure(
                    sentence(
                        "edge_config",
                        "the candidate configuration",
                        str(self.config_dir),
                        f"HAProxy refusing it ({line})",
                        "one it reads; nothing was changed",
                        "Mend what that line was made from",
                    ),
                    stderr=out + err,
                )
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    # -- the process ----------------------------------------------------------

    def workers(self) -> list[_haproxy.Worker]:
        """Return every worker, also those of former reloads; none if HAProxy is not running."""
        try:
            return self.master.workers()
        except ProxyDown:
            return []

    def running(self) -> bool:
        unit = self.module.params["service"]
        return bool(unit) and self.module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0

    def loads_something_else(self) -> bool:
        """Return whether HAProxy has loaded other files than those in place."""
        return (_file.read_text(self.module.params["loaded"]) or "").strip() != _haproxy.digest(self.config_dir)

    def move_routes(self, write: bool) -> None:
        """Make the routes in each worker's memory equal to the files, one commit per map."""
        for worker in self.workers():
            for record in self.records:
                for colour in _edge.COLOURS:
                    path = self.state_dir / record["app"] / f"routes-{colour}.map"
                    table = _edge.routes(record, colour)
                    try:
                        memory = self.master.read_map(worker, str(path))
                        if memory is None or memory == table:
                            # A worker from before this app was added does not have the map.
                            continue
                        self.actions.append(f"moved the {colour} routes of {record['app']} in worker {worker.pid}")
                        if write:
                            self.commit(worker, path, table)
                    except _haproxy.WorkerGone:
                        break

    def commit(self, worker: _haproxy.Worker, path: Path, table: dict[str, str]) -> None:
        """Replace a map in memory in one step."""
        answer = self.master.worker(worker, f"prepare map {path}")
        version = answer.rpartition(":")[2].strip()
        for key, value in table.items():
            answer += self.master.worker(worker, f"add map @{version} {path} {key} {value}")
        answer += self.master.worker(worker, f"commit map @{version} {path}")
        if self.master.read_map(worker, str(path)) != table:
            raise Failure(
                sentence(
                    "edge_config",
                    "the routes in memory",
                    f"worker {worker.pid} of HAProxy",
                    f"others than those written ({' '.join(answer.split())})",
                    f"what {path} holds",
                    "Run this again; 'systemctl reload haproxy' reads the file",
                )
            )

    # -- the change -----------------------------------------------------------

    def note(self, different: dict[Path, str | None]) -> None:
        for path, content in different.items():
            self.actions.append(f"{'removed' if content is None else 'wrote'} {path}")
            self.diff.append(
                {
                    "before_header": str(path),
                    "after_header": str(path),
                    "before": self.former[path] or "",
                    "after": content or "",
                }
            )

    @staticmethod
    def put(files: t.Mapping[Path, str | None]) -> None:
        for path, content in files.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                # HAProxy reads all of it as root, before it drops its privileges.
                _file.write_atomic(str(path), content, 0o600)

    def reload(self) -> None:
        status, _out, _err = self.module.run_command(["systemctl", "reload", self.module.params["service"]])
        if status == 0:
            return
        _code, journal, _err = self.module.run_command(
            ["journalctl", "--unit", self.module.params["service"], "--lines", "20", "--no-pager", "--output", "cat"]
        )
        with self.lock():
            self.put(self.former)
        raise Failure(
            sentence(
                "edge_config",
                "the reload",
                self.module.params["service"],
                "that it failed",
                "a new worker on the new configuration; the former files are back and the old worker goes on",
                "Read the last lines of its journal in stderr",
            ),
            stderr=journal,
        )

    def lock(self) -> t.ContextManager[None]:
        return _file.lock(f"{self.module.params['lock_dir']}/evenkeel-edge.lock", 60, "edge_config")

    def refuse_overtaken(self) -> None:
        """Refuse a run when this edge has met a newer one for its app."""
        params = self.module.params
        if params["app"]:
            records = Records(
                "edge_config", params["app"], str(self.state_dir), params["lock_dir"], 60, self.module.check_mode
            )
            _pair.check(records, Pair(params["token"], params["run"]))

    def refuse_stale(self) -> None:
        """Refuse records that differ from those on the edge."""
        found = []
        for path in sorted(self.state_dir.glob("*/edge.json")):
            found.append(json.loads(path.read_text(encoding="utf-8")))
        if _edge.fingerprint(found) != self.module.params["fingerprint"]:
            raise Failure(
                sentence(
                    "edge_config",
                    "the records of the apps",
                    str(self.state_dir),
                    "that another run changed them meanwhile",
                    "those this run has read",
                    "Run it again",
                )
            )

    def apply(self) -> None:
        """Validate, write and load; everything but the reload under the edge's lock."""
        if self.module.check_mode:
            self.refuse_overtaken()
            wanted = self.wanted()
            different = self.changes(wanted)
            if different:
                self.check(wanted)
            self.note(different)
            self.reloaded = self.running() and (
                any(path.is_relative_to(self.config_dir) for path in different) or self.loads_something_else()
            )
            self.move_routes(write=False)
            return
        with self.lock():
            self.refuse_overtaken()
            self.refuse_stale()
            wanted = self.wanted()
            different = self.changes(wanted)
            if different:
                self.check(wanted)
            self.note(different)
            # The records come last: an edge whose record is that of a run has everything else of it.
            records = {path: content for path, content in different.items() if path.name == "edge.json"}
            self.put({path: content for path, content in different.items() if path not in records})
            self.move_routes(write=True)
            self.put(records)
            self.reloaded = self.running() and self.loads_something_else()
        if self.reloaded:
            self.reload()
            self.actions.append(f"reloaded {self.module.params['service']}")
        for path in self.leftovers():
            self.actions.append(f"removed {path}")
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("app", "token", "run")],
    )
    edge = Edge(module)
    try:
        edge.apply()
    except Failure as exc:
        module.fail_json(msg=exc.sentence, **{"actions": [], "checked": edge.checked, "reloaded": False, **exc.result})
    module.exit_json(
        changed=bool(edge.actions) or edge.reloaded,
        actions=edge.actions,
        checked=edge.checked,
        reloaded=edge.reloaded,
        diff=edge.diff,
    )


if __name__ == "__main__":
    main()
