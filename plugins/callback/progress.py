# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Screen output of one line a stage."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
author: The Evenkeel authors (@evenkeel)
version_added: 0.1.0
short_description: Print one line for each stage, failures with their evidence, and the next command
description:
  - Prints one line for each stage of a play, with its hosts, its seconds and what moved.
    A stage is the text before C( | ) in the names of its tasks; tasks without one are grouped by their role or play.
  - A task that was ok or skipped prints nothing. Warnings, deprecations and the messages of C(debug) are printed.
  - On a terminal the line of the stage that runs shows the task and its seconds.
    Anywhere else there are plain lines only.
  - A failure is printed on one line when it happens. At the end those that no rescue took up follow in full, with
    their evidence and what to type next.
  - With C(-v) and more the output is that of C(ansible.builtin.default).
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
options:
  quiet_seconds:
    description: A stage that changed nothing is printed only where it took at least this long.
    type: float
    default: 1.0
    env:
      - name: EVENKEEL_QUIET_SECONDS
    ini:
      - section: callback_progress
        key: quiet_seconds
  show_counts:
    description: Print at the end how many tasks and remote runs there were, polls apart.
    type: bool
    default: false
    env:
      - name: EVENKEEL_SHOW_COUNTS
    ini:
      - section: callback_progress
        key: show_counts
  counts_file:
    description: File to write these counts to, as JSON, with what changed and the summary of each host.
    type: path
    env:
      - name: EVENKEEL_COUNTS_FILE
    ini:
      - section: callback_progress
        key: counts_file
seealso:
  - plugin: ansible.builtin.default
    plugin_type: callback
"""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ansible import constants as C  # noqa: N812 - the name under which all of Ansible knows it
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.fqcn import add_internal_fqcns

from ansible_collections.evenkeel.platform.plugins.plugin_utils import _progress

HEARTBEAT_SECONDS = 30.0
PLAIN_WIDTH = 120  # of a file or pipe, which has none
INTERACTIVE = frozenset({"pause"})
FACTS = frozenset({"setup", "gather_facts"})
UNORDERED = frozenset(add_internal_fqcns(("free", "host_pinned")))


class LiveLine:
    """The line of a terminal that shows what runs; anything else that is printed takes its place."""

    def __init__(self, stream: TextIO, display: Any) -> None:
        self.stream = stream
        self.length = 0
        self.process = os.getpid()
        write = display.display

        def clearing(*args: Any, **options: Any) -> Any:
            self.clear()
            return write(*args, **options)

        display.display = clearing

    def show(self, text: str) -> None:
        self.stream.write("\r" + text.ljust(self.length))
        self.stream.flush()
        self.length = len(text)

    def clear(self) -> None:
        """Blank the line; a worker process has none."""
        if self.length and os.getpid() == self.process:
            self.stream.write("\r" + " " * self.length + "\r")
            self.stream.flush()
            self.length = 0


class CallbackModule(Default):
    """Prints stages; hands everything to the default callback where more is asked for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "evenkeel.platform.progress"

    def __init__(self) -> None:
        super().__init__()
        self._counts = _progress.Counts()
        self._began = self._printed_at = time.monotonic()
        self._live: LiveLine | None = None
        self._header = ""
        self._header_printed = ""
        self._unordered = False
        self._stages: dict[tuple[str, ...], _progress.Stage] = {}
        self._failed_items: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._skipped_items: dict[tuple[str, str], int] = {}
        self._tries: dict[tuple[str, str], int] = {}
        self._failed: list[list[_progress.Failure]] = []
        self._messages: dict[tuple[str, ...], list[str]] = {}
        self._outcomes: list[str] = []

    # What is printed, and where

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity > 0)

    @property
    def _width(self) -> int:
        return shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else PLAIN_WIDTH

    def _say(self, lines: str | Iterable[str], color: str | None = None, **options: Any) -> None:
        for line in [lines] if isinstance(lines, str) else lines:
            self._display.display(line, color=color, **options)
            self._printed_at = time.monotonic()

    def _say_in_play(self, lines: str | Iterable[str], color: str | None = None, **options: Any) -> None:
        """Print lines below the name of their play, which is printed with the first of them."""
        if self._header and self._header != self._header_printed:
            self._say(self._header)
            self._header_printed = self._header
        self._say(lines, color, **options)

    def _show(self, task: Any, text: str = "") -> None:
        """Show what runs now: on the live line, elsewhere once in a while."""
        if _progress.short_action(task.action) in INTERACTIVE:
            if self._live:
                self._live.clear()
            return
        stage = self._stages.get(self._key(task))
        title = text or _progress.split_name(task.name or task.action)[1]
        label = stage.label if stage else ""
        seconds = time.monotonic() - (stage.began if stage else self._began)
        if self._live:
            self._live.show(_progress.live_text(label, title, seconds, self._width))
        elif time.monotonic() - self._printed_at >= HEARTBEAT_SECONDS:
            self._say_in_play(_progress.live_text(label, title, seconds, self._width))

    # Stages

    def _key(self, task: Any) -> tuple[str, ...]:
        stage, _title = _progress.split_name(task.name or "")
        role = task._role.get_name() if task._role else ""
        return (role, stage or (role and role.rpartition(".")[2]) or "tasks")

    def _label(self, task: Any) -> str:
        if _progress.short_action(task.action) in FACTS:
            return "facts"
        return self._key(task)[1]

    def _start(self, task: Any) -> None:
        self._counts.start(str(task._uuid), once=self._unordered)
        if self._verbose:
            return
        self._flush_messages()
        key = self._key(task)
        if _progress.short_action(task.action) not in _progress.INCLUDES:
            if not self._unordered:
                self._close_stages([other for other in self._stages if other != key])
            if key not in self._stages:
                self._stages[key] = _progress.Stage(self._label(task), time.monotonic())
        self._show(task)

    def _stage(self, task: Any) -> _progress.Stage:
        return self._stages.setdefault(self._key(task), _progress.Stage(self._label(task), time.monotonic()))

    def _close_stages(self, keys: Iterable[tuple[str, ...]] | None = None) -> None:
        """Print the stages that are over, all or these, in the order in which they began."""
        for key in list(self._stages if keys is None else keys):
            stage = self._stages.pop(key)
            seconds = time.monotonic() - stage.began
            quiet = not (stage.moved or stage.failed) and seconds < float(self.get_option("quiet_seconds"))
            if stage.hosts and not quiet:
                color = C.COLOR_ERROR if stage.failed else C.COLOR_CHANGED if stage.moved else None
                self._say_in_play(_progress.stage_lines(stage, seconds, self._width), color)

    def _flush_messages(self) -> None:
        """Print what debug tasks said below what had moved by then, one copy for all hosts that said the same."""
        if self._messages:
            self._close_stages([key for key, stage in self._stages.items() if stage.moved])
        for text, hosts in sorted(self._messages.items(), key=lambda said: _progress.natural(min(said[1]))):
            prefix = f"{_progress.collapse(hosts)}: " if len(self._messages) > 1 and len(text) == 1 else ""
            lines = [f"{prefix}{line}" for line in text]
            self._say_in_play(lines)
        self._messages.clear()

    # Results

    @staticmethod
    def _place(result: Any) -> tuple[str, str]:
        return str(result.task._uuid), result.host.get_name()

    def _count(self, result: Any) -> None:
        task = result.task
        runs = len(_progress.items_of(result.result)) - self._skipped_items.pop(self._place(result), 0)
        self._counts.result(str(task._uuid), task.action, runs, str(task.delegate_to or ""))
        if result.result.get("changed"):
            self._counts.changed_tasks.append(f"{task.name or task.action}: {result.host.get_name()}")

    def _debug(self, result: Any) -> None:
        """Keep what a debug task says: until all hosts said it, or until the end for the outcome of the run."""
        lines: list[str] = []
        for item in _progress.items_of(result.result):
            if item.get("skipped"):
                continue
            if _progress.is_hidden(item):
                lines.append(f"{result.task.name}: {_progress.HIDDEN}")
            elif "msg" in item:
                lines += _progress.lines_of(item["msg"])
            else:
                shown = dict(item)
                self._clean_results(shown, "debug")
                kept = {key: value for key, value in shown.items() if not key.startswith("_ansible_")}
                lines += _progress.lines_of({key: value for key, value in kept.items() if key != "changed"})
        if _progress.split_name(result.task.name or "")[0] == "report":
            self._outcomes += [line for line in lines if line not in self._outcomes]
        elif lines:
            self._messages.setdefault(tuple(lines), []).append(result.host.get_name())

    def _failure(self, result: Any, word: str, unreachable: bool = False) -> list[_progress.Failure]:
        """Print a failure on a line for each of its items, and return them."""
        self._flush_messages()
        self._handle_warnings(result.result)
        task = result.task
        name, host = task.name or task.action, result.host.get_name()
        action = _progress.short_action(task.action)
        items = self._failed_items.pop(self._place(result), [])
        found = _progress.failures_of(host, name, action, result.result, items, unreachable)
        color = C.COLOR_UNREACHABLE if unreachable else C.COLOR_WARN if word == "ignored" else C.COLOR_ERROR
        to_stderr = bool(self.get_option("display_failed_stderr"))
        self._say_in_play((_progress.short_failure(word, one, self._width) for one in found), color, stderr=to_stderr)
        return found

    # Events of a run

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._began = self._printed_at = time.monotonic()
        if self._verbose:
            super().v2_playbook_on_start(playbook)
        elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not context.CLIARGS.get("step"):
            self._live = LiveLine(sys.stdout, self._display)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play
        self._unordered = play.strategy in UNORDERED
        if self._verbose:
            super().v2_playbook_on_play_start(play)
            return
        self._flush_messages()
        self._close_stages()
        name = play.get_name().strip()
        self._header = f"{name} (check)" if play.check_mode else name
        if self._live:
            self._live.clear()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if self._verbose:
            super().v2_playbook_on_task_start(task, is_conditional)
        self._start(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_handler_task_start(task)
        self._start(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._count(result)
        if self._verbose:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings(result.result)
        action = _progress.short_action(result.task.action)
        if action in _progress.INCLUDES:
            return
        if action == "debug":
            self._debug(result)
            if not result.result.get("changed"):
                return
        title = _progress.split_name(result.task.name or result.task.action)[1]
        self._stage(result.task).add(result.host.get_name(), _progress.moved(result.result, title))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._count(result)
        if self._verbose:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        found = self._failure(result, "ignored" if ignore_errors else "failed")
        stage = self._stage(result.task)
        stage.add(result.host.get_name(), [])
        if not ignore_errors:
            stage.failed = True
            self._failed.append(found)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._count(result)
        if self._verbose:
            super().v2_runner_on_unreachable(result)
            return
        ignored = bool(result.task.ignore_unreachable)
        found = self._failure(result, "ignored" if ignored else "unreachable", unreachable=True)
        if not ignored:
            self._failed.append(found)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._skipped_items.pop(self._place(result), None)
        if self._verbose:
            super().v2_runner_on_skipped(result)
        else:
            self._handle_warnings(result.result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_ok(result)
        else:
            self._handle_warnings(result.result)
            self._show(result.task)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_failed(result)
            return
        self._handle_warnings(result.result)
        self._failed_items.setdefault(self._place(result), []).append(dict(result.result))

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        place = self._place(result)
        self._skipped_items[place] = self._skipped_items.get(place, 0) + 1
        if self._verbose:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if self._verbose:
            super().v2_runner_on_start(host, task)

    def v2_runner_retry(self, result: Any) -> None:
        self._counts.polls += 1
        if self._verbose:
            super().v2_runner_retry(result)
            return
        # Releases of ansible-core differ in how they count the attempts of a result.
        place = self._place(result)
        self._tries[place] = self._tries.get(place, 1) + 1
        title = _progress.split_name(result.task.name or result.task.action)[1]
        self._show(result.task, _progress.waiting(title, self._tries[place], int(result.result.get("retries") or 0)))

    def v2_runner_on_async_poll(self, result: Any) -> None:
        self._counts.polls += 1
        if self._verbose:
            super().v2_runner_on_async_poll(result)
        else:
            self._show(result.task)

    def v2_runner_on_async_ok(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_ok(result)

    def v2_runner_on_async_failed(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_failed(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_notify(self, handler: Any, host: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_notify(handler, host)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        if self._verbose:
            super().v2_playbook_on_no_hosts_matched()
        else:
            self._say_in_play("  no hosts matched", C.COLOR_SKIP)

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        if self._verbose:
            super().v2_playbook_on_no_hosts_remaining()

    def v2_playbook_on_vars_prompt(self, *args: Any, **options: Any) -> None:
        if self._live:
            self._live.clear()

    def _print_task_banner(self, task: Any) -> None:
        """Head a diff with its task."""
        if self._verbose:
            super()._print_task_banner(task)
            return
        self._say_in_play(f"  {task.name or task.action}")
        self._last_task_banner = task._uuid

    def v2_playbook_on_stats(self, stats: Any) -> None:
        seconds = time.monotonic() - self._began
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed, key=_progress.natural)}
        if self._verbose:
            super().v2_playbook_on_stats(stats)
        else:
            self._end(seconds, hosts)
            if stats.custom and self.get_option("show_custom_stats"):
                self._say(_progress.lines_of(stats.custom))
        if self.get_option("show_counts"):
            self._say(self._counts.line())
        if path := self.get_option("counts_file"):
            try:
                Path(path).write_text(self._counts.as_json(seconds, hosts), encoding="utf-8")
            except OSError as exc:
                self._display.warning(f"progress: counts_file {path}: {exc.strerror}. Set a path that can be written.")

    def _end(self, seconds: float, hosts: Mapping[str, Mapping[str, int]]) -> None:
        """Print the recap, what came of it, and each failure in full."""
        self._flush_messages()
        self._close_stages()
        counted = {host: summary["failures"] + summary["unreachable"] for host, summary in hosts.items()}
        changed = any(summary["changed"] for summary in hosts.values())
        ended = _progress.unrescued(self._failed, counted)
        recap = [line for host, summary in hosts.items() if (line := _progress.recap_line(host, summary))]
        if self._header_printed or recap:
            self._say("")
        self._say(recap)
        self._say(self._outcomes, C.COLOR_OK)
        failed = any(counted.values())
        self._say(_progress.last_line(seconds, changed, failed, bool(context.CLIARGS.get("check"))))
        for group in _progress.grouped(ended):
            causes = _progress.cause(group[0], self._failed, ended)
            self._say("")
            self._say(
                _progress.failure_lines(group, causes),
                C.COLOR_ERROR,
                stderr=bool(self.get_option("display_failed_stderr")),
            )
