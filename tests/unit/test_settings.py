from __future__ import annotations

import ipaddress
import pathlib
import typing
from typing import Any

import botocore.session
import hypothesis
import hypothesis.strategies as st
import pydantic
import pytest
import yaml

import action_params
import config
import lifecycle_syntax
from aws import lifecycle

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "config.yaml").read_text())["options"]
DAYS = list(lifecycle_syntax.DAYS)
EVERY_TYPE = {"string", "boolean", "integer", "number", "null", "array", "object"}
ACTIONS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "actions.yaml").read_text())


def load(**changes: Any) -> config.Settings:
    values = {name.replace("-", "_"): option["default"] for name, option in OPTIONS.items()}
    return config.Settings(**{**values, **changes})


def refusal(**changes: Any) -> str:
    with pytest.raises(pydantic.ValidationError) as caught:
        load(**changes)
    return config.format_error(caught.value)


def test_config_yaml_and_the_settings_agree_on_names_and_types() -> None:
    fields = config.Settings.model_fields
    assert {name.replace("-", "_") for name in OPTIONS} == set(fields)
    for name, option in OPTIONS.items():
        kinds: dict[Any, str] = {bool: "boolean", int: "int"}
        expected = kinds.get(fields[name.replace("-", "_")].annotation, "string")
        assert option["type"] == expected, name
        assert option["description"].strip(), name


def test_the_defaults_of_config_yaml_are_valid_and_the_code_has_no_others() -> None:
    assert load().capacity == "100Gi"
    assert all(field.is_required() for field in config.Settings.model_fields.values())


def test_actions_yaml_and_the_parameters_agree_on_names_types_defaults_and_ranges() -> None:
    assert set(ACTIONS) == set(action_params.ACTIONS)
    kinds = {bool: "boolean", int: "integer"}
    for action, model in action_params.ACTIONS.items():
        params: dict[str, dict[str, Any]] = ACTIONS[action].get("params", {})
        assert ACTIONS[action]["additionalProperties"] is False
        assert {name.replace("-", "_") for name in params} == set(model.model_fields), action
        required = set(ACTIONS[action].get("required", []))
        hints = typing.get_type_hints(model)
        for name, param in params.items():
            key = name.replace("-", "_")
            field = model.model_fields[key]
            assert field.is_required() == (name in required), (action, name)
            if "default" in param:
                built = model.model_construct(**{name: param["default"]})
                assert built is not None
                default = field.get_default()
                # YAML reads true as a boolean, where the parameter also accepts words.
                declared_default = "true" if default == "true" else param["default"]
                assert declared_default == (default or type(declared_default)()), (action, name)
            # All types are accepted, the meant one first: the charm explains what is wrong.
            meant = "boolean" if name == "unpack" else kinds.get(hints[key], "string")
            assert param["type"][0] == meant, (action, name)
            assert {*param["type"], "integer"} == EVERY_TYPE, (action, name)
    wait = ACTIONS["create-dataset"]["params"]["wait"]
    for outside in (wait["minimum"] - 1, wait["maximum"] + 1):
        with pytest.raises(pydantic.ValidationError):
            action_params.CreateDatasetParams(name="a", source="https://a.example/b", wait=outside)


@pytest.mark.parametrize(
    "value", ["", "100", "100GB", "-1Gi", "1e9Gi", "0", "0Gi", "1.5Gi", "9Ei", "8192Pi", " 1Gi"]
)
def test_an_invalid_capacity_is_refused_with_the_accepted_form(value: str) -> None:
    message = refusal(capacity=value)
    assert message.startswith("capacity ")
    assert message.endswith("use a whole number with Mi, Gi, Ti or Pi, as in 100Gi")


def test_a_claim_may_not_ask_for_more_than_the_volume_shows() -> None:
    assert load(capacity="1Gi", claim_capacity="1024Mi").claim_request == "1024Mi"
    assert refusal(capacity="1Gi", claim_capacity="1025Mi") == (
        "claim-capacity 1025Mi is above capacity 1Gi: lower it, or raise capacity"
    )


def test_a_claim_is_asked_for_by_a_name_or_a_selector() -> None:
    assert refusal(namespaces="") == (
        "namespaces is empty: name at least one namespace, or set namespace-selector"
    )
    assert load(namespaces="", namespace_selector=" team ").namespace_selector == "team"
    assert refusal(namespace_selector="team in").startswith("namespace-selector 'team in': use a ")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("a a", "twice"),
        ("Default", "'Default'"),
        ("a" * 64, "lower-case"),
        ("a;rm", "'a;rm'"),
        ("$(id)", "'$(id)'"),
        ("-a", "'-a'"),
    ],
)
def test_a_namespace_that_cannot_be_is_refused_by_name(value: str, named: str) -> None:
    message = refusal(namespaces=value)
    assert message.startswith("namespaces ")
    assert named in message


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("region", "us-east"),
        ("region", "us-east-1a"),
        ("vpc", "vpc-xyz"),
        ("credentials", "AKIDEXAMPLE"),
        ("claim_name", "A"),
        ("storage_class", "a_b"),
        ("isolation", "pod"),
        ("isolation", ""),
        ("mount_options", "hard,,soft"),
        ("mount_options", "hard;reboot"),
        ("availability_zone", "us-east-1"),
        ("ip_address_type", ""),
        ("ip_address_type", "DUAL_STACK"),
        ("ip_address_type", "ipv6"),
        ("availability_zone", "use1-az1"),
        ("availability_zone", "us-east-1A"),
        ("performance_mode", "fast"),
        ("performance_mode", ""),
        ("throughput_mode", "fast"),
        ("backup", "yes"),
        ("backup", "TRUE"),
        ("backup", " true"),
        ("lifecycle", "ia"),
        ("lifecycle", "ia="),
        ("lifecycle", "ia=30"),
        ("lifecycle", "ia=30D"),
        ("lifecycle", "ia=030d"),
        ("lifecycle", "ia=2d"),
        ("lifecycle", "IA=30d"),
        ("lifecycle", "ia=30d,archive=90d"),
        ("lifecycle", "ia=30d ia=60d"),
        ("lifecycle", "back=on-access back=on-access"),
        ("lifecycle", "back=1d"),
        ("lifecycle", "back"),
        ("lifecycle", "ia=on-access"),
        ("lifecycle", "none ia=30d"),
        ("lifecycle", "none none"),
        ("lifecycle", "None"),
        ("lifecycle", "ia=30d archive=30d"),
        ("lifecycle", "archive=30d ia=90d"),
        ("root_mode", "0888"),
        ("root_mode", ""),
        ("root_mode", "777"),
        ("root_mode", "0777"),
        ("root_mode", "0775"),
        ("root_mode", "2770"),
        ("root_mode", "702"),
        ("tags", "novalue"),
        ("tags", "Cost Center=Data Science"),
        ("tags", "'Cost Center=Data"),
        ("tags", "' a=1'"),
        ("tags", "'a=1 '"),
        ("tags", "a=1 # b=2"),
        ("tags", "'a=\t1'"),
        ("tags", "=1"),
        ("tags", "aws-efs/state=x"),
        ("tags", "juju-model-uuid=x"),
        ("tags", "a=1 a=2"),
        ("tags", " ".join(f"k{n}=v" for n in range(41))),
        ("loader_image", ""),
        ("loader_image", "a b"),
        ("file_system_id", "fs-123"),
        ("file_system_id", "fs-0123456789ABCDEF0"),
        ("file_system_id", "fsmt-0123456789abcdef0"),
        ("file_system_id", f"fs-{'0' * 41}"),
        ("allow_cidrs", "0.0.0.0/0"),
        ("allow_cidrs", "0.0.0.0/1 128.0.0.0/1"),
        ("allow_cidrs", "10.0.0.0/7"),
        ("allow_cidrs", "10.0.0.1/8"),
        ("allow_cidrs", "10.0.0.0"),
        ("allow_cidrs", "10.0.0.0/255.0.0.0"),
        ("allow_cidrs", "010.0.0.0/8"),
        ("allow_cidrs", "10.0.0.0/33"),
        ("allow_cidrs", "fd00::/8"),
        ("allow_cidrs", "sg-0123456789abcdef0"),
        ("allow_cidrs", "10.0.0.0/8,10.1.0.0/16"),
        ("allow_cidrs", "10.0.0.0/8 10.0.0.0/8"),
        ("allow_cidrs", " ".join(f"10.{n}.0.0/16" for n in range(21))),
        ("image_pull_secret", "My_Secret"),
        ("tolerations", "nvidia.com/gpu:NoWay"),
        ("tolerations", ":NoSchedule"),
        ("tolerations", "a=b=c:NoSchedule"),
        ("tolerations", "Upper.Case/gpu"),
        ("node_selector", "pool"),
        ("node_selector", "kubernetes.io/os=windows"),
        ("node_selector", "pool=" + "x" * 64),
        ("job_labels", "aws-efs/kind=probe"),
        ("job_labels", "job-name=other"),
        ("pod_labels", "team=a team=b"),
        ("pod_labels", "team=two words"),
        ("pod_labels", '"team=two words"'),
        ("pod_labels", "/team=a"),
        ("pod_labels", "batch.kubernetes.io/job-name=other"),
        ("pod_annotations", '"note=never closed'),
        ("pod_annotations", "note=" + "x" * 200_000),
        ("pod_annotations", "no name=x"),
        ("kms_key", "alias/\uff41"),
        ("credentials", "secret:\uff41"),
        ("tags", "a" * 1_000_000),
        ("mount_options", "a" * 1_000_000),
    ],
)
def test_what_an_option_does_not_take_is_refused_in_a_sentence_that_names_it(
    option: str, value: str
) -> None:
    message = refusal(**{option: value})
    assert message.startswith(option.replace("_", "-") + " ")
    assert len(message) <= 120


@pytest.mark.parametrize("value", [None, True, 7, 1e300, ["a"], {"a": 1}])
def test_an_option_that_is_no_text_is_named_whatever_it_is(value: Any) -> None:
    kinds = {name: option["type"] for name, option in OPTIONS.items()}
    for option in (name for name, kind in kinds.items() if kind == "string"):
        message = refusal(**{option.replace("-", "_"): value})
        assert message == f"{option} is no text: set it in quotes"


def test_every_region_of_every_partition_with_efs_is_a_region() -> None:
    core = botocore.session.Session()
    regions = [
        region
        for partition in core.get_available_partitions()
        for region in core.get_available_regions("efs", partition_name=partition)
    ]
    assert {"us-east-1", "eusc-de-east-1", "cn-north-1", "us-gov-east-1"} <= set(regions)
    for region in regions:
        assert load(region=region).region == region


def test_tags_are_words_as_a_shell_reads_them() -> None:
    text = """"Cost Center=Data Science" team='ml' Name='My EFS' a=b=c empty= url=https://x/?"""
    assert refusal(tags=text).startswith("tags 'url=https://x/?': a value has letters")
    assert load(tags=text.removesuffix("?")).tags == {
        "Cost Center": "Data Science",
        "team": "ml",
        "Name": "My EFS",
        "a": "b=c",
        "empty": "",
        "url": "https://x/",
    }


def test_pods_get_what_kubernetes_takes_in_the_words_that_kubectl_has_for_it() -> None:
    taints = "gpu gpu:NoSchedule nvidia.com/gpu=true:NoExecute a=:PreferNoSchedule"
    loaded = load(
        tolerations=taints,
        node_selector="pool=loaders kubernetes.io/arch=arm64",
        job_labels="kueue.x-k8s.io/queue-name=team-a",
        pod_labels="sidecar.istio.io/inject=true empty=",
        pod_annotations="""owner='Data Science' 'json={"a": [1, 2]}' a.b/c=x=y""",
    )
    assert loaded.tolerations == (
        {"key": "gpu", "operator": "Exists"},
        {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "true", "effect": "NoExecute"},
        {"key": "a", "operator": "Equal", "effect": "PreferNoSchedule"},
    )
    assert loaded.node_selector == {"pool": "loaders", "kubernetes.io/arch": "arm64"}
    assert loaded.job_labels == {"kueue.x-k8s.io/queue-name": "team-a"}
    assert loaded.pod_labels == {"sidecar.istio.io/inject": "true", "empty": ""}
    assert loaded.pod_annotations == {
        "owner": "Data Science",
        "json": '{"a": [1, 2]}',
        "a.b/c": "x=y",
    }


@pytest.mark.parametrize("mode", ["1777", "1775", "3777", "0755", "755", "700", "2755"])
def test_a_root_that_others_write_in_has_the_sticky_bit(mode: str) -> None:
    assert load(root_mode=mode).root_mode == mode


def test_the_mode_with_the_sticky_bit_is_named() -> None:
    assert refusal(root_mode="2775").endswith("as in 3775")


@hypothesis.given(st.lists(st.ip_addresses(v=4), unique=True, max_size=20), st.integers(8, 32))
def test_any_canonical_network_that_is_narrow_enough_is_allowed(
    addresses: list[ipaddress.IPv4Address], prefix: int
) -> None:
    networks = {str(ipaddress.IPv4Network((each, prefix), strict=False)) for each in addresses}
    assert set(load(allow_cidrs=" ".join(networks)).allow_cidrs) == networks


@hypothesis.given(st.text(alphabet="0123456789./ abf:*-", min_size=1, max_size=30))
def test_whatever_is_taken_for_a_network_is_one_and_not_everything(text: str) -> None:
    try:
        taken = load(allow_cidrs=text).allow_cidrs
    except pydantic.ValidationError:
        return
    for cidr in taken:
        network = ipaddress.IPv4Network(cidr)
        assert str(network) == cidr
        assert network.prefixlen >= 8


def test_what_a_secret_option_was_given_is_in_no_error() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        load(kms_key="no key at all, but a password")
    assert "input" not in str(caught.value)


def test_the_policies_are_the_options_that_are_set() -> None:
    assert load().policies == {}
    assert load(backup="true").policies == {"backup": "true"}
    assert load(lifecycle=" none ").policies == {"lifecycle": "none"}
    assert load(lifecycle="  ").policies == {}
    assert refusal(backup="on") == "backup 'on': use true or false, or leave it empty"


PARTS = {"ia": DAYS, "archive": DAYS, "back": ("on-access",)}


@hypothesis.given(
    st.dictionaries(st.sampled_from(list(PARTS)), st.integers(0, 8), min_size=1), st.randoms()
)
def test_a_lifecycle_has_one_form_that_aws_takes_and_shows_again(
    chosen: dict[str, int], order: Any
) -> None:
    words = {name: PARTS[name][index % len(PARTS[name])] for name, index in chosen.items()}
    parts = [f"{name}={text}" for name, text in words.items()]
    order.shuffle(parts)
    ia, archive = (
        DAYS.index(words[name]) if name in words else None for name in ("ia", "archive")
    )
    if ia is not None and archive is not None and archive <= ia:
        assert "is not later than" in refusal(lifecycle=" ".join(parts))
        return
    read = load(lifecycle="  ".join(parts)).lifecycle
    assert set(read.split()) == set(parts)
    assert load(lifecycle=read).lifecycle == read
    policies = lifecycle.to_policies(read)
    assert all(len(policy) == 1 for policy in policies)
    assert lifecycle.to_words(reversed(policies)) == read
    rules = [rule for policy in policies for rule in policy.values()]
    model = botocore.session.get_session().get_service_model("efs")
    for policy in policies:
        for name, rule in policy.items():
            assert rule in model.shape_for("LifecyclePolicy").members[name].enum
    assert len(rules) == len(parts)


def test_the_lifecycle_s_periods_are_those_of_aws() -> None:
    model = botocore.session.get_session().get_service_model("efs")
    for transition in ("TransitionToIA", "TransitionToArchive"):
        rules = model.shape_for("LifecyclePolicy").members[transition].enum
        shown = [lifecycle.to_words([{transition: rule}]).partition("=")[2] for rule in rules]
        assert sorted(shown) == sorted(DAYS)


def test_archive_goes_with_elastic_throughput_only() -> None:
    assert load(throughput_mode="bursting", lifecycle="ia=30d").lifecycle == "ia=30d"
    message = refusal(throughput_mode="bursting", lifecycle="archive=30d")
    assert message == (
        "lifecycle archive goes with throughput-mode=elastic only: set that, or remove it"
    )


def test_provisioned_throughput_has_a_number_and_no_other_mode_has_one() -> None:
    assert load(throughput_mode="provisioned", throughput_mibps=128).throughput_mibps == 128
    assert "needs throughput-mibps" in refusal(throughput_mode="provisioned")
    assert "set it to 0" in refusal(throughput_mibps=128)
    for wrong in (-1, 100_001):
        message = refusal(throughput_mode="provisioned", throughput_mibps=wrong)
        assert message.startswith(f"throughput-mibps {wrong}: use a whole number")


def test_options_that_exclude_each_other_are_named_together() -> None:
    assert "bursting" in refusal(performance_mode="maxIO", throughput_mode="elastic")
    assert "encrypted" in refusal(encrypted=False, kms_key="alias/mine")
    zone = {"availability_zone": "us-east-1a"}
    assert "generalPurpose" in refusal(
        performance_mode="maxIO", throughput_mode="bursting", **zone
    )
    assert refusal(region="eu-west-1", **zone).startswith("availability-zone us-east-1a is not in")
    assert load(region="us-east-1", **zone).availability_zone == "us-east-1a"


@hypothesis.given(st.integers(1, 2**40), st.sampled_from(sorted(config.UNITS)))
def test_any_whole_number_with_a_unit_is_a_capacity_while_it_fits(number: int, unit: str) -> None:
    fits = number * config.UNITS[unit] <= config.LARGEST_CAPACITY_BYTES
    try:
        assert config.bytes_of(f"{number}{unit}") == number * config.UNITS[unit]
        assert fits
    except ValueError:
        assert not fits
