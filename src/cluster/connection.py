"""Connect to the user's Kubernetes API by verified TLS, and read from it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import lightkube
import lightkube.config.kubeconfig
import lightkube.config.models
import lightkube.core.exceptions
import lightkube.core.resource
import msgspec
from lightkube.config import client_adapter
from lightkube.models import meta_v1
from lightkube.resources import core_v1

import polling
import problems
from cluster import errors, nodes, objects, transport

if TYPE_CHECKING:
    from types import TracebackType

    import httpx2

    import identity

FIELD_MANAGER = "aws-efs"

_PAGE = 500

Resource = lightkube.core.resource.Resource
_Kind = TypeVar("_Kind", bound=Resource)


class Connection:
    """A connection to the API server, which reads any object.

    Args:
        access: Endpoints, CA and token.
        patience: The time for late answers.

    Attributes:
        endpoint: The API server's URL.
        chosen: The same where it was chosen among several, else "".
    """

    def __init__(self, access: identity.ClusterAccess, patience: polling.Patience) -> None:
        # An HTTP library's error quotes a header that it cannot send: no such token may reach it.
        if not (access.token.isascii() and access.token.isprintable()) or " " in access.token:
            raise problems.Blocked("kube-control sent an invalid token: relate it again")
        self.chosen = ""
        self._patience = patience
        self._trusted = transport.certificates_in(access.ca)
        if access.ca.strip() and not self._trusted:
            raise problems.Blocked(
                "the CA from the relation is not a certificate: relate certificates again"
            )
        self._open(access, access.endpoint)
        if access.alternatives:
            self._choose(access)

    def _open(self, access: identity.ClusterAccess, endpoint: str) -> None:
        """Create the clients of one API server; nothing is sent yet."""
        config = _config(access, endpoint, self._trusted)
        self.endpoint = endpoint
        # lightkube types its methods for each scope separately; ours take objects of both.
        self._api: Any = lightkube.Client(
            config,
            timeout=transport.TIMEOUT,
            field_manager=FIELD_MANAGER,
            trust_env=False,
            transport=transport.BoundedTransport(self._trusted, self._patience),
        )
        # It has neither preconditions of deletions nor paths of other answers than objects.
        self._http = client_adapter.Client(
            self._api.config,
            client_adapter.ConnectionParams(
                timeout=transport.TIMEOUT,
                trust_env=False,
                transport=transport.BoundedTransport(self._trusted, self._patience),
            ),
        )

    def _choose(self, access: identity.ClusterAccess) -> None:
        """Keep the first API server that answers; where none does, raise the first's problem."""
        first: problems.Problem | None = None
        for endpoint in (access.endpoint, *access.alternatives):
            if endpoint != self.endpoint:
                self.close()
                self._open(access, endpoint)
            try:
                self._greet()
            except problems.Problem as problem:
                first = first or problem
            else:
                self.chosen = endpoint
                return
        self.close()
        if first is not None:
            raise first

    def _greet(self) -> None:
        """Ask for little; whatever Kubernetes says to that is an answer, an error of it is not."""
        doing = f"reach the Kubernetes API at {self.endpoint}"
        with errors.translated(doing):
            response = self._http.get(
                "api/v1/namespaces/default", timeout=transport.GREETING_TIMEOUT
            )
            if response.status_code >= errors.SERVER_ERROR:
                response.raise_for_status()
            if not isinstance(msgspec.json.decode(response.content), dict):
                raise errors.UnreadableError(doing, "no object")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; it may be called twice."""
        self._api.close()
        self._http.close()

    def nodes(self) -> tuple[nodes.Node, ...]:
        """Return all nodes, in the order of their names."""
        observed = [nodes.read_node(node) for node in self.select(core_v1.Node, {})]
        return tuple(sorted(observed, key=lambda node: node.name))

    def select(
        self,
        kind: type[_Kind],
        selector: Mapping[str, str | Iterable[str] | None],
        *,
        namespace: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> list[_Kind]:
        """Return the objects of a kind: one call, and one for each further page.

        Args:
            kind: Their kind.
            selector: The labels to select by; None for any value.
            namespace: Their namespace, "" for all.
            fields: The fields to select by.
        """
        scoped = issubclass(kind, lightkube.core.resource.NamespacedResource)
        with errors.translated(f"list {lightkube.core.resource.api_info(kind).plural}"):
            found: list[_Kind] = list(
                self._api.list(
                    kind,
                    namespace=(namespace or "*") if scoped else None,
                    chunk_size=_PAGE,
                    labels=dict(selector),
                    fields=dict(fields or {}),
                )
            )
            for each in found:
                objects.check(each)
        return found

    def find(self, kind: type[_Kind], name: str, namespace: str = "") -> _Kind | None:
        """Return the object of that name, ours or not; None where there is none.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace, "" for kinds that have none.
        """
        with errors.translated(f"read {objects.title(kind, name, namespace)}"):
            try:
                resource: _Kind = self._api.get(kind, name, namespace=namespace or None)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
                return None
            objects.check(resource)
            if objects.name(resource) != name:
                raise errors.UnreadableError(f"read {name}", "another object")
        return resource

    def read(self, path: str, *, accept: str = "application/json", **parameters: str | int) -> Any:
        """Return the answer to a GET of any path; None where there is nothing.

        Args:
            path: The path of the API.
            accept: The media types of the answer.
            parameters: The query's parameters.
        """
        with errors.translated(f"read {path}"):
            try:
                response = self._http.get(path, params=parameters, headers={"Accept": accept})
                _check(response)
                return msgspec.json.decode(response.content)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
                return None

    def _delete(self, target: objects.Reference) -> None:
        """Delete an object as it was observed; in the background also what it owns."""
        options = meta_v1.DeleteOptions(
            apiVersion="v1",
            kind="DeleteOptions",
            preconditions=meta_v1.Preconditions(uid=target.uid, resourceVersion=target.version),
            propagationPolicy="Background",
        )
        response = self._http.request(
            "DELETE",
            _path(target),
            content=msgspec.json.encode(options),
            headers={"Content-Type": "application/json"},
        )
        _check(response)


def _config(
    access: identity.ClusterAccess, endpoint: str, trusted: Iterable[str]
) -> lightkube.KubeConfig:
    """Return a configuration that trusts the given certificates only; without any, raise."""
    if not endpoint.startswith("https://"):
        raise problems.Blocked(
            "the API address from kube-control is not https: the token is not sent to it"
        )
    if not access.ca.strip():
        raise problems.Waiting("no CA for the Kubernetes API yet: relate certificates to its CA")
    cluster = lightkube.config.models.Cluster(
        server=endpoint,
        certificate_auth_data=base64.b64encode("\n".join(trusted).encode()).decode(),
    )
    user = lightkube.config.models.User(token=access.token)
    return lightkube.config.kubeconfig.KubeConfig.from_one(cluster=cluster, user=user)


def _path(target: objects.Reference) -> str:
    info = lightkube.core.resource.api_info(target.kind)
    group, version = info.resource.group, info.resource.version
    root = ("apis", group, version) if group else ("api", version)
    place = ("namespaces", target.namespace) if target.namespace else ()
    return "/".join((*root, *place, info.plural, target.name))


def _check(response: httpx2.Response) -> None:
    """Raise the errors that lightkube raises."""
    if response.is_success:
        return
    if response.headers.get("Content-Type", "").startswith("application/json"):
        raise lightkube.core.exceptions.ApiError(request=response.request, response=response)
    response.raise_for_status()
