"""Run a data set action by its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import action_params
import problems
from app import job_options, reconcile_cluster
from app.datasets import (
    create,
    delete,
    list_versions,
    loader_jobs,
    rollback,
    show,
    update_index,
    verify,
)
from cluster.volumes import volume_names, volume_resources
from datasets import protocol
from datasets.loader.sources import table, web_header

if TYPE_CHECKING:
    import config
    from cluster import client

# Reads a Juju secret; `option` is the name of the parameter, for messages.
SecretReader = Callable[..., Mapping[str, str]]
Results = dict[str, str]


@dataclasses.dataclass(frozen=True)
class ActionContext:
    """The inputs of the actions besides their parameters.

    Attributes:
        cluster: The cluster.
        file_system: The file system.
        options: The application's options.
        proxies: The environment variables of the model's proxies.
        secret: The function that reads a Juju secret.
    """

    cluster: client.Cluster
    file_system: str
    options: config.Settings
    proxies: Mapping[str, str]
    secret: SecretReader

    @property
    def loader(self) -> loader_jobs.Loader:
        """Return the loader's cluster, image, file system and proxies."""
        return loader_jobs.Loader(
            self.cluster,
            self.options.loader_image,
            self.file_system,
            self.proxies,
            job_options.read(self.options),
        )


def run(context: ActionContext, params: action_params.DataSetParams) -> Results:
    """Run an action.

    Args:
        context: The inputs.
        params: The action's parameters; their class selects the action.

    Raises:
        problems.Problem: The action failed, or is not possible yet.
    """
    loader = context.loader
    # Whoever looks first removes what a load needs no more.
    update_index.save_results(loader.index)
    if isinstance(params, action_params.CreateDatasetParams):
        return _create(context, params)
    if isinstance(params, action_params.ListDatasetsParams):
        return show.table(loader, refresh=params.refresh, wait_seconds=params.wait)
    if isinstance(params, action_params.ShowDatasetParams):
        claim = context.options.claim(context.cluster.owner)
        isolated = context.options.isolated
        namespaces, _ = reconcile_cluster.find_namespaces(context.cluster, context.options)
        return show.details(
            loader,
            params.name,
            claim=volume_names.view_claim_name(claim) if isolated else claim,
            claim_path=volume_resources.DATASETS if isolated else volume_resources.ROOT,
            namespaces=namespaces,
            wait_seconds=params.wait,
        )
    if isinstance(params, action_params.ListVersionsParams):
        return list_versions.list_versions(loader, params.name, wait_seconds=params.wait)
    return _maintain(loader, params)


def _maintain(
    loader: loader_jobs.Loader,
    params: action_params.RollbackParams
    | action_params.VerifyDatasetParams
    | action_params.DeleteDatasetParams,
) -> Results:
    name, wait_seconds = params.name, params.wait
    if isinstance(params, action_params.RollbackParams):
        return rollback.roll_back(loader, name, version=params.version, wait_seconds=wait_seconds)
    if isinstance(params, action_params.VerifyDatasetParams):
        return verify.verify(loader, name, wait_seconds=wait_seconds)
    return delete.delete(loader, name, force=params.force, wait_seconds=wait_seconds)


def _create(context: ActionContext, params: action_params.CreateDatasetParams) -> Results:
    secrets = {
        name: _value(context.secret(f"secret:{secret_id}", option="env"), key, "env")
        for name, (secret_id, key) in params.secrets.items()
    }
    return create.create(
        context.loader,
        params.to_dataset(),
        credentials=_credentials(context, params),
        secrets=secrets,
        wait_seconds=params.wait,
    )


def _credentials(
    context: ActionContext, params: action_params.CreateDatasetParams
) -> Mapping[str, str]:
    """Return the credentials for the sources: only the values of the secret that they need."""
    if not params.credentials:
        return {}
    content = {
        # A value that was read from a file ends in a newline.
        key: value.strip()
        for key, value in context.secret(params.credentials, option="credentials").items()
    }
    rows = table.WITH_CREDENTIALS
    needed = [row for row in rows if row in params.to_dataset().kinds]
    # The content of a source list is not known yet: the keys of one kind must be complete.
    complete = any(not _missing(content, row) for row in rows)
    for row in needed or ([] if complete else rows[:1]):
        # The secret of another kind of source is not for web servers.
        if missing := _missing(content, row) if row.keys or needed == [row] else "":
            raise _no_key(missing, "credentials")
    if content.get(protocol.HEADER):
        try:
            web_header.parse(content[protocol.HEADER])
        except ValueError as error:
            raise problems.Blocked(f"credentials: the secret's header {error}") from None
    known = {key for row in rows for key in (*row.keys, *row.optional_keys)}
    return {key: value for key, value in content.items() if key in known and value}


def _missing(content: Mapping[str, str], row: table.SourceKind) -> str:
    """Return the key that a secret lacks for a kind of source; empty if it lacks none."""
    if row.keys:
        return next((key for key in row.keys if not content.get(key)), "")
    return "" if any(map(content.get, row.optional_keys)) else " or ".join(row.optional_keys)


def _value(content: Mapping[str, str], key: str, option: str) -> str:
    if not content.get(key):
        raise _no_key(key, option)
    return content[key]


def _no_key(key: str, option: str) -> problems.Blocked:
    return problems.Blocked(
        f"{option}: the secret has no {key}: juju update-secret <its name> ..."
    )
