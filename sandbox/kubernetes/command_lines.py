"""The command lines of the control plane's four programs; it starts nothing."""

from __future__ import annotations

import dataclasses
import pathlib

import yaml

from sandbox.base import certificates

# Only those that the sandbox needs; each of the others costs a watch, memory and log lines.
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
)

_LOOPBACK = ["127.0.0.1", "localhost"]
_SERVICES = "10.152.183.0/24"  # Charmed Kubernetes's own default
_API_NAMES = ["kubernetes", "kubernetes.default.svc", "10.152.183.1", *_LOOPBACK]
_ADMINISTRATORS = "system:masters"


@dataclasses.dataclass(frozen=True)
class ControlPlaneSettings:
    """The settings that the four programs share.

    Attributes:
        binaries: The directory of the programs.
        directory: The directory of their files; only its owner may read it.
        api_port: The API server's port.
        etcd_port: etcd's port for clients.
        peer_port: etcd's port for peers (it has none).
        reviews_url: The URL of the webhook for token reviews.
    """

    binaries: pathlib.Path
    directory: pathlib.Path
    authority: certificates.Authority
    api_port: int
    etcd_port: int
    peer_port: int
    reviews_url: str

    @property
    def endpoint(self) -> str:
        """Return the API server's URL."""
        return f"https://127.0.0.1:{self.api_port}"


def etcd(settings: ControlPlaneSettings) -> list[str]:
    """Return etcd's command: one member that accepts only our certificates and never syncs."""
    pair = settings.authority.issue("etcd", hosts=_LOOPBACK)
    clients = f"https://127.0.0.1:{settings.etcd_port}"
    peers = f"http://127.0.0.1:{settings.peer_port}"
    return [
        str(settings.binaries / "etcd"),
        f"--data-dir={settings.directory / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        f"--cert-file={pair.certificate}",
        f"--key-file={pair.key}",
        f"--trusted-ca-file={settings.authority.path}",
        "--client-cert-auth",
        "--socket-reuse-port",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(settings: ControlPlaneSettings) -> list[str]:
    """Return the API server's command: RBAC, default admission plugins, our token webhook."""
    authority, directory = settings.authority, settings.directory
    serving = authority.issue("kube-apiserver", hosts=_API_NAMES)
    to_etcd = authority.issue("kube-apiserver-etcd-client")
    to_kubelet = authority.issue("kube-apiserver-kubelet-client", groups=[_ADMINISTRATORS])
    signing = certificates.signing_key(directory)
    return [
        str(settings.binaries / "kube-apiserver"),
        "--bind-address=127.0.0.1",
        f"--secure-port={settings.api_port}",
        "--permit-port-sharing",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={authority.path}",
        f"--etcd-servers=https://127.0.0.1:{settings.etcd_port}",
        f"--etcd-cafile={authority.path}",
        f"--etcd-certfile={to_etcd.certificate}",
        f"--etcd-keyfile={to_etcd.key}",
        "--authorization-mode=RBAC",
        f"--authentication-config={_authentication(directory)}",
        f"--authentication-token-webhook-config-file={_reviews(settings)}",
        "--authentication-token-webhook-version=v1",
        "--authentication-token-webhook-cache-ttl=0s",
        f"--kubelet-certificate-authority={authority.path}",
        f"--kubelet-client-certificate={to_kubelet.certificate}",
        f"--kubelet-client-key={to_kubelet.key}",
        # A node's internal address exists only in the sandbox's AWS: use its host name.
        "--kubelet-preferred-address-types=Hostname,InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={signing.certificate}",
        f"--service-account-signing-key-file={signing.key}",
        f"--service-cluster-ip-range={_SERVICES}",
        "--endpoint-reconciler-type=none",  # endpoints must not have loopback addresses
        "--profiling=false",
    ]


def controller_manager(settings: ControlPlaneSettings) -> list[str]:
    """Return the controller manager's command, without the usual limit of 20 requests/s."""
    return [
        str(settings.binaries / "kube-controller-manager"),
        f"--kubeconfig={_kubeconfig(settings, 'kube-controller-manager')}",
        f"--controllers={','.join(_CONTROLLERS)}",
        f"--root-ca-file={settings.authority.path}",
        f"--service-account-private-key-file={settings.directory / 'service-accounts.key'}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--pvclaimbinder-sync-period=2s",
        "--node-monitor-period=1s",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]


def scheduler(settings: ControlPlaneSettings) -> list[str]:
    """Return the scheduler's command, with default settings."""
    return [
        str(settings.binaries / "kube-scheduler"),
        f"--kubeconfig={_kubeconfig(settings, 'kube-scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]


def kubeconfig(endpoint: str, ca: str, user: dict[str, str]) -> dict[str, object]:
    """Return the content of a kubeconfig file with one cluster and one user."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "sandbox", "cluster": {"server": endpoint, "certificate-authority": ca}}
        ],
        "users": [{"name": "sandbox", "user": user}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
        "current-context": "sandbox",
    }


def client_user(pair: certificates.KeyPair) -> dict[str, str]:
    """Return a kubeconfig user with a client certificate."""
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def administrator(authority: certificates.Authority, name: str) -> certificates.KeyPair:
    """Return the certificate of a user with all permissions."""
    return authority.issue(name, groups=[_ADMINISTRATORS])


def _kubeconfig(settings: ControlPlaneSettings, name: str) -> pathlib.Path:
    user = client_user(administrator(settings.authority, f"system:{name}"))
    path = settings.directory / f"{name}.yaml"
    content = kubeconfig(settings.endpoint, str(settings.authority.path), user)
    path.write_text(yaml.safe_dump(content))
    return path


def _reviews(settings: ControlPlaneSettings) -> pathlib.Path:
    user = client_user(settings.authority.issue("kube-apiserver-webhook-client"))
    path = settings.directory / "token-reviews.yaml"
    content = kubeconfig(settings.reviews_url, str(settings.authority.path), user)
    path.write_text(yaml.safe_dump(content))
    return path


def _authentication(directory: pathlib.Path) -> pathlib.Path:
    """Write the authentication file: anonymous requests only for the server's health."""
    path = directory / "authentication.yaml"
    health = [{"path": name} for name in ("/healthz", "/livez", "/readyz")]
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": health},
    }
    path.write_text(yaml.safe_dump(content))
    return path
