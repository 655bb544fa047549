"""What the charm reads of its relations with the control plane and the certificate authority."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import ops
import pytest
from cryptography import x509
from ops import testing

import identity
import problems
from relations import control_plane

GOOD = "https://10.0.0.1:6443"
PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"
CA, ROOT, OTHER = (PEM.format(name) for name in ("Q0E=", "Uk9PVA==", "T1RIRVI="))
CREDS = json.dumps({"efs/0": {"client_token": "admin", "kubelet_token": "ours"}})
Units = Mapping[int, dict[str, str]]


class Reader(ops.CharmBase):
    """A charm that reads its relations, and keeps what it read."""

    preferred = ""
    read: ClassVar[list[identity.ClusterAccess | problems.Problem]] = []

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        framework.observe(self.on.update_status, self._on_update_status)

    def _on_update_status(self, _event: ops.EventBase) -> None:
        plane = control_plane.ControlPlane(self)
        plane.request()
        try:
            self.read.append(plane.access(self.preferred))
        except problems.Problem as problem:
            self.read.append(problem)


def run(
    units: Units,
    authorities: Units | None = None,
    *,
    app: dict[str, str] | None = None,
    preferred: str = "",
    secrets: tuple[testing.Secret, ...] = (),
) -> tuple[Any, testing.State]:
    charm_type = type("Reader", (Reader,), {"preferred": preferred})
    interfaces = {"kube-control": "kube-control", "certificates": "tls-certificates"}
    context = testing.Context(
        charm_type,
        meta={
            "name": "efs",
            "requires": {name: {"interface": each} for name, each in interfaces.items()},
        },
    )
    authority = testing.Relation(
        "certificates",
        remote_app_name="authority",
        remote_app_data=app or {},
        remote_units_data={0: {"ca": CA}} if authorities is None else authorities,
    )
    plane = testing.Relation("kube-control", remote_app_name="plane", remote_units_data=units)
    state = testing.State(relations=[plane, authority], secrets=secrets)
    after = context.run(context.on.update_status(), state)
    return Reader.read.pop(), after


def access(*arguments: Any, **options: Any) -> identity.ClusterAccess:
    read, _ = run(*arguments, **options)
    assert isinstance(read, identity.ClusterAccess), read
    return read


def problem(*arguments: Any, **options: Any) -> str:
    read, _ = run(*arguments, **options)
    assert isinstance(read, problems.Waiting), read
    assert len(read.message) <= 120
    return read.message


def endpoints(*urls: Any) -> dict[str, str]:
    return {"api-endpoints": json.dumps(urls)}


# --- endpoints


def test_the_endpoints_of_all_units_are_kept_in_the_order_of_the_units() -> None:
    units = {number: endpoints(f"https://10.0.0.{number}:6443") for number in (10, 2, 1)}
    units[2] |= {"creds": CREDS}
    read = access(units)
    assert (read.endpoint, *read.alternatives) == (
        "https://10.0.0.1:6443",
        "https://10.0.0.2:6443",
        "https://10.0.0.10:6443",
    )


def test_the_endpoints_of_one_unit_are_kept_each_once() -> None:
    sent = endpoints(GOOD, "https://10.0.0.2:6443/", f"{GOOD}/", "https://[fd00::1]:6443")
    read = access({0: {**sent, "creds": CREDS}})
    assert (read.endpoint, *read.alternatives) == (
        GOOD,
        "https://10.0.0.2:6443",
        "https://[fd00::1]:6443",
    )


def test_the_endpoint_that_answered_last_comes_first() -> None:
    sent = {**endpoints(GOOD, "https://b:1", "https://c:1"), "creds": CREDS}
    read = access({0: sent}, preferred="https://c:1")
    assert (read.endpoint, *read.alternatives) == ("https://c:1", GOOD, "https://b:1")
    assert access({0: sent}, preferred="https://gone:1").endpoint == GOOD


def test_what_can_be_read_counts_where_something_else_cannot() -> None:
    units = {
        0: {"api-endpoints": "[", "creds": "{"},
        1: {**endpoints("ftp://x", GOOD, 7), "creds": CREDS},
    }
    read = access(units)
    assert (read.endpoint, read.alternatives, read.token) == (GOOD, (), "ours")


def test_the_scheme_of_an_endpoint_may_be_in_capitals() -> None:
    assert access({0: {**endpoints(GOOD.upper()), "creds": CREDS}}).endpoint == GOOD


def test_a_token_that_no_header_can_carry_is_passed_over_for_another_units() -> None:
    creds = json.dumps({"efs/0": {"kubelet_token": "no token"}})
    units = {0: {**endpoints(GOOD), "creds": creds}, 1: {"creds": CREDS}}
    assert access(units).token == "ours"


def test_a_token_goes_to_no_endpoint_without_encryption_where_another_has_it() -> None:
    sent = {**endpoints("http://10.0.0.1:8080", GOOD), "creds": CREDS}
    assert access({0: sent}).endpoint == GOOD
    assert access({0: sent}).alternatives == ()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[%s]" % ("9" * 5000), "not JSON"),
        ("{}", "not a list in JSON"),
        ("null", "not a list in JSON"),
        ('"https://10.0.0.1:6443"', "not a list in JSON"),
        ("[7]", "not a text in its list"),
        ("[null]", "not a text in its list"),
        ('[""]', "no https:// in ''"),
        ('["10.0.0.1:6443"]', "no https:// in '10.0.0.1:6443'"),
        ('["ftp://10.0.0.1:6443"]', "no https:// in 'ftp://10.0.0.1:6443'"),
        ('["https://"]', "no host in 'https://'"),
        ('["https://:6443"]', "no host in 'https://:6443'"),
        ('["https://[fd00::1:6443"]', "no host in 'https://[fd00::1:6443'"),
        ('["https://10.0.0.1:"]', "no port in 'https://10.0.0.1:'"),
        ('["https://10.0.0.1:x"]', "no port in 'https://10.0.0.1:x'"),
        ('["https://10.0.0.1:0"]', "no port in 'https://10.0.0.1:0'"),
        ('["https://10.0.0.1:65536"]', "no port in 'https://10.0.0.1:65536'"),
        ('["https://root:secret@10.0.0.1:6443"]', "a user name in its URL"),
        ('["https://10.0.0.1:6443?a=b"]', "not the URL of an API server: "),
        ('["https://10.0.0.1:6443/a b"]', "not the URL of an API server: "),
        ('["https://10.0.0.1:6443/\\u0000"]', "not the URL of an API server: "),
        ('["https://1\\u0661:6443"]', "not the URL of an API server: "),
        ('["https://%s:6443"]' % ("a" * 100_000), "not the URL of an API server: "),
    ],
)
def test_endpoints_that_cannot_be_read_are_named(value: str, reason: str) -> None:
    sent = {"api-endpoints": value, "creds": CREDS}
    assert problem({0: sent}).startswith(f"api-endpoints of plane/0: {reason}")
    assert "secret" not in problem({0: sent})


@pytest.mark.parametrize("value", ["", "[]"])
def test_endpoints_that_are_not_sent_yet_are_waited_for(value: str) -> None:
    sent = {"api-endpoints": value, "creds": CREDS}
    message = "waiting for the control plane to send its address"
    assert problem({0: {name: text for name, text in sent.items() if text}}) == message


# --- credentials


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not an object in JSON"),
        ('"secret"', "not an object in JSON"),
        ('{"efs/0": "secret"}', "no object for this unit"),
        ('{"efs/0": {"kubelet_token": ["secret"]}}', "its kubelet_token is not a token"),
        ('{"efs/0": {"client_token": "sec ret"}}', "its client_token is not a token"),
        ('{"efs/0": {"client_token": "secret\\u0000"}}', "its client_token is not a token"),
        (
            '{"efs/0": {"client_token": "%s"}}' % ("secret" * 10_000),
            "its client_token is not a token",
        ),
        ('{"efs/0": %s}' % ("9" * 5000), "not JSON"),
        ('{"efs/0": {"secret-id": "se cret\\u0000"}}', "not the id of a secret"),
    ],
)
def test_credentials_that_cannot_be_read_are_named_and_not_repeated(
    value: str, reason: str
) -> None:
    message = problem({0: {**endpoints(GOOD), "creds": value}})
    assert message == f"creds of plane/0: {reason}"


@pytest.mark.parametrize(
    ("sent", "token"),
    [
        ({"client_token": "admin", "kubelet_token": ""}, "admin"),
        ({"client_token": "admin", "kubelet_token": None}, "admin"),
        ({"client_token": "admin"}, "admin"),
        ({"client_token": "admin", "kubelet_token": "no token"}, "admin"),
        ({"client_token": 7, "kubelet_token": "ours"}, "ours"),
        ({"client_token": "admin", "kubelet_token": "ours", "secret-id": None}, "ours"),
    ],
)
def test_a_units_own_token_is_used_where_there_is_one(sent: dict[str, Any], token: str) -> None:
    assert access({0: {**endpoints(GOOD), "creds": json.dumps({"efs/0": sent})}}).token == token


@pytest.mark.parametrize("value", ["{}", '{"efs/0": null}', '{"efs/0": {}}', '{"efs/1": {}}'])
def test_credentials_that_are_not_sent_yet_are_waited_for(value: str) -> None:
    message = problem({0: {**endpoints(GOOD), "creds": value}})
    assert message == "waiting for the control plane to send credentials"


def test_tokens_and_the_ca_are_read_from_granted_secrets() -> None:
    tokens = testing.Secret({"kubelet-token": "", "client-token": "admin"})
    ca = testing.Secret({"ca-certificate": CA})
    creds = json.dumps({"efs/0": {"secret-id": tokens.id}})
    sent = {**endpoints(GOOD), "creds": creds, "ca-certificate-secret-id": ca.id}
    read = access({0: sent}, {}, secrets=(tokens, ca))
    assert (read.token, read.ca) == ("admin", CA)
    message = "waiting for the control plane to grant its secrets"
    assert problem({0: sent}, {}) == message


# --- the authority


@pytest.mark.parametrize(
    ("units", "app"),
    [
        ({0: {"ca": CA, "chain": ROOT}}, {}),
        ({0: {"ca": f"{CA}\n{ROOT}\n"}}, {}),
        ({0: {"ca": CA}, 1: {"ca": ROOT}}, {}),
        ({0: {"ca": CA, "chain": json.dumps([ROOT])}}, {}),
        ({}, {"certificates": json.dumps([{"ca": CA, "chain": [ROOT]}])}),
        ({}, {"certificates": json.dumps([{"ca": CA, "chain": ROOT}, 7, None, {"ca": 7}])}),
        ({0: {"ca": CA}}, {"ca": ROOT, "certificates": "["}),
    ],
    ids=["chain", "one PEM", "units", "a list", "v1", "v1 with rubbish", "both"],
)
def test_all_certificates_of_the_authority_are_trusted(units: Units, app: dict[str, str]) -> None:
    read = access({0: {**endpoints(GOOD), "creds": CREDS}}, units, app=app)
    assert CA in read.ca
    assert ROOT in read.ca
    assert OTHER not in read.ca


@pytest.mark.parametrize("value", ["secret", "[]", '["secret"]', "[", "\0" * 200_000])
@pytest.mark.parametrize("name", ["ca", "chain"])
def test_an_authority_that_is_no_certificate_is_named_and_not_repeated(
    name: str, value: str
) -> None:
    units = {0: {**endpoints(GOOD), "creds": CREDS}}
    message = f"{name} of authority/0: no certificate in PEM"
    assert problem(units, {0: {name: value}}) == message
    # One of another unit is enough.
    assert access(units, {0: {name: value}, 1: {"ca": CA}}).ca == CA


def test_an_authority_of_the_control_plane_that_is_no_certificate_is_passed_over() -> None:
    ca = testing.Secret({"ca-certificate": "secret"})
    sent = {0: {**endpoints(GOOD), "creds": CREDS, "ca-certificate-secret-id": ca.id}}
    assert access(sent, secrets=(ca,)).ca == CA
    message = "waiting for authority to send its CA certificate"
    assert problem(sent, {}, secrets=(ca,)) == message


@pytest.mark.parametrize("value", ["[", "7", "{}", '"x"', "[" * 100_000])
def test_certificates_that_cannot_be_read_are_named(value: str) -> None:
    units = {0: {**endpoints(GOOD), "creds": CREDS}}
    message = problem(units, {}, app={"certificates": value})
    assert message == "certificates of authority: not a list in JSON"


def test_the_authority_is_asked_in_the_way_that_later_versions_need() -> None:
    _, after = run({0: {**endpoints(GOOD), "creds": CREDS}})
    (relation,) = after.get_relations("certificates")
    (asked,) = json.loads(relation.local_unit_data["certificate_signing_requests"])
    assert asked.keys() == {"certificate_signing_request"}
    request = x509.load_pem_x509_csr(asked["certificate_signing_request"].encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=aws-efs"


@pytest.mark.parametrize("count", [0, 2])
def test_several_relations_do_not_end_in_an_exception(count: int) -> None:
    context = testing.Context(
        Reader,
        meta={
            "name": "efs",
            "requires": {
                "kube-control": {"interface": "kube-control"},
                "certificates": {"interface": "tls-certificates"},
            },
        },
    )
    relations = [
        testing.Relation("kube-control", remote_units_data={0: endpoints(GOOD)})
        for _ in range(count)
    ]
    context.run(context.on.update_status(), testing.State(relations=relations))
    assert isinstance(Reader.read.pop(), problems.Problem)
