"""Read the certificates to trust from the tls-certificates relation, in each of its versions.

easyrsa and Vault publish `ca` and `chain` for every client, in their units' bags. Later charms, as
self-signed-certificates, answer only to a certificate signing request, in the application's bag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import problems

if TYPE_CHECKING:
    import ops

_BEGINS = "-----BEGIN CERTIFICATE-----"
_REQUESTS = "certificate_signing_requests"
_ANSWERS = "certificates"
# The charm needs the authority's certificate only, not one of its own. So this request is the same
# everywhere, and nobody has the private key of the certificate that answers it.
_SIGNING_REQUEST = """\
-----BEGIN CERTIFICATE REQUEST-----
MIHMMHQCAQAwEjEQMA4GA1UEAwwHYXdzLWVmczBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABDHSCBKLx91XsOLDtODefm4h/Uw8VBvXTxqUTb8msjOdgyWS2YnCaJr3
LPOXXabTttQMuBwD2Ln4KdjReMJ9Fe6gADAKBggqhkjOPQQDAgNIADBFAiBvEZLA
ICy8nEsDozpNapxPGRK4eqbe7iraB8olysFQgAIhALzdXqRH/c42/OpQkVRyDged
XS46RZ7d+ijfLOyOyEHK
-----END CERTIFICATE REQUEST-----"""


def request(relation: ops.Relation, unit: ops.Unit) -> None:
    """Ask for a certificate, so that the authority tells its own.

    Args:
        relation: The relation.
        unit: This unit.
    """
    asked = json.dumps([{"certificate_signing_request": _SIGNING_REQUEST}])
    if relation.data[unit].get(_REQUESTS) != asked:
        relation.data[unit][_REQUESTS] = asked


def trusted(relation: ops.Relation) -> str:
    """Return the certificates of the authority and of those that signed it, in PEM.

    Args:
        relation: The relation.

    Raises:
        problems.Waiting: There are none yet, or what is there cannot be read.
    """
    found: list[str] = []
    unreadable = ""
    for owner in (relation.app, *sorted(relation.units, key=lambda unit: unit.name)):
        bag = relation.data[owner]
        for name in ("ca", "chain"):
            sent = list(filter(holds_certificate, _texts(bag.get(name))))
            if bag.get(name) and not sent:
                unreadable = f"{name} of {owner.name}: no certificate in PEM"
            found += sent
        if answers := bag.get(_ANSWERS):
            try:
                found += filter(holds_certificate, _issued(answers))
            except (ValueError, TypeError, RecursionError):
                unreadable = f"{_ANSWERS} of {owner.name}: not a list in JSON"
    if not found:
        raise problems.Waiting(
            unreadable or f"waiting for {relation.app.name} to send its CA certificate"
        )
    return "\n".join(found)


def holds_certificate(text: str) -> bool:
    """Tell whether there is a certificate in a text; whether it is one of an authority, TLS tells.

    Args:
        text: The text.
    """
    return _BEGINS in text


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a field: one, or a list of them, which may be in JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (each for each in cast("list[Any]", value) if isinstance(each, str))


def _issued(answers: str) -> Iterator[str]:
    """Return the authorities of the issued certificates."""
    listed: Any = json.loads(answers)
    if not isinstance(listed, list):
        raise TypeError
    return (
        text
        for each in cast("list[Any]", listed)
        if isinstance(each, dict)
        for name in ("ca", "chain")
        for text in _texts(cast("dict[str, Any]", each).get(name))
    )
