"""The skeleton of a provider: it holds the name `lustre` and refuses everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from dacc_core.sdk import Capabilities, CheckHost, Create, Created, Delete, Mount, PerHost, Provider, Unmount, Unsupported

REASON = "Lustre is an issue of its own and not usable yet"


@dataclass(frozen=True, kw_only=True)
class LustreSettings:
    """The section ``providers.lustre`` of the configuration; it has no settings yet."""


class LustreProvider(Provider):
    """Raises :class:`~dacc_core.sdk.Unsupported` from every operation."""

    name: ClassVar[str] = "lustre"
    api: ClassVar[tuple[int, int]] = (1, 0)
    Settings: ClassVar[type[LustreSettings]] = LustreSettings
    incomplete: ClassVar[str] = REASON

    def __init__(self, settings: LustreSettings) -> None:
        self.settings = settings

    @property
    def capabilities(self) -> Capabilities:
        """What Lustre can do, once this is written."""
        return Capabilities()

    def check_host(self, request: CheckHost) -> None:
        """Refuse."""
        _refuse("check a host")

    def create(self, request: Create) -> Created:
        """Refuse."""
        _refuse("create a filesystem")

    def delete(self, request: Delete) -> None:
        """Refuse."""
        _refuse("delete a filesystem")

    def mount(self, request: Mount) -> PerHost:
        """Refuse."""
        _refuse("mount")

    def unmount(self, request: Unmount) -> PerHost:
        """Refuse."""
        _refuse("unmount")


def _refuse(what: str) -> NoReturn:
    raise Unsupported(why=f"provider lustre cannot {what}: {REASON}")
