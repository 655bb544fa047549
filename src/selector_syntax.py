"""Check label selectors, as the option namespace-selector has them, by the API server's rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import label_syntax
from problems import quote

# It is sent in a URL, in which a character may take three; proxies allow 8 KiB.
LONGEST = 2000
_EXAMPLES = "use a label selector, as in team=vision,env!=old"
# As labels.Parse in k8s.io/apimachinery reads them: in a key or value, in and notin are names.
_TOKEN = re.compile(r"==|!=|[=!<>(),]|[^=!<>(), \t\r\n]+")
_SYMBOLS = {"==", "!=", "=", "!", "<", ">", "(", ")", ","}
_END = ""


def read(value: str) -> str:
    """Return a label selector such as `team=vision,env!=old`; "" for none.

    Args:
        value: The option's value.

    Raises:
        ValueError: The API server would refuse it; the message shows a valid one.
    """
    if len(value) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters: shorten it")
    text = value.strip(" \t\r\n")
    if text:
        _Parser(text).check()
    return text


class _Parser:
    """A reader of one selector.

    Args:
        text: The selector, not empty.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: Iterator[str] = iter(_TOKEN.findall(text))
        self._next = next(self._tokens, _END)

    def check(self) -> None:
        """Raise ValueError unless it is a list of requirements."""
        self._check_requirement()
        while self._next != _END:
            self._expect(",")
            self._check_requirement()

    def _take(self) -> str:
        token, self._next = self._next, next(self._tokens, _END)
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise self._refusal()

    def _refusal(self) -> ValueError:
        return ValueError(f"{quote(self._text)}: {_EXAMPLES}")

    def _take_name(self) -> str:
        token = self._take()
        if token == _END or token in _SYMBOLS:
            raise self._refusal()
        return token

    def _check_requirement(self) -> None:
        absent = self._next == "!"
        if absent:
            self._take()
        key = self._take_name()
        label_syntax.check_key(key)
        if absent or self._next in (_END, ","):
            return
        operator = self._take()
        if operator in ("in", "notin"):
            self._check_set(key)
        elif operator in ("=", "==", "!="):
            label_syntax.check_value(key, self._take_exact())
        elif operator in ("<", ">"):
            self._check_number(self._take_exact())
        else:
            raise self._refusal()

    def _take_exact(self) -> str:
        """Take the value after an operator: it may be empty."""
        return "" if self._next in (_END, ",") else self._take_name()

    def _check_number(self, number: str) -> None:
        # As a label's value, it has no sign.
        if not re.fullmatch("[0-9]{1,63}", number) or int(number) >= 2**63:
            raise ValueError(f"{quote(number)}: use a whole number after < and >")

    def _check_set(self, key: str) -> None:
        """Check values in parentheses, each of which may be empty, as in `(a,)` and `()`."""
        self._expect("(")
        while True:
            label_syntax.check_value(key, "" if self._next in (",", ")") else self._take_name())
            separator = self._take()
            if separator == ")":
                return
            if separator != ",":
                raise self._refusal()
