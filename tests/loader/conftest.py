"""Fixtures of the loader's tests: a volume to load onto, and an origin to load from."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from unittest import mock

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig


@pytest.fixture(autouse=True, scope="session")
def origins_on_loopback() -> Iterator[None]:
    with mock.patch.dict(os.environ, loader_rig.ON_LOOPBACK):
        yield


@pytest.fixture
def rig(tmp_path: pathlib.Path) -> loader_rig.Rig:
    return loader_rig.Rig(tmp_path)


@pytest.fixture
def served() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as server:
        yield server
