"""The data set actions: each one's parameters, and what is done for it in the cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import action_params
import problems
from app.datasets import create, delete, loader_jobs, show, verify
from datasets.loader.sources import table

if TYPE_CHECKING:
    import config
    from cluster import client

# Reads a Juju secret; `option` names the parameter that it is of.
Reader = Callable[..., Mapping[str, str]]
Results = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Ground:
    """What the actions need of the charm.

    Attributes:
        cluster: The cluster.
        options: The application's options.
        environment: Further environment of the loader: proxies.
        secret: Reads a Juju secret.
    """

    cluster: client.Cluster
    options: config.Settings
    environment: Mapping[str, str]
    secret: Reader

    @property
    def loader(self) -> loader_jobs.Loader:
        """Where the loader runs."""
        return loader_jobs.Loader(self.cluster, self.options.loader_image, self.environment)


def act(ground: Ground, params: action_params.DataSetParams) -> Results:
    """Do what an action is for.

    Args:
        ground: What it needs.
        params: Its parameters: they tell which action it is.

    Raises:
        problems.Problem: It can not be done, or not yet.
    """
    loader = ground.loader
    if isinstance(params, action_params.CreateDatasetParams):
        return _create(ground, params)
    if isinstance(params, action_params.ListDatasetsParams):
        return show.table(loader, refresh=params.refresh, wait_seconds=params.wait)
    if isinstance(params, action_params.ShowDatasetParams):
        return show.details(
            loader,
            params.name,
            claim=ground.options.claim(ground.cluster.owner),
            namespaces=ground.options.namespaces,
            wait_seconds=params.wait,
        )
    if isinstance(params, action_params.VerifyDatasetParams):
        return verify.verify(loader, params.name, wait_seconds=params.wait)
    return delete.delete(loader, params.name, force=params.force, wait_seconds=params.wait)


def _create(ground: Ground, params: action_params.CreateDatasetParams) -> Results:
    secrets = {
        name: _value(ground.secret(f"secret:{secret_id}", option="env"), key, "env")
        for name, (secret_id, key) in params.secrets.items()
    }
    return create.create(
        ground.loader,
        params.wanted(),
        credentials=_credentials(ground, params),
        secrets=secrets,
        wait_seconds=params.wait,
    )


def _credentials(ground: Ground, params: action_params.CreateDatasetParams) -> Mapping[str, str]:
    """What opens the sources: of the secret's values, only those that the loader knows."""
    if not params.credentials:
        return {}
    content = ground.secret(params.credentials, option="credentials")
    rows = table.WITH_CREDENTIALS
    needed = [row for row in rows if row in params.wanted().kinds]
    # What a source list holds is not known yet: one kind of key has to be there.
    whole = any(all(map(content.get, row.keys)) for row in rows)
    for row in needed or ([] if whole else rows[:1]):
        for key in row.keys:
            _value(content, key, "credentials")
    known = {key for row in rows for key in (*row.keys, *row.optional_keys)}
    return {key: value for key, value in content.items() if key in known and value}


def _value(content: Mapping[str, str], key: str, option: str) -> str:
    if not content.get(key):
        raise problems.Blocked(f"{option}: the secret has no {key}: juju update-secret ...")
    return content[key]
