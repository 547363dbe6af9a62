"""The CustomResourceDefinition of FusionRun, generated from the pydantic models by ``hack/generate``.

Adaptations of pydantic's JSON schema to a structural schema: ``$ref`` inlined, ``null`` dropped from ``anyOf``, titles
and defaults dropped, bounds on every list, map and string, and each class's CEL rules added. The spec has no
``default`` keys: the operator fills defaults when it accepts a run (``plan.defaults``), so the API server never changes
a spec. Descriptions end with the field's default. A new object gets the status ``observedGeneration: -1``.

Notes
-----
Source: Kubernetes, "Specifying a structural schema"; the list of adaptations follows stackhpc's
kube-custom-resource (schema.py).
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from fusionrun import names
from fusionrun.api.crd.rules import CEL_RULES, LIST_KEYS
from fusionrun.api.spec.mutable import MUTABLE_FIELDS, mutable_paths
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.run import NOT_OBSERVED, FusionRunStatus

MAX_STRING = 1024
MAX_ITEMS = 256
MAX_PROPERTIES = 64
_KEPT = ("type", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems",
         "maxItems", "minProperties", "maxProperties", "required", "format")  # fmt: skip

_READY = '.status.conditions[?(@.type=="Ready")]'
_COLUMNS = (
    ("Stage", "string", ".status.stage", "Running or failed stages"),
    ("Progress", "string", ".status.progress", "Completed stages / stages"),
    ("Complete", "string", '.status.conditions[?(@.type=="Complete")].status', "Whether the run has succeeded"),
    ("Reason", "string", f"{_READY}.reason", "Reason of the Ready condition"),
    ("GPUs", "integer", ".status.gpusInUse", "GPUs held by running pods"),
    ("Cost", "string", ".status.cost", "Cost of GPUs and endpoints so far"),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the run was created"),
    ("Message", "string", f"{_READY}.message", "Message of the Ready condition"),
)
_CHANGES = dict.fromkeys(
    mutable_paths(), "Can be changed during a run; a stage with running pods uses it from its next attempt."
)
_CHANGES |= dict.fromkeys(MUTABLE_FIELDS, "Can be changed during a run.")
"""What the description of a mutable field says, by its path."""
_WIDE = {"Message": {"priority": 1}, "Cost": {"priority": 1}}
"""Columns that only ``kubectl get -o wide`` shows."""
PRINTER_COLUMNS: list[dict[str, Any]] = [
    {"name": name, "type": kind, **_WIDE.get(name, {}), "jsonPath": path, "description": text}
    for name, kind, path, text in _COLUMNS
]


def shown(value: object) -> str:
    """Format a field's value for its description."""
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True, exclude_none=True)
    match value:
        case dict():
            return f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.items())}}}"
        case list():
            return " and ".join(map(shown, value)) or "an empty list"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}".replace("e-0", "e-")
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the one alternative of ``anyOf`` that is not null, or an int-or-string."""
    options = [o for o in schema["anyOf"] if o.get("type") != "null"]
    if len(options) == 1:
        return {**{k: v for k, v in schema.items() if k != "anyOf"}, **options[0]}
    if {o.get("type") for o in options} == {"string", "integer"}:
        # The bounds of both types are combined: each bound applies only to values of its type.
        kept = {k: v for k, v in schema.items() if k != "anyOf"}
        return {
            "x-kubernetes-int-or-string": True,
            **kept,
            **{k: v for o in options for k, v in o.items() if k != "type"},
        }
    raise ValueError(f"not structural: {schema}")


def _exclusive_bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Return exclusive bounds in OpenAPI v3's boolean form."""
    bounds: dict[str, Any] = {}
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in schema:
            bounds |= {bound.lower(): schema[f"exclusive{bound}"], f"exclusive{bound}": True}
    return bounds


def _default(schema: dict[str, Any]) -> str:
    """Return the sentence on the default in a field's class; empty if it has none."""
    match schema.get("default"):
        case None:
            return ""
        case dict():
            return (
                f"Defaults to {'an empty map' if 'additionalProperties' in schema else 'the defaults of its fields'}."
            )
        case str(text):
            return f"Defaults to `{text}`."
        case value:
            return f"Defaults to {shown(value)}."


class _Structural:
    """The conversion of one model's JSON schema to a structural schema.

    ``defaults`` has a sentence on the default of each field that has one, by its path (``sources[].sampling.topP``).
    Descriptions then end with this sentence, the default in the class, or "Required."; before it, they say whether the
    field is mutable. A status has no defaults.
    """

    def __init__(self, schema: dict[str, Any], defaults: Mapping[str, str] | None) -> None:
        self._definitions = schema.get("$defs", {})
        self._defaults = defaults

    def convert(self, schema: dict[str, Any], owner: str = "", path: str = "") -> dict[str, Any]:
        """Convert one node, of the class ``owner``, at a path."""
        description = schema.get("description")
        if "anyOf" in schema:
            schema = _not_null(schema)
        if "$ref" in schema:
            owner = schema["$ref"].rsplit("/", 1)[1]
            schema = {**self._definitions[owner], **({"description": description} if description else {})}
        if "const" in schema:
            schema = {"type": "string", "enum": [schema["const"]], **schema}
        out: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
        if "description" in out:
            out["description"] = " ".join(out["description"].replace("``", "`").split())
        if "x-kubernetes-int-or-string" in schema:
            bounds = ("description", "pattern", "minimum", "maxLength")
            return {"x-kubernetes-int-or-string": True, **{k: out[k] for k in bounds if k in out}}
        out |= _exclusive_bounds(schema)
        match out.get("type"):
            case "object":
                self._object(schema, owner, out, path)
            case "array":
                out.setdefault("maxItems", MAX_ITEMS)
                out["items"] = self.convert(schema["items"], path=f"{path}[]")
            case "string" if "enum" not in out:
                out.setdefault("maxLength", MAX_STRING)
        if owner in CEL_RULES:
            out["x-kubernetes-validations"] = CEL_RULES[owner]
        return out

    def _object(self, schema: dict[str, Any], owner: str, out: dict[str, Any], path: str) -> None:
        """Fill in an object's properties, or the values of a map, or neither for any object."""
        if "x-kubernetes-preserve-unknown-fields" in schema:
            out["x-kubernetes-preserve-unknown-fields"] = True
            return
        if "properties" not in schema:
            out.setdefault("maxProperties", MAX_PROPERTIES)
            values = schema.get("additionalProperties", {"type": "string"})
            out["additionalProperties"] = self.convert(values)
            return
        out["properties"] = {}
        for name, node in schema["properties"].items():
            here = f"{path}.{name}" if path else name
            child = self.convert(node, path=here)
            if self._defaults is not None:
                required = name in schema.get("required", ())
                sentence = "Required." if required else self._defaults.get(here) or _default(node)
                parts = (child.get("description"), _CHANGES.get(here), sentence)
                child["description"] = " ".join(part for part in parts if part)
            keys = LIST_KEYS.get((owner, name))
            if keys:
                child["x-kubernetes-list-type"] = "map"
                child["x-kubernetes-list-map-keys"] = keys
            out["properties"][name] = child


def structural_schema(model: type[BaseModel], defaults: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the structural OpenAPI v3 schema of a model; ``_Structural`` describes ``defaults``."""
    schema = model.model_json_schema(by_alias=True)
    return _Structural(schema, defaults).convert(schema, model.__name__)


def build_crd(defaults: Mapping[str, str]) -> dict[str, Any]:
    """Build the CustomResourceDefinition of FusionRun; ``plan.defaults.descriptions`` returns ``defaults``."""
    name_rule = {
        "rule": f"self.metadata.name.size() <= {names.RUN_NAME_MAX}",
        "message": f"metadata.name must be at most {names.RUN_NAME_MAX} characters",
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
                            "description": "FusionRun trains a small target LLM on the responses of source LLMs, or "
                            "only evaluates LLMs.",
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": structural_schema(FusionRunSpec, defaults),
                                "status": {
                                    "default": {"observedGeneration": NOT_OBSERVED},
                                    **structural_schema(FusionRunStatus),
                                },
                            },
                            "x-kubernetes-validations": [name_rule],
                        }
                    },
                }
            ],
        },
    }


def to_yaml(value: Any, indent: int = 0) -> str:
    """Return plain data as YAML, with strings as JSON. The tests of the core have no YAML library."""
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
