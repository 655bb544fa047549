"""Collect from the code all messages that `juju status` or a failed action can show.

The code is parsed, not run: a message is the text passed to a problem, with a `<placeholder>` for
each value that is only known when the charm runs.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterable, Iterator

# The classes whose first argument is a message, and the status in which it is shown. Their
# subclasses count too.
_KINDS = {"Blocked": "blocked", "Waiting": "waiting", "ActiveStatus": "active"}
# The cause that keeps a pod from running is part of other messages. Its argument "blocked" has the
# status.
_CAUSE = "Cause"
# The keyword under which the reconcile passes on the text of its active status.
_SUMMARY = "summary"
_DEPTH = 6


@dataclasses.dataclass(frozen=True)
class Message:
    """A message for the user.

    Attributes:
        module: The file that has it, relative to the directory of sources.
        status: `active`, `waiting`, `blocked`, or two of them with "or".
        text: The text, with placeholders.
    """

    module: str
    status: str
    text: str


def collect(sources: pathlib.Path) -> list[Message]:
    """Return the messages of all modules below a directory, without duplicates, in their order.

    Args:
        sources: The directory.
    """
    paths = sorted(sources.rglob("*.py"))
    trees = {path.relative_to(sources).as_posix(): ast.parse(path.read_text()) for path in paths}
    kinds = _with_subclasses(trees.values())
    shared = {
        f"{pathlib.PurePosixPath(module).stem}.{name}": value
        for module, tree in trees.items()
        for name, value in _assignments(tree.body)
        if name.isupper()
    }
    functions = {
        f"{pathlib.PurePosixPath(module).stem}.{node.name}": node
        for module, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    messages = (
        message
        for module, tree in trees.items()
        for message in _Module(tree, kinds, shared, functions).find(module)
    )
    return list(dict.fromkeys(messages))


def _with_subclasses(trees: Iterable[ast.Module]) -> dict[str, str]:
    kinds = dict(_KINDS)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [kinds[name] for base in node.bases if (name := _last(base)) in kinds]
                kinds.update(dict.fromkeys([node.name], bases[0]) if bases else {})
    return kinds


class _Module:
    """The syntax tree of a module, and the values that its names can have."""

    def __init__(
        self,
        tree: ast.Module,
        kinds: dict[str, str],
        shared: dict[str, ast.expr],
        functions: dict[str, ast.FunctionDef],
    ) -> None:
        self._kinds = kinds
        self._constants = {**shared, **dict(_assignments(tree.body))}
        self._shared_functions = functions
        self._functions = {
            node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        }

    def find(self, module: str) -> Iterator[Message]:
        """Yield the messages that this module passes to a problem or a status."""
        for scope in self._functions.values():
            for call in ast.walk(scope):
                if not isinstance(call, ast.Call):
                    continue
                for status, argument in self._message_arguments(call, scope):
                    for branch in _branches(argument):
                        for text in self._texts(branch, scope):
                            if _has_words(text):
                                yield Message(module, status, text)

    def _message_arguments(
        self, call: ast.Call, scope: ast.FunctionDef
    ) -> Iterator[tuple[str, ast.expr]]:
        """Yield status and message of a call that makes a problem, or passes its class on."""
        arguments = [*call.args, *(each.value for each in call.keywords)]
        if arguments and (status := self._status(call, scope)):
            yield status, arguments[0]
        yield from (("active", each.value) for each in call.keywords if each.arg == _SUMMARY)
        for kind, argument in itertools.pairwise(arguments):
            if isinstance(kind, (ast.Name, ast.Attribute)) and _last(kind) in self._kinds:
                yield self._kinds[_last(kind)], argument

    def _status(self, call: ast.Call, scope: ast.FunctionDef) -> str:
        name = _last(call.func)
        if name == _CAUSE:
            blocked = [each.value for each in call.keywords if each.arg == "blocked"]
            blocked += call.args[1:2]
            known = isinstance(blocked[0], ast.Constant) if blocked else False
            if not known:
                return "blocked or waiting"
            return "blocked" if ast.literal_eval(blocked[0]) else "waiting"
        if isinstance(call.func, ast.Name) and name not in self._kinds:
            # A class that was chosen before: `kind = Waiting if ... else Blocked`.
            chosen = _local(scope, name)
            names = [_last(each) for node in chosen for each in _branches(node)]
            return " or ".join(
                sorted({self._kinds[each] for each in names if each in self._kinds})
            )
        return self._kinds.get(name, "")

    def _texts(self, node: ast.expr, scope: ast.FunctionDef, depth: int = 0) -> list[str]:
        """Return the possible texts of an expression; none if one of them is unknown."""
        if depth > _DEPTH:
            return []

        def every(nodes: Iterable[ast.expr]) -> list[list[str]]:
            return [self._texts(each, scope, depth + 1) for each in nodes]

        found: list[str] = []
        match node:
            case ast.Constant(str(text)):
                found = [text]
            case ast.JoinedStr(parts):
                found = _joined(every(parts))
            case ast.BinOp(left, ast.Add(), right):
                parts = [left, right]
                found = _joined(
                    [
                        texts or [_placeholder(p)]
                        for p, texts in zip(parts, every(parts), strict=True)
                    ]
                )
            case ast.FormattedValue(value):
                found = self._texts(value, scope, depth + 1) or [_placeholder(value)]
            case ast.IfExp() | ast.BoolOp(ast.Or()):
                found = _all_known(every(_branches(node)))
            case _:
                found = self._looked_up(node, scope, depth)
        return found

    def _looked_up(self, node: ast.expr, scope: ast.FunctionDef, depth: int) -> list[str]:
        """Return the possible texts of a name, a table's row, a module's constant or a call."""
        values: list[ast.expr] = []
        match node:
            case ast.Call():
                return self._returned(node, scope, depth)
            case ast.Name(name):
                values = _local(scope, name) or self._constant(name)
                if not values:
                    return self._looped(name, scope, depth)
            case ast.Attribute(ast.Name(module), name):
                values = self._constant(f"{module}.{name}")
            case ast.Subscript(ast.Name(name)):
                tables = self._constant(name)
                values = [each for t in tables if isinstance(t, ast.Dict) for each in t.values]
            case _:
                pass
        return _all_known([self._texts(each, scope, depth + 1) for each in values])

    def _constant(self, name: str) -> list[ast.expr]:
        return [self._constants[name]] if name in self._constants else []

    def _returned(self, call: ast.Call, scope: ast.FunctionDef, depth: int) -> list[str]:
        """Return the possible texts of a call of `format`, or of a function of any module."""
        name = _last(call.func)
        if isinstance(call.func, ast.Attribute) and name == "format":
            texts = self._texts(call.func.value, scope, depth + 1)
            return [text.replace("{", "<").replace("}", ">") for text in texts]
        function = self._functions.get(name)
        match call.func:
            # Within a text, its name says more than what another module puts there.
            case ast.Attribute(ast.Name(module), _) if not depth:
                function = self._shared_functions.get(f"{module}.{name}", function)
            case _:
                pass
        if function:
            returned = [
                self._texts(each.value, function, depth + 1)
                for each in ast.walk(function)
                if isinstance(each, ast.Return) and each.value
            ]
            return _all_known(returned)
        return []

    def _looped(self, name: str, scope: ast.FunctionDef, depth: int) -> list[str]:
        """Return the possible texts of a variable that loops over the rows of a constant table."""
        for loop in ast.walk(scope):
            match loop:
                case ast.For(ast.Tuple(targets), ast.Name(table)) if table in self._constants:
                    names = [_last(target) for target in targets]
                    rows = self._constants[table]
                    if name in names and isinstance(rows, ast.Tuple):
                        cells = [
                            row.elts[names.index(name)]
                            for row in rows.elts
                            if isinstance(row, ast.Tuple)
                        ]
                        found = [t for cell in cells for t in self._texts(cell, scope, depth + 1)]
                        return list(dict.fromkeys(found))
                case _:
                    pass
        return []


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(combination) for combination in itertools.product(*parts)]


def _all_known(parts: list[list[str]]) -> list[str]:
    return [text for part in parts for text in part] if all(parts) else []


def _branches(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.IfExp(_, body, orelse):
            return [*_branches(body), *_branches(orelse)]
        case ast.BoolOp(ast.Or(), values):
            return [branch for value in values for branch in _branches(value)]
        case _:
            return [node]


def _local(scope: ast.FunctionDef, name: str) -> list[ast.expr]:
    return [value for target, value in _assignments_within(scope) if target == name]


@functools.cache
def _assignments_within(scope: ast.FunctionDef) -> list[tuple[str, ast.expr]]:
    return list(_assignments(ast.walk(scope)))


def _assignments(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    for node in nodes:
        match node:
            case ast.Assign([ast.Name(name)], value):
                yield name, value
            case ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                yield name, value
            case _:
                pass


def _last(node: ast.expr) -> str:
    match node:
        case ast.Name(name) | ast.Attribute(_, name):
            return name
        case _:
            return ""


def _placeholder(node: ast.expr) -> str:
    match node:
        case ast.Name(name):
            return f"<{name.strip('_').replace('_', ' ')}>"
        case ast.Attribute(value, name):
            owner = _last(value).strip("_")
            if name in {"id", "name"} and owner not in {"self", ""}:
                return f"<{owner.replace('_', ' ')}>"
            return f"<{name.strip('_').replace('_', ' ')}>"
        case ast.Subscript(ast.Constant(str(ending)), ast.Slice()):
            return f"({ending})"  # as in "zone(s)": only where there are several
        case ast.Call(ast.Attribute(_, "join"), [ast.Name(name)]):
            return f"<{name}>"
        case _:
            return "…"


def _has_words(text: str) -> bool:
    rest = "".join(part.partition(">")[2] for part in f">{text}".split("<"))
    return any(character.isalpha() for character in rest)
