"""The way to the user's Kubernetes: verified TLS, server-side apply, hands off foreign objects."""

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
    """The Kubernetes cluster, seen by one application.

    Args:
        access: End point, CA and token.
        owner: Whose labels are put on all we make, and looked for on all we change.
    """

    def __init__(self, access: identity.ClusterAccess, owner: identity.Owner) -> None:
        self.owner = owner
        self.labels = labels(owner)
        # An HTTP library quotes a header that it can not send, so such a token must not reach it.
        if not (access.token.isascii() and access.token.isprintable()) or " " in access.token:
            raise problems.Blocked(
                "the token that kube-control gave us is not one: relate it again"
            )
        try:
            # lightkube types its verbs for each scope apart; ours serve objects of both.
            self._api: Any = lightkube.Client(
                _config(access), timeout=_TIMEOUT, field_manager=FIELD_MANAGER, trust_env=False
            )
        except ssl.SSLError:
            raise problems.Blocked(
                "the CA from the relation is no certificate: relate certificates again"
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
        """The charm's own namespace, in which its Jobs are."""
        return self.owner.application

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def nodes(self) -> tuple[nodes.Node, ...]:
        """All nodes, in the order of their names."""
        seen = [nodes.read_node(node) for node in self.select(core_v1.Node, {})]
        return tuple(sorted(seen, key=lambda node: node.name))

    def ours(self, kind: type[_Kind], selector: Mapping[str, str] | None = None) -> list[_Kind]:
        """The objects that carry our labels, in all namespaces.

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
        """The objects of a kind: one call, and one for each further page.

        Args:
            kind: Their kind.
            selector: The labels that they have.
            namespace: The namespace that they are in, "" for all.
            fields: The fields that they have.
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
        """The object of that name, whosever it is; None where there is none.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
        """
        with errors.translated(f"look at {title(kind, name, namespace)}"):
            try:
                found: _Kind = self._api.get(kind, name, namespace=namespace or None)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
                return None
        return found

    def apply(self, resource: _Kind, *, known: bool, dry_run: bool = False) -> _Kind:
        """Create or change an object by server-side apply.

        Args:
            resource: The object as it shall be.
            known: It was seen with our labels: fields that others edited are taken back. Else the
                name is looked at first, and what is not ours is left alone.
            dry_run: Only ask whether the API server would take it.

        Returns:
            The object as the API server has it now.

        Raises:
            problems.Blocked: An object of that name is there and not ours.
        """
        name, namespace = objects.name(resource), objects.meta(resource).namespace or ""
        titled = title(type(resource), name, namespace)
        if not known:
            there = self.find(type(resource), name, namespace)
            if there is not None and not self.owns(there):
                hint = _ANOTHER_NAME.get(type(resource).__name__, _ANOTHER_APPLICATION)
                raise problems.Blocked(
                    f"{titled} exists and is not ours: "
                    + hint.format(application=self.owner.application)
                )
            known = there is not None
        with errors.translated(titled):
            applied: _Kind = self._api.apply(resource, force=known, dry_run=dry_run)
        if not dry_run:
            logger.info("applied %s", titled)
        return applied

    def patch(
        self,
        kind: type[_Kind],
        name: str,
        namespace: str,
        body: Mapping[str, Any],
        how: lightkube.types.PatchType = lightkube.types.PatchType.MERGE,
    ) -> None:
        """Change single fields of an object that is ours.

        Args:
            kind: Its kind, or a subresource's.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
            body: The patch.
            how: A merge patch, or a strategic one, which adds to lists.
        """
        titled = title(kind, name, namespace)
        with errors.translated(titled):
            self._api.patch(kind, name, body, namespace=namespace or None, patch_type=how)
        logger.info("patched %s", titled)

    def delete(self, kind: type[_Kind], name: str, namespace: str = "") -> None:
        """Delete an object that is ours, and in the background what it owns; gone is well, too.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
        """
        titled = title(kind, name, namespace)
        background = lightkube.types.CascadeType.BACKGROUND
        with errors.translated(f"delete {titled}"):
            try:
                self._api.delete(kind, name, namespace=namespace or None, cascade=background)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
        logger.info("deleted %s", titled)

    def log(self, pod: str, container: str, *, tail_lines: int) -> str:
        """The end of the log of a pod of ours.

        Args:
            pod: Its name.
            container: The container's name.
            tail_lines: How many lines of it.

        Returns:
            "" where there is none: the pod is gone, or has not begun.
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
        """Whether the object carries our labels."""
        return self.labels.items() <= objects.labels_of(resource).items()


def labels(owner: identity.Owner) -> dict[str, str]:
    """The labels that say whose an object is.

    Args:
        owner: The application.
    """
    return {
        "app.kubernetes.io/managed-by": "juju",
        MODEL: owner.model_uuid,
        APPLICATION: owner.application,
    }


def _config(access: identity.ClusterAccess) -> lightkube.KubeConfig:
    """A configuration that trusts the given CA alone; where there is none, it trusts nobody."""
    if not access.endpoint.startswith("https://"):
        raise problems.Blocked(
            "the API address from kube-control is not https: no token goes there"
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
    """An object as our messages call it: "claim default/aws-efs".

    Args:
        kind: Its kind.
        name: Its name.
        namespace: Its namespace, "" for kinds that have none.
    """
    said = _SPOKEN.get(kind.__name__, kind.__name__)
    return f"{said} {namespace}/{name}" if namespace else f"{said} {name}"


_SPOKEN = {
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
