from __future__ import annotations

import pathlib
import re

import pytest
import scenario.mocking
from scenario import _ops_main_mock, _runtime

from sandbox.juju import ops_scenario

SANDBOX = pathlib.Path(ops_scenario.__file__).parents[1]


def test_every_private_part_of_ops_scenario_is_as_the_adapter_expects():
    assert ops_scenario.mismatches() == []


def test_only_the_adapter_imports_ops_scenarios_own_modules():
    importing = re.compile(r"^ *(from|import) scenario\b", re.MULTILINE)
    users = [path for path in SANDBOX.rglob("*.py") if importing.search(path.read_text())]
    assert [path.name for path in users] == ["ops_scenario.py"]


def test_each_changed_private_part_is_named(monkeypatch: pytest.MonkeyPatch):
    backend = scenario.mocking._MockModelBackend
    monkeypatch.delattr(backend, "_get_secret")
    monkeypatch.setattr(backend, "secret_get", lambda self, *, uri=None: {})
    monkeypatch.setattr(_ops_main_mock, "_MockModelBackend", object)
    monkeypatch.setattr(_runtime, "yaml", None)
    secret_get, get_secret, unused, yaml = ops_scenario.mismatches()
    assert "secret_get(self, uri) should take (self, id, label, refresh, peek)" in secret_get
    assert "_get_secret() should take (self, id, label)" in get_secret
    assert unused.endswith("scenario._ops_main_mock does not use it")
    assert yaml.endswith("scenario._runtime does not write the metadata with yaml")
    assert all(re.match(r"ops-scenario \d+\.", each) for each in (secret_get, get_secret, unused))
