"""The CustomResourceDefinition is structural, bounded and described, and has every CEL rule."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fusionrun import names
from fusionrun.api.crd import definition as crd
from fusionrun.api.crd.reference import render_reference
from fusionrun.api.crd.rules import CEL_RULES, LIST_KEYS
from fusionrun.api.spec.mutable import MUTABLE_FIELDS, SPEC_FIELDS, mutable_paths
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.run import FusionRunStatus
from fusionrun.plan.defaults import descriptions

REPOSITORY = Path(__file__).parents[2]
CRD = crd.build_crd(descriptions())
REFERENCE = (REPOSITORY / "docs" / "reference.md").read_text()
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]
STATUS = SCHEMA["properties"]["status"]
FORBIDDEN = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "not", "title", "default", "const", "examples"}


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


NODES = [*nodes(SPEC, "spec"), *nodes(STATUS, "status")]
FIELDS = {path: node for path, node in NODES if not path.endswith(("[]", "{}"))}


def test_the_schema_is_structural():
    for path, node in NODES:
        assert not FORBIDDEN & set(node) - ({"default"} if path == "status" else set()), path
        assert node.get("type") or node.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(node.get(bound, True), bool), path


def test_a_run_that_no_operator_has_seen_has_a_status_that_is_not_current():
    assert STATUS["default"] == {"observedGeneration": -1}


def test_every_list_map_and_string_of_the_spec_is_bounded():
    for path, node in nodes(SPEC, "spec"):
        match node.get("type"):
            case "array":
                assert node["maxItems"] <= crd.MAX_ITEMS, path
            case "string" if "enum" not in node:
                assert node["maxLength"] <= 8192, path
            case "object" if "additionalProperties" in node:
                assert node["maxProperties"] <= crd.MAX_PROPERTIES, path


def test_every_number_of_the_spec_except_a_score_has_a_lower_bound():
    unbounded = [p for p, n in nodes(SPEC, "spec") if n.get("type") in ("integer", "number") and "minimum" not in n]
    assert unbounded == [
        "spec.rewardModel.calibration.scoreRange.min",
        "spec.rewardModel.calibration.scoreRange.max",
    ]


def test_every_field_has_its_camel_case_name():
    assert set(SPEC["properties"]) == {f.alias for f in FusionRunSpec.model_fields.values()}
    assert set(STATUS["properties"]) == {f.alias for f in FusionRunStatus.model_fields.values()}


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_has_a_description_and_a_field_of_the_spec_says_what_omission_means(path):
    description = FIELDS[path].get("description", "")
    assert re.match(r"(`|[A-Z])", description), description
    assert re.search(r"\.$", description), description
    assert not re.search(r"``|  |\brecipe\.md|\bours\b", description), description
    if path.startswith("spec."):
        assert re.search(r"\bDefaults to |\bIf omitted|\b[Rr]equired\b", description), description


def test_every_object_in_a_list_has_a_description():
    objects = {path: node for path, node in NODES if path.endswith("[]") and "properties" in node}
    assert not [path for path, node in objects.items() if "description" not in node]


def test_a_default_is_added_to_the_description_of_its_field():
    class Given(BaseModel):
        """Given."""

        silent: int | None = None
        constant: float = 5e-7
        named: str = "x"
        sure: int

    found = crd.structural_schema(Given, {"constant": "Defaults to the table's."})["properties"]
    texts = {"silent": "", "constant": "Defaults to the table's.", "named": "Defaults to `x`.", "sure": "Required."}
    assert {name: node["description"] for name, node in found.items()} == texts


@pytest.mark.parametrize("path", descriptions())
def test_every_default_is_in_the_description_of_its_field(path):
    node = FIELDS[f"spec.{path}"]
    assert node["description"].endswith(descriptions()[path])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("backoffLimit", "Defaults to 3."),
        ("sources[].type", "Defaults to `Served`."),
        ("training.gradientCheckpointing", "Defaults to true."),
        ("training.sft.globalBatchSize", "Defaults to 128."),
        ("training.sft.learningRate", "Defaults to 5e-6 for Llama3 and Llama3Small and 2e-6 for Qwen2.5 and Gemma2."),
        ("training.dpo.saveSteps", "Defaults to 100."),
        (
            "datasets[].samplesPerPrompt",
            "Defaults to 5 for Instruction and Mathematics, 8 for Coding and 1 for SftOnly.",
        ),
        ("generation.maxConcurrency", "Defaults to 4 times `concurrency`."),
        ("construction.rewardMargin", "Defaults to {min: 0.01, max: 0.1} for the model RLHFlow/ArmoRM"),
        ("training.resources", "requests {cpu: 100m, memory: 256Mi} and limits {memory: 4Gi}"),
    ],
)
def test_a_default_is_in_the_description_and_the_reference(path, text):
    assert text in FIELDS[f"spec.{path}"]["description"]
    (row,) = [r for r in REFERENCE.splitlines() if r.startswith(f"| `{path}` |")]
    assert text in row


def test_every_rule_is_in_the_schema_of_its_class():
    text = json.dumps(SCHEMA)
    for owner, rules in CEL_RULES.items():
        for rule in rules:
            assert json.dumps(rule["rule"]) in text, (owner, rule)
            assert rule["message"]


def test_every_list_with_a_key_is_a_map():
    keyed = {p: n["x-kubernetes-list-map-keys"] for p, n in NODES if "x-kubernetes-list-map-keys" in n}
    of_pods = {"env": ["name"], "volumes": ["name"], "volumeMounts": ["mountPath"]}
    assert {p.rpartition(".")[2]: keyed.pop(p) for p in list(keyed) if ".pod." in p} == of_pods
    assert keyed == {
        "spec.evaluateOnly.models": ["name"],
        "spec.sources": ["name"],
        "spec.datasets": ["name"],
        "spec.stageDeadlines": ["kind"],
        "spec.evaluation.benchmarks": ["name"],
        "status.conditions": ["type"],
    }
    assert len(LIST_KEYS) == len(keyed) + len(of_pods)


@pytest.mark.parametrize("field", sorted(f.alias for f in FusionRunSpec.model_fields.values()))
def test_a_field_is_immutable_unless_it_is_in_no_digest(field):
    messages = [rule["message"] for rules in CEL_RULES.values() for rule in rules]
    immutable = any(re.match(rf"spec\.{field}\b.* (is|its) immutable", m) for m in messages)
    assert immutable is (field not in MUTABLE_FIELDS)


def test_every_field_of_the_spec_is_mutable_or_has_a_rule():
    messages = {m.split(" ")[0].rstrip(":") for rules in CEL_RULES.values() for m in (r["message"] for r in rules)}

    def covered(fields):
        for field in fields:
            key = field.path in ("sources[].name", "evaluateOnly.models[].name")  # items are matched by it
            if field.mutable or key or f"spec.{field.path}" in messages:
                assert not (field.mutable and f"spec.{field.path}" in messages), field.path
                if not field.mixed:
                    continue
            assert field.mixed, field.path
            covered(field.fields)

    covered(SPEC_FIELDS)


@pytest.mark.parametrize("path", mutable_paths())
def test_the_description_of_a_mutable_field_says_so(path):
    assert "Can be changed during a run" in FIELDS[f"spec.{path}"]["description"]


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


def test_printer_columns_are_fields_of_the_status():
    for column in crd.PRINTER_COLUMNS:
        assert column["description"]
        path = column["jsonPath"]
        if path.startswith(".status."):
            assert path.removeprefix(".status.").split("[")[0] in STATUS["properties"]


def test_the_committed_crd_and_reference_are_generated():
    header, _, text = (REPOSITORY / "manifests/crd.yaml").read_text().partition("\n")
    assert header.startswith("# Generated by")
    assert text == crd.to_yaml(CRD)
    assert render_reference(CRD) == REFERENCE


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
    class Union(BaseModel):
        either: str | bool

    with pytest.raises(ValueError, match="not structural"):
        crd.structural_schema(Union)
