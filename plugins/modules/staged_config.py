#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: staged_config
short_description: Deploy the configuration of a program atomically
version_added: 0.1.0
description:
  - Writes a whole set of files beside the current one, checks it, moves a symlink to it, reloads the program and waits
    until it is ready. If it is not, moves the symlink back and reloads again.
  - From before the symlink moves until the program is ready, the file C(.pending) names the set that the program loaded
    last. If a run is killed in between, the next one reloads the program even if the set did not change.
  - The files hold no secret; anybody on the host may read them.
extends_documentation_fragment:
  - evenkeel.platform.attributes
options:
  path:
    description:
      - The directory. Sets are below C(releases), the symlink is C(current).
    type: path
    required: true
  files:
    description:
      - The files of the set, by their path within it.
    type: dict
    required: true
  validate:
    description:
      - Commands that check the set, each a list of arguments. C({dir}) is the directory of the set, C({name}) its name.
      - They also run in check mode, if their program is installed.
    type: list
    elements: list
    default: []
  reload:
    description: The command that reloads the running program, as a list of arguments.
    type: list
    elements: str
    default: []
  ready_url:
    description: URL that answers 200 when the program is ready. If nothing answers there, the program is not reloaded.
    type: str
    default: ""
  metrics_url:
    description: URL of the program's metrics about its last reload, with O(metric).
    type: str
    default: ""
  metric:
    description: Prefix of these metrics, as V(prometheus_config).
    type: str
    default: ""
  ready_seconds:
    description: Seconds until the program must be ready.
    type: int
    default: 10
  keep:
    description: Number of sets to keep.
    type: int
    default: 3
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Write the settings of Prometheus
  evenkeel.platform.staged_config:
    path: /opt/evenkeel/monitoring/prometheus
    files:
      prometheus.yml: "{{ settings | to_nice_yaml }}"
    validate:
      - [promtool, check, config, "{dir}/prometheus.yml"]
    reload: [docker, kill, --signal, HUP, monitoring-prometheus-1]
    ready_url: http://127.0.0.1:9090/-/ready
    metrics_url: http://127.0.0.1:9090/metrics
    metric: prometheus_config
"""

RETURN = r"""
release:
  description: The name of the set.
  returned: always
  type: str
  sample: 4f53cda18c2baa0c
previous:
  description: The name of the former set, empty for the first one.
  returned: always
  type: str
  sample: 9d2f0c1e33ab4410
checked:
  description: Whether the set was checked.
  returned: always
  type: bool
  sample: true
reloaded:
  description: Whether the program was reloaded, or would be.
  returned: always
  type: bool
  sample: true
actions:
  description: What was done, or would be.
  returned: always
  type: list
  elements: str
  sample: [moved current to 4f53cda18c2baa0c, reloaded the program]
"""

import contextlib
import os
import shutil
import tempfile
import time
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _http, _staged
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "files": {"type": "dict", "required": True},
    "validate": {"type": "list", "elements": "list", "default": []},
    "reload": {"type": "list", "elements": "str", "default": []},
    "ready_url": {"type": "str", "default": ""},
    "metrics_url": {"type": "str", "default": ""},
    "metric": {"type": "str", "default": ""},
    "ready_seconds": {"type": "int", "default": 10},
    "keep": {"type": "int", "default": 3},
}
MODULE = "staged_config"


class Settings:
    """The sets of one program on one host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.folder = Path(module.params["path"])
        self.files: dict[str, str] = {name: str(text) for name, text in module.params["files"].items()}
        self.release = _staged.identity(self.files)
        self.previous = self.named()
        self.mark = self.folder / ".pending"
        self.checked = False
        self.reloaded = False
        self.actions: list[str] = []

    def named(self) -> str:
        """The set that the symlink points to."""
        with contextlib.suppress(OSError):
            return Path((self.folder / "current").readlink()).name
        return ""

    def former(self) -> str:
        """The set that the program loaded last, if it still exists; the mark of a killed run comes first."""
        left = _file.read_text(str(self.mark))
        name = self.previous if left is None else left
        return name if name and self.place(name).is_dir() else ""

    def place(self, release: str) -> Path:
        return self.folder / "releases" / release

    def failure(self, what: str, found: str, need: str, remedy: str, **result: t.Any) -> Failure:
        return Failure(sentence(MODULE, what, str(self.folder), found, need, remedy), **result)

    # -- the set --------------------------------------------------------------

    def write(self, target: Path) -> None:
        for name, text in self.files.items():
            path = target / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _file.write_atomic(str(path), text, 0o644)
        for folder in [target, *[path for path in target.rglob("*") if path.is_dir()]]:
            folder.chmod(0o755)

    def check(self, target: Path) -> None:
        """Run every check on the set, and report all their errors at once."""
        errors = []
        for command in self.params["validate"]:
            argv = [str(argument).replace("{dir}", str(target)).replace("{name}", target.name) for argument in command]
            if self.module.check_mode and not shutil.which(argv[0]):
                continue
            status, out, err = self.module.run_command(argv, environ_update={"LC_ALL": "C"})
            self.checked = True
            if status:
                errors.append(" ".join((out + "\n" + err).replace(str(target), "").split())[-600:])
        if errors:
            raise self.failure(
                "the settings",
                f"the check refusing them ({'; '.join(errors)})",
                "settings it accepts; nothing was changed",
                "Fix the options that this line comes from",
            )

    def difference(self) -> list[dict[str, str]]:
        before = {}
        if self.previous:
            old = self.place(self.previous)
            before = {
                str(path.relative_to(old)): _file.read_text(str(path)) or ""
                for path in old.rglob("*")
                if path.is_file()
            }
        return [
            {
                "before_header": str(self.folder / "current" / name),
                "after_header": str(self.folder / "current" / name),
                "before": before.get(name, ""),
                "after": self.files.get(name, ""),
            }
            for name in sorted(before.keys() | self.files.keys())
            if before.get(name) != self.files.get(name)
        ]

    # -- the program ----------------------------------------------------------

    def running(self) -> bool:
        url = self.params["ready_url"]
        return bool(url) and _http.get(url).status != 0

    def point(self, release: str) -> None:
        """Move the symlink in one step."""
        beside = self.folder / ".current.new"
        beside.unlink(missing_ok=True)
        beside.symlink_to(f"releases/{release}")
        beside.rename(self.folder / "current")
        _file.fsync_folder(str(self.folder))

    def reload(self) -> str:
        """Reload the program and wait; return why it is not ready with the settings, or an empty string."""
        metric = self.params["metric"]
        before = _staged.last_reading(_http.get(self.params["metrics_url"]).body, metric) if metric else 0
        status, out, err = self.module.run_command(self.params["reload"])
        if status:
            return f"that it could not be reloaded ({' '.join((out + err).split())[-200:]})"
        deadline = time.monotonic() + self.params["ready_seconds"]
        why = ""
        while True:
            why = _http.problem(_http.get(self.params["ready_url"]))
            if not why and metric:
                why = _staged.taken(_http.get(self.params["metrics_url"]).body, metric, before)
            if not why:
                self.mark.unlink(missing_ok=True)
            if not why or time.monotonic() >= deadline:
                return why
            time.sleep(0.2)

    # -- the change -----------------------------------------------------------

    def apply(self) -> bool:
        odd = _staged.odd_paths(self.files)
        if odd:
            raise self.failure("files", ", ".join(odd), "paths within the set", "Correct the names in files")
        changing = self.previous != self.release
        # A mark was left by a run that was killed, or that could not make the program ready.
        pending = os.path.lexists(self.mark)
        self.reloaded = bool(self.params["reload"]) and (changing or pending) and self.running()
        if changing:
            self.actions.append(f"moved current to {self.release}")
        if self.reloaded:
            self.actions.append("reloaded the program")
        if self.module.check_mode:
            if changing:
                with tempfile.TemporaryDirectory(dir=self.module.tmpdir) as scratch:
                    Path(scratch).chmod(0o755)
                    self.write(Path(scratch))
                    self.check(Path(scratch))
            return bool(self.actions)
        if changing:
            target = self.place(self.release)
            self.write(target)
            try:
                self.check(target)
            except Failure:
                if self.release != self.former():
                    shutil.rmtree(target, ignore_errors=True)
                raise
            self.folder.chmod(0o755)
            target.parent.chmod(0o755)
            if self.reloaded:
                _file.write_atomic(str(self.mark), self.former())
            self.point(self.release)
        if self.reloaded:
            self.settle()
        self.clean()
        return bool(self.actions)

    def settle(self) -> None:
        former = self.former()
        why = self.reload()
        if not why:
            return
        back = "there were none before, so they stay"
        if former == self.release:
            back = "they are the former ones, so they stay"
        elif former:
            self.point(former)
            again = self.reload()
            back = "the former ones are back" + (f", and it is not ready with them either: {again}" if again else "")
        raise self.failure(
            "the program with its new settings",
            f"{why} within {self.params['ready_seconds']} s",
            f"200 of {self.params['ready_url']}; {back}",
            "Read its log",
        )

    def clean(self) -> None:
        folder = self.folder / "releases"
        kept = [(path.stat().st_mtime, path.name) for path in folder.iterdir()] if folder.is_dir() else []
        for name in _staged.expired(kept, {self.release, self.previous, self.former()}, self.params["keep"]):
            shutil.rmtree(folder / name, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    settings = Settings(module)
    difference = settings.difference()
    result = {"release": settings.release, "previous": settings.previous}
    try:
        changed = settings.apply()
    except Failure as failure:
        module.fail_json(
            msg=failure.sentence,
            **{**result, "checked": settings.checked, "reloaded": settings.reloaded, "actions": [], **failure.result},
        )
    module.exit_json(
        changed=changed,
        checked=settings.checked,
        reloaded=settings.reloaded,
        actions=settings.actions,
        diff=difference,
        **result,
    )


if __name__ == "__main__":
    main()
