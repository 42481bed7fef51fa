"""The dashboard and the alerts use metrics, labels and values that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dacc_core.cli.main import main
from dacc_core.daemon.telemetry.definitions import METRICS, STATES, Metric

from .pages import DOCS

METRIC = re.compile(r"\bdacc_\w+")
SELECTOR = re.compile(r"\b(dacc_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
OF_PROMETHEUS = {"instance", "job", "le"}


def series() -> dict[str, Metric]:
    """Every name that a query may use."""
    found = {}
    for metric in METRICS:
        for end in ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",):
            found[metric.name + end] = metric
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "monitoring" / "dashboard.json").read_text("utf-8"))
    return found


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query")
    yield from (rule["expr"] for rule in alerts())


QUERIES = list(dict.fromkeys(queries()))


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_uses_metrics_that_exist(query: str) -> None:
    used = set(METRIC.findall(query))
    assert used or query.startswith("up{")
    assert used <= set(series())


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_uses_labels_and_states_that_exist(query: str) -> None:
    for name, matchers in SELECTOR.findall(query):
        for label, value in MATCHER.findall(matchers):
            metric = series()[name]
            assert label in {*metric.labels, *OF_PROMETHEUS}
            if label == "state":
                assert value in STATES[metric.name]
    known = {label for name in METRIC.findall(query) if name in series() for label in series()[name].labels}
    for labels in re.findall(r"\bby \(([^)]*)\)", query):
        assert set(re.split(r",\s*", labels)) <= known | OF_PROMETHEUS


@pytest.mark.parametrize("query", QUERIES)
def test_what_every_daemon_tells_is_not_added_up(query: str) -> None:
    """Ten daemons that see one brick are not ten bricks."""
    for metric in METRICS:
        if metric.of == "cluster" and metric.name in query and not query.startswith("label_values("):
            assert len(re.findall(rf"max(?: by \([^)]*\))? \(?{metric.name}|max\({metric.name}", query)) == query.count(metric.name)


def test_every_metric_is_on_the_dashboard() -> None:
    text = json.dumps(dashboard())
    assert [metric.name for metric in METRICS if metric.name not in text] == []


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_it_means(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]
    assert rule["alert"].startswith("Dacc")
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_commands_that_alerts_name_exist() -> None:
    text = " ".join(rule["annotations"].get("description", "") for rule in alerts())
    assert set(re.findall(r"\bdacc ([a-z-]+)", text)) <= set(main.commands)


def test_every_alert_is_explained_in_the_guide_on_failures_and_no_other() -> None:
    page = (DOCS / "guides" / "failures.md").read_text("utf-8")
    assert set(re.findall(r"`(Dacc\w+)`", page)) == {rule["alert"] for rule in alerts()}


def test_every_command_that_the_guide_on_failures_names_exists() -> None:
    page = (DOCS / "guides" / "failures.md").read_text("utf-8")
    assert set(re.findall(r"`dacc ([a-z-]+)", page)) <= set(main.commands)
