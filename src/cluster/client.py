"""Client for the user's Kubernetes API: verified TLS, server-side apply, only objects of ours."""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import lightkube
import lightkube.config.kubeconfig
import lightkube.config.models
import lightkube.core.exceptions
import lightkube.core.resource
import lightkube.types
from lightkube.resources import core_v1

import problems
from cluster import errors, nodes, objects

if TYPE_CHECKING:
    from types import TracebackType

    import identity

logger = logging.getLogger(__name__)

FIELD_MANAGER = "aws-efs"
APPLICATION = "aws-efs/application"
MODEL = "aws-efs/model-uuid"

_PAGE = 500
_TIMEOUT = httpx2.Timeout(20.0, connect=5.0)

Resource = lightkube.core.resource.Resource
_Kind = TypeVar("_Kind", bound=Resource)


class Cluster:
    """A connection to the Kubernetes cluster, for one application.

    Args:
        access: Endpoint, CA and token.
        owner: The application whose labels mark the objects that we make and may change.
    """

    def __init__(self, access: identity.ClusterAccess, owner: identity.Owner) -> None:
        self.owner = owner
        self.labels = labels(owner)
        # An HTTP library's error quotes a header that it cannot send: no such token may reach it.
        if not (access.token.isascii() and access.token.isprintable()) or " " in access.token:
            raise problems.Blocked("kube-control sent an invalid token: relate it again")
        try:
            # lightkube types its methods for each scope separately; ours take objects of both.
            self._api: Any = lightkube.Client(
                _config(access), timeout=_TIMEOUT, field_manager=FIELD_MANAGER, trust_env=False
            )
        except ssl.SSLError:
            raise problems.Blocked(
                "the CA from the relation is not a certificate: relate certificates again"
            ) from None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def namespace(self) -> str:
        """Return the name of the charm's own namespace, in which its Jobs run."""
        return self.owner.application

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def nodes(self) -> tuple[nodes.Node, ...]:
        """Return all nodes, in the order of their names."""
        observed = [nodes.read_node(node) for node in self.select(core_v1.Node, {})]
        return tuple(sorted(observed, key=lambda node: node.name))

    def ours(self, kind: type[_Kind], selector: Mapping[str, str] | None = None) -> list[_Kind]:
        """Return the objects that carry our labels, in all namespaces.

        Args:
            kind: Their kind.
            selector: Further labels.
        """
        return self.select(kind, {**self.labels, **(selector or {})})

    def select(
        self,
        kind: type[_Kind],
        selector: Mapping[str, str | Iterable[str]],
        *,
        namespace: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> list[_Kind]:
        """Return the objects of a kind: one call, and one for each further page.

        Args:
            kind: Their kind.
            selector: The labels to select by.
            namespace: Their namespace, "" for all.
            fields: The fields to select by.
        """
        scoped = issubclass(kind, lightkube.core.resource.NamespacedResource)
        with errors.translated(f"list {lightkube.core.resource.api_info(kind).plural}"):
            return list(
                self._api.list(
                    kind,
                    namespace=(namespace or "*") if scoped else None,
                    chunk_size=_PAGE,
                    labels=dict(selector),
                    fields=dict(fields or {}),
                )
            )

    def find(self, kind: type[_Kind], name: str, namespace: str = "") -> _Kind | None:
        """Return the object of that name, ours or not; None where there is none.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
        """
        with errors.translated(f"read {title(kind, name, namespace)}"):
            try:
                resource: _Kind = self._api.get(kind, name, namespace=namespace or None)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
                return None
        return resource

    def apply(self, resource: _Kind, *, known: bool, dry_run: bool = False) -> _Kind:
        """Create or change an object by server-side apply.

        Args:
            resource: The desired object.
            known: Whether it was observed with our labels: then fields that others edited are
                reset. If not, the name is looked up first, and an object of others is left alone.
            dry_run: Only ask whether the API server would accept it.

        Returns:
            The object as the API server has it now.

        Raises:
            problems.Blocked: An object of that name exists and is not ours.
        """
        name, namespace = objects.name(resource), objects.meta(resource).namespace or ""
        object_title = title(type(resource), name, namespace)
        if not known:
            existing = self.find(type(resource), name, namespace)
            if existing is not None and not self.owns(existing):
                hint = _ANOTHER_NAME.get(type(resource).__name__, _ANOTHER_APPLICATION)
                raise problems.Blocked(
                    f"{object_title} exists and is not ours: "
                    + hint.format(application=self.owner.application)
                )
            known = existing is not None
        with errors.translated(object_title):
            applied: _Kind = self._api.apply(resource, force=known, dry_run=dry_run)
        if not dry_run:
            logger.info("applied %s", object_title)
        return applied

    def patch(
        self,
        kind: type[_Kind],
        name: str,
        namespace: str,
        body: Mapping[str, Any],
        patch_type: lightkube.types.PatchType = lightkube.types.PatchType.MERGE,
    ) -> None:
        """Change single fields of an object of ours.

        Args:
            kind: Its kind, or a subresource's.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
            body: The patch.
            patch_type: A merge patch, or a strategic one, which adds to lists.
        """
        object_title = title(kind, name, namespace)
        with errors.translated(object_title):
            self._api.patch(kind, name, body, namespace=namespace or None, patch_type=patch_type)
        logger.info("patched %s", object_title)

    def delete(self, kind: type[_Kind], name: str, namespace: str = "") -> None:
        """Delete an object of ours, if it exists; in the background also what it owns.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
        """
        object_title = title(kind, name, namespace)
        background = lightkube.types.CascadeType.BACKGROUND
        with errors.translated(f"delete {object_title}"):
            try:
                self._api.delete(kind, name, namespace=namespace or None, cascade=background)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
        logger.info("deleted %s", object_title)

    def log(self, pod: str, container: str, *, tail_lines: int) -> str:
        """Return the last lines of the log of a pod of ours.

        Args:
            pod: Its name.
            container: The container's name.
            tail_lines: The number of lines.

        Returns:
            "" where there is no log: the pod is gone, or has not started.
        """
        with errors.translated(f"read the log of pod {pod}"):
            try:
                lines = self._api.log(
                    pod, namespace=self.namespace, container=container, tail_lines=tail_lines
                )
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) not in {errors.NOT_FOUND, errors.BAD_REQUEST}:
                    raise
                return ""
            return "".join(lines)

    def owns(self, resource: Resource) -> bool:
        """Tell whether the object carries our labels."""
        return self.labels.items() <= objects.labels_of(resource).items()


def labels(owner: identity.Owner) -> dict[str, str]:
    """Return the labels that mark an object as the application's own.

    Args:
        owner: The application.
    """
    return {
        "app.kubernetes.io/managed-by": "juju",
        MODEL: owner.model_uuid,
        APPLICATION: owner.application,
    }


def _config(access: identity.ClusterAccess) -> lightkube.KubeConfig:
    """Return a configuration that trusts the given CA only; without a CA, raise."""
    if not access.endpoint.startswith("https://"):
        raise problems.Blocked(
            "the API address from kube-control is not https: the token is not sent to it"
        )
    if not access.ca.strip():
        raise problems.Waiting("no CA for the Kubernetes API yet: relate certificates to its CA")
    cluster = lightkube.config.models.Cluster(
        server=access.endpoint,
        certificate_auth_data=base64.b64encode(access.ca.encode()).decode(),
    )
    user = lightkube.config.models.User(token=access.token)
    return lightkube.config.kubeconfig.KubeConfig.from_one(cluster=cluster, user=user)


def title(kind: type[Resource], name: str, namespace: str = "") -> str:
    """Return an object's name in our messages, as in "claim default/aws-efs".

    Args:
        kind: Its kind.
        name: Its name.
        namespace: Its namespace, "" for kinds that have none.
    """
    kind_title = _KIND_TITLES.get(kind.__name__, kind.__name__)
    return f"{kind_title} {namespace}/{name}" if namespace else f"{kind_title} {name}"


_KIND_TITLES = {
    "Namespace": "namespace",
    "PersistentVolume": "volume",
    "PersistentVolumeClaim": "claim",
    "PersistentVolumeClaimStatus": "status of claim",
    "StorageClass": "storage class",
}

_ANOTHER_APPLICATION = "deploy the charm under another name than {application}"
_ANOTHER_NAME = {
    "PersistentVolumeClaim": "juju config {application} claim-name=…",
    "StorageClass": "juju config {application} storage-class=…",
}
