"""The least of a Kubernetes API: a store in which claims bind and Jobs succeed at once.

With it a test of the charm takes no control plane. Whatever a real API server refuses, defaults or
keeps apart is tested by tests/sandbox.
"""

from __future__ import annotations

import http.server
import json
import pathlib
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

from sandbox.base import certificates, faulty_http_server

_PATH = re.compile(r"/(?:api|apis/[^/]+)/v\w+(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?/?.*")
_NOW = "2026-01-01T00:00:00Z"


class ApiServer:
    """A running API server; `close` ends it.

    Args:
        directory: A directory for its certificates.

    Attributes:
        objects: The objects by resource, namespace and name, as in ("pods", "default", "web").
        refusal: The HTTP status and message that every request gets; None for the answers.
        answers: The answers to GET requests of other paths than objects', by path.
        refused: The statuses of GET requests that are refused, by path.
        mute: The paths of GET requests that are not answered before the server is closed.
        garble: Changes the answer to a request, by its number since `requests` was 0.
        requests: The number of requests.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.refusal: tuple[int, str] | None = None
        self.answers: dict[str, Any] = {}
        self.refused: dict[str, int] = {}
        self.mute: set[str] = set()
        self.ended = threading.Event()
        self.garble: Callable[[int, faulty_http_server.Reply], faulty_http_server.Reply] | None = (
            None
        )
        self.requests = 0
        authority = certificates.Authority(directory)
        pair = authority.issue("api", hosts=["127.0.0.1"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        server = self

        class Handler(_Handler):
            api = server

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.ca = authority.pem
        self.endpoint = f"https://127.0.0.1:{self._server.server_port}"

    def kube_control(self, unit: str) -> dict[str, str]:
        """Return what its control plane publishes over kube-control, with a unit's token."""
        tokens = {"client_token": "admin", "kubelet_token": "ours", "proxy_token": ""}
        return {
            "api-endpoints": json.dumps([self.endpoint]),
            "creds": json.dumps({unit: {**tokens, "scope": "kubernetes-control-plane/0"}}),
            "cluster-tag": "kubernetes-6f4bf1dd",
            "default-cni": '"calico"',
            "domain": "cluster.local",
            "enable-kube-dns": "true",
            "has-xcp": "false",
            "port": "53",
            "registry-location": "registry.invalid",
        }

    def close(self) -> None:
        """End it."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, resource: str, body: dict[str, Any], namespace: str = "") -> None:
        """Add an object, as its controller or a user does."""
        self.objects[resource, namespace, body["metadata"]["name"]] = body

    def select(
        self, resource: str, namespace: str, selector: str, name: str
    ) -> list[dict[str, Any]]:
        """List objects by name and equality of labels; other requirements are fulfilled by all."""
        wanted = [
            each.split("=") for each in selector.split(",") if re.fullmatch(r"[^!=]+=[^=]+", each)
        ]
        return [
            body
            for (kind, where, called), body in self.objects.items()
            if (kind, namespace or where, name or called) == (resource, where, called)
            and all(body["metadata"].get("labels", {}).get(k) == v for k, v in wanted)
        ]

    def patch(self, key: tuple[str, str, str], body: dict[str, Any]) -> dict[str, Any]:
        """Change or create an object, and do at once what its controller would."""
        made = {"uid": "-".join(key), "creationTimestamp": _NOW, "resourceVersion": "1"}
        there = _merged({"metadata": made}, _merged(self.objects.get(key, {}), body))
        self.objects[key] = there
        if key[0] == "persistentvolumeclaims":
            spec = there["spec"]
            there["status"] = {"phase": "Bound", "capacity": spec["resources"]["requests"]}
            volume = self.objects["persistentvolumes", "", spec["volumeName"]]
            volume["spec"]["claimRef"]["uid"] = there["metadata"]["uid"]
        if key[0] == "jobs" and not there["spec"].get("suspend"):
            done = {"type": "Complete", "status": "True", "lastTransitionTime": _NOW}
            there["status"] = {"succeeded": 1, "conditions": [done]}
        return there


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    both = {**old, **new}
    for name in old.keys() & new.keys():
        if isinstance(old[name], dict) and isinstance(new[name], dict):
            both[name] = _merged(old[name], new[name])
    return both


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET, PATCH and DELETE of an object, and lists."""

    api: ApiServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path in self.api.mute:
            self.api.ended.wait(60)
        if path in self.api.refused:
            self._reply({"message": "refused"}, self.api.refused[path])
            return
        if path in self.api.answers:
            self._reply(self.api.answers[path])
            return
        resource, namespace, name = self._key()
        if name:
            found = self.api.objects.get((resource, namespace, name))
            self._reply(found or {"message": "not found"}, 200 if found else 404)
        else:
            selector = self._query().get("labelSelector", [""])[0]
            fields = self._query().get("fieldSelector", [""])[0]
            wanted = fields.removeprefix("metadata.name=") if "metadata.name" in fields else ""
            found = self.api.select(resource, namespace, selector, wanted)
            self._reply({"metadata": {}, "items": found})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._reply(body if "dryRun" in self._query() else self.api.patch(self._key(), body))

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        found = self.api.objects.pop(self._key(), None)
        self._reply(found or {"message": "not found"}, 200 if found else 404)

    def _key(self) -> tuple[str, str, str]:
        match = _PATH.fullmatch(urllib.parse.urlsplit(self.path).path)
        assert match, self.path
        return match[2], match[1] or "", match[3] or ""

    def _query(self) -> dict[str, list[str]]:
        return urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)

    def _reply(self, body: Any, status: int = 200) -> None:
        if self.api.refusal:
            status, message = self.api.refusal
            body = {"kind": "Status", "apiVersion": "v1", "code": status, "message": message}
        elif status != 200:
            body = {"kind": "Status", "apiVersion": "v1", "code": status, **body}
        reply = faulty_http_server.Reply(
            status, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if self.api.garble:
            reply = self.api.garble(self.api.requests, reply)
        self.api.requests += 1
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + reply.missing_bytes))
        self.end_headers()
        self.wfile.write(reply.body)
        if reply.missing_bytes:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""
