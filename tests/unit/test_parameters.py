"""The parameters that actions accept, and those that they refuse before anything is changed."""

from __future__ import annotations

import pathlib
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pydantic
import pytest
import yaml

import action_params
import config

SOURCE = "https://a.example/x.tar"
ROOT = pathlib.Path(__file__).parents[2]


def create_params(**params: Any) -> action_params.CreateDatasetParams:
    return action_params.CreateDatasetParams(**{"name": "x", "source": SOURCE, **params})


def refusal(**params: Any) -> str:
    with pytest.raises(pydantic.ValidationError) as refused:
        create_params(**params)
    return config.format_error(refused.value)


def test_actions_yaml_declares_the_fields_of_the_models_with_their_defaults():
    declared = yaml.safe_load((ROOT / "actions.yaml").read_text())
    assert declared.keys() == action_params.ACTIONS.keys()
    for name, model in action_params.ACTIONS.items():
        params = declared[name].get("params", {})
        fields = model.model_fields
        assert set(params) == {field.replace("_", "-") for field in fields}
        required = {each.replace("_", "-") for each in fields if fields[each].is_required()}
        assert set(declared[name].get("required", [])) == required
        assert declared[name]["additionalProperties"] is False
        declared_defaults = {
            key: each["default"] for key, each in params.items() if "default" in each
        }
        defaults = {key.replace("-", "_"): value for key, value in declared_defaults.items()}
        if name == "create-dataset":
            assert create_params(**{**defaults, "source": SOURCE}) == create_params()
        elif not required:
            assert model(**defaults) == model()


def test_one_source_or_several_are_accepted():
    assert create_params().to_dataset().sources == (SOURCE,)
    several = create_params(source=f" {SOURCE}\n s3://bucket/key  hf://datasets/a/b ")
    assert several.to_dataset().sources == (SOURCE, "s3://bucket/key", "hf://datasets/a/b")
    assert several.to_dataset().schemes == {"https", "s3", "hf"}


@pytest.mark.parametrize(
    "name", ["name", "checksum", "region", "owner", "mode", "max_size", "deadline", "image"]
)
@pytest.mark.parametrize(
    "value",
    [
        "https://me:hunter2@a.example/x!",
        "https://a.example/x?sig=hunter2!",
        "s3://me:hun@t/hunter2@b/k!",
        "me:hunter2@a.example/x!",
        "a.example/x?sig=hunter2!",
    ],
)
def test_what_is_secret_in_a_url_in_the_wrong_place_is_not_repeated(name: str, value: str):
    refused = refusal(**{"source": SOURCE, name: value})
    assert "..." in refused
    assert "hunter2" not in refused


def test_a_wrong_source_among_several_is_named_by_its_number():
    assert refusal(source=f"{SOURCE} ftp://a.example/x").startswith("source number 2 is not a URL")
    assert refusal(source=f"{SOURCE} {SOURCE}") == (
        "source number 2 is listed twice: list each source once"
    )
    secret = refusal(source=f"{SOURCE} https://me:hunter2@a.example/x")
    assert secret.startswith("source number 2 has credentials")
    assert "hunter2" not in secret


@pytest.mark.parametrize(
    ("value", "unpack"),
    [
        (True, "true"),
        (False, "false"),
        ("true", "true"),
        ("False", "false"),
        ("recursive", "recursive"),
    ],
)
def test_unpack_is_accepted_as_juju_passes_it(value: object, unpack: str):
    assert create_params(unpack=value).to_dataset().unpack == unpack


@pytest.mark.parametrize("value", ["", "yes", 1, None, "all"])
def test_another_value_of_unpack_is_refused(value: object):
    assert refusal(unpack=value).startswith("unpack is none of true, false, recursive, zip, tar")


@pytest.mark.parametrize(
    ("param", "written", "sentence"),
    [
        ("name", "2024", "name was read as a number, not as text: write name='\"...\"'"),
        ("name", "0x1f", "name was read as a number"),
        ("name", "1.0e+3", "name was read as a number"),
        ("name", "no", "name was read as true or false"),
        ("name", "", "name '': use 1 to 50 lower-case letters"),
        ("name", "a: b", "name was read as a map"),
        ("name", "[a]", "name was read as a list"),
        ("source", "2024", "source was read as a number"),
        ("source_list", "1", "source-list was read as a number, not as text: write source-list="),
        ("checksum", "12", "checksum was read as a number"),
        ("endpoint", "on", "endpoint was read as true or false"),
        ("region", "1", "region was read as a number"),
        ("credentials", "4711", "credentials was read as a number"),
        ("image", "3.12", "image was read as a number"),
        ("command", "true", "command was read as true or false"),
        ("command", "[ls, 010]", "command was read as a list"),
        ("command", "sh -c 'x # y'", "command cannot be split into words (No closing quotation)"),
        ("env", "A='x # y'", "env cannot be split into words (No closing quotation)"),
        ("env", "A=a\\ # y", "env cannot be split into words (No escaped character)"),
        ("env", "{A: 1}", "env was read as a map"),
        ("mode", "0640", "mode 416 may have been 0640: write mode='\"0640\"', in both quotes"),
        ("mode", "0620", "mode 400 may have been 0620: write mode='\"400\"', in both quotes"),
        ("mode", "440", "mode 440 may have been 0670: write mode='\"440\"', in both quotes"),
        ("mode", "true", "mode was read as true or false"),
        ("mode", "6.4e+2", "mode was read as a number"),
        ("owner", "0100", "owner 64 may have been 0100: write owner=64:64"),
        ("owner", "1000", "owner 1000 may have been 01750: write owner=1000:1000"),
        ("owner", "-8", "owner -8 may have been another number: write"),
        ("owner", "root", "owner 'root': use uid or uid:gid"),
        ("parallelism", "", "parallelism is not a whole number from 1 to 64"),
        ("parallelism", "true", "parallelism is not a whole number"),
        ("parallelism", "2.5", "parallelism is not a whole number"),
        ("wait", "soon", "wait is not a whole number from 0 to 600"),
        ("overwrite", "", "overwrite is neither true nor false: use one of them"),
        ("overwrite", "2", "overwrite is neither true nor false"),
        ("unpack", "", "unpack is none of true, false, recursive, zip, tar"),
    ],
)
def test_what_yaml_makes_something_else_of_is_refused_with_the_way_to_write_it(
    param: str, written: str, sentence: str
):
    message = refusal(**{param: yaml.safe_load(written)})
    assert message.startswith(sentence), message
    assert "4711" not in message


def test_an_empty_value_of_a_text_is_its_default():
    texts = ("source_list", "checksum", "endpoint", "region", "credentials", "owner", "mode")
    empty = dict.fromkeys((*texts, "image", "command", "env"))
    assert create_params(**empty) == create_params()
    assert action_params.TeardownParams(confirm=None).confirm == ""  # type: ignore[arg-type]


def test_a_comment_is_no_part_of_a_command_however_it_is_passed():
    images = {"source": "", "image": "busybox"}
    as_yaml = create_params(**images, command=yaml.safe_load("ls /data # all"))
    as_text = create_params(**images, command="ls /data # all")
    assert as_yaml.command == as_text.command == ("ls", "/data")
    quoted = create_params(**images, command=yaml.safe_load("\"sh -c 'x # y' a#b\""))
    assert quoted.command == ("sh", "-c", "x # y", "a#b")


def test_everything_may_be_passed_as_text():
    texts = {"parallelism": "8", "wait": "0", "overwrite": "true", "unpack": "false"}
    values = {"parallelism": 8, "wait": 0, "overwrite": True, "unpack": False}
    assert create_params(**texts) == create_params(**values)
    assert create_params(wait=1e2, owner="0100", mode="0640").to_dataset().owner == "100:100"


def test_no_mode_is_taken_for_another_one_whatever_yaml_makes_of_it():
    taken = 0
    for text in (f"{zeros}{mode:o}" for mode in range(0o1000) for zeros in ("", "0", "00")):
        try:
            mode = create_params(mode=yaml.safe_load(text)).mode
        except pydantic.ValidationError:
            continue
        taken += 1
        assert int(mode, 8) == int(text, 8), text
    assert taken == 6


@hypothesis.given(st.integers(0, 2**31), st.sampled_from(("", "0", "00", "0x")))
def test_no_owner_is_taken_for_another_one_whatever_yaml_makes_of_it(number: int, prefix: str):
    text = f"{prefix}{number}"
    for written in (text, f"{text}:{text}"):
        if ":" in written and "x" in written:
            continue
        try:
            # PyYAML reads 1:2 as base 60; Juju's YAML does not.
            value = written if ":" in written else yaml.safe_load(written)
            owner = create_params(owner=value).to_dataset().owner
        except pydantic.ValidationError:
            continue
        assert owner == f"{number}:{number}"


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"source": ""}, "give source, source-list, or image"),
        ({"image": "busybox"}, "give either source and source-list, or image"),
        ({"source": "", "source_list": SOURCE, "image": "busybox"}, "give either source"),
        ({"command": "ls"}, "command and env go with image"),
        ({"env": "A=1"}, "command and env go with image"),
        ({"checksum": "md5:" + "0" * 32, "source_list": SOURCE}, "checksum goes with one source"),
        (
            {"checksum": "md5:" + "0" * 32, "source": f"{SOURCE} {SOURCE}2"},
            "checksum goes with one source",
        ),
        ({"endpoint": "https://minio.example"}, "endpoint goes with s3:// and hf://"),
        (
            {"source": "http://a.example/x", "credentials": "secret:abc"},
            "credentials are sent by https only",
        ),
        ({"include": "*.csv"}, "include goes with s3:// and hf://"),
        ({"exclude": "*.csv"}, "exclude goes with s3:// and hf://"),
        ({"requester_pays": True}, "requester-pays goes with s3://"),
        ({"source": "s3://bucket/a", "include": "/x"}, "include has a pattern with a slash"),
        (
            {"source": "s3://bucket/a", "exclude": " ".join(map(str, range(51)))},
            "exclude has more than 50",
        ),
        ({"connections": 33}, "connections "),
        ({"connections": -1}, "connections "),
        ({"source": "", "image": "busybox", "connections": 1}, "connections goes with source"),
        (
            {"source": "s3://bucket/a hf://datasets/a/b", "endpoint": "https://a.example"},
            "endpoint cannot serve both s3:// and hf://",
        ),
        ({"source_list": "file:///etc/passwd"}, "source-list is not a URL of a kind"),
        ({"source_list": "https://me:pw@a.example/l"}, "source-list has credentials"),
        ({"source": "s3://bucket/a", "endpoint": "minio"}, "endpoint is not a URL"),
        ({"source": "s3://bucket/a", "endpoint": "s3://b"}, "endpoint "),
        ({"source": "s3://bucket/a", "endpoint": "https://u:p@a.example"}, "endpoint has cred"),
        ({"source": "s3://bucket/a", "endpoint": "https://a.example?x=1"}, "endpoint is not the"),
        ({"source": "s3://bucket/a", "credentials": "hunter2"}, "credentials is not the secret:"),
        ({"region": "us-east-1"}, "region goes with s3://"),
        ({"source": "hf://datasets/a/b", "region": "us-east-1"}, "region goes with s3://"),
        ({"source": "s3://bucket/a", "region": "US East"}, "region 'US East': use the region's"),
        ({"parallelism": 0}, "parallelism "),
        ({"parallelism": 65}, "parallelism "),
        ({"wait": 601}, "wait "),
        ({"colour": "blue"}, "colour "),
    ],
)
def test_conflicting_or_invalid_parameters_are_refused(params: dict[str, Any], sentence: str):
    message = refusal(**params)
    assert message.startswith(sentence), message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "param",
    [
        {"checksum": "md5:" + "0" * 32},
        {"unpack": False},
        {"endpoint": "https://a.example"},
        {"region": "us-east-1"},
        {"credentials": "secret:a"},
        {"parallelism": 2},
    ],
)
def test_an_image_excludes_the_parameters_of_sources(param: dict[str, Any]):
    (name,) = param
    assert refusal(source="", image="busybox", **param).startswith(f"{name} goes with source")
    assert create_params(source="", image="busybox", owner=5, mode=600).to_dataset().owner == "5:5"


def test_a_source_list_may_need_an_endpoint_and_credentials():
    params = create_params(
        source="",
        source_list=SOURCE,
        endpoint="http://minio/",
        region="garage",
        credentials="secret:a/b-c",
    )
    assert params.to_dataset().endpoint == "http://minio"
    assert params.to_dataset().task(request="").region == "garage"


def test_a_token_of_the_hub_goes_over_https_alone():
    hub = {"source": "hf://datasets/a/b", "credentials": "secret:a"}
    assert "use https://" in refusal(**hub, endpoint="http://hub.example")
    for endpoint in ("https://hub.example", "http://127.0.0.1:8000", ""):
        assert create_params(**hub, endpoint=endpoint).to_dataset().endpoint == endpoint


@pytest.mark.parametrize("name", ["../etc", "a/b", "", ".versions", "A", "x" * 51])
def test_a_name_that_no_data_set_has_is_refused_by_all(name: str):
    for action in sorted(action_params.ACTIONS):
        if "name" not in action_params.ACTIONS[action].model_fields:
            continue
        with pytest.raises(pydantic.ValidationError) as refused:
            action_params.ACTIONS[action].model_validate({"name": name})
        assert config.format_error(refused.value).startswith("name "), action


def test_the_base_of_a_list_is_a_directory_and_needs_a_list():
    listed = {"source": "", "source_list": "https://a.example/list"}
    made = create_params(**listed, base="https://b.example/d", strip_components=2).to_dataset()
    assert (made.base, made.strip_components) == ("https://b.example/d/", 2)
    assert refusal(base="https://b.example/").startswith("base goes with source-list")
    assert "directory" in refusal(**listed, base="https://b.example/d?sig=1")
    assert "directory" in refusal(**listed, base="hf://datasets/org/name")
    assert "directory" in refusal(**listed, base="volume:/inbox")
    assert "strip-components" in refusal(strip_components=100)


def test_a_path_of_the_volume_is_a_source_and_takes_patterns_only():
    source = "volume:/inbox/a%20b"
    made = create_params(source=source, include="*.jpg", exclude="raw/").to_dataset()
    assert (made.sources, made.shown_source) == ((source,), source)
    for name, value in (("endpoint", "https://a.example"), ("credentials", "secret:abc")):
        assert refusal(source=source, **{name: value}).startswith(f"{name} goes with ")
    assert "as source" in refusal(source="", source_list="volume:/inbox/list")
    assert "has the data sets" in refusal(source="volume:/datasets/x")
