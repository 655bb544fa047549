"""Compare the pages with the code: generated pages, links, paths, the map of the folders."""

from __future__ import annotations

import pathlib
import re
import subprocess
from typing import get_args, get_type_hints

import pytest
import yaml

from docs.generator import messages, pages
from sandbox.juju import juju_model

ROOT = pages.ROOT
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for glob in ("*.md", "docs/**/*.md", "sandbox/**/*.md", "terraform/*.md")
    for path in ROOT.glob(glob)
)
TOP = ("src/", "sandbox/", "tests/", "docs/", "benchmarks/", "templates/", "terraform/")


@pytest.mark.parametrize("path", pages.GENERATED)
def test_a_generated_page_is_what_make_docs_writes(path: str) -> None:
    assert (ROOT / path).read_text() == pages.GENERATED[path](), "run: make docs"


def test_every_note_on_a_status_belongs_to_a_message() -> None:
    assert pages.stale_notes() == []


# What a fix begins with: a command, or the imperative of a verb.
FIX = re.compile(
    r"(?:^|[:;.,] |\b(?:and|or|then) )`?(?:juju|kubectl|aws|Add|Adopt|Check|Choose|Correct|Create|"
    r"Delete|Deploy|Enable|Free|Give|Grant|Keep|Meet|Move|Put|Raise|Relate|Remove|Renew|Reset|Run|"
    r"See|Set|Shorten|Try|Unset|Wait|is it running)\b"
    r"|the charm tries again|trying again|update-status continues",
    re.IGNORECASE,
)


@pytest.mark.parametrize("text", ["nothing works", "the Job failed", "it is not so: gone"])
def test_a_fact_alone_is_no_fix(text: str) -> None:
    assert not FIX.search(text)


def test_every_message_has_a_fix_or_a_note_with_one() -> None:
    lacking = {
        message.text
        for message, note in pages.explained()
        if message.status != "active" and not FIX.search(message.text) and not FIX.search(note)
    }
    assert not lacking


def test_every_option_action_and_parameter_has_a_description() -> None:
    options = yaml.safe_load((ROOT / "config.yaml").read_text())["options"]
    actions = yaml.safe_load((ROOT / "actions.yaml").read_text())
    parameters = [each for action in actions.values() for each in action.get("params", {}).items()]
    for name, declared in [*options.items(), *actions.items(), *parameters]:
        assert declared.get("description", "").strip(), name


@pytest.mark.parametrize("page", PAGES)
def test_a_relative_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs/index.md"
    targets = re.findall(r"\]\(([^)#\s]+)", index.read_text())
    listed = {(index.parent / each).resolve().relative_to(ROOT).as_posix() for each in targets}
    pages_of_docs = {page for page in PAGES if page.startswith(("docs/", "terraform/"))}
    assert pages_of_docs - {"docs/index.md"} <= listed


def test_the_versions_that_are_called_tested_are_those_of_the_tests() -> None:
    page = (ROOT / "docs/reference/compatibility.md").read_text()
    tested = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", page, re.MULTILINE))
    modules = (ROOT / "sandbox/kubernetes/controlplane/go.mod").read_text()
    kubernetes = re.findall(r"k8s\.io/kubernetes v(\d+\.\d+)", modules)
    assert re.findall(r"\b1\.\d+", tested["Kubernetes"]) == kubernetes
    named = re.findall(r"\b\d\.\d+\b", tested["Juju"])
    assert set(named) == set(get_args(get_type_hints(juju_model.Model.__init__)["version"]))
    platforms = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())["platforms"]
    bases = re.findall(r"\d\d\.\d\d", tested["base of the charm's machine"])
    assert {f"ubuntu@{each}" for each in bases} == {each.rpartition(":")[0] for each in platforms}


@pytest.mark.parametrize("page", PAGES)
def test_a_path_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    for named in re.findall(r"`([\w./-]+)`", text):
        if named.startswith(TOP):
            assert (ROOT / named).exists(), named
    for target in re.findall(r"\bmake ([a-z][a-z-]+)\b(?=[`\n ]*(?:`|\n| +#))", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES)
def test_an_action_that_a_page_runs_exists_with_its_parameters(page: str) -> None:
    actions = yaml.safe_load((ROOT / "actions.yaml").read_text())
    text = (ROOT / page).read_text().replace("\\\n", " ")
    commands = re.findall(r"(?:juju run aws-efs/\S+|juju>) (?:run )?(?:--wait=\S+ )?(.*)", text)
    for command in commands:
        action, *words = command.split("`")[0].split()
        if action in actions:
            named = re.findall(r"(?:^|\s)([a-z-]+)=", " ".join(words))
            assert set(named) <= set(actions[action].get("params", {})), command


@pytest.mark.parametrize("page", PAGES)
def test_an_option_that_a_page_sets_exists(page: str) -> None:
    options = yaml.safe_load((ROOT / "config.yaml").read_text())["options"]
    text = (ROOT / page).read_text().replace("\\\n", " ")
    for command in re.findall(r"juju (?:config|deploy) aws-efs\b([^`#\n]*)", text):
        unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", command).replace("--config ", "")
        named = re.findall(r"(?:^|\s)([a-z][a-z-]*)=", unquoted)
        named += re.findall(r"--reset ([a-z-]+)", unquoted)
        assert set(named) <= set(options), command


def test_the_map_names_every_folder() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    files = [pathlib.PurePosixPath(line) for line in listed.stdout.splitlines()]
    folders = {parent.as_posix() + "/" for path in files for parent in path.parents}
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    mapped = {line.split()[0] for line in lines if line.startswith("    ") and line.strip()}
    expected = {folder for folder in folders if folder.startswith(TOP)}
    assert expected <= mapped, sorted(expected - mapped)
    assert {each for each in mapped if each.startswith(TOP) and each.endswith("/")} <= folders


def test_messages_are_found_through_variables_tables_functions_and_subclasses(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "module.py").write_text(
        'ADVICE = {"a": "do this", "b": "do that"}\n'
        "class Lost(problems.Waiting): ...\n"
        "def why(here):\n"
        '    return f"no {here.name}"\n'
        "def run(zone):\n"
        '    text = "gone" if zone else "going"\n'
        '    raise problems.Blocked(f"zone {zone}: {text}")\n'
        "def more(name):\n"
        '    raise Lost(f"{why(name)}: {ADVICE[name]}")\n'
    )
    found = [(each.status, each.text) for each in messages.collect(tmp_path)]
    assert found == [
        ("blocked", "zone <zone>: gone"),
        ("blocked", "zone <zone>: going"),
        ("waiting", "no <here>: do this"),
        ("waiting", "no <here>: do that"),
    ]


def anchors(page: pathlib.Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
