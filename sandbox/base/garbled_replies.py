"""Make of good replies what proxies, broken servers and enemies would make of them."""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, cast

from sandbox.base import faulty_http_server

Reply = faulty_http_server.Reply
Garble = Callable[[Reply], Reply]

_HTML = b"<html><head><title>Log in</title></head><body>Please log in</body></html>"
_XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body/></html>'
# Larger than what the smaller of the clients takes.
_HUGE_BYTES = 65 * 1024 * 1024


def _body(body: bytes, media_type: str = "", status: int = 200) -> Garble:
    headers = {"Content-Type": media_type}
    return lambda good: Reply(status, body, headers if media_type else good.headers)


def _cut(good: Reply) -> Reply:
    return dataclasses.replace(good, body=good.body[: len(good.body) // 2])


def _cut_off(good: Reply) -> Reply:
    cut = _cut(good)
    return dataclasses.replace(cut, missing_bytes=max(len(good.body) - len(cut.body), 1))


def _changed(change: Callable[[Any], Any]) -> Garble:
    """Return a garbling of each text and number in a JSON or XML body."""

    def garble(good: Reply) -> Reply:
        try:
            body = json.dumps(_each(json.loads(good.body), change)).encode()
        except ValueError:
            text = re.sub(
                "(?<=>)[^<>]+(?=</)", lambda match: _text(change(match[0])), good.body.decode()
            )
            body = text.encode(errors="replace")
        return dataclasses.replace(good, body=body)

    return garble


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: _each(each, change) for key, each in members.items()}
    if isinstance(value, list):
        return [_each(each, change) for each in cast("list[Any]", value)]
    return change(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value).replace("\0", "").replace("<", "")


def _swapped(value: Any) -> Any:
    return 7 if isinstance(value, str) else "seven"


def _emptied(good: Reply) -> Reply:
    try:
        answer: Any = json.loads(good.body)
        body = json.dumps(dict.fromkeys(answer)).encode()
    except ValueError:
        body = re.sub(rb"(<\w+ [^>]*>).*(</\w+>\s*)$", rb"\1\2", good.body, flags=re.DOTALL)
    return dataclasses.replace(good, body=body)


GARBLES: Mapping[str, Garble] = {
    "a page of a proxy": _body(_HTML, "text/html"),
    "a page that says it is JSON": _body(_HTML),
    "a page in XML": _body(_XHTML, "text/xml"),
    "nothing": _body(b""),
    "an empty object": _body(b"{}"),
    "an empty list": _body(b"[]"),
    "null": _body(b"null"),
    "a number": _body(b"7"),
    "a text": _body(b'"text"'),
    "a list of nothing": _body(b'{"items": [null], "metadata": null, "FileSystems": [null]}'),
    "other types": _body(b'{"items": 7, "metadata": [], "FileSystems": 7, "MountTargets": {}}'),
    "bytes": _body(bytes(range(256)) * 8),
    "a very deep one": _body(b"[" * 100_000),
    "a huge one": _body(b" " * _HUGE_BYTES),
    "cut": _cut,
    "cut off": _cut_off,
    "without values": _emptied,
    "nulls": _changed(lambda _: None),
    "types swapped": _changed(_swapped),
    "strange characters": _changed(lambda _: "\0\x1b[31m\ud800"),
    "long texts": _changed(lambda _: "A" * 200_000),
    "negative": _changed(lambda value: value if isinstance(value, str) else -1),
    "not gzip": lambda good: dataclasses.replace(
        good, headers={**good.headers, "Content-Encoding": "gzip"}
    ),
    "no type": lambda good: dataclasses.replace(good, headers={}),
    "forbidden by a proxy": _body(_HTML, "text/html", 403),
    "not found by a proxy": _body(b"{}", "application/json", 404),
    "an error without a word": _body(b"", "application/json", 400),
    "an error of other types": _body(
        b'{"message": {"a": 1}, "__type": 5, "kind": 7}', "application/json", 400
    ),
    "an error in a list": _body(b"[1]", "application/json", 409),
    "a bad gateway": _body(_HTML, "text/html", 502),
    "a broken server": _body(b'{"message": ', "application/json", 500),
    "a redirection": lambda _: Reply(302, b"", {"Location": "https://login.invalid/"}),
}


class GarblingProxy:
    """An HTTP proxy in front of a server; the garbling of a reply depends on its number.

    Args:
        target: The URL of the server.

    Attributes:
        garble: Changes a reply, by its number since `requests` was 0.
        requests: The number of requests.
    """

    def __init__(self, target: str) -> None:
        self._host = urllib.parse.urlsplit(target).netloc
        self.garble: Callable[[int, Reply], Reply] = lambda _, reply: reply
        self.requests = 0
        self._server = faulty_http_server.FaultyServer(self._answer)
        self.url = self._server.url

    def close(self) -> None:
        """End it."""
        self._server.close()

    def _answer(self, request: faulty_http_server.Request) -> Reply:
        number, self.requests = self.requests, self.requests + 1
        connection = http.client.HTTPConnection(self._host, timeout=30)
        target = f"{request.path}?{request.query}" if request.query else request.path
        try:
            connection.request(request.method, target, request.body, dict(request.headers))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        headers = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("content-length", "connection", "date", "server")
        }
        return self.garble(number, Reply(answer.status, body, headers))
