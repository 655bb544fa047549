"""Compare the Terraform module with metadata.yaml, config.yaml and its own README."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
MODULE = ROOT / "terraform"
METADATA = yaml.safe_load((ROOT / "metadata.yaml").read_text())
TEXT = {path.name: path.read_text() for path in MODULE.glob("*.tf")}
# A block at the top of a file, as `terraform fmt` writes it.
BLOCK = re.compile(
    r'^(variable|output|resource)((?: "[^"]+")+) \{\n(.*?)^\}', re.MULTILINE | re.DOTALL
)


def blocks(kind: str) -> dict[str, str]:
    """Return the bodies of the blocks of a kind by their last label."""
    found = [match for text in TEXT.values() for match in BLOCK.finditer(text)]
    return {each[2].split('"')[-2]: each[3] for each in found if each[1] == kind}


def attribute(body: str, name: str) -> str:
    """Return the value of an attribute as it is written, or nothing."""
    found = re.search(rf"^ +{name} += (.*)$", body, re.MULTILINE)
    return found[1] if found else ""


def test_the_module_deploys_this_charm() -> None:
    (application,) = blocks("resource").values()
    _, charm = application.split("charm {\n")
    assert attribute(charm, "name") == f'"{METADATA["name"]}"'


def test_each_variable_is_declared_and_used() -> None:
    used = {name for text in TEXT.values() for name in re.findall(r"\bvar\.(\w+)", text)}
    assert used == set(blocks("variable"))


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_each_variable_and_output_is_described(kind: str) -> None:
    for name, body in blocks(kind).items():
        assert attribute(body, "description").endswith('."'), name


@pytest.mark.parametrize("side", ["provides", "requires"])
def test_the_outputs_have_each_endpoint_of_the_charm(side: str) -> None:
    named = dict(re.findall(r'^ +(\w+) += "(.+)"$', blocks("output")[side], re.MULTILINE))
    named.pop("description")
    assert named == {each.replace("-", "_"): each for each in METADATA.get(side, {})}


def test_the_bases_that_are_named_are_those_that_are_packed() -> None:
    platforms = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())["platforms"]
    named = re.findall(r"ubuntu@\d+\.\d+", blocks("variable")["base"])
    assert set(named) == {each.rpartition(":")[0] for each in platforms}


def rows(kind: str) -> dict[str, str]:
    """Return the rows of the README's table of variables or outputs, without the name."""
    inputs, outputs = (MODULE / "README.md").read_text().split("## Outputs")
    section = inputs if kind == "variable" else outputs
    return dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE))


@pytest.mark.parametrize("kind", ["variable", "output"])
def test_the_readme_lists_each_variable_and_output(kind: str) -> None:
    assert set(rows(kind)) == set(blocks(kind))


def test_the_readme_has_the_type_and_the_default_of_each_variable() -> None:
    for name, body in blocks("variable").items():
        kind, default, _ = [each.strip().strip("`") for each in rows("variable")[name].split("|")]
        assert kind == attribute(body, "type"), name
        assert default == (attribute(body, "default").strip('"') or "none"), name


@pytest.mark.skipif(shutil.which("terraform") is None, reason="there is no terraform")
def test_terraform_accepts_the_module_and_its_format(tmp_path: pathlib.Path) -> None:
    # The provider cannot be had offline: a resource that Terraform brings stands for its own.
    for name, text in TEXT.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "versions.tf").write_text("terraform {}\n")
    main = TEXT["main.tf"].replace(
        '"juju_application" "aws_efs" {', '"terraform_data" "aws_efs" {'
    )
    main = main.replace("  name  ", "  input = {\n  name  ", 1).replace("charm {", "charm = {")
    (tmp_path / "main.tf").write_text(main.rstrip()[:-1] + "}\n}\n")
    outputs = TEXT["outputs.tf"].replace("juju_application.aws_efs.name", "var.app_name")
    outputs = outputs.replace("juju_application", "terraform_data")
    (tmp_path / "outputs.tf").write_text(outputs)
    (tmp_path / "rc").write_text("disable_checkpoint = true\n")
    environ = os.environ | {"TF_CLI_CONFIG_FILE": str(tmp_path / "rc")}
    plan = ["plan", "-input=false", "-var=model_uuid=6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11"]
    for command in (["fmt", "-check", str(MODULE)], ["init"], ["validate"], plan):
        done = subprocess.run(
            ["terraform", *command],
            cwd=tmp_path,
            env=environ,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
