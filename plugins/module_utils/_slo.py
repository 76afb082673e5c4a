# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objectives of service made into rules of Prometheus. PRIVATE to the collection.

Pure functions over plain data. A ratio over a window is failures over requests of that window, both summed from what
was recorded each minute; nothing is recorded where nothing was measured, so an empty selector never reads as 100 %.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _failure

KINDS = ("availability", "error_rate", "latency", "queue_age", "custom")
RUNBOOK = "https://github.com/evenkeel/platform/blob/main/docs/runbooks/{}.md"
# One sample of a rate stands for a minute of requests.
INTERVAL_SECONDS = 60
DEFAULTS: dict[str, t.Any] = {"window_days": 30, "minimum_requests": 100, "owner": "app"}
METRICS = {"error_rate": "http_requests_total", "latency": "http_request_duration_seconds"}

_sentence = functools.partial(_failure.sentence, "monitoring")


class Burn(t.NamedTuple):
    """Two windows, and the share of the budget that is spent in the longer one when the alert fires."""

    alert: str
    severity: str
    long: str
    short: str
    hours: int
    share: float
    wait: str


BURNS = (
    Burn("SLOBurnsFast", "critical", "1h", "5m", 1, 0.02, "2m"),
    Burn("SLOBurnsFast", "critical", "6h", "30m", 6, 0.05, "5m"),
    Burn("SLOBurnsSlowly", "warning", "1d", "2h", 24, 0.10, "15m"),
    Burn("SLOBurnsSlowly", "warning", "3d", "6h", 72, 0.10, "30m"),
)
WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")


# -- what cannot be meant ----------------------------------------------------


def problems(slos: list[dict[str, t.Any]], apps: t.Collection[str] = ()) -> list[str]:
    """Return one sentence for each SLO that cannot be meant, and for each name that stands twice."""
    found = []
    names = [str(slo.get("name", "")) for slo in slos]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(
            _sentence(
                "name", f"SLO {name}", f"it {names.count(name)} times", "it once", "Rename one in monitoring_slos"
            )
        )
    for slo in slos:
        name = str(slo.get("name", ""))
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
            found.append(_sentence("name", f"SLO {name or 'none'}", name or "none", "a-z, 0-9 and hyphens", "Set name"))
        found += _values(name, slo)
        if apps and slo.get("app") not in apps:
            found.append(_sentence("app", f"SLO {name}", str(slo.get("app")), " or ".join(sorted(apps)), "Set app"))
    return found


def _values(name: str, slo: dict[str, t.Any]) -> list[str]:
    found = []
    kind = slo.get("kind")
    if kind not in KINDS:
        return [_sentence("kind", f"SLO {name}", str(kind), "one of " + ", ".join(KINDS), "Set kind")]
    objective = float(slo.get("objective") or 0)
    if not 0 < objective < 100:
        found.append(
            _sentence("objective", f"SLO {name}", f"{objective:g}", "above 0 and below 100 per cent", "Set objective")
        )
    days = int(slo.get("window_days") or DEFAULTS["window_days"])
    if days < 7:
        found.append(
            _sentence("window_days", f"SLO {name}", str(days), "at least 7, more than the longest window", "Set it")
        )
    for key, kinds in (
        ("threshold_seconds", ("latency", "queue_age")),
        ("metric", ("queue_age",)),
        ("bad", ("custom",)),
        ("total", ("custom",)),
    ):
        if kind in kinds and not slo.get(key):
            found.append(_sentence(key, f"SLO {name}", "none", f"one for kind {kind}", f"Set {key}"))
    for key in ("bad", "total"):
        if slo.get(key) and kind != "custom":
            found.append(
                _sentence(key, f"SLO {name}", f"it with kind {kind}", "kind custom", f"Set kind, or leave {key} out")
            )
        elif slo.get(key) and "{window}" not in slo[key]:
            found.append(_sentence(key, f"SLO {name}", "no {window}", "it where the range belongs", f"Mend {key}"))
    return found


# -- the rules ---------------------------------------------------------------


def rules(slos: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Return the rule file of all SLOs, a group for each."""
    return {"groups": [group({**DEFAULTS, **_given(slo)}) for slo in slos]}


def _given(slo: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in slo.items() if value is not None}


def group(slo: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what is recorded of one SLO, and its alerts."""
    labels = {"slo": slo["name"], "app": slo["app"]}
    selector = f'{{slo="{slo["name"]}"}}'
    whole = f"{int(slo['window_days'])}d"
    bad, total = indicator(slo)
    recorded = [
        ("slo:objective", f"vector({_number(float(slo['objective']) / 100)})"),
        ("slo:total:rate5m", total),
        ("slo:bad:rate5m", bad),
        ("slo:errors:ratio5m", f"slo:bad:rate5m{selector} / (slo:total:rate5m{selector} > 0)"),
        *[(f"slo:errors:ratio{window}", _ratio(selector, window)) for window in WINDOWS],
        ("slo:errors:ratiowindow", _ratio(selector, whole)),
        ("slo:budget:left", f"1 - slo:errors:ratiowindow{selector} / {_number(_budget(slo))}"),
    ]
    return {
        "name": f"slo-{slo['name']}",
        "interval": f"{INTERVAL_SECONDS}s",
        "rules": [{"record": record, "expr": expr, "labels": labels} for record, expr in recorded] + _alerts(slo),
    }


def indicator(slo: dict[str, t.Any]) -> tuple[str, str]:
    """Return the queries for failures and for requests, each in a second."""
    if slo["kind"] == "custom":
        return slo["bad"].replace("{window}", "5m"), slo["total"].replace("{window}", "5m")
    chosen = f'app="{slo["app"]}"' + (f',service="{slo["service"]}"' if slo.get("service") else "")
    metric = slo.get("metric") or METRICS.get(slo["kind"], "haproxy_backend_http_responses_total")
    if slo["kind"] == "queue_age":
        late = f"avg_over_time((max({metric}{{{chosen}}}) > bool {_number(slo['threshold_seconds'])})[5m:30s])"
        return late, f"0 * {late} + 1"
    if slo["kind"] == "latency":
        total = f"sum(rate({metric}_count{{{chosen}}}[5m]))"
        # Without the bucket there is no difference, so a wrong threshold is missing data and not perfection.
        return f'{total} - sum(rate({metric}_bucket{{{chosen},le=~"{_bound(slo["threshold_seconds"])}"}}[5m]))', total
    codes = 'code="5xx"' if slo["kind"] == "availability" else 'code=~"5.."'
    total = f"sum(rate({metric}{{{chosen}}}[5m]))"
    # A code nobody was answered yet has no series: no failure, as long as there are requests.
    return f"sum(rate({metric}{{{chosen},{codes}}}[5m])) or 0 * {total}", total


def _ratio(selector: str, window: str) -> str:
    bad, total = (f"sum_over_time(slo:{what}:rate5m{selector}[{window}])" for what in ("bad", "total"))
    return f"{bad} / ({total} > 0)"


def _budget(slo: dict[str, t.Any]) -> float:
    return round(1 - float(slo["objective"]) / 100, 10)


def _alerts(slo: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    name, selector = slo["name"], f'{{slo="{slo["name"]}"}}'
    labels = {"owner": slo["owner"], "pack": "slo", "app": slo["app"], "slo": name}

    def enough(window: str) -> str:
        requests = f"{INTERVAL_SECONDS} * sum_over_time(slo:total:rate5m{selector}[{window}])"
        return f"{requests} >= {int(slo['minimum_requests'])}"

    found = []
    for burn in BURNS:
        factor = burn.share * int(slo["window_days"]) * 24 / burn.hours
        limit = factor * _budget(slo)
        if limit >= 1:
            # With so large a budget even an outage burns slower: a window behind it fires.
            continue
        found.append(
            {
                "alert": burn.alert,
                "expr": (
                    f"slo:errors:ratio{burn.long}{selector} > {_number(limit)}\n"
                    f"and slo:errors:ratio{burn.short}{selector} > {_number(limit)}\n"
                    f"and {enough(burn.long)}"
                ),
                "for": burn.wait,
                "labels": {"severity": burn.severity, "window": burn.long, **labels},
                "annotations": _notes(
                    burn.alert,
                    f"{name} burns its budget {_number(round(factor, 2))} times too fast",
                    f"In the last {burn.long} {{{{ $value | humanizePercentage }}}} of what {name} counts failed; "
                    f"its budget is {_number(_budget(slo) * 100)} %.",
                ),
            }
        )
    found.append(
        {
            "alert": "SLOWithoutData",
            "expr": f"absent(slo:total:rate5m{selector}) or absent(slo:bad:rate5m{selector})",
            "for": "15m",
            "labels": {"severity": "warning", **labels},
            "annotations": _notes(
                "SLOWithoutData", f"Nothing is measured of {name}", f"What {name} counts has had no series for a while."
            ),
        }
    )
    found.append(
        {
            "alert": "SLOBudgetSpent",
            "expr": f"slo:budget:left{selector} <= 0\nand {enough(str(int(slo['window_days'])) + 'd')}",
            "for": "5m",
            "labels": {"severity": "warning", **labels},
            "annotations": _notes(
                "SLOBudgetSpent",
                f"{name} has no budget left",
                f"Over {int(slo['window_days'])} days more failed than {name} allows.",
            ),
        }
    )
    return found


def _notes(alert: str, summary: str, description: str) -> dict[str, str]:
    return {"summary": summary, "description": description, "runbook_url": RUNBOOK.format(alert)}


def _number(value: t.Any) -> str:
    return f"{float(value):.10g}"


def _bound(seconds: t.Any) -> str:
    """The upper bound of a bucket as its label may say it: 1, 1.0 or 0.5."""
    text = _number(seconds)
    return text.replace(".", "\\\\.") if "." in text else f"{text}(\\\\.0)?"
