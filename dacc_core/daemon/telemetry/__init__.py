"""What a daemon reports of itself: metrics for Prometheus, and events for the hooks of provider packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

from ...config import Config
from ...keystore.base import Keystore
from ...plugins import Observers
from ..usage import EngineReader
from .events import FanOut, MeasuredStore, TelemetryListener
from .hooks import HookPublisher

if TYPE_CHECKING:
    from .http import MetricsServer
    from .prometheus import PrometheusMetrics

SNAPSHOT_SECONDS = 5.0


class Telemetry:
    """The listeners of one daemon: ``listener`` for its executor, ``metrics`` for what is only counted.

    ``observers`` are those of provider packages. The port for metrics, if the configuration has one, is bound at once, so that one in use
    stops the daemon before anything else is done. Raises Busy and BadConfig.
    """

    def __init__(self, config: Config, host: str, manager: pluggy.PluginManager) -> None:
        self.metrics = TelemetryListener()
        self._prometheus: PrometheusMetrics | None = None
        self._server: MetricsServer | None = None
        if config.metrics.listen:
            from .http import MetricsServer
            from .prometheus import PrometheusMetrics  # who serves no metrics does not pay for the import

            self.metrics = self._prometheus = PrometheusMetrics(host)
            self._server = MetricsServer(config.metrics.listen, self._prometheus.registry)
        self.observers = Observers(manager, self.metrics.dropped)
        self.listener = FanOut(self.metrics, HookPublisher(self.observers, host))

    def measured(self, store: Keystore) -> Keystore:
        """The keystore, timed if metrics are served."""
        return MeasuredStore(store, self.metrics) if self.metrics.watching else store

    def start(self, silence: Callable[[], float], read_engine: EngineReader) -> None:
        """Serve the metrics. ``silence``: seconds since the keystore was last heard from."""
        if self._prometheus is not None and self._server is not None:
            self._prometheus.add_cluster(silence, read_engine, SNAPSHOT_SECONDS)
            self._server.start()

    def close(self) -> None:
        """Deliver the events that wait, for a moment, and stop serving."""
        self.observers.close()
        if self._server is not None:
            self._server.stop()
