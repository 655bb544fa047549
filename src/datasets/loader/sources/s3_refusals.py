"""Explain the refusals of S3, of a list or of an object, by their error codes.

See https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

import re

from ..base import failure
from ..http import http_client
from . import s3_service, xml_reader

REGION = re.compile(r"[a-z0-9-]{1,32}")
REGION_HEADER = "x-amz-bucket-region"
ELSEWHERE = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
}
NEW_CREDENTIALS = (
    "the credentials have expired: put new ones into the secret, then run create-dataset again"
)
KMS = (
    "its key in AWS KMS may not be used: let the access-key do kms:Decrypt with that key, which "
    "must be enabled"
)
SSE_C = (
    "it is encrypted with a key of its owner's (SSE-C), which is not supported; copy it without "
    "that key"
)
REASONS = {
    "SignatureDoesNotMatch": "the secret-key does not belong to the access-key: check the secret "
    "that credentials= names",
    "InvalidAccessKeyId": "the service does not know the access-key: check the secret that "
    "credentials= names, and endpoint=",
    "ExpiredToken": NEW_CREDENTIALS,
    "TokenRefreshRequired": NEW_CREDENTIALS,
    "RequestExpired": NEW_CREDENTIALS,
    "InvalidToken": "the session-token is invalid: check the secret that credentials= names",
    "NoSuchBucket": "there is no such bucket: check the source, and endpoint= if it is not AWS's",
    "RequestTimeTooSkewed": "the clock of the pod's node is wrong: set it right, then run "
    "create-dataset again",
    "InvalidObjectState": "the object is archived: restore it in S3, or copy it to another "
    "storage class",
    "AllAccessDisabled": "its owner has disabled all access: choose another source",
    "NoSuchKey": "there is no such object: check the source",
}


def explain(
    refused: http_client.Refused, where: str, service: s3_service.S3Service
) -> failure.Failure:
    """Return a refusal with what is so, and what to do.

    Args:
        refused: The refusal.
        where: The URL of what was requested, without what may be secret.
        service: The service.
    """
    return refused.explained(_sentence(refused, where, service))


def _sentence(refused: http_client.Refused, where: str, service: s3_service.S3Service) -> str:
    code, region = code_of(refused), region_of(refused)
    if (code in ELSEWHERE or refused.status in {301, 307}) and region:
        return (
            f"{where} is in the region {failure.quote(region)}: set region= to it, and endpoint= "
            "to the endpoint of that region"
        )
    reason = REASONS.get(code) or _encryption(code, _element_text(refused, "Message").lower())
    if reason:
        return f"{where} cannot be read ({code}): {reason}"
    if refused.status in {401, 403}:
        return f"{where} answers {code or refused.status}: {service.advice}"
    return (
        f"{where} answers {code or refused.status}: check the source, and endpoint= if it is not "
        "AWS's"
    )


def _encryption(code: str, message: str) -> str:
    """Return what to do about an object's encryption; empty if the refusal is not about that."""
    if code.startswith("KMS.") or "kms:" in message:
        return KMS
    if "aws kms" in message:
        return f"it is encrypted, and not public; {s3_service.GIVE_CREDENTIALS}"
    if "server side encryption" in message or "server-side encryption" in message:
        return SSE_C
    return ""


def code_of(refused: http_client.Refused) -> str:
    """Return the error code of a refusal; empty if it has none."""
    code = _element_text(refused, "Code")
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else ""


def region_of(refused: http_client.Refused) -> str:
    """Return the region of the bucket that a refusal names; empty if it names none."""
    region = refused.headers.get(REGION_HEADER, "") or _element_text(refused, "Region")
    return region if REGION.fullmatch(region) else ""


def _element_text(refused: http_client.Refused, name: str) -> str:
    try:
        return next((each.text for each in xml_reader.elements([refused.content], [name])), "")
    except xml_reader.Malformed:
        return ""
