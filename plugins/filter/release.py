# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a release for the role app_deploy: wish, plan and way back. Decisions are in module_utils/_plan.py."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.filter.docker_firewall import docker_firewall_rules
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _address,
    _app_choice,
    _app_problems,
    _app_shape,
    _app_status,
    _clock,
    _controller,
    _doctor,
    _model,
    _next_step,
    _plan,
    _release_content,
    _stacks,
    _verbs,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _compose_files

Data = dict[str, t.Any]
FACTS = "__app_deploy_facts"
# Read again once a run has failed.
FACTS_NOW = "__app_deploy_facts_now"


def _fleet(hostvars: t.Mapping[str, t.Any], app: str, options: Data) -> Data:
    """Return the app's hosts as the inventory has them."""
    addresses = {name: hostvars[name].get("platform_address") for name in (*options["edges"], *options["hosts"])}
    return {
        "edges": {
            name: {
                "address": addresses[name],
                "status_url": f"http://{_address.join(str(addresses[name]), options['status_port'])}/live/{app}",
            }
            for name in options["edges"]
        },
        "hosts": {name: {"address": addresses[name]} for name in options["hosts"]},
        "record_host": options["record_host"],
    }


def _facts(
    hostvars: t.Mapping[str, t.Any], options: Data, hosts: t.Collection[str], app: str, fact: str = FACTS
) -> Data:
    """Return what each host of this run answered; one that is gone has no answer."""
    names = dict.fromkeys((*options["edges"], *options["hosts"], options["record_host"]))
    found = {name: hostvars[name].get(fact) or {} for name in names if name in hosts}
    if fact == FACTS:
        for name, answer in found.items():
            if "pair" not in answer:
                found[name] = ((hostvars[name].get("__preflight_facts") or {}).get("releases") or {}).get(app) or {}
    return {name: dict(answer) for name, answer in found.items() if "pair" in answer}


def release_wish(
    apps: list[Data], hostvars: t.Mapping[str, t.Any], hosts: t.Collection[str], app: str, options: Data
) -> Data:
    """Return what a run is to do, from the inventory and the answers of the hosts; the plan follows it."""
    try:
        return _wish(apps, hostvars, hosts, app, options)
    except (Failure, ValueError) as exc:
        raise AnsibleFilterError(str(exc)) from exc


def _wish(apps: list[Data], hostvars: t.Mapping[str, t.Any], hosts: t.Collection[str], app: str, options: Data) -> Data:
    fleet = _fleet(hostvars, app, options)
    facts = _facts(hostvars, options, hosts, app)
    if options["kind"] == "rollback":
        # Going back goes wherever it can; what does not answer is declared out.
        missing = [name for name in fleet["edges"] if not (facts.get(name) or {}).get("edge")]
        options = {**options, "out": list(dict.fromkeys([*options["out"], *missing]))}
    described = next((each for each in apps if each.get("name") == app), None)
    records = _plan.releases_of(facts, fleet)
    now = _plan.served(_plan.edges_of(fleet, facts, options["out"]))
    lease = records["lease"]
    controller = _controller.this()
    wish: Data = {
        "app": app,
        "kind": options["kind"],
        "refusals": _plan.refusals(app, fleet, facts, options["out"], options["check_mode"]),
        "note": "",
        "out": list(options["out"]),
        "fleet": fleet,
        "facts": facts,
        "live": now["entry"]["text"],
        "run": controller["run"],
        "controller": controller,
        "dead_run": lease.get("run") or ""
        if lease.get("held") and _controller.gone(lease.get("controller") or {})
        else "",
        "token_floor": _plan.highest_pair(facts).token,
        "by_hand": bool(options["release"]),
        "inventory_release": str((described or {}).get("release") or ""),
        "model": {},
        "content": {},
        "digests": {},
        "images": [],
        "target": "",
        "pending": [],
        "homes": {},
        "migration_seconds": 0,
    }
    stays = ""
    if options["kind"] == "deploy":
        if described is None:
            raise ValueError(f"app_deploy: app {app}: found no such app in app_deploy_apps, need it. Set app.")
        if options["keep_by_hand"] and not options["release"]:
            stays = _plan.stays_by_hand(facts, fleet, wish["inventory_release"])
        named = {**described, "release": options["release"]} if options["release"] else described
        if not stays:
            strict = options.get("policy") == "strict"
            project, problems = _project(named, hostvars, options, strict)
            if problems:
                wish["refusals"] += problems
                return wish
            wish["model"] = _model.of(named, project, strict)
            wish["images"] = _stacks.images(wish["model"])
            wish["homes"] = _plan.homes(wish["model"], options["hosts"])
            wish["migration_seconds"] = _plan.migration_seconds(wish["model"], "expand")
            return wish
        wish["note"] = (
            f"{app}: {stays} is live, as it was deployed by hand; the inventory names {wish['inventory_release']}. "
            f"Set the release of {app} to {stays} in app_deploy_apps, or run "
            f"'ansible-playbook evenkeel.platform.deploy -e app={app} -e release={wish['inventory_release']}'."
        )
        wish["target"] = stays
    elif options["kind"] == "contract":
        wish["target"] = now["entry"]["release"]
        wish["pending"] = records["pending_contract"]
        running = _plan.older_side_runs(facts, fleet)
        if running and wish["pending"]:
            wish["refusals"].append(
                f"app_deploy: contract migration of app {app}: found the older side running on {', '.join(running)}, "
                "need it stopped, since it may not work with the new schema. Wait until it is no longer warm: "
                f"'{_next_step.command('status', app)}' shows when."
            )
    else:
        way = _plan.way_back(facts, fleet, options["release"])
        wish.update(target=way["target"])
    kept = _plan.kept_release(facts, fleet, wish["target"]) if wish["target"] else None
    if kept is None:
        # Without an answer of the record host, nothing is known of what is kept.
        wish["refusals"] += [_nothing_kept(app, wish, records)] if fleet["record_host"] in facts else []
        return wish
    wish["content"] = kept["content"]
    wish["model"] = kept["content"]["model"]
    wish["digests"] = kept["content"]["digests"]
    if options["kind"] == "contract":
        wish["migration_seconds"] = _plan.migration_seconds(wish["model"], "contract")
    else:
        wish["homes"] = _plan.homes(wish["model"], options["hosts"])
    # What is kept is started by digest, from the host where it lies there.
    wish["images"] = sorted(set(wish["digests"].values()))
    missing = _missing_secrets(wish["model"], described)
    if missing:
        wish["refusals"] += [
            f"app_deploy: secrets of release {wish['target']} of app {app}: found no value for {', '.join(missing)}, "
            "need one each. Put them back into app_deploy_apps."
        ]
    return wish


def _project(
    described: Data, hostvars: t.Mapping[str, t.Any], options: Data, strict: bool
) -> tuple[Data | None, list[str]]:
    """Return the project of an app with a Compose file, and every reason why there is none.

    The preflight has read it where the first app host had Compose already; else the facts of this run have it.
    """
    if not _app_shape.is_compose(described):
        return None, []
    name, host = str(described["name"]), options["hosts"][0]
    checked = (hostvars[host].get("__preflight_facts") or {}).get("projects") or []
    answers = {one["app"]: one for one in checked if one["normal"] and one["release"] == str(described["release"])}
    late = name not in answers
    if late:
        answers = {name: dict((hostvars[host].get(FACTS) or {}).get("project") or {})}
    read = _compose_files.projects([described], answers)[name]
    if read["project"] is None:
        nothing = (
            f"app_deploy: compose of app {name}: found no Compose on {host}, need it to read the file. "
            "Run 'ansible-playbook evenkeel.platform.site'."
        )
        return None, read["problems"] or [nothing]
    if not late:
        return read["project"], []
    fleet = {each: {"address": hostvars[each].get("platform_address")} for each in options["hosts"]}
    facts: _app_problems.Facts = {"projects": {name: read}, "strict": strict}
    return read["project"], _app_problems.problems([described], fleet, options["edges"], facts)


def release_compose(apps: list[Data], app: str, host: str, run: Data) -> Data:
    """Return what a host is asked to normalise of an app with a Compose file; the first app host alone is asked."""
    if host != next(iter(run["hosts"]), "") or (run["apps"] and app not in run["apps"]):
        return {}
    described = [each for each in apps if each.get("name") == app]
    return next(iter(_compose_files.asked(described, run["options"]["release"])), {})


def _nothing_kept(app: str, wish: Data, records: Data) -> str:
    kept = ", ".join(each["identity"] for each in records["releases"]) or "none"
    live = wish["live"].split(":")[2] if wish["live"].count(":") == 3 else ""
    found = f"release {wish['target']} not" if wish["target"] else f"no release before {live or 'this one'}"
    return (
        f"app_deploy: {wish['kind']} of app {app}: found {found} among those kept ({kept}), need one. "
        "Deploy a release with 'ansible-playbook evenkeel.platform.deploy'."
    )


def _missing_secrets(model: Data, described: Data | None) -> list[str]:
    known = set(_compose_files.secret_values(described)) if described else set()
    needed = {
        _model.secret_key(name, secret)
        for name, service in model["services"].items()
        for secret in service["x-evenkeel"]["secrets"]
    }
    return sorted(needed - known)


def release_content(wish: Data, hostvars: t.Mapping[str, t.Any]) -> Data:
    """Return what the release is made of, once its images are on every host: C(content), C(digests), C(refusals)."""
    if wish["content"]:
        return {"content": wish["content"], "digests": wish["digests"], "refusals": []}
    answers = {
        name: (hostvars[name].get("__app_deploy_fetched") or {}).get("images") or {} for name in wish["fleet"]["hosts"]
    }
    digests = next(iter(answers.values()), {})
    refusals = []
    for image in sorted(digests):
        found = {name: images.get(image) for name, images in answers.items()}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{digest} on {name}" for name, digest in found.items())
            refusals.append(
                f"app_deploy: image {image} of app {wish['app']}: found {listed}, need the same everywhere. "
                "The tag was moved meanwhile: deploy again."
            )
    return {"content": _release_content.content(wish["model"], digests), "digests": digests, "refusals": refusals}


def release_plan(wish: Data, opened: Data, hostvars: t.Mapping[str, t.Any], options: Data) -> Data:
    """Return the plan of the run that C(release_journal) has opened."""
    try:
        options = {**options, "out": wish["out"]}
        digests = release_content(wish, hostvars)["digests"]
        answer = {**dict(opened), "app": wish["app"]}
        if wish["kind"] == "contract":
            return _plan.contract(wish["model"], digests, wish["fleet"], wish["facts"], answer, options)
        plan = _plan.release(
            wish["model"], digests, wish["kind"], wish["fleet"], wish["facts"], answer, options, wish["note"]
        )
        # What the release is, for every host to keep: the record host may be lost.
        plan["kept"] = {
            "identity": answer["identity"],
            "release": wish["model"]["release"],
            "hash": answer.get("hash", ""),
            "content": release_content(wish, hostvars)["content"],
        }
        for host, about in plan["hosts"].items():
            known = ((wish["facts"].get(host) or {}).get("host") or {}).get("firewall") or []
            wanted = [line for line in docker_firewall_rules(about["rules"]) if "accept" in line]
            about["open_ports"] = bool(plan["stages"] or plan["mend"]) and (options["installing"] or known != wanted)
        return plan
    except (Failure, ValueError) as exc:
        raise AnsibleFilterError(str(exc)) from exc


def release_followers(plan: Data, hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Return the edges of a plan without those that could not be brought to the live entry."""
    return [
        name for name in plan.get("edge_names", []) if not _went_wrong(_result(hostvars, name, "__app_deploy_aligned"))
    ]


def release_batches(plan: Data, hostvars: t.Mapping[str, t.Any]) -> list[list[int]]:
    """Return the batches in which the hosts of a plan hand over, by what each host was seen to run."""
    found = {host: _result(hostvars, host, "__app_deploy_steady").get("beside") for host in plan["hosts"]}
    return _plan.batches(plan, {host: services for host, services in found.items() if services is not None})


def release_undo(
    plan: Data, wish: Data, hostvars: t.Mapping[str, t.Any], hosts: t.Collection[str], options: Data
) -> Data:
    """Return the way back of a run that failed, from what the hosts answer now; one that does not answer is lost."""
    everyone = dict.fromkeys((*options["edges"], *options["hosts"], options["record_host"]))
    facts = _facts(hostvars, options, hosts, "", FACTS_NOW)
    lost = [name for name in everyone if name not in facts and name not in options["out"]]
    failures = _failures(hostvars, hosts)
    if not plan:
        return {
            "overtaken": False,
            "back": [],
            "moves": {},
            "remove": False,
            "warm": {},
            "hosts": {},
            "batches": [],
            "edge_names": [],
            "seal": False,
            "free": False,
            "again": False,
            # A task that runs once brings one host alone here, so the others are not lost.
            "message": "\n".join(_plan.reasons(failures, lost if not failures else [])),
        }
    undo = _plan.undo(plan, wish["fleet"], facts, failures, lost)
    # Once: a step found something else than its plan assumed, and nothing serves the release.
    replan = any(failure.get("replan") for failure in failures)
    undo["again"] = bool(
        replan
        and not options["again"]
        and not undo["overtaken"]
        and not undo["back"]
        and not undo["stays"]
        and not lost
    )
    return undo


def _failures(hostvars: t.Mapping[str, t.Any], hosts: t.Collection[str]) -> list[Data]:
    """Return the failed results, each with the stage of its task: what stands before C( | ) in its name."""
    found = []
    for name in hosts:
        if "ansible_failed_result" not in hostvars[name]:
            continue
        result = dict(hostvars[name]["ansible_failed_result"])
        task = str(getattr(hostvars[name].get("ansible_failed_task"), "name", "") or "")
        task = task or str((hostvars[name].get("ansible_failed_task") or {}).get("name") or "")
        result["stage"] = task.partition(" | ")[0] if " | " in task else ""
        result["smoke_failed"] = result["stage"] == "smoke"
        result["migration_failed"] = result["stage"] == "migrate" and bool(result.get("rc"))
        if result["migration_failed"]:
            result["evidence"] = [f"  migration | {line}" for line in result.get("lines") or []]
        found.append(result)
    return found


def release_undone(undo: Data, hostvars: t.Mapping[str, t.Any], hosts: t.Collection[str]) -> Data:
    """Return what the way back came to: C(entry), C(sealable), C(evidence) and the C(message) for people."""
    if "message" in undo:
        return {"entry": "", "sealable": False, "evidence": [], "message": undo["message"]}
    if undo["overtaken"]:
        return {
            "entry": "",
            "sealable": False,
            "evidence": [],
            "message": f"app_deploy: app {undo['app']}: found that a newer run has taken over, so this one stops here "
            f"and changes nothing more. Run {_next_step.command('status', undo['app'])}",
        }
    back = [_result(hostvars, name, "__app_deploy_back") for name in undo["back"] if name in hosts]
    failed = [str(each.get("msg") or "") for each in back if _went_wrong(each) or "after" not in each]
    entry = undo["entry"]
    if back and not failed:
        entry = back[0]["after"]
    returned = bool(back) and not failed
    more = []
    for name in hosts:
        for fact in ("__app_deploy_removed", "__app_deploy_background_back", "__app_deploy_jobs_back"):
            result = _result(hostvars, name, fact)
            if _went_wrong(result):
                more.append(str(result.get("msg") or ""))
    evidence = list(undo["evidence"])
    for name in hosts:
        evidence += _result(hostvars, name, "__app_deploy_removed").get("evidence") or []
    evidence = list(dict.fromkeys(evidence))
    return {
        "entry": entry["text"],
        "sealable": not failed,
        "evidence": evidence,
        "message": "\n".join(
            [
                _ending(undo, entry, failed, returned),
                *undo["reasons"],
                *evidence,
                *dict.fromkeys(more),
                f"Run {_continuation(undo, bool(failed))}",
            ]
        ),
    }


def _went_wrong(result: Data) -> bool:
    """Tell whether a step failed that must not end the others, so that its task says failed_when false.

    Ansible sets C(failed) to false then, and only a module that failed gives a message.
    """
    return bool(result.get("failed") or result.get("msg"))


def _ending(undo: Data, entry: Data, failed: list[str], returned: bool) -> str:
    """Return the first sentence of a failure: what the edges serve now."""
    name = f"app_deploy: {undo['kind']} of {undo['identity']} of app {undo['app']}"
    if undo["kind"] == "deploy":
        name = f"app_deploy: release {undo['identity']} of app {undo['app']}"
    serves = f"{entry['colour']} serves {entry['release']}" if entry["colour"] else "no release is live"
    if failed:
        return f"{name} failed and traffic could not go back, so {serves}. {' '.join(dict.fromkeys(failed))}"
    if undo["stays"]:
        return f"{name} failed after the traffic had moved; {serves}. The same command continues it."
    word = "was refused" if undo["result"] == "refused" else "failed, and is not held"
    return f"{name} {word}; {serves}{' again' if returned else ' as before' if entry['colour'] else ''}."


def _continuation(undo: Data, failed: bool) -> str:
    """Return the command that comes after a failure, once its cause is gone."""
    if failed or undo["kind"] != "deploy":
        return _next_step.command(undo["kind"] if undo["stays"] else "status", undo["app"])
    held = undo["identity"] if undo["result"] == "refused" and not undo["stays"] else ""
    return _next_step.command("deploy", undo["app"], release=_next_step.release_of(undo["identity"]), retry=held)


def _result(hostvars: t.Mapping[str, t.Any], name: str, fact: str) -> Data:
    found = hostvars[name].get(fact) or {}
    return dict(found) if isinstance(found, t.Mapping) else {}


def release_run(apps: list[Data], groups: t.Mapping[str, t.Any], hosts: t.Collection[str], asked: Data) -> Data:
    """Return who takes part in a run and what is asked for: apps, edges, hosts, record host, options, problems."""
    edges = list(groups.get(asked["edge_group"], []))
    app_hosts = list(groups.get(asked["app_group"], []))
    record = asked["record_host"] or next(iter(edges), "localhost")
    needed = list(dict.fromkeys([*edges, *app_hosts, record]))
    missing = [name for name in needed if name not in hosts]
    names = [str(app.get("name")) for app in apps]
    out = asked["edge_out"].split(",") if isinstance(asked["edge_out"], str) else list(asked["edge_out"])
    problems = _app_choice.choice_problems(apps, asked["only"], asked["release"])
    verb = asked.get("verb") or {}
    if verb and not problems and not asked["only"] and len(names) != 1:
        found = f"{len(names)} apps ({', '.join(names)})" if names else "none"
        problems.append(f"app_deploy: app: found {found}, need one. Set app.")
    if verb and problems:
        # With the app known they are named beside what does not fit it.
        problems += _verbs.typed_problems(verb)
    if missing:
        problems.append(
            f"app_deploy: hosts of this run: found {', '.join(hosts)}, need also {', '.join(missing)}, or edges and "
            "hosts would be left on different releases. Take --limit away or add them to it."
        )
    parts = {
        name: release_parts(groups, name, asked["edge_group"], asked["app_group"], asked["record_host"])
        for name in needed
    }
    return {
        "apps": [asked["only"]] if asked["only"] else names,
        "edges": edges,
        "hosts": app_hosts,
        "record_host": record,
        "owner": asked["owner"] or os.environ.get("USER") or os.environ.get("LOGNAME") or "root",
        "problems": problems,
        "parts": parts,
        "options": {
            **{
                key: asked[key]
                for key in ("release", "status_port", "https_port", "installing", "keep_by_hand", "check_mode")
            },
            "policy": asked.get("policy", "warn"),
            "edges": edges,
            "hosts": app_hosts,
            "record_host": record,
            "out": [name for name in out if name],
            **({"verb": verb} if verb else {}),
        },
    }


def release_parts(
    groups: t.Mapping[str, t.Any], host: str, edge_group: str, app_group: str, record_host: str
) -> list[str]:
    """Return what a host is to the apps: C(edge), C(host) of containers, C(records)."""
    edges, hosts = groups.get(edge_group, []), groups.get(app_group, [])
    record = record_host or next(iter(edges), "localhost")
    found = {"edge": host in edges, "host": host in hosts, "records": host == record}
    return [part for part, held in found.items() if held]


def release_verb(
    apps: list[Data], hostvars: t.Mapping[str, t.Any], hosts: t.Collection[str], app: str, options: Data
) -> Data:
    """Return C(problems) and plan of a verb of the day, from what was typed and the answers of the hosts."""
    try:
        asked = options["verb"]
        fleet = _fleet(hostvars, app, options)
        facts = _facts(hostvars, options, hosts, app)
        described = next((each for each in apps if each.get("name") == app), None)
        now = _verbs.live(app, described, fleet, facts)
        problems = _verbs.problems(asked, now, fleet, facts, options["out"], options["check_mode"])
        missing = _missing_secrets(dict(now.model), described) if asked["kind"] == "scale" and not problems else []
        if missing:
            problems = [
                f"app_deploy: secrets of release {now.release} of app {app}: found no value for {', '.join(missing)}, "
                "need one each. Put them back into app_deploy_apps."
            ]
        lease = _plan.releases_of(facts, fleet)["lease"]
        controller = _controller.this()
        gone = lease.get("held") and _controller.gone(lease.get("controller") or {})
        return {
            "problems": problems,
            "run": controller["run"],
            "controller": controller,
            "dead_run": (lease.get("run") or "") if gone else "",
            **({} if problems else _verbs.plan(asked, now, fleet, facts, options["out"])),
        }
    except (Failure, ValueError) as exc:
        raise AnsibleFilterError(str(exc)) from exc


def release_logs(verb: Data, hostvars: t.Mapping[str, t.Any]) -> list[str]:
    """Return the lines that the hosts of a plan have read, with the time, host and container of each."""
    answers: dict[str, list[Data]] = {}
    lost: dict[str, str] = {}
    for name in verb["logs"]:
        result = _result(hostvars, name, "__app_deploy_logs")
        if "lines" in result and not _went_wrong(result):
            answers[name] = result["lines"]
        elif verb["logs"][name]:
            lost[name] = " ".join(str(result.get("msg") or "").split()) or "does not answer"
        elif not _result(hostvars, name, FACTS).get("pair"):
            lost[name] = "does not answer"
    found = _verbs.log_lines(answers, lost)
    return found or [f"{verb['app']}: no line in that time"]


def release_secrets(app: str, apps: list[Data]) -> Data:
    """Return the secret values of an app by C(service/name), as the inventory has them today."""
    described = next((each for each in apps if each.get("name") == app), None)
    return _compose_files.secret_values(described) if described else {}


def edge_addresses(names: list[str], hostvars: t.Mapping[str, t.Any], port: int, app: str) -> list[Data]:
    """Return the status addresses of other edges for an app."""
    return [
        {"name": name, "url": f"http://{_address.join(str(hostvars[name].get('platform_address')), port)}/live/{app}"}
        for name in names
    ]


def release_without_records(app: str, hostvars: t.Mapping[str, t.Any], edges: list[str]) -> Data:
    """Return C(moved), the edges that went back without the record host, and C(message): what is left to be done."""
    moved: list[str] = []
    stayed: list[str] = []
    for name in edges:
        result = _result(hostvars, name, "__app_deploy_rollback")
        went = "after" in result and not result.get("cold") and not result.get("failed")
        (moved if went else stayed).append(name)
    if not moved:
        return {
            "moved": [],
            "message": f"app_deploy: rollback of app {app} without records: found no edge that answers and has a warm "
            f"side among {', '.join(edges)}, need one, as what is cold is started from the records. Bring the record "
            f"host back. Run {_next_step.command('rollback', app)}",
        }
    entry = _result(hostvars, moved[0], "__app_deploy_rollback")["after"]
    left = f" {', '.join(stayed)} did not go back: keep users away until it has." if stayed else ""
    return {
        "moved": moved,
        "message": f"{app}: {', '.join(moved)} serves {entry['release']} on {entry['colour']}.{left} Workers, "
        "singletons, jobs and records are as they were. Once the record host is back, run "
        f"{_next_step.command('rollback', app)}.",
    }


def release_rows(rows: list[Data], values: Data) -> list[Data]:
    """Return the secrets of a stack with their values, for the module that writes them."""
    missing = sorted({row["key"] for row in rows if row["key"] not in values})
    if missing:
        raise AnsibleFilterError(f"app_deploy: secrets: found no value for {', '.join(missing)}, need one each.")
    return [{**{key: row[key] for key in row if key != "key"}, "value": values[row["key"]]} for row in rows]


def release_status(apps: list[Data], hostvars: t.Mapping[str, t.Any], run: Data) -> list[str]:
    """Return the state of each app of a run in lines, by the answers to C(status)."""
    found: list[str] = []
    for app in run["apps"]:
        answers = {name: _status_of(hostvars, name, app) for name in (*run["edges"], run["record_host"])}
        records = answers[run["record_host"]].get("records") or {}
        described = next((each for each in apps if each.get("name") == app), {})
        state: Data = {
            "app": app,
            "inventory_release": str(described.get("release") or ""),
            "record_host": run["record_host"],
            "edges": {name: answers[name].get("edge") or {} for name in run["edges"]},
            "records": records,
            "lost": {
                name: " ".join(str(answer.get("msg") or "").split()) or "failed"
                for name, answer in answers.items()
                if answer.get("failed") and not answer.get("unreachable")
            },
            # A run whose process is gone is no longer waited for.
            "run_lives": not _controller.gone((records.get("lease") or {}).get("controller") or {}),
        }
        found += _app_status.lines(state, _clock.now().wall)
    return found


def release_doctor(apps: list[Data], hostvars: t.Mapping[str, t.Any], run: Data) -> list[str]:
    """Return what differs for each app of a run, with the command that mends it, by the answers to C(doctor)."""
    found: list[str] = []
    options = run["options"]
    names = list(dict.fromkeys((*run["edges"], *run["hosts"], run["record_host"])))
    for app in run["apps"]:
        answers = {name: _status_of(hostvars, name, app) for name in names}
        lost = {
            name: " ".join(str(answer.get("msg") or "").split()) or "failed"
            for name, answer in answers.items()
            if answer.get("failed") and not answer.get("unreachable")
        }
        facts = {name: answer for name, answer in answers.items() if "pair" in answer}
        described = next((each for each in apps if each.get("name") == app), None)
        wanted, unread = _described(described, facts, run)
        fleet = _fleet(hostvars, app, options)
        case = _doctor.Case(app, described, fleet, facts, lost, _clock.now().wall, wanted)
        found += _doctor.lines(case, [*_doctor.findings(case), *unread])
    return found


def _described(described: Data | None, facts: Data, run: Data) -> tuple[_model.Model | None, list[_doctor.Finding]]:
    """Return the model of an app in the inventory, or why its Compose file cannot be read."""
    if described is None:
        return None, []
    strict = run["options"].get("policy") == "strict"
    if not _app_shape.is_compose(described):
        return _model.of(described, None, strict), []
    name = str(described["name"])
    answer = (facts.get(next(iter(run["hosts"]), "")) or {}).get("project") or {}
    read = _compose_files.projects([described], {name: answer})[name]
    if read["project"] is not None:
        return _model.of(described, read["project"], strict), []
    why = " ".join(read["problems"]) or "no host has read it"
    command = "ansible-playbook evenkeel.platform.preflight"
    return None, [_doctor.Finding("inventory", f"its Compose file cannot be used: {why.rstrip('.')}", command)]


def _status_of(hostvars: t.Mapping[str, t.Any], host: str, app: str) -> Data:
    results = _result(hostvars, host, "__app_deploy_status").get("results") or []
    return next((dict(each) for each in results if each.get("__app_deploy_name") == app), {})


class FilterModule:
    """Filters of the role app_deploy."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "release_wish": release_wish,
            "release_compose": release_compose,
            "release_content": release_content,
            "release_plan": release_plan,
            "release_undo": release_undo,
            "release_batches": release_batches,
            "release_followers": release_followers,
            "release_undone": release_undone,
            "release_rows": release_rows,
            "release_parts": release_parts,
            "release_run": release_run,
            "release_secrets": release_secrets,
            "release_status": release_status,
            "release_doctor": release_doctor,
            "release_verb": release_verb,
            "release_logs": release_logs,
            "release_without_records": release_without_records,
            "edge_addresses": edge_addresses,
        }
