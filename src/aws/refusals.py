"""Tell apart why AWS refuses credentials or an action, with the fix of each reason; no I/O."""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import TYPE_CHECKING, Any

import problems
from aws import permissions

if TYPE_CHECKING:
    import botocore.exceptions

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
# AWS does not know the access key. A region that is not enabled knows none.
UNKNOWN_KEYS = {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_MALFORMED = {
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
}
_WRONG_SIGNATURE = {
    "InvalidSignatureException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
BAD_CREDENTIALS = {*UNKNOWN_KEYS, *_EXPIRED, *_MALFORMED, *_WRONG_SIGNATURE}

# AWS refuses a request whose time differs by more.
_LARGEST_SKEW = datetime.timedelta(minutes=4)
_CLOCK = re.compile(r"Signature (expired|not yet current)|is now (earlier|later) than")
# In an AWS message: the policy that denies, or does not allow, the action.
_POLICY = re.compile(
    r"(?i)(?:explicit deny in|because no) (?:an? |the )?([a-z -]*(?:policy|boundary))"
)
_POLICIES = {
    "service control policy": "let the organisation allow it",
    "resource control policy": "let the organisation allow it",
    "permissions boundary": "allow it there",
    "session policy": "allow it there",
    "VPC endpoint policy": "allow it there",
}


def explain_denial(error: botocore.exceptions.ClientError) -> problems.Problem:
    """Return the problem of an action that the credentials may not do.

    A grant to the credentials is of no use where another policy denies the action.
    """
    action, message = _denied_action(error), _message(error)
    match = _POLICY.search(message)
    policy = match[1].strip() if match else ""
    if fix := _POLICIES.get(_canonical(policy)):
        return problems.Blocked(f"AWS denies {action} by a {_canonical(policy)}: {fix}")
    if "explicit deny" in message:
        named = f"an {policy}" if policy[:1] in "aeiou" and policy else f"a {policy or 'policy'}"
        return problems.Blocked(f"AWS denies {action} by an explicit deny in {named}: remove it")
    return problems.Blocked(f"AWS denies {action}: grant it to the charm's credentials")


def explain_credentials(error: botocore.exceptions.ClientError) -> problems.Problem:
    """Return the problem of credentials that AWS refuses."""
    name = error.response.get("Error", {}).get("Code", "")
    if _CLOCK.search(_message(error)) or _is_skewed(error):
        return problems.Blocked(
            f"the machine's clock differs from AWS's ({name}): set it, as by timedatectl set-ntp "
            "true"
        )
    refused = f"AWS refuses the credentials ({name}): "
    if name in _EXPIRED or name == "RequestExpired":
        return problems.Blocked(f"{refused}the session token has expired, renew them")
    if name in _WRONG_SIGNATURE:
        return problems.Blocked(f"{refused}the secret key is of another access key, renew them")
    if name in _MALFORMED:
        return problems.Blocked(f"{refused}they are malformed, renew them")
    return problems.Blocked(f"{refused}no such access key in its partition, renew them")


def _canonical(policy: str) -> str:
    return policy.lower().replace("vpc", "VPC")


def _is_skewed(error: botocore.exceptions.ClientError) -> bool:
    """Return whether the time of AWS's answer is another one than the machine's."""
    headers: Any = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        theirs = email.utils.parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return False
    if theirs.tzinfo is None:
        return False
    now = datetime.datetime.now(tz=datetime.timezone.utc)
    return abs(now - theirs) > _LARGEST_SKEW


def _denied_action(error: botocore.exceptions.ClientError) -> str:
    """Return the denied IAM action.

    AWS names it in the message where EFS called another service on the caller's behalf.
    """
    match = re.search(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)", _message(error))
    if match:
        return match[1]
    efs_action = f"elasticfilesystem:{error.operation_name}"
    if efs_action in permissions.EFS_ACTIONS:
        return efs_action
    return f"ec2:{error.operation_name}"


def _message(error: botocore.exceptions.ClientError) -> str:
    return error.response.get("Error", {}).get("Message", "") or ""
