# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Grafana is given: dashboards by its own models, every panel with what a reader needs, and its provisioning."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).resolve().parents[4] / "roles" / "monitoring"
BOARDS = sorted((ROLE / "files" / "dashboards").glob("*.json"))
# Words of one source of data; the model of an annotation knows those of all sources alone.
OF_THE_SOURCE = ("step", "titleFormat", "textFormat")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def modelled(board: dict[str, Any]) -> dict[str, Any]:
    """The dashboard as Grafana's models understand it."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="needs grafana-foundation-sdk")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    pytest.importorskip("grafana_foundation_sdk.cog.plugins").register_default_plugins()
    found: dict[str, Any] = json.loads(json.dumps(models.Dashboard.from_json(board), cls=encoder.JSONEncoder))
    return found


def lost(said: Any, understood: Any, place: str = "") -> Iterator[str]:
    """Everything that is said and not understood."""
    if isinstance(said, dict) and isinstance(understood, dict):
        for key, value in said.items():
            if key in understood:
                yield from lost(value, understood[key], f"{place}.{key}")
            elif not (place.startswith(".annotations.") and key in OF_THE_SOURCE):
                yield f"{place}.{key}"
    elif isinstance(said, list) and isinstance(understood, list) and len(said) == len(understood):
        for number, (one, other) in enumerate(zip(said, understood, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif said != understood:
        yield f"{place}: {said!r} became {understood!r}"


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_models_understand_every_word(path: Path) -> None:
    board = read(path)
    assert list(lost(board, modelled(board))) == []


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        pytest.param(("panels", 0), "descripton", id="panel"),
        pytest.param(("panels", 0, "targets", 0), "legend", id="query"),
        pytest.param(("panels", 0, "fieldConfig", "defaults"), "units", id="field"),
        pytest.param(("panels", 0, "fieldConfig", "defaults", "custom"), "fillOpactiy", id="drawing"),
        pytest.param((), "timeZone", id="board"),
    ],
)
def test_word_that_is_misspelt_is_caught(keys: tuple[Any, ...], name: str) -> None:
    board = copy.deepcopy(read(BOARDS[0]))
    place: Any = board
    for key in keys:
        place = place[key]
    place[name] = "x"
    assert [where.rpartition(".")[2] for where in lost(board, modelled(board))] == [name]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows_and_hides_no_gap(path: Path) -> None:
    for panel in read(path)["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["expr"], panel["title"]
            assert "or vector(" not in " ".join(target["expr"].split()), panel["title"]


def provisioned(name: str, **options: Any) -> dict[str, Any]:
    """A file of the provisioning as the role renders it."""
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True)
    jinja.filters["comment"] = lambda text: f"# {text}"
    text = (ROLE / "templates" / f"{name}.yml.j2").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(jinja.from_string(text).render(ansible_managed="", **options))
    return found


def sources(store: str, jaeger: bool) -> list[dict[str, Any]]:
    """The data sources of a stack; without a name it has no log store."""
    options = {"monitoring_logs_enabled": bool(store), "monitoring_log_store": store or "loki"}
    options |= {"monitoring_jaeger_enabled": jaeger, "monitoring_scrape_interval_seconds": 15}
    found: list[dict[str, Any]] = provisioned("datasources", **options)["datasources"]
    return found


@pytest.mark.parametrize(
    ("store", "jaeger", "names"),
    [
        pytest.param("", False, ["Prometheus", "Alertmanager"], id="metrics"),
        pytest.param("loki", False, ["Prometheus", "Alertmanager", "Loki"], id="Loki"),
        pytest.param("loki", True, ["Prometheus", "Alertmanager", "Loki", "Jaeger"], id="Loki and traces"),
        pytest.param("victorialogs", False, ["Prometheus", "Alertmanager", "VictoriaLogs"], id="VictoriaLogs"),
        pytest.param(
            "victorialogs",
            True,
            ["Prometheus", "Alertmanager", "VictoriaLogs", "Jaeger"],
            id="VictoriaLogs and traces",
        ),
    ],
)
def test_sources_are_those_of_the_stack(store: str, jaeger: bool, names: list[str]) -> None:
    found = sources(store, jaeger)
    assert [one["name"] for one in found] == names
    text = json.dumps(found)
    assert "password" not in text.lower()
    # Grafana takes a single dollar for the name of a variable of its own environment.
    assert "${" not in text.replace("$${", "")


@pytest.mark.parametrize("store", ["loki", "victorialogs"])
def test_panels_query_sources_of_the_stack(store: str) -> None:
    there = {(one["type"], one["uid"]) for one in sources(store, jaeger=True)}
    # As the role chooses them.
    boards = [path for path in BOARDS if not path.stem.startswith("logs_") or path.stem == f"logs_{store}"]
    assert {read(path)["uid"] for path in boards} == {read(path)["uid"] for path in BOARDS}
    for path in boards:
        for panel in read(path)["panels"]:
            for asked in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
                assert (asked["type"], asked["uid"]) in there, f"{path.stem}: {panel['title']}"


def test_dashboards_are_looked_for_where_the_role_writes_them() -> None:
    [provider] = provisioned("dashboards")["providers"]
    assert provider["options"]["path"] == "/etc/evenkeel/current/dashboards"
    tasks = (ROLE / "tasks" / "configure.yml").read_text(encoding="utf-8")
    assert "'dashboards/' ~" in tasks
    assert "'provisioning/' ~" in tasks
