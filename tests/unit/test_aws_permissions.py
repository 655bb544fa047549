"""Compare the list of IAM actions with the AWS operations in the code."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import botocore.loaders
import botocore.model
import pytest
from botocore import xform_name

from aws import permissions

SOURCES = pathlib.Path(permissions.__file__).parent


def named(client: str) -> Iterator[str]:
    """Yield the methods of `aws.<client>` that src/aws names, paginated ones too."""
    for path in SOURCES.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(ast.Attribute(ast.Name("aws"), attr), "get_paginator"),
                    args=[ast.Constant(str(method))],
                ) if attr == client:
                    yield method
                case ast.Attribute(ast.Attribute(ast.Name("aws"), attr), method) if (
                    attr == client and method != "get_paginator"
                ):
                    yield method
                case _:
                    pass


@pytest.mark.parametrize(
    ("client", "prefix", "actions"),
    [
        ("efs", "elasticfilesystem", permissions.EFS_ACTIONS),
        ("ec2", "ec2", permissions.EC2_ACTIONS),
    ],
)
def test_the_policy_allows_exactly_the_operations_that_the_code_names(
    client: str, prefix: str, actions: tuple[str, ...]
) -> None:
    model = botocore.loaders.create_loader().load_service_model(client, "service-2")
    operations = {
        xform_name(name): name for name in botocore.model.ServiceModel(model).operation_names
    }
    called = {f"{prefix}:{operations[method]}" for method in named(client)}
    assert called == set(actions)
    assert list(actions) == sorted(actions)


def test_the_only_other_call_needs_no_permission() -> None:
    assert set(named("sts")) == {"get_caller_identity"}
