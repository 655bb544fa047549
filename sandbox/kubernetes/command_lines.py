"""The command lines of the control plane's four programs; starts nothing."""

from __future__ import annotations

import dataclasses
import pathlib

import yaml

from sandbox.base import certificates

# Those that the sandbox's stories need; each of the others costs a watch, memory and log lines.
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
class Setting:
    """What the four programs have to know of each other.

    Attributes:
        binaries: The directory of the programs.
        directory: Where they keep their files; only its owner may read it.
        api_port: The API server's port.
        etcd_port: etcd's port for clients.
        peer_port: etcd's port for its peers, of which there are none.
        reviews_url: Where token reviews are answered.
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
        """The API server's URL."""
        return f"https://127.0.0.1:{self.api_port}"


def etcd(setting: Setting) -> list[str]:
    """A single member that trusts our certificates only, and does not wait for the disk."""
    pair = setting.authority.issue("etcd", hosts=_LOOPBACK)
    clients = f"https://127.0.0.1:{setting.etcd_port}"
    peers = f"http://127.0.0.1:{setting.peer_port}"
    return [
        str(setting.binaries / "etcd"),
        f"--data-dir={setting.directory / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        f"--cert-file={pair.certificate}",
        f"--key-file={pair.key}",
        f"--trusted-ca-file={setting.authority.path}",
        "--client-cert-auth",
        "--socket-reuse-port",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(setting: Setting) -> list[str]:
    """RBAC, the default admission plugins, and our webhook for tokens."""
    authority, directory = setting.authority, setting.directory
    serving = authority.issue("kube-apiserver", hosts=_API_NAMES)
    to_etcd = authority.issue("kube-apiserver-etcd-client")
    to_kubelet = authority.issue("kube-apiserver-kubelet-client", groups=[_ADMINISTRATORS])
    signing = certificates.signing_key(directory)
    return [
        str(setting.binaries / "kube-apiserver"),
        "--bind-address=127.0.0.1",
        f"--secure-port={setting.api_port}",
        "--permit-port-sharing",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={authority.path}",
        f"--etcd-servers=https://127.0.0.1:{setting.etcd_port}",
        f"--etcd-cafile={authority.path}",
        f"--etcd-certfile={to_etcd.certificate}",
        f"--etcd-keyfile={to_etcd.key}",
        "--authorization-mode=RBAC",
        f"--authentication-config={_authentication(directory)}",
        f"--authentication-token-webhook-config-file={_reviews(setting)}",
        "--authentication-token-webhook-version=v1",
        "--authentication-token-webhook-cache-ttl=0s",
        f"--kubelet-certificate-authority={authority.path}",
        f"--kubelet-client-certificate={to_kubelet.certificate}",
        f"--kubelet-client-key={to_kubelet.key}",
        # A node's internal address is one of the sandbox's AWS: only its host name leads to it.
        "--kubelet-preferred-address-types=Hostname,InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={signing.certificate}",
        f"--service-account-signing-key-file={signing.key}",
        f"--service-cluster-ip-range={_SERVICES}",
        "--endpoint-reconciler-type=none",  # an endpoint may not have a loopback address
        "--profiling=false",
    ]


def controller_manager(setting: Setting) -> list[str]:
    """The controllers that the sandbox needs, not held to the usual 20 requests a second."""
    return [
        str(setting.binaries / "kube-controller-manager"),
        f"--kubeconfig={_kubeconfig(setting, 'kube-controller-manager')}",
        f"--controllers={','.join(_CONTROLLERS)}",
        f"--root-ca-file={setting.authority.path}",
        f"--service-account-private-key-file={setting.directory / 'service-accounts.key'}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--pvclaimbinder-sync-period=2s",
        "--node-monitor-period=1s",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]


def scheduler(setting: Setting) -> list[str]:
    """The scheduler as it comes."""
    return [
        str(setting.binaries / "kube-scheduler"),
        f"--kubeconfig={_kubeconfig(setting, 'kube-scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]


def kubeconfig(endpoint: str, ca: str, user: dict[str, str]) -> dict[str, object]:
    """A kubeconfig file's content, with one cluster and one user."""
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
    """A kubeconfig file's user that shows a certificate."""
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def administrator(authority: certificates.Authority, name: str) -> certificates.KeyPair:
    """The certificate of a user who may do everything."""
    return authority.issue(name, groups=[_ADMINISTRATORS])


def _kubeconfig(setting: Setting, name: str) -> pathlib.Path:
    user = client_user(administrator(setting.authority, f"system:{name}"))
    path = setting.directory / f"{name}.yaml"
    content = kubeconfig(setting.endpoint, str(setting.authority.path), user)
    path.write_text(yaml.safe_dump(content))
    return path


def _reviews(setting: Setting) -> pathlib.Path:
    user = client_user(setting.authority.issue("kube-apiserver-webhook-client"))
    path = setting.directory / "token-reviews.yaml"
    content = kubeconfig(setting.reviews_url, str(setting.authority.path), user)
    path.write_text(yaml.safe_dump(content))
    return path


def _authentication(directory: pathlib.Path) -> pathlib.Path:
    """Nobody is anonymous, but anybody may ask for the server's health."""
    path = directory / "authentication.yaml"
    health = [{"path": name} for name in ("/healthz", "/livez", "/readyz")]
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": health},
    }
    path.write_text(yaml.safe_dump(content))
    return path
