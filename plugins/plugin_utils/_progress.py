# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What the callback prints: lines of stages, failures and recaps from plain data. Nothing here writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LABEL_WIDTH = 11
HOSTS_WIDTH = 14
HOSTS_NAMED = 3
DETAIL_LINES = 12
OUTPUT_LINES = 5
PROBE_LINES = 2
ITEMS_NAMED = 3
# Actions that run on the controller alone, or run nothing at all.
CONTROLLER_ACTIONS = frozenset(
    {
        "add_host",
        "assert",
        "debug",
        "fail",
        "group_by",
        "import_playbook",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "pause",
        "set_fact",
        "set_stats",
        "validate_argument_spec",
    }
)
INCLUDES = frozenset({"import_role", "import_tasks", "include_role", "include_tasks", "meta"})
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
HIDDEN = "the output of this task is hidden by no_log."
_NUMBERED = re.compile(r"(?P<name>.*?)(?P<number>\d+)")
_WRAPPED = re.compile(r"^(?:Task failed: |Module failed: |Action failed: )+")
_RUN = re.compile(r"(?:^|[.;:!?]\s+)Run (?P<command>[^\n]+)\s*\Z")


# Names


def short_action(action: str) -> str:
    """Return an action's short name: C(debug) for C(ansible.builtin.debug); others keep their full name."""
    for prefix in ("ansible.builtin.", "ansible.legacy."):
        if action.startswith(prefix):
            return action.removeprefix(prefix)
    return action


def split_name(name: str) -> tuple[str, str]:
    """Return stage and title of a task's name: C(switch | Move the traffic)."""
    stage, separator, title = name.partition(" | ")
    return (stage.strip(), title.strip()) if separator else ("", name.strip())


def in_sentence(title: str) -> str:
    """Return a task's title as it reads within a line; a name that begins with capitals keeps them."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts app2 before app10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def collapse(hosts: Iterable[str]) -> str:
    """Return host names on little room: C(app1-app12, edge1)."""
    found: list[str] = []
    run: list[tuple[str, int, str]] = []

    def close() -> None:
        names = [name for _prefix, _number, name in run]
        found.extend([f"{names[0]}-{names[-1]}"] if len(names) > 2 else names)
        run.clear()

    for name in sorted(set(hosts), key=natural):
        match = _NUMBERED.fullmatch(name)
        if run and not (match and (match["name"], int(match["number"])) == (run[-1][0], run[-1][1] + 1)):
            close()
        if match:
            run.append((match["name"], int(match["number"]), name))
        else:
            found.append(name)
    if run:
        close()
    more = len(found) - HOSTS_NAMED
    return ", ".join(found) if more < 2 else f"{', '.join(found[:HOSTS_NAMED])} and {more} more"


def fit(text: str, width: int) -> str:
    """Return the first line of a text, cut to a width."""
    line = " ".join(text.splitlines()[:1]).rstrip()
    return line if len(line) <= width else line[: max(0, width - 3)].rstrip() + "..."


# Results


def is_hidden(result: Mapping[str, Any]) -> bool:
    return "censored" in result or bool(result.get("_ansible_no_log"))


def items_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results of a loop's items, or the result itself where there was no loop."""
    items = result.get("results")
    looped = isinstance(items, list) and all(isinstance(item, Mapping) for item in items)
    if looped and items and any("ansible_loop_var" in item or is_hidden(item) for item in items):
        return list(items)
    return [result]


def item_label(result: Mapping[str, Any]) -> str:
    """Return an item's label where it is a word, nothing where it is data or hidden."""
    if is_hidden(result):
        return ""
    variable = str(result.get("ansible_loop_var") or "item")
    label = result.get("_ansible_item_label", result.get(variable))
    return str(label) if isinstance(label, str | int | float) else ""


def moved(result: Mapping[str, Any], title: str) -> list[str]:
    """Return what a changed result did: its own list of actions, else the task's title with its items."""
    found: list[str] = []
    labels: list[str] = []
    bare = 0
    for item in items_of(result):
        if not item.get("changed"):
            continue
        actions = item.get("actions")
        texts = [one for one in actions if isinstance(one, str) and one] if isinstance(actions, list) else []
        if texts and not is_hidden(item):
            found.extend(text for text in texts if text not in found)
            continue
        bare += 1
        if label := item_label(item):
            labels.append(label)
    if not bare and (found or not result.get("changed")):
        return found
    named = ""
    if len(items_of(result)) > 1 or labels:
        named = f" ({', '.join(labels)})" if 0 < len(labels) == bare <= ITEMS_NAMED else f" ({bare} items)"
    return [*found, in_sentence(title) + named]


def lines_of(value: Any) -> list[str]:
    """Return data as lines for a reader."""
    if value is None or value in ("", [], {}):
        return []
    if isinstance(value, str):
        return [line.rstrip() for line in value.strip("\n").splitlines()]
    if isinstance(value, Mapping):
        found: list[str] = []
        for key, inner in value.items():
            lines = lines_of(inner)
            nested = isinstance(inner, Mapping | list) or len(lines) > 1
            found += [f"{key}:", *(f"  {line}" for line in lines)] if nested and lines else []
            found += [f"{key}: {lines[0]}"] if lines and not nested else []
        return found
    if isinstance(value, Sequence):
        return [line for inner in value for line in lines_of(inner)]
    return [json.dumps(value, default=str)]


def sentence(result: Mapping[str, Any]) -> str:
    """Return why a result failed: never the whole result, and never nothing."""
    if is_hidden(result):
        return HIDDEN
    errors = result.get("argument_errors")
    if isinstance(errors, list) and errors:
        return "\n".join(lines_of(errors))
    text = "\n".join(lines_of(result.get("msg")))
    text = _WRAPPED.sub("", text.strip())
    if not text:
        text = next((line for key in ("reason", "module_stderr", "stderr") for line in lines_of(result.get(key))), "")
    code = result.get("rc")
    if (not text or "non-zero return code" in text) and isinstance(code, int):
        return f"the command ended with code {code}."
    return text or "no reason was given; run with -v for the whole result."


def _probes(transcript: Any) -> Iterator[str]:
    """Yield the last answers of each server that was probed."""
    if not isinstance(transcript, Mapping):
        return
    for name, answers in transcript.items():
        listed = [answer for answer in answers if isinstance(answer, Mapping)] if isinstance(answers, list) else []
        for answer in listed[-PROBE_LINES:]:
            seen = answer.get("problem") or answer.get("answer") or ("passed" if answer.get("ok") else "failed")
            at = answer.get("at_seconds")
            when = f" after {at:.1f} s" if isinstance(at, int | float) else ""
            yield f"{name}{when}: {fit(str(seen), 160)}"


def details(result: Mapping[str, Any]) -> list[str]:
    """Return the evidence of a failure that its sentence does not hold already."""
    if is_hidden(result):
        return []
    said = " ".join(sentence(result).split())
    found = lines_of(result.get("evidence")) + lines_of(result.get("failed_targets"))
    found += list(_probes(result.get("transcript")))
    for key in ("stderr", "module_stderr", "stdout", "module_stdout"):
        output = lines_of(result.get(key))
        if output:
            found += output[-OUTPUT_LINES:]
            break
    fresh = [line for line in dict.fromkeys(found) if line.strip() and " ".join(line.split()) not in said]
    more = len(fresh) - DETAIL_LINES
    return fresh if more <= 0 else [*fresh[:DETAIL_LINES], f"and {more} lines more; run with -v for all of them"]


def next_command(result: Mapping[str, Any]) -> str:
    """Return what to type next: the result's own C(next), else what its sentence ends in."""
    if is_hidden(result):
        return ""
    own = result.get("next")
    if isinstance(own, str) and own.strip():
        return own.strip()
    found = _RUN.search(sentence(result))
    return found["command"].strip().removesuffix(".") if found else ""


# Stages


@dataclass
class Stage:
    """Tasks in a row that belong together, with the hosts that took part and what moved."""

    label: str
    began: float
    hosts: dict[str, None] = field(default_factory=dict)
    moved: dict[str, list[str]] = field(default_factory=dict)
    failed: bool = False

    def add(self, host: str, texts: Iterable[str]) -> None:
        self.hosts[host] = None
        for text in texts:
            hosts = self.moved.setdefault(text, [])
            if host not in hosts:
                hosts.append(host)


def columns(label: str, hosts: str, rest: str) -> str:
    return f"  {label:<{LABEL_WIDTH}} {hosts:<{HOSTS_WIDTH}} {rest}".rstrip()


def stage_lines(stage: Stage, seconds: float, width: int) -> list[str]:
    """Return a stage's line; where what moved is too long for it, a line for each act after it."""
    head = columns(stage.label, collapse(stage.hosts), f"{seconds:>6.1f} s")
    parts = [
        text if set(hosts) == set(stage.hosts) else f"{text} ({collapse(hosts)})" for text, hosts in stage.moved.items()
    ]
    tail = ", ".join(parts)
    if not parts:
        return [head]
    if len(head) + 2 + len(tail) <= width:
        return [f"{head}  {tail}"]
    return [head, *(f"{'':{LABEL_WIDTH + 3}}{part}" for part in parts)]


def live_text(label: str, title: str, seconds: float, width: int) -> str:
    """Return the text of the line that shows what runs now."""
    tail = f"  {seconds:.0f} s"
    return fit(f"  {label:<{LABEL_WIDTH}} {title}", width - len(tail)) + tail


def waiting(title: str, attempts: int, retries: int) -> str:
    said = in_sentence(title)
    said = said.removeprefix("wait ") if said.startswith("wait ") else f"for {said}"
    return f"waiting {said}, try {attempts} of {retries}"


# Failures


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host."""

    host: str
    task: str
    action: str
    sentence: str
    details: tuple[str, ...] = ()
    next: str = ""
    unreachable: bool = False


def failures_of(
    host: str,
    task: str,
    action: str,
    result: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]] = (),
    unreachable: bool = False,
) -> list[Failure]:
    """Return a failure for each item of a loop that failed, or the one of the task."""
    found = []
    for one in items or [result]:
        label = item_label(one) if items else ""
        found.append(
            Failure(
                host=host,
                task=f"{task} ({label})" if label else task,
                action=action,
                sentence=sentence(one),
                details=tuple(details(one)),
                next=next_command(one),
                unreachable=unreachable,
            )
        )
    return found


def short_failure(word: str, failure: Failure, width: int) -> str:
    """Return the line that is printed when it happens: cut to the width, as the end has all of it."""
    return fit(columns(word, failure.host, f"{failure.task}: {failure.sentence}"), width)


def unrescued(events: Sequence[Sequence[Failure]], counted: Mapping[str, int]) -> list[Failure]:
    """Return the failures that no rescue took up; an event is what one task brought on one host.

    The run's statistics count those of each host. They are its last, as a host is out of the play after one.
    """
    kept: list[Sequence[Failure]] = []
    left = dict(counted)
    for event in reversed(events):
        if event and left.get(event[0].host, 0) > 0:
            left[event[0].host] -= 1
            kept.insert(0, event)
    return [failure for event in kept for failure in event]


def cause(failure: Failure, events: Sequence[Sequence[Failure]], ended: Sequence[Failure]) -> list[Failure]:
    """Return what a rescue failed for: the last failures that were rescued before it, where it has no evidence."""
    if failure.action not in ("fail", "assert") or failure.details:
        return []
    rescued = [one for event in events for one in event if one not in ended]
    return [one for one in rescued if one.task == rescued[-1].task]


def grouped(failures: Iterable[Failure]) -> list[list[Failure]]:
    """Return failures by task and sentence, each with the hosts that share them."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.task, failure.sentence), []).append(failure)
    return list(groups.values())


def failure_lines(group: Sequence[Failure], causes: Sequence[Failure] = ()) -> list[str]:
    """Return the whole of a failure: where, the sentence, the evidence, what led to it and what to type next."""
    first = group[0]
    word = "Unreachable" if first.unreachable else "Failed"
    found = [f"{word}: {first.task}, on {collapse(one.host for one in group)}", *indented(first.sentence, 2)]
    shown = {one.details for one in group}
    for one in group if len(shown) > 1 else group[:1]:
        if len(shown) > 1 and one.details:
            found.append(f"    {one.host}:")
        found += [f"    {'  ' if len(shown) > 1 else ''}{line}" for line in one.details]
    said = " ".join(first.sentence.split())
    for earlier in grouped(causes):
        found.append(f"  It began with {earlier[0].task}, on {collapse(one.host for one in earlier)}")
        if " ".join(earlier[0].sentence.split()) not in said:
            found += indented(earlier[0].sentence, 4)
        lines = dict.fromkeys(line for one in earlier for line in one.details)
        found += [f"    {line}" for line in lines if " ".join(line.split()) not in said]
    command = next((one.next for one in (*group, *causes) if one.next), "")
    return [*found, f"  Next: {command}"] if command else found


def indented(text: str, by: int) -> list[str]:
    return [f"{'':{by}}{line}".rstrip() for line in text.splitlines()]


# The end


def recap_line(host: str, summary: Mapping[str, int]) -> str:
    """Return what changed or failed on a host; nothing where nothing did."""
    words = {"failures": "failed", "unreachable": "unreachable", "changed": "changed"}
    parts = [f"{summary[key]} {word}" for key, word in words.items() if summary.get(key)]
    if not parts:
        return ""
    parts += [f"{summary[key]} {key}" for key in ("rescued", "ignored") if summary.get(key)]
    return f"  {host:<{LABEL_WIDTH}} {', '.join(parts)}"


def last_line(seconds: float, changed: bool, failed: bool, check: bool) -> str:
    if failed:
        return f"Failed after {seconds:.1f} s."
    if changed:
        return f"Done in {seconds:.1f} s{', nothing was changed: this was a check' if check else ''}."
    return f"Nothing to change, {seconds:.1f} s."


@dataclass
class Counts:
    """How much a run asked of its hosts; what the figures of a release are made of."""

    tasks: int = 0
    remote_runs: int = 0
    polls: int = 0
    changed_tasks: list[str] = field(default_factory=list)
    _ran: list[bool] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def start(self, key: str, once: bool = False) -> None:
        """Count a task's banner; with C(once) the same task on another host is the same banner."""
        if once and key in self._index:
            return
        self._index[key] = len(self._ran)
        self._ran.append(False)
        self.tasks += 1

    def result(self, key: str, action: str, runs: int, delegate: str = "") -> None:
        """Count what a task ran on a host, which is more than once in a loop."""
        if key in self._index:
            self._ran[self._index[key]] = True
        if short_action(action) in CONTROLLER_ACTIONS or delegate in LOCAL_HOSTS:
            return
        self.remote_runs += runs

    @property
    def skipped(self) -> int:
        return self._ran.count(False)

    def line(self) -> str:
        return f"tasks {self.tasks} (skipped {self.skipped}), remote runs {self.remote_runs}, polls {self.polls}"

    def as_json(self, seconds: float, hosts: Mapping[str, Mapping[str, int]]) -> str:
        found = {
            "tasks": self.tasks,
            "skipped": self.skipped,
            "remote_runs": self.remote_runs,
            "polls": self.polls,
            "seconds": round(seconds, 2),
            "changed_tasks": self.changed_tasks,
            "hosts": hosts,
        }
        return json.dumps(found, indent=2, sort_keys=True) + "\n"
