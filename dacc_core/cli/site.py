"""The site for commands of provider packages, read when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ..config import Config, load
from ..names import expand
from ..plugins import load_provider
from ..sdk import Context, Deadline, Provider


class OperatorSite:
    """The configuration of this process, and its hosts without fences."""

    @cached_property
    def config(self) -> Config:
        """The configuration. Raises BadConfig."""
        return load()

    def provider(self, name: str) -> Provider:
        """A provider, made with the site's settings."""
        return load_provider(name, config=self.config)

    def bricks(self, provider: str) -> Mapping[str, tuple[str, ...]]:
        """By host, the devices in its pools."""
        pools = {name for name, pool in self.config.pools.items() if pool.provider == provider}
        hosts = dict.fromkeys(host for pattern in self.config.bricks for host in expand(pattern))
        bricks = {host: tuple(brick.device for brick in self.config.bricks_of(host) if brick.pool in pools) for host in hosts}
        return {host: devices for host, devices in bricks.items() if devices}

    def context(self, seconds: float) -> Context:
        """Hosts and a deadline."""
        from ..hosts.factory import runner_for  # late: most commands need no host, and asyncio takes long to import

        return Context(hosts=runner_for(self.config), deadline=Deadline.after(seconds))
