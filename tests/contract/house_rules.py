# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""House rules beyond the linters. Each function takes a tree and yields one sentence for each violation."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.tests.contract.tree import BLOCKS, SECTIONS, Task, Tree, strings

Rule = Callable[[Tree], Iterator[str]]

# Names of secrets. A release key names a field of an app's answer, and a lease token is a counter.
SECRET = re.compile(
    r"(?<![\w.-])(?!\w*(?:public|release|host|lease|fence)_(?:key|token)\b)\w+_(?:password|passphrase|secret|token|key)\b"
)
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
FACTS = re.compile(
    r"(?<![\w.'\"/-])ansible_(?:all_ipv[46]_addresses|apparmor|architecture|bios_\w+|board_\w+|cmdline|date_time"
    r"|default_ipv[46]|device_links|devices|distribution\w*|dns|domain|effective_\w+|env|eth\d\w*|fips|fqdn|hostname"
    r"|interfaces|is_chroot|kernel\w*|lo|loadavg|local|lsb|lvm|machine\w*|mem\w+_mb|memory_mb|mounts|nodename"
    r"|os_family|packages|pkg_mgr|proc_cmdline|processor\w*|product_\w+|python|python_version|real_\w+|selinux\w*"
    r"|service_mgr|services|ssh_host_key_\w+|swap\w+_mb|system\w*|uptime_seconds|user_\w+|userspace_\w+"
    r"|virtualization_\w+)\b"
)
NOT_CONSTANT = re.compile(r"\b(?:ansible_facts|hostvars|groups|group_names|inventory_hostname\w*|lookup|query|q|now)\b")
WRITERS = frozenset({"copy", "template", "file", "lineinfile", "blockinfile", "get_url", "slurp", "assemble"})
RUNNERS = frozenset({"command", "shell", "raw", "script", "expect"})
PRIVATE_MODES = frozenset({"0600", "0400"})
DRAWERS = frozenset({"util", "utils", "helper", "helpers", "common", "misc", "stuff"})
REGISTRIES = [
    "".join(parts)
    for parts in (
        ("py", "pi.org"),
        ("files.python", "hosted.org"),
        ("deb.deb", "ian.org"),
        ("security.deb", "ian.org"),
        ("archive.ubu", "ntu.com"),
        ("registry.npm", "js.org"),
        ("proxy.go", "lang.org"),
        ("galaxy.ans", "ible.com"),
    )
]
# Verbs that a task name may begin with.
VERBS = frozenset(
    re.findall(
        r"\w+",
        """
    Acquire Add Allocate Allow Archive Assert Back Bind Build Check Close Collect Compare Compile Compute Configure
    Confirm Connect Converge Copy Correct Create Declare Delete Deploy Destroy Disable Download Drain Enable Ensure
    Export Extract Fail Fetch Find Flush Format Gate Gather Generate Get Grant Group Hold Import Include Inspect
    Install Issue Kill Label Limit Link List Load Lock Log Mark Measure Merge Migrate Mount Move Open Pack Parse Pause
    Pin Plan Prepare Print Probe Prune Publish Pull Purge Push Query Raise Read Record Reduce Refuse Register Release
    Reload Remove Rename Render Replace Report Request Reset Resolve Restart Restore Resume Retry Revoke Roll Rotate
    Run Save Scale Scan Schedule Select Send Serve Set Show Sign Silence Skip Start Stop Store Switch Sync Tag Test
    Undo Uninstall Unlock Unpack Update Upgrade Upload Validate Verify Wait Warm Withdraw Write
    """,
    )
)
PRONOUNS = frozenset({"it", "them", "that", "this", "these", "those", "there", "here", "one", "ones"})
# Paths whose task names do not follow the rule yet.
LICENCE = ("# Copyright (c) ", "# GNU General Public License v3.0+", "# SPDX-License-Identifier: GPL-3.0-or-later")


def _role_of(path: str) -> str:
    return path.split("/")[1]


def _expressions(data: Any) -> str:
    """Return all template expressions in the data, without quoted text."""
    found = (match for text in strings(data) for match in EXPRESSION.findall(text))
    return QUOTED.sub("''", " ".join(found))


def _secrets_in(tree: Tree, task: Task) -> set[str]:
    """Return the secret names in an action's arguments and its template."""
    args = task.args
    if task.module == "assert" and isinstance(args, dict):
        args = {key: value for key, value in args.items() if key != "that"}
    found = set(SECRET.findall(_expressions(args)))
    source = task.options.get("src", "") if task.module == "template" else ""
    template = f"roles/{_role_of(task.path)}/templates/{source}"
    if source and template in tree.paths:
        found.update(SECRET.findall(_expressions(tree.text(template))))
    return found


def include_without_apply(tree: Tree) -> Iterator[str]:
    """An include with tags of its own applies them too: on the bare include they run nothing inside."""
    for task in tree.tasks("roles/*/tasks/*.yml"):
        included = task.module in {"include_tasks", "include_role"}
        if included and task.tags and "tags" not in (task.options.get("apply") or {}):
            yield f"{task.where}: {task.module} with tags and without apply: tags"


def changed_without_reason(tree: Tree) -> Iterator[str]:
    """`changed_when: true` carries a comment that says why, on its line or the line above."""
    for path in tree.matching("roles/*.yml", "playbooks/*.yml", "molecule/*.yml"):
        above = ""
        for number, line in tree.lines(path):
            if re.match(r"\s*(?:- )?changed_when:\s*true\s*$", line) and not above.lstrip().startswith("#"):
                yield f"{path}:{number}: changed_when: true without a reason"
            above = line


def unreachable_in_vain(tree: Tree) -> Iterator[str]:
    """A task that ignores an unreachable host sets `any_errors_fatal: false`, or its play's true ends the run."""
    for task in tree.tasks():
        if task.data.get("ignore_unreachable") and task.data.get("any_errors_fatal") is not False:
            yield f"{task.where}: ignore_unreachable without any_errors_fatal: false"


def secret_in_arguments(tree: Tree) -> Iterator[str]:
    """A secret never stands among the arguments of a program: the process list shows it."""
    for task in tree.tasks():
        args = task.args
        if task.module in RUNNERS:
            argv = (
                {key: args[key] for key in ("argv", "cmd", "_raw_params") if key in args}
                if isinstance(args, dict)
                else args
            )
            for name in sorted(set(SECRET.findall(_expressions(argv)))):
                yield f"{task.where}: {name} in the arguments of a program"


def secret_file_mode(tree: Tree) -> Iterator[str]:
    """A file that holds a secret has mode 0600 or 0400, written out."""
    for task in tree.tasks():
        if task.module in {"copy", "template", "lineinfile", "blockinfile"}:
            secrets = sorted(_secrets_in(tree, task))
            mode = task.options.get("mode")
            if secrets and mode not in PRIVATE_MODES:
                yield f"{task.where}: {', '.join(secrets)} in a file of mode {mode}, need 0600 or 0400"
        files = task.options.get("files") if task.module == "host_files" else None
        for item in files if isinstance(files, list) else []:
            secrets = sorted(SECRET.findall(_expressions(item)))
            if secrets and ("secret_content" not in item or item.get("mode") not in PRIVATE_MODES):
                need = "secret_content and mode 0600 or 0400"
                yield f"{task.where}: {', '.join(secrets)} in {item.get('path')}, need {need}"


def secret_in_the_open(tree: Tree) -> Iterator[str]:
    """A task that bears a secret has no_log by the role's `_secure_logging`, and a file of it no diff."""
    for task in tree.tasks():
        secrets = ", ".join(sorted(_secrets_in(tree, task)))
        if not secrets or task.module in {"import_tasks", "include_tasks", "include_role", "import_role"}:
            continue
        no_log = task.keyword("no_log")
        if not (no_log is True or "_secure_logging" in str(no_log)):
            yield f"{task.where}: {secrets} without no_log"
        if task.module in WRITERS and task.keyword("diff") is not False:
            yield f"{task.where}: {secrets} in a file without diff: false"


# What changes containers or units of an app, and which of its states only read.
ACTS = {
    "compose_release": {"steady", "pulled"},
    "scheduled_jobs": set(),
    "migration_run": {"finished", "removed"},
    "app_command": {"executed", "finished"},
}
# Modules of others and programs that reach the engine past the gate.
PAST_THE_GATE = re.compile(r"docker_\w+|\bdocker\b|systemd-run")


def unguarded_act(tree: Tree) -> Iterator[str]:
    """A task of app_deploy that changes containers or units of an app has the guard of its run, and no other way."""
    for task in tree.tasks("roles/app_deploy/tasks/*.yml"):
        reads = ACTS.get(task.module)
        if reads is not None and task.options.get("state") not in reads and "guard" not in task.options:
            yield f"{task.where}: {task.module} without a guard"
        said = f"{task.module} {task.args}" if task.module in RUNNERS else task.module
        if PAST_THE_GATE.search(said):
            yield f"{task.where}: reaches the engine past the gate"


def injected_fact(tree: Tree) -> Iterator[str]:
    """Facts are read as ansible_facts['x']: injected names are switched off."""
    for path in tree.matching("roles/*.yml", "roles/*.j2", "playbooks/*.yml", "inventories/*.yml", "molecule/*.yml"):
        for number, line in tree.lines(path):
            for name in FACTS.findall(line.split(" #")[0]) if not line.lstrip().startswith("#") else []:
                yield f"{path}:{number}: injected fact {name}"


def moving_default(tree: Tree) -> Iterator[str]:
    """Defaults are constants and other defaults: no fact, lookup, group or host variable."""
    for path in tree.matching("roles/*/defaults/*.yml"):
        for number, line in tree.lines(path):
            for expression in EXPRESSION.findall(line.split(" #")[0]) if not line.lstrip().startswith("#") else []:
                for name in NOT_CONSTANT.findall(QUOTED.sub("''", expression)):
                    yield f"{path}:{number}: default from {name}"


def always_tagged(tree: Tree) -> Iterator[str]:
    """No task of a role is tagged `always`: a run for another role's tag would execute it."""
    for path in tree.matching("roles/*/tasks/*.yml"):
        for entry in _entries(tree.load(path)):
            if "always" in Task(path, entry).tags:
                yield f"{Task(path, entry).where}: tagged always"


def tag_names(tree: Tree) -> Iterator[str]:
    """A role's tags are its name and `<role>_<stage>`; each stage of main.yml carries both."""
    for path in tree.matching("roles/*/tasks/*.yml"):
        role = _role_of(path)
        for entry in _entries(tree.load(path)):
            task = Task(path, entry)
            for tag in task.tags:
                if tag != role and not tag.startswith(f"{role}_"):
                    yield f"{task.where}: tag {tag}, need {role} or {role}_<stage>"
            if path == f"roles/{role}/tasks/main.yml" and task.module == "import_tasks":
                if role not in task.tags:
                    yield f"{task.where}: stage without tag {role}"
                if not any(tag.startswith(f"{role}_") for tag in task.tags):
                    yield f"{task.where}: stage without tag {role}_<stage>"


def _entries(data: Any) -> Iterator[dict[str, Any]]:
    for entry in data if isinstance(data, list) else []:
        if isinstance(entry, dict):
            yield entry
            for key in ("block", "rescue", "always"):
                yield from _entries(entry.get(key))


def public_name_set(tree: Tree) -> Iterator[str]:
    """What a role or play sets by set_fact or register begins with two underscores: a public name is the user's."""
    for task in tree.tasks():
        names = [name for name in task.options if name != "cacheable"] if task.module == "set_fact" else []
        for name in (*names, *[task.data[key] for key in ("register",) if key in task.data]):
            if not str(name).startswith("__"):
                yield f"{task.where}: sets the public name {name}"


def handler_kind(tree: Tree) -> Iterator[str]:
    """Handlers restart or reload, say of which role, keep no state and are guarded for check mode."""
    for task in tree.tasks("roles/*/handlers/*.yml"):
        role = _role_of(task.path)
        name = str(task.data.get("name", ""))
        if not re.match(rf"(?:Restart|Reload) {re.escape(role)}\b", name):
            yield f"{task.where}: handler {name!r}, need Restart or Reload {role} <thing>"
        if "register" in task.data or task.module in {"set_fact", "include_tasks", "import_tasks", "include_role"}:
            yield f"{task.where}: handler that is no plain restart or reload"
        if "ansible_check_mode" not in str(task.keyword("when")):
            yield f"{task.where}: handler without a guard for check mode"


def main_is_stages(tree: Tree) -> Iterator[str]:
    """A role's tasks/main.yml is a table of contents: imports of stages, includes for each item, flush_handlers."""
    for task in tree.tasks("roles/*/tasks/main.yml"):
        looped = task.module == "include_tasks" and "loop" in task.data
        flush = task.module == "meta" and task.args == "flush_handlers"
        if task.module != "import_tasks" and not looped and not flush:
            yield f"{task.where}: {task.action or 'entry'} in main.yml, need import_tasks of a stage"


def task_name(tree: Tree) -> Iterator[str]:
    """The name of a task or play begins with a verb, after its stages, and does not end in a pronoun."""
    for path in tree.matching("roles/*/tasks/*.yml", "playbooks/*.yml", "lab/*.yml", "molecule/*.yml", "site.yml"):
        if path.endswith("/mutants.yml"):
            continue
        for entry in _named_entries(tree.load(path)):
            words = str(entry["name"]).rpartition(" | ")[2].split() or [""]
            where = Task(path, entry).where
            if words[0] not in VERBS:
                yield f"{where}: task name {entry['name']!r} begins with {words[0]!r}, need a verb"
            if words[-1].strip(".,").lower() in PRONOUNS:
                yield f"{where}: task name {entry['name']!r} ends in {words[-1]!r}, need the object's name"


# The stages of a release are named, not its files: release.yml holds all of them.
RELEASE_STAGES = frozenset(
    [
        "backup",
        "doctor",
        "drain",
        "edge",
        "exec",
        "facts",
        "fetch",
        "gate",
        "handover",
        "install",
        "lease",
        "logs",
        "maintenance",
        "mend",
        "migrate",
        "plan",
        "preflight",
        "rebuild",
        "record",
        "report",
        "restart",
        "rollback",
        "run",
        "scale",
        "seal",
        "smoke",
        "start",
        "status",
        "switch",
        "undo",
        "uninstall",
        "unlock",
        "withdraw",
    ]
)


def stage_prefix(tree: Tree) -> Iterator[str]:
    """A task outside main.yml says its stage before its name: that of its file, in app_deploy that of the release."""
    for path in tree.matching("roles/*/tasks/*.yml"):
        stem = path.rpartition("/")[2].removesuffix(".yml")
        stages = RELEASE_STAGES if _role_of(path) == "app_deploy" else {stem}
        if stem == "main":
            continue
        for entry in _named_entries(tree.load(path)):
            grouping = "block" in entry or "import_tasks" in str(list(entry)) or "include_tasks" in str(list(entry))
            words = str(entry["name"]).split(" | ")
            if len(words) == 1 and not (grouping and _role_of(path) == "app_deploy"):
                yield f"{Task(path, entry).where}: task name {entry['name']!r} without a stage"
            elif len(words) > 1 and not stages & set(words[:-1]):
                yield f"{Task(path, entry).where}: task name {entry['name']!r}, need one of {', '.join(sorted(stages))}"


def _named_entries(data: Any) -> Iterator[dict[str, Any]]:
    """Return every play, block and task with a name."""
    for entry in data if isinstance(data, list) else []:
        if isinstance(entry, dict):
            if entry.get("name"):
                yield entry
            for key in (*SECTIONS, *BLOCKS):
                yield from _named_entries(entry.get(key))


def template_header(tree: Tree) -> Iterator[str]:
    """A file's template begins with ansible_managed and holds no time, but for JSON and what people read."""
    for path in tree.matching("roles/*/templates/*"):
        head = "\n".join(tree.text(path).splitlines()[:3])
        if not path.endswith(".j2"):
            yield f"{path}: template without the suffix .j2"
        if not path.endswith(".j2") or path.endswith((".json.j2", ".txt.j2", ".html.j2")):
            continue
        if "ansible_managed" not in head:
            yield f"{path}: template without ansible_managed in its first lines"
        if re.search(r"\{\{[^}]*(?:date_time|now\(|strftime)", tree.text(path)):
            yield f"{path}: template with a time in it"


def machine_path(tree: Tree) -> Iterator[str]:
    """No file names a path of the machine it was written on."""
    prefixes = {str(Path(prefix).resolve()) for prefix in (tree.root, sys.prefix)}
    ours = ("/usr", "/etc", "/var", "/opt/evenkeel", "/srv")
    foreign = sorted(prefix for prefix in prefixes if len(Path(prefix).parts) > 2 and not prefix.startswith(ours))
    places = [rf"{re.escape(prefix)}(?![\w.-])" for prefix in foreign]
    pattern = re.compile("|".join([*places, r"/home/(?!runner\b)[a-z]\w*/", r"/Users/\w+/"]))
    for path in tree.paths:
        for number, line in tree.lines(path):
            for found in pattern.findall(line):
                yield f"{path}:{number}: machine path {found}"


def registry_host(tree: Tree) -> Iterator[str]:
    """No file names a package registry: where packages come from is the machine's own set-up."""
    for path in tree.paths:
        for number, line in tree.lines(path):
            for host in REGISTRIES:
                if host in line:
                    yield f"{path}:{number}: package registry {host}"


def junk_drawer(tree: Tree) -> Iterator[str]:
    """No file or folder is a junk drawer."""
    for path in tree.paths:
        for part in Path(path).parts:
            if part.split(".")[0].strip("_-") in DRAWERS:
                yield f"{path}: {part} says nothing of what it holds"


def licence_header(tree: Tree) -> Iterator[str]:
    """Modules and plugins begin with copyright, licence and SPDX line."""
    for path in tree.matching("plugins/*.py", "plugins/*.yml"):
        head = tree.text(path).splitlines()[:6]
        for line in LICENCE:
            if not any(found.startswith(line) for found in head):
                yield f"{path}: no line {line!r} at the top"


def exception_without_reason(tree: Tree) -> Iterator[str]:
    """An exception to a linter stands in the line it is for; its reason stands there or in a comment just above."""
    mark = re.compile(r"#\s*(?:noqa|type:\s*ignore|pylint:\s*disable|yamllint disable)(?P<rest>.*)")
    for path in tree.matching("*.py", "*.yml", "*.yaml", "*.j2", "*.sh"):
        apart = 2  # lines since the last comment, without those with exceptions
        for number, line in tree.lines(path):
            found = mark.search(line)
            if found and " - " not in found["rest"] and "#" not in found["rest"] and apart > 1:
                yield f"{path}:{number}: exception without a reason"
            if line.lstrip().startswith("#"):
                apart = 0
            elif line.strip() and not found:
                apart += 1


# Rules of ansible-lint that a stricter rule here stands for.
REPLACED = {"name[casing]": "task_name and stage_prefix"}


def skip_list(tree: Tree) -> Iterator[str]:
    """No linter has a list of what it passes over, but for the rules that are replaced here."""
    for path in tree.matching(".ansible-lint-ignore", "tests/sanity/ignore-*.txt"):
        if tree.text(path).strip():
            yield f"{path}: list of exceptions"
    for path in tree.matching(".ansible-lint"):
        for key in ("skip_list", "warn_list"):
            for rule in (tree.load(path) or {}).get(key) or []:
                if rule not in REPLACED:
                    yield f"{path}: {rule} in {key}"


def unsealed_vault(tree: Tree) -> Iterator[str]:
    """A vault file outside the lab is encrypted."""
    for path in tree.matching("inventories/*/vault.yml"):
        if not path.startswith("inventories/lab/") and not tree.text(path).startswith("$ANSIBLE_VAULT;"):
            yield f"{path}: not encrypted"


RULES: tuple[Rule, ...] = (
    include_without_apply,
    changed_without_reason,
    unreachable_in_vain,
    secret_in_arguments,
    secret_file_mode,
    secret_in_the_open,
    unguarded_act,
    injected_fact,
    moving_default,
    always_tagged,
    tag_names,
    public_name_set,
    handler_kind,
    main_is_stages,
    task_name,
    stage_prefix,
    template_header,
    machine_path,
    registry_host,
    junk_drawer,
    licence_header,
    exception_without_reason,
    skip_list,
    unsealed_vault,
)
