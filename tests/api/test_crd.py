"""The CustomResourceDefinition is structural, bounded, and carries every rule between fields."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusionrun import names
from fusionrun.api import crd
from fusionrun.api.rules import CEL_RULES, LIST_KEYS
from fusionrun.api.spec import MUTABLE_FIELDS, FusionRunSpec
from fusionrun.api.status import FusionRunStatus

REPOSITORY = Path(__file__).parents[2]
CRD = crd.build_crd()
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]
FORBIDDEN = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "not", "title", "default", "const", "examples",
             "exclusiveMinimum:number", "definitions", "discriminator"}  # fmt: skip


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


NODES = [*nodes(SPEC, "spec"), *nodes(SCHEMA["properties"]["status"], "status")]


def test_the_schema_is_structural():
    for path, node in NODES:
        assert not FORBIDDEN & set(node), path
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(node.get(bound, True), bool), path


def test_every_list_map_and_string_of_the_spec_is_bounded():
    for path, node in nodes(SPEC, "spec"):
        match node.get("type"):
            case "array":
                assert node["maxItems"] <= crd.MAX_ITEMS, path
            case "string" if "enum" not in node:
                assert node["maxLength"] <= 8192, path
            case "object" if "additionalProperties" in node:
                assert node["maxProperties"] <= crd.MAX_PROPERTIES, path


def test_every_number_of_the_spec_has_a_lower_bound_but_a_score():
    unbounded = [p for p, n in nodes(SPEC, "spec") if n.get("type") in ("integer", "number") and "minimum" not in n]
    assert unbounded == [
        "spec.rewardModel.calibration.scoreRange.min",
        "spec.rewardModel.calibration.scoreRange.max",
    ]


def test_every_field_of_the_spec_is_there_under_its_camel_case_name():
    assert set(SPEC["properties"]) == {f.alias for f in FusionRunSpec.model_fields.values()}
    assert set(SCHEMA["properties"]["status"]["properties"]) == {f.alias for f in FusionRunStatus.model_fields.values()}


def test_every_rule_stands_beside_the_class_that_it_names():
    text = json.dumps(SCHEMA)
    for owner, rules in CEL_RULES.items():
        for rule in rules:
            assert json.dumps(rule["rule"]) in text, (owner, rule)
            assert rule["message"]


def test_every_list_with_a_key_is_a_map():
    keyed = {p: n["x-kubernetes-list-map-keys"] for p, n in NODES if "x-kubernetes-list-map-keys" in n}
    assert keyed == {
        "spec.sources": ["name"],
        "spec.datasets": ["name"],
        "spec.evaluation.benchmarks": ["name"],
        "status.conditions": ["type"],
    }
    assert len(LIST_KEYS) == 3


@pytest.mark.parametrize("field", sorted(f.alias for f in FusionRunSpec.model_fields.values()))
def test_a_field_is_immutable_unless_it_enters_no_digest(field):
    said = [r["message"] for r in SPEC["x-kubernetes-validations"]]
    immutable = any(m.startswith(f"spec.{field} is immutable") for m in said)
    assert immutable is (field not in MUTABLE_FIELDS)


def test_a_quantity_is_bounded_by_the_rules_of_both_its_types():
    limits = SPEC["properties"]["training"]["properties"]["resources"]["properties"]["limits"]
    values = limits["additionalProperties"]
    assert values["x-kubernetes-int-or-string"] is True
    assert (values["minimum"], values["maxLength"]) == (0, 32)
    for text in ("4", "500m", "1.5", "16Gi", "2e3", "+1", ".5", "1."):
        assert re.search(values["pattern"], text), text
    for text in ("four", "4 GB", "-1", "1.5.5", "", "Gi", "4gi"):
        assert not re.search(values["pattern"], text), text


def test_the_name_of_a_run_is_bounded():
    rule = SCHEMA["x-kubernetes-validations"][0]
    assert rule["rule"] == f"self.metadata.name.size() <= {names.RUN_NAME_MAX}"


def test_what_kubectl_shows_are_fields_of_the_status():
    status = SCHEMA["properties"]["status"]["properties"]
    for column in crd.PRINTER_COLUMNS:
        path = column["jsonPath"]
        if path.startswith(".status."):
            assert path.removeprefix(".status.").split("[")[0] in status


def test_the_committed_crd_is_the_generated_one():
    header, _, text = (REPOSITORY / "manifests/crd.yaml").read_text().partition("\n")
    assert header.startswith("# Generated by")
    assert text == crd.to_yaml(CRD)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": {"b": [1, "x"]}, "c": []}, 'a:\n  b:\n    - 1\n    - "x"\nc: []\n'),
        ({"a": "it's: #1\n"}, 'a: "it\'s: #1\\n"\n'),
        ([{"a": None}, True], "-\n  a: null\n- true\n"),
    ],
)
def test_plain_data_is_written_as_yaml(value, text):
    assert crd.to_yaml(value) == text


def test_a_schema_that_cannot_be_structural_is_refused():
    with pytest.raises(ValueError, match="not structural"):
        crd._structural({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, {})
