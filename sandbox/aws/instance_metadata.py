"""The metadata service of the charm's machine: its zone and the keys of its instance role."""

from __future__ import annotations

import datetime
import json
import secrets

import identity
from sandbox.base import faulty_http_server

ROLE = "aws-efs-instance-role"
_HOURS = 6


class MetadataService:
    """Version 2 of the metadata service, which requires a session token.

    Args:
        zone: The machine's zone.
    """

    def __init__(self, zone: str) -> None:
        self._zone = zone
        self._token = secrets.token_hex(16)
        self.role: identity.AwsCredentials | None = None

    def answer(self, request: faulty_http_server.Request) -> faulty_http_server.Reply:
        """Answer one request."""
        if request.path == "/latest/api/token" and request.method == "PUT":
            return faulty_http_server.Reply(200, self._token.encode())
        if request.headers.get("x-aws-ec2-metadata-token") != self._token:
            return faulty_http_server.Reply(401)
        text = self._documents().get(request.path.rstrip("/"))
        return (
            faulty_http_server.Reply(404)
            if text is None
            else faulty_http_server.Reply(200, text.encode())
        )

    def _documents(self) -> dict[str, str]:
        region = self._zone[:-1]
        documents = {
            "/latest/meta-data/placement/availability-zone": self._zone,
            "/latest/meta-data/placement/region": region,
        }
        if self.role is not None:
            now = datetime.datetime.now(datetime.timezone.utc)
            expires = now + datetime.timedelta(hours=_HOURS)
            roles = "/latest/meta-data/iam/security-credentials"
            documents[roles] = ROLE
            documents[f"{roles}/{ROLE}"] = json.dumps(
                {
                    "Code": "Success",
                    "Type": "AWS-HMAC",
                    "AccessKeyId": self.role.access_key,
                    "SecretAccessKey": self.role.secret_key,
                    "Token": self.role.session_token,
                    "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            )
        return documents
