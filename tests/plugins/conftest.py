"""Throwaway packages with real metadata, on a path of their own."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., str]

PROVIDER = """
from dataclasses import dataclass
from dacc_core.sdk import Capabilities, hookimpl

@dataclass(frozen=True)
class Settings:
    stripes: int = 4
    mode: str = "fast"

class {cls}:
    name = {name!r}
    api = {api!r}
    Settings = Settings
    {extra}
    def __init__(self, settings):
        self.settings = settings
    @property
    def capabilities(self):
        return Capabilities({capabilities})
    def check_host(self, request): ...
    def create(self, request): ...
    def delete(self, request): ...
    def mount(self, request): ...
    def unmount(self, request): ...

@hookimpl
def dacc_register_provider():
    return {cls}
"""


def provider(name: str = "toy", *, api: tuple[int, int] = (1, 0), extra: str = "", capabilities: str = "") -> str:
    """The source of a provider that is right unless the arguments make it wrong."""
    return PROVIDER.format(cls="Toy", name=name, api=api, extra=extra, capabilities=capabilities)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package on the path: its module's source, its name and its entry points."""
    modules: list[str] = []

    def put(
        source: str, *, package: str = "dacc-provider-toy", entry: str = "toy", group: str = "dacc.providers", version: str = "1.2"
    ) -> str:
        site = tmp_path / package
        module = f"{package.replace('-', '_')}_{len(modules)}"
        modules.append(module)
        metadata = site / f"{package.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry} = {module}\n")
        monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        return module

    yield put
    for module in modules:
        sys.modules.pop(module, None)
