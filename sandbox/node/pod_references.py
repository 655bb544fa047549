"""The objects that a pod refers to: config maps, secrets, claims, tokens and its own fields."""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from sandbox.node import kubelet_client

_SUBSCRIPT = re.compile(r"^metadata\.(annotations|labels)\['(.+)'\]$")


class MissingError(Exception):
    """A reference to a missing object; in the kubelet's words."""


class References:
    """A lookup of the objects that one pod refers to.

    Args:
        api: The client of the API server.
        pod: The pod.
        address: The address of the node, which is also the pod's.
    """

    def __init__(
        self, api: kubelet_client.KubeletClient, pod: kubelet_client.Object, address: str
    ) -> None:
        self._api = api
        self._pod = pod
        self._address = address
        self.namespace: str = pod["metadata"]["namespace"]

    @property
    def api_server(self) -> dict[str, str]:
        """Return the variables by which every container finds the API server."""
        host, port = self._api.address
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}

    def config_map(self, name: str) -> dict[str, bytes]:
        """Return a config map's content."""
        manifest = self._get("configmap", f"configmaps/{name}", name)
        return {
            **{key: value.encode() for key, value in manifest.get("data", {}).items()},
            **{
                key: base64.b64decode(text) for key, text in manifest.get("binaryData", {}).items()
            },
        }

    def secret(self, name: str) -> dict[str, bytes]:
        """Return a secret's content."""
        manifest = self._get("secret", f"secrets/{name}", name)
        return {key: base64.b64decode(text) for key, text in manifest.get("data", {}).items()}

    def variables(self, kind: str, name: str) -> dict[str, str]:
        """Return the values of a ConfigMap or a Secret for environment variables."""
        if kind == "Secret":
            return {key: os.fsdecode(value) for key, value in self.secret(name).items()}
        # Binary data are for files only.
        return self._get("configmap", f"configmaps/{name}", name).get("data", {})

    def claim(self, name: str) -> kubelet_client.Object:
        """Return a persistent volume claim."""
        return self._get("persistentvolumeclaim", f"persistentvolumeclaims/{name}", name)

    def volume(self, name: str) -> kubelet_client.Object:
        """Return a persistent volume."""
        return self._api.get(f"/api/v1/persistentvolumes/{name}")

    def token(self, audience: str | None, seconds: int) -> str:
        """Create a token of the pod's service account that expires with the pod."""
        account = self._pod["spec"].get("serviceAccountName", "default")
        metadata = self._pod["metadata"]
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": reference}
        if audience:
            spec["audiences"] = [audience]
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        return self._api.post(path, {"spec": spec})["status"]["token"]

    def field(self, path: str) -> str:
        """Return one of the pod's own fields by its path."""
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        subscript = _SUBSCRIPT.match(path)
        if subscript:
            return metadata.get(subscript[1], {}).get(subscript[2], "")
        if path in ("metadata.labels", "metadata.annotations"):
            values: dict[str, str] = metadata.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
        fields = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": spec["nodeName"],
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
            **dict.fromkeys(("status.hostIP", "status.hostIPs"), self._address),
            **dict.fromkeys(("status.podIP", "status.podIPs"), self._address),
        }
        if path not in fields:
            raise MissingError(f"unsupported fieldPath: {path}")
        return fields[path]

    def _get(self, kind: str, path: str, name: str) -> kubelet_client.Object:
        try:
            return self._api.get(f"/api/v1/namespaces/{self.namespace}/{path}")
        except kubelet_client.ApiError as error:
            if error.status == 404:
                raise MissingError(f'{kind} "{name}" not found') from error
            raise
