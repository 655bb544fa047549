"""A real Kubernetes control plane on loopback; it knows nothing of nodes or the charm."""

from __future__ import annotations

import base64
import http.client
import logging
import pathlib
import ssl
from collections.abc import Callable, Sequence

import lightkube
import tenacity
import yaml
from lightkube.config import kubeconfig

from sandbox.base import certificates, ports, processes, scratch
from sandbox.kubernetes import command_lines, etcd_snapshot, program_build, token_webhook

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 90
_ADMIN = "admin"

# The objects that the controllers create in every cluster; with these it is complete.
_BUILT_IN_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_MADE_BY_CONTROLLERS = frozenset(
    f"/registry/{kind}/{namespace}/{name}"
    for namespace in _BUILT_IN_NAMESPACES
    for kind, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt"))
)


class ControlPlaneError(Exception):
    """A failure of the control plane; the message ends with the programs' logs."""


class ControlPlane:
    """A running control plane: `with ControlPlane.start() as plane`.

    Attributes:
        endpoint: The API server's URL.
        ca: The certificate authority of all certificates, in PEM.
        ca_path: The file of the certificate authority.
        admin_token: A token with all permissions.
    """

    def __init__(self, binaries: pathlib.Path) -> None:
        self._scratch = scratch.ScratchDirectory()
        self._directory = self._scratch.path
        self._ports = ports.Port(), ports.Port(), ports.Port()
        self._authority = certificates.Authority(self._directory)
        hosts = ["127.0.0.1"]
        self._tokens = token_webhook.Tokens(self._authority.issue("token-reviews", hosts=hosts))
        self._settings = command_lines.ControlPlaneSettings(
            binaries=binaries,
            directory=self._directory,
            authority=self._authority,
            api_port=self._ports[0].number,
            etcd_port=self._ports[1].number,
            peer_port=self._ports[2].number,
            reviews_url=self._tokens.url,
        )
        self._admin = command_lines.administrator(self._authority, _ADMIN)
        self._context = ssl.create_default_context(cafile=str(self._authority.path))
        self._context.load_cert_chain(self._admin.certificate, self._admin.key)
        self._store = etcd_snapshot.Store(self._settings.etcd_port, self._context)
        self._api_command = command_lines.api_server(self._settings)
        self._running: dict[str, processes.Process] = {}
        self._clients: list[lightkube.Client] = []
        self._baseline: dict[str, str] = {}
        self.endpoint = self._settings.endpoint
        self.ca = self._authority.pem
        self.ca_path = self._authority.path
        self.admin_token = self.token(_ADMIN, ["system:masters"])

    @classmethod
    def start(cls, progress: Callable[[str], None] | None = None) -> ControlPlane:
        """Start a control plane; build its programs first if this machine does not have them.

        Args:
            progress: Called with messages of a build; by default they are logged.
        """
        plane = cls(program_build.ensure(progress or logger.info))
        try:
            plane._run(command_lines.etcd(plane._settings))
            plane._run(plane._api_command)
            plane._wait("API server", plane._api_ready)
            # Only now: on a busy machine the controller manager would not wait long enough.
            plane._run(command_lines.controller_manager(plane._settings))
            plane._run(command_lines.scheduler(plane._settings))
            plane._wait("complete cluster", plane._complete)
        except BaseException:
            plane.close()
            raise
        return plane

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all programs and remove all files; can be called again."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        # The API server before etcd; in the other order it waits for minutes.
        for name in sorted(self._running, key="etcd".__eq__):
            self._running.pop(name).kill()
        self._tokens.close()
        for port in self._ports:
            port.close()
        self._scratch.close()

    def token(self, user: str, groups: Sequence[str] = ()) -> str:
        """Issue a bearer token."""
        return self._tokens.issue(user, groups)

    def revoke(self, token: str) -> None:
        """Revoke a token: the API server refuses it with 401 from now on.

        An API server from KUBEBUILDER_ASSETS may accept it for another 10 seconds.
        """
        self._tokens.revoke(token)

    def kubeconfig(self, path: pathlib.Path, token: str = "") -> pathlib.Path:
        """Write a kubeconfig file that works while this control plane runs.

        Args:
            path: The file to write.
            token: The user's token; by default the admin token.
        """
        user = {"token": token or self.admin_token}
        content = command_lines.kubeconfig(self.endpoint, str(self.ca_path), user)
        certificates.write_private(path, yaml.safe_dump(content))
        return path

    def client(self, field_manager: str = "sandbox") -> lightkube.Client:
        """Return a client with all permissions; it is closed with the control plane."""
        user = command_lines.client_user(self._admin)
        content = command_lines.kubeconfig(self.endpoint, str(self.ca_path), user)
        config = kubeconfig.KubeConfig.from_dict(content)  # pyright: ignore[reportUnknownMemberType]
        client = lightkube.Client(config, field_manager=field_manager, trust_env=False)
        self._clients.append(client)
        return client

    def kubelet_server_certificate(self, host: str) -> certificates.KeyPair:
        """Return a certificate for a kubelet's server, which the API server verifies.

        Args:
            host: The host name or address of the kubelet for the API server.
        """
        return self._authority.issue(f"system:node:{host}", groups=["system:nodes"], hosts=[host])

    def stored(self) -> dict[str, bytes]:
        """Return all objects as they are stored, by their keys in etcd."""
        return {key: base64.b64decode(value) for key, value in self._store.read().items()}

    def wipe(self) -> None:
        """Restore a fresh cluster: delete added objects, and restore changed ones.

        The keys are deleted in etcd, without finalizers or grace periods; watches see each
        deletion. Pruning is repeated, because a controller may still write an object.
        Tokens stay valid.
        """
        self._store.restore(self._baseline)
        self._wait("fresh cluster", lambda: self._store.prune(self._baseline.keys()) == 0)

    def stop_api(self) -> None:
        """Kill the API server: connections to it are refused from now on."""
        self._running.pop("kube-apiserver").kill()

    def start_api(self) -> None:
        """Start the API server again, at the same address, and wait until it is ready."""
        self._run(self._api_command)
        self._wait("API server", self._api_ready)

    def _run(self, command: list[str]) -> None:
        name = pathlib.Path(command[0]).name
        log = self._directory / f"{name}.log"
        # etcd would read settings from the environment, and no program needs it.
        self._running[name] = processes.Process(command, log, environ={})

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until `ready` returns true; fail if a program ends."""

        def look() -> bool:
            for process in self._running.values():
                if not process.running:
                    raise ControlPlaneError(f"{process.name} ended: {process.tail()}")
            return ready()

        retry = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda result: not result),
            wait=tenacity.wait_exponential(multiplier=0.05, exp_base=1.3, max=0.5),
            stop=tenacity.stop_after_delay(_WAIT_SECONDS),
        )
        try:
            retry(look)
        except tenacity.RetryError as error:
            logs = "\n".join(f"{each.name}: {each.tail()}" for each in self._running.values())
            message = f"{what} not ready after {_WAIT_SECONDS} seconds; the last lines:\n{logs}"
            raise ControlPlaneError(message) from error

    def _api_ready(self) -> bool:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._settings.api_port, timeout=5, context=self._context
        )
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _complete(self) -> bool:
        """Return whether the controllers have created all their objects; they are the baseline."""
        before, self._baseline = self._baseline, self._store.read()
        return self._baseline == before and self._baseline.keys() >= _MADE_BY_CONTROLLERS
