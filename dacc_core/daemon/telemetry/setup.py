"""The metrics of one daemon, if its configuration wants any: who counts, and who serves what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config import Config
from ...keystore.base import Keystore
from ...lifecycle.engine import Engine
from .events import Observer
from .snapshot import ClusterSnapshot, take_snapshot
from .store import ObservedStore

if TYPE_CHECKING:
    from ..executor import Executor
    from .http import ScrapeServer
    from .prometheus import Metrics

SURVEY_SECONDS = 5.0


class Measuring:
    """Listens from its making on, so that a port in use stops the daemon before anything else is done. Raises Busy and BadConfig."""

    def __init__(self, config: Config, host: str) -> None:
        self.observer = Observer()
        self._metrics: Metrics | None = None
        self._server: ScrapeServer | None = None
        if config.metrics.listen:
            from .http import ScrapeServer
            from .prometheus import Metrics  # who serves no metrics does not pay for the import

            self.observer = self._metrics = Metrics(host)
            self._server = ScrapeServer(config.metrics.listen, self._metrics.registry)

    def store(self, store: Keystore) -> Keystore:
        """The keystore, timed if anybody wants to know."""
        return ObservedStore(store, self.observer) if self.observer.watching else store

    def start(self, executor: Executor) -> None:
        """Serve what is counted, and what the core knows."""
        if self._metrics is not None and self._server is not None:
            self._metrics.look_at(lambda: executor.silence, lambda: executor.inquire(_look, SURVEY_SECONDS))
            self._server.start()

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.stop()


def _look(core: Engine) -> tuple[ClusterSnapshot, bool]:
    """On the core's thread."""
    return take_snapshot(core.view), core.may_act()
