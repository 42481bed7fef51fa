"""``metrics.md``, from the table in ``dacc_core/daemon/telemetry/definitions.py``."""

from __future__ import annotations

from dacc_core.daemon.telemetry.definitions import LABELS, METRICS, STATES, Metric

from . import markdown as md

INTRO = """
    With the setting [`metrics.listen`](settings.md) dacd tells Prometheus what it does, at `http://ADDRESS:PORT/metrics`. It is off
    unless the setting is there. The [operator's guide](../guides/operate.md#metrics-and-alerts) says how to use it; a dashboard and alerts
    are in [`docs/monitoring`](../monitoring/alerts.yml).

    Metrics *of the cluster* are what this daemon sees of the whole cluster, so all daemons tell nearly the same: take the `max` of them,
    never the sum. If the daemon's core does not answer within 5 s they are left out. Metrics *of the daemon* are its own: add them up.

    A counter or histogram with labels appears when there is something to count. Counters begin anew when a daemon restarts.
"""
HISTOGRAMS = """
    A histogram has three names: `_bucket` with the label `le`, `_sum` and `_count`.

    ## Labels
"""


def page() -> str:
    """The page."""
    rows = [_row(metric) for metric in METRICS]
    table = md.table(("metric", "kind", "of", "labels", "meaning"), rows)
    labels = md.table(("label", "values"), [*((f"`{name}`", text) for name, text in LABELS.items()), ("`state`", _states())])
    buckets = md.table(("histogram", "upper bounds in seconds"), [(f"`{one.name}`", _bounds(one)) for one in METRICS if one.buckets])
    return md.page("Metrics", "dacc_core/daemon/telemetry/definitions.py", INTRO, table, HISTOGRAMS, labels, "## Buckets", buckets)


def _row(metric: Metric) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"`{metric.name}`", metric.kind, f"the {metric.of}", labels, metric.text


def _states() -> str:
    return "; ".join(f"of `{name}`: {', '.join(f'`{state}`' for state in states)}" for name, states in STATES.items())


def _bounds(metric: Metric) -> str:
    return ", ".join(f"{bound:g}" for bound in metric.buckets)
