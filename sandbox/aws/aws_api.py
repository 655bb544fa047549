"""The sandbox's AWS API: parse signed requests, authenticate, authorize and answer them.

efs_rules and ec2_rules implement the calls that need AWS's rules; moto answers the others.
"""

from __future__ import annotations

import dataclasses
import functools
import hmac
import json
import logging
import re
import threading
import urllib.parse
import xml.sax.saxutils
from collections.abc import Callable, Mapping
from typing import Any, Literal

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import werkzeug.test
from moto.moto_server import werkzeug_app

import identity
from sandbox.aws import (
    aws_faults,
    aws_resources,
    ec2_rules,
    efs_rules,
    iam_policy,
    iam_requests,
)
from sandbox.base import faulty_http_server

# By the service name in a request's signature.
SERVICES: Mapping[str, Literal["ec2", "efs", "sts"]] = {
    "ec2": "ec2",
    "elasticfilesystem": "efs",
    "sts": "sts",
}
HTTP_ERROR = 400
_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)

for _noisy in ("moto", "werkzeug"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)


@dataclasses.dataclass(frozen=True)
class Principal:
    """The owner of an access key.

    Attributes:
        account: The account.
        name: The name in that account: "user/juju".
        policy: The attached IAM policy; None for an administrator, who may do everything.
    """

    account: aws_resources.Account
    name: str
    policy: iam_policy.Policy | None


class AwsApi:
    """The API of AWS, for one or more accounts.

    Args:
        account: The account of the machines.
        faults: The injected faults.
        accepted: The valid access keys with their owners; they may change at any time.
    """

    def __init__(
        self,
        account: aws_resources.Account,
        faults: aws_faults.AwsFaults,
        accepted: Mapping[identity.AwsCredentials, Principal],
    ) -> None:
        self._account = account
        self._faults = faults
        self._accepted = accepted
        self._efs = _routes()
        self._moto = _moto()
        self.lock = threading.RLock()  # moto's resources are not thread-safe

    def answer(self, request: faulty_http_server.Request) -> faulty_http_server.Reply | None:
        """Answer one request; None drops the connection."""
        signed = _CREDENTIAL.fullmatch(request.headers.get("authorization", ""))
        if signed is None or signed[3] not in SERVICES:
            return faulty_http_server.Reply(404, b"no such service here")
        if not self._account.has_region(signed[2]):
            return None  # AWS has no endpoint in a region that does not exist
        service = SERVICES[signed[3]]
        operation, params = self._operation(service, request)
        write = request.method != "GET" if service == "efs" else not _reads(operation)
        call = aws_faults.Call(service, operation, write)
        self._faults.record(call, self._account.latencies.call_seconds)
        try:
            caller = self._authenticate(service, request, signed)
            self._faults.check(call)
            with self.lock:
                caller.account.timeline.settle()
                region = caller.account.region(signed[2])
                self._authorize(caller, region, call, params)
                reply = self._execute(region, call, params, request)
        except aws_resources.Refused as error:
            reply = _efs_error(error) if service == "efs" else _query_error(error)
        return None if self._faults.drops_reply(call) else reply

    def _operation(
        self, service: str, request: faulty_http_server.Request
    ) -> tuple[str, dict[str, Any]]:
        """Return a request's operation and parameters."""
        if service != "efs":
            form = dict(urllib.parse.parse_qsl(request.body.decode(), keep_blank_values=True))
            return form.get("Action", ""), form
        for name, method, path in self._efs:
            match = path.fullmatch(request.path.rstrip("/"))
            if method == request.method and match is not None:
                in_path = {
                    key: urllib.parse.unquote(value) for key, value in match.groupdict().items()
                }
                query = dict(urllib.parse.parse_qsl(request.query))
                body: dict[str, Any] = json.loads(request.body or "{}")
                return name, {**body, **query, **in_path}
        return "", {}

    def _authenticate(
        self, service: str, request: faulty_http_server.Request, signed: re.Match[str]
    ) -> Principal:
        """Return the owner of the access key; refuse unknown keys and wrong signatures."""
        token = request.headers.get("x-amz-security-token", "")
        disabled = signed[2] in self._faults.disabled_regions
        for each, principal in () if disabled else tuple(self._accepted.items()):
            if each.access_key == signed[1] and each.session_token == token:
                if hmac.compare_digest(_signature(request, signed, each), signed[5]):
                    return principal
                if service == "efs":
                    raise aws_resources.Refused(
                        "InvalidSignatureException",
                        "The request signature we calculated does not match the signature you "
                        "provided. Check your AWS Secret Access Key and signing method.",
                        403,
                    )
        if service == "efs":
            raise aws_resources.Refused(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                403,
            )
        raise aws_resources.Refused(
            "AuthFailure", "AWS was not able to validate the provided access credentials", 401
        )

    def _authorize(
        self,
        caller: Principal,
        region: aws_resources.Region,
        call: aws_faults.Call,
        params: dict[str, Any],
    ) -> None:
        """Refuse a call that the caller's policy does not allow."""
        if caller.policy is None:
            return
        for asked in iam_requests.needed(region, call.service, call.operation, params):
            denied = self._faults.denies(asked.action)
            if denied or not iam_policy.allows(caller.policy, asked):
                user = f"arn:{region.partition}:iam::{caller.account.id}:{caller.name}"
                message = f"User: {user} is not authorized to perform: {asked.action}"
                if call.service == "efs":
                    message += " on the specified resource"
                    raise aws_resources.Refused("AccessDeniedException", message, 403)
                message = f"You are not authorized to perform this operation. {message}"
                raise aws_resources.Refused("UnauthorizedOperation", message, 403)

    def _execute(
        self,
        region: aws_resources.Region,
        call: aws_faults.Call,
        params: dict[str, Any],
        request: faulty_http_server.Request,
    ) -> faulty_http_server.Reply:
        undo: Callable[[], None] | None = None
        if call.service == "sts":
            return _identity(region)
        if call.service == "efs":
            answer = efs_rules.answer(region, call.operation, params)
            if answer is not None:
                return _json_reply(*answer)
        else:
            ec2_rules.check(region, call.operation, params)
            undo = ec2_rules.undo(region, call.operation, params)
        reply = self._moto[call.service].open(
            path=request.path,
            method=request.method,
            query_string=request.query,
            headers={**request.headers, "x-moto-account-id": region.account_id},
            data=request.body,
        )
        if undo is not None and reply.status_code >= HTTP_ERROR:
            undo()
        return faulty_http_server.Reply(
            reply.status_code,
            reply.get_data(),
            {"Content-Type": reply.headers.get("Content-Type", "text/xml")},
        )


@functools.cache
def _moto() -> Mapping[str, werkzeug.test.Client]:
    """Return moto's WSGI client for each service, for all accounts."""
    return {
        service: werkzeug.test.Client(werkzeug_app.create_backend_app(service), use_cookies=False)
        for service in ("ec2", "efs")
    }


@functools.cache
def _routes() -> list[tuple[str, str, re.Pattern[str]]]:
    """Return each EFS operation with its method and path, from botocore's service model."""
    model: Mapping[str, Any] = botocore.loaders.Loader().load_service_model("efs", "service-2")
    return [
        (
            name,
            operation["http"]["method"],
            re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation["http"]["requestUri"])),
        )
        for name, operation in model["operations"].items()
    ]


def _reads(operation: str) -> bool:
    return operation.startswith(("Describe", "Get", "List", "Search"))


def _signature(
    request: faulty_http_server.Request, signed: re.Match[str], key: identity.AwsCredentials
) -> str:
    """Return the signature of the request made with this key."""
    headers = {name: request.headers.get(name, "") for name in signed[4].split(";")}
    url = f"http://{request.headers['host']}{request.path}"
    again = botocore.awsrequest.AWSRequest(
        method=request.method,
        url=f"{url}?{request.query}" if request.query else url,
        headers=headers,
        data=request.body,
    )
    again.context["timestamp"] = request.headers.get("x-amz-date", "")
    auth = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(key.access_key, key.secret_key), signed[3], signed[2]
    )
    return auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)


def _json_reply(status: int, body: Mapping[str, Any], error: str = "") -> faulty_http_server.Reply:
    headers = {"Content-Type": "application/json"}
    if error:
        headers["x-amzn-ErrorType"] = error
    return faulty_http_server.Reply(status, json.dumps(body).encode(), headers)


def _efs_error(error: aws_resources.Refused) -> faulty_http_server.Reply:
    body = {"ErrorCode": error.code, "Message": error.message, **error.extra}
    return _json_reply(error.status, body, error.code)


def _identity(region: aws_resources.Region) -> faulty_http_server.Reply:
    """Answer GetCallerIdentity, which everybody may call."""
    body = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult><Account>{region.account_id}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    return faulty_http_server.Reply(200, body.encode(), {"Content-Type": "text/xml"})


def _query_error(error: aws_resources.Refused) -> faulty_http_server.Reply:
    message = xml.sax.saxutils.escape(error.message)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{error.code}</Code><Message>{message}</Message>"
        "</Error></Errors><RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
    )
    return faulty_http_server.Reply(error.status, body.encode(), {"Content-Type": "text/xml"})
