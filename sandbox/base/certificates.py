"""The sandbox's own certificate authority; it does not know who uses the certificates."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import pathlib
import threading
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=7)


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, in two files."""

    certificate: pathlib.Path
    key: pathlib.Path


class Authority:
    """A certificate authority that writes certificates and keys into one directory.

    Args:
        directory: The directory of the files; it exists, and only its owner may read it.
        parent: The authority that signs this one's certificate; None for a root.
    """

    def __init__(self, directory: pathlib.Path, parent: Authority | None = None) -> None:
        self._directory = directory
        self._issued: dict[str, KeyPair] = {}
        self._lock = threading.Lock()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("aws-efs sandbox" if parent is None else f"below {parent.serial}", [])
        issuer = parent or self
        builder = _builder(self._name, issuer._name, self._key.public_key())
        length = 1 if parent is None else 0
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), True)
        usage = _usage(key_cert_sign=True, crl_sign=True)
        self._certificate = builder.add_extension(usage, True).sign(issuer._key, hashes.SHA256())
        self.serial = self._certificate.serial_number
        self.pem = _pem(self._certificate)
        self.path = directory / "ca.crt"
        self.path.write_text(self.pem)

    def issue(
        self, name: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()
    ) -> KeyPair:
        """Sign a certificate for clients and servers, once for each name.

        Args:
            name: The common name, which is the user's name in Kubernetes.
            groups: The organisations, which are the user's groups in Kubernetes.
            hosts: The host names and addresses that the certificate is valid for.
        """
        stem = "-".join([name.replace(":", "-"), *hosts[-1:]])
        with self._lock:
            if stem not in self._issued:
                self._issued[stem] = self._sign(stem, _name(name, groups), hosts)
            return self._issued[stem]

    def answer(self, request: str) -> str:
        """Return the certificate for a signing request, both in PEM.

        Raises:
            ValueError: Whoever made the request does not have its private key.
            TypeError: The key is of another kind than this authority signs.
        """
        asked = x509.load_pem_x509_csr(request.encode())
        if not asked.is_signature_valid:
            raise ValueError("the signature of the request is not valid")
        key = asked.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("only keys of elliptic curves are signed here")
        builder = _builder(asked.subject, self._name, key)
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def _sign(self, stem: str, subject: x509.Name, hosts: Sequence[str]) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), False)
        builder = builder.add_extension(_usage(digital_signature=True), True)
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = builder.add_extension(issuer, False).sign(self._key, hashes.SHA256())
        pair = KeyPair(self._directory / f"{stem}.crt", self._directory / f"{stem}.key")
        pair.certificate.write_text(_pem(certificate))
        write_private(pair.key, _private_pem(key))
        return pair


def signing_key(directory: pathlib.Path) -> KeyPair:
    """Create a key pair for signing tokens; `certificate` is the file of the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    pair = KeyPair(directory / "service-accounts.pub", directory / "service-accounts.key")
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pair.certificate.write_bytes(public)
    write_private(pair.key, _private_pem(key))
    return pair


def write_private(path: pathlib.Path, text: str) -> None:
    """Write a file that is never readable by anybody but its owner."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    # A certificate's times are whole seconds: without a margin it may not be valid yet.
    starts = now - datetime.timedelta(minutes=1)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )


def _name(common_name: str, organisations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
