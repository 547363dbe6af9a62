"""The CustomResourceDefinition, generated from the pydantic models. ``python -m fusionrun.api.crd`` prints it.

What pydantic's JSON schema needs to become structural: ``$ref`` inlined, ``anyOf`` with null dropped (an absent
field is absent), titles and defaults dropped (defaults are resolved in ``plan.defaults`` and frozen there, so that
the API server never rewrites an object), bounds on every list, map and string, and the CEL rules beside their
class.

Notes
-----
Source: Kubernetes, "Specifying a structural schema"; the list of adaptations follows stackhpc's
kube-custom-resource (schema.py).
"""

import json
import sys
from typing import Any

from pydantic import BaseModel

from fusionrun import names
from fusionrun.api.rules import CEL_RULES, LIST_KEYS
from fusionrun.api.spec import FusionRunSpec
from fusionrun.api.status import FusionRunStatus

MAX_STRING = 1024
MAX_ITEMS = 256
MAX_PROPERTIES = 64
_KEPT = ("type", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
         "maxItems", "minProperties", "maxProperties", "required", "format")  # fmt: skip

PRINTER_COLUMNS = [
    {"name": "Stage", "type": "string", "jsonPath": ".status.stage", "description": "The stages at work"},
    {"name": "Progress", "type": "string", "jsonPath": ".status.progress", "description": "Stages done of all"},
    {"name": "Complete", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Complete")].status'},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    {"name": "GPUs", "type": "integer", "jsonPath": ".status.gpusInUse", "description": "GPUs held now"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Message",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Ready")].message',
    },
]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the one alternative of ``anyOf`` that is not null, or an int-or-string."""
    options = [o for o in schema["anyOf"] if o.get("type") != "null"]
    if len(options) == 1:
        return {**{k: v for k, v in schema.items() if k != "anyOf"}, **options[0]}
    if {o.get("type") for o in options} == {"string", "integer"}:
        # The bounds of each type stand side by side: each is looked at for values of its own type alone.
        return {"x-kubernetes-int-or-string": True, **{k: v for o in options for k, v in o.items() if k != "type"}}
    raise ValueError(f"not structural: {schema}")


def _exclusive_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Return exclusive bounds in OpenAPI v3's boolean form."""
    found: dict[str, Any] = {}
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in schema:
            found |= {bound.lower(): schema[f"exclusive{bound}"], f"exclusive{bound}": True}
    return found


def _structural(schema: dict[str, Any], definitions: dict[str, Any], owner: str = "") -> dict[str, Any]:
    """Rewrite one node of a pydantic JSON schema as a structural schema."""
    description = schema.get("description")
    if "anyOf" in schema:
        schema = _not_null(schema)
    if "$ref" in schema:
        owner = schema["$ref"].rsplit("/", 1)[1]
        schema = {**definitions[owner], **({"description": description} if description else {})}
    if "x-kubernetes-int-or-string" in schema:
        bounded: dict[str, Any] = {k: schema[k] for k in ("pattern", "minimum", "maxLength") if k in schema}
        return {"x-kubernetes-int-or-string": True, **bounded}
    if "const" in schema:
        schema = {"type": "string", "enum": [schema["const"]], **schema}
    out: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    out |= _exclusive_bounds(schema)
    match out.get("type"):
        case "object":
            _object(schema, definitions, owner, out)
        case "array":
            out.setdefault("maxItems", MAX_ITEMS)
            out["items"] = _structural(schema["items"], definitions)
        case "string" if "enum" not in out:
            out.setdefault("maxLength", MAX_STRING)
    if owner in CEL_RULES:
        out["x-kubernetes-validations"] = CEL_RULES[owner]
    return out


def _object(schema: dict[str, Any], definitions: dict[str, Any], owner: str, out: dict[str, Any]) -> None:
    """Fill in an object's properties, or the values of a map."""
    if "properties" not in schema:
        out.setdefault("maxProperties", MAX_PROPERTIES)
        values = schema.get("additionalProperties", {"type": "string"})
        out["additionalProperties"] = _structural(values, definitions)
        return
    out["properties"] = {}
    for name, node in schema["properties"].items():
        child = _structural(node, definitions)
        keys = LIST_KEYS.get((owner, name))
        if keys:
            child["x-kubernetes-list-type"] = "map"
            child["x-kubernetes-list-map-keys"] = keys
        out["properties"][name] = child


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural OpenAPI v3 schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}), model.__name__)


def build_crd() -> dict[str, Any]:
    """Build the CustomResourceDefinition of FusionRun."""
    status = structural_schema(FusionRunStatus)
    status["properties"]["conditions"] |= {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": ["all", "ml"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": PRINTER_COLUMNS,
                    "schema": {
                        "openAPIV3Schema": {
                            "description": "FusionRun fuses several source LLMs into one small target LLM.",
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": structural_schema(FusionRunSpec),
                                "status": status,
                            },
                            "x-kubernetes-validations": [
                                {
                                    "rule": f"self.metadata.name.size() <= {names.RUN_NAME_MAX}",
                                    "message": f"metadata.name must be at most {names.RUN_NAME_MAX} characters",
                                }
                            ],
                        }
                    },
                }
            ],
        },
    }


def to_yaml(value: Any, indent: int = 0) -> str:
    """Write plain data as YAML; strings as JSON, which YAML includes. Needs no library, as pods have none."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_value(child, indent)}" for key, child in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_value(child, indent)}" for child in value)
    return f"{pad}{json.dumps(value)}\n"


def _value(child: Any, indent: int) -> str:
    if isinstance(child, dict | list) and child:
        return "\n" + to_yaml(child, indent + 1)
    return " " + json.dumps(child, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(
        "# Generated by `python -m fusionrun.api.crd`; edit operator/fusionrun/api, then `make generate`.\n"
    )
    sys.stdout.write(to_yaml(build_crd()))
