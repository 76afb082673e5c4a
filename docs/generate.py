# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/reference from the roles' specs and the documentation of modules and filters, and the runbooks' index.

With --check it writes nothing, lists outdated pages, and fails if there are any.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = "roles/*/files/rules/*.yml"
COLLECTION = "evenkeel.platform"
KINDS = ("module", "filter", "lookup", "callback")
HEAD = "<!-- Written by `make docs` from the specs. Change those, not this page. -->\n"
CODE = re.compile(r"\b(?:O|V|C|RV|E)\(((?:[^()\\]|\\.|\([^()]*\))*)\)")
PLUGIN = re.compile(r"\b(?:M\(([^()]*)\)|P\(([^()#]*)#[a-z]+\))")


def marked(text: Any) -> str:
    """Convert Ansible's markup to markdown on one line; a list becomes consecutive sentences."""
    line = " ".join(text) if isinstance(text, list) else str(text or "")
    line = CODE.sub(lambda found: "`" + re.sub(r"\\(.)", r"\1", found[1]) + "`", line)
    line = PLUGIN.sub(lambda found: f"`{found[1] or found[2]}`", line)
    line = re.sub(r"\bI\(([^()]*)\)", r"*\1*", line)
    line = re.sub(r"\bB\(([^()]*)\)", r"**\1**", line)
    line = re.sub(r"\bU\(([^()]*)\)", r"<\1>", line)
    line = re.sub(r"\bL\(([^(),]*),\s*([^()]*)\)", r"[\1](\2)", line)
    return " ".join(line.split())


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def value(data: Any) -> str:
    """Format a default as YAML on one line."""
    if isinstance(data, str):
        return f"`{json.dumps(data, ensure_ascii=False)}`"
    return f"`{json.dumps(data, ensure_ascii=False, default=str)}`"


def kind(option: dict[str, Any]) -> str:
    elements = f" of {option['elements']}" if option.get("elements") else ""
    return f"{option.get('type', 'str')}{elements}"


def rows(options: dict[str, Any], inner: str, prefix: str = "") -> Iterator[str]:
    """Return a table row for each option, followed by its suboptions."""
    for name, given in options.items():
        option = given or {}
        default = (
            "required"
            if option.get("required")
            else value(option["default"])
            if option.get("default") is not None
            else ""
        )
        text = marked(option.get("description"))
        if option.get("choices"):
            text += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        yield f"| `{prefix}{name}` | {kind(option)} | {cell(default)} | {cell(text)} |"
        yield from rows(option.get(inner) or {}, inner, f"{prefix}{name}.")


def table(options: dict[str, Any], inner: str) -> Iterator[str]:
    if not options:
        yield "No options."
        return
    yield "| option | type | default | meaning |"
    yield "|---|---|---|---|"
    yield from rows(options, inner)


def paragraphs(text: Any) -> Iterator[str]:
    for sentence in text if isinstance(text, list) else [text] if text else []:
        yield ""
        yield marked(sentence)


def role_page(role: str, specs: dict[str, Any]) -> str:
    lines = [HEAD, f"# Role {COLLECTION}.{role}"]
    for entry_point, spec in specs.items():
        title = "" if entry_point == "main" else f"Entry point `{entry_point}`: "
        lines += ["", f"## {title}{marked(spec.get('short_description')).rstrip('.')}"]
        lines += paragraphs(spec.get("description"))
        lines += ["", *table(spec.get("options") or {}, "options")]
    return "\n".join(lines) + "\n"


def plugin_page(name: str, kind_of_plugin: str, answer: dict[str, Any]) -> str:
    doc = answer["doc"]
    lines = [HEAD, f"# {kind_of_plugin.capitalize()} {name}", "", f"{marked(doc['short_description']).rstrip('.')}."]
    lines += paragraphs(doc.get("description"))
    if doc.get("attributes"):
        lines += ["", "| attribute | support |", "|---|---|"]
        lines += [f"| {key} | {item.get('support', '')} |" for key, item in sorted(doc["attributes"].items())]
    lines += ["", "## Options", "", *table(doc.get("options") or {}, "suboptions")]
    if doc.get("notes"):
        lines += ["", "## Notes", "", *[f"- {marked(note)}" for note in doc["notes"]]]
    if answer.get("examples"):
        lines += ["", "## Examples", "", "```yaml", answer["examples"].strip("\n"), "```"]
    if answer.get("return"):
        lines += ["", "## Returns", "", "| key | type | returned | meaning |", "|---|---|---|---|"]
        lines += returned_rows(answer["return"])
    return "\n".join(lines) + "\n"


def returned_rows(returned: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, item in returned.items():
        when = marked(item.get("returned"))
        yield f"| `{prefix}{key}` | {kind(item)} | {cell(when)} | {cell(marked(item.get('description')))} |"
        yield from returned_rows(item.get("contains") or {}, f"{prefix}{key}.")


def ansible_doc() -> dict[str, dict[str, Any]]:
    """Return ansible-doc's documentation of the collection by kind of plugin. Linters report missing documentation."""
    beside = Path(sys.executable).with_name("ansible-doc")
    program = str(beside) if beside.exists() else shutil.which("ansible-doc") or "ansible-doc"
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    answer = subprocess.run(
        [program, "--metadata-dump", "--no-fail-on-errors", COLLECTION],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise SystemExit(f"docs: ansible-doc on {COLLECTION}: found an error, need its answer. {answer.stderr}")
    return {
        kind_of_plugin: {name: item for name, item in sorted(items.items()) if "doc" in item}
        for kind_of_plugin, items in json.loads(answer.stdout)["all"].items()
        if kind_of_plugin in KINDS
    }


def pages() -> dict[str, str]:
    """Return all pages of the reference by path below docs/reference."""
    found: dict[str, str] = {}
    index = [HEAD, "# Reference", "", "## Roles", ""]
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        role = path.parent.parent.name
        specs = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("argument_specs") or {}
        found[f"roles/{role}.md"] = role_page(role, specs)
        index.append(f"- [{role}](roles/{role}.md): {marked((specs.get('main') or {}).get('short_description'))}")
    for kind_of_plugin, answers in ansible_doc().items():
        if answers:
            index += ["", f"## {kind_of_plugin.capitalize()}s", ""]
        for name, answer in answers.items():
            page = f"{kind_of_plugin}s/{name.rpartition('.')[2]}.md"
            found[page] = plugin_page(name, kind_of_plugin, answer)
            index.append(f"- [{name.rpartition('.')[2]}]({page}): {marked(answer['doc']['short_description'])}")
    found["compose.md"] = compose_page()
    index += ["", "## Compose files", "", "- [compose](compose.md): What becomes of each key of a Compose file"]
    found["README.md"] = "\n".join(index) + "\n"
    return found


def compose_page() -> str:
    """Return what becomes of every key of a Compose file, from the table that decides it."""
    spec = importlib.util.spec_from_file_location("compose_keys", ROOT / "plugins/module_utils/_compose_keys.py")
    if spec is None or spec.loader is None:
        raise SystemExit("docs: _compose_keys.py: found no such file, need it. Restore it.")
    keys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(keys)
    lines = [
        HEAD.replace("the specs", "the table in plugins/module_utils/_compose_keys.py"),
        "# Keys of a Compose file",
        "",
        "What an app of `app_deploy_apps` with `compose` makes of each key on hosts with Docker Compose. A key that is",
        "kept reaches the container as it is written; one that is refused is named before anything changes. Keys that",
        "begin with `x-` are left out, apart from `x-evenkeel`, which [app.md](../guides/app.md) describes.",
    ]
    for section, table_ in keys.TABLE.items():
        lines += ["", f"## {section.capitalize()}", "", "| key | what becomes of it | how |", "|---|---|---|"]
        for name, key in sorted(table_.items()):
            how = f"{key.note}. {key.todo}." if key.todo else key.note
            lines.append(f"| `{name}` | {key.verdict} | {cell(how)} |")
    return "\n".join(lines) + "\n"


def runbooks_index() -> str:
    """Return the index of the runbooks by pack, with severity and first sentence."""
    lines = [HEAD.replace("specs", "rules and the pages"), "# Runbooks", "", "One page for each alert."]
    listed = {"README"}
    for path in sorted(ROOT.glob(RULES), key=lambda path: path.stem):
        lines += ["", f"## {path.stem.capitalize()}", "", "| alert | severity | owner | means |", "|---|---|---|---|"]
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    listed.add(rule["alert"])
                    labels = rule["labels"]
                    lines.append(runbook_row(rule["alert"], f"{labels['severity']} | {labels['owner']}"))
    others = sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem not in listed)
    lines += ["", "## SLOs", "", "| alert | severity | owner | means |", "|---|---|---|---|"]
    lines += [runbook_row(name, "by SLO | by SLO") for name in others]
    return "\n".join(lines) + "\n"


def runbook_row(alert: str, labels: str) -> str:
    page = RUNBOOKS / f"{alert}.md"
    text = page.read_text(encoding="utf-8").split("\n\n")[1] if page.exists() else ""
    first = re.split(r"(?<=[.:]) ", " ".join(text.split()), maxsplit=1)[0].rstrip(":")
    return f"| [{alert}]({alert}.md) | {labels} | {cell(first)} |"


def stale(wanted: dict[str, str], folder: Path) -> list[str]:
    """Return the pages that are missing, outdated or obsolete."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.md")} if folder.exists() else set()
    changed = [name for name, text in wanted.items() if name in there and (folder / name).read_text("utf-8") != text]
    return sorted([*changed, *(wanted.keys() ^ there)])


def write(wanted: dict[str, str], folder: Path) -> None:
    for name in stale(wanted, folder):
        if name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing and fail if a page is not current")
    options = parser.parse_args(arguments)
    wanted = pages()
    found = stale(wanted, REFERENCE)
    for name in found:
        print(f"docs/reference/{name}: {'not current, run make docs' if options.check else 'written'}")
    index = runbooks_index()
    if not (RUNBOOKS / "README.md").exists() or (RUNBOOKS / "README.md").read_text(encoding="utf-8") != index:
        found.append("runbooks")
        print(f"docs/runbooks/README.md: {'not current, run make docs' if options.check else 'written'}")
    if not options.check:
        write(wanted, REFERENCE)
        (RUNBOOKS / "README.md").write_text(index, encoding="utf-8")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
