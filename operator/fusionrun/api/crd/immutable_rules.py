"""Rules that keep the fields of a run from changing, but for those in ``api.spec.mutable``, in CEL."""

from collections.abc import Sequence
from typing import Any

from fusionrun.api.spec.mutable import KEY, SpecField

_RESTART = "create a new FusionRun, which reuses finished work"


def cel_rule(rule: str, message: str) -> dict[str, Any]:
    """Return a rule as the CRD has it."""
    return {"rule": rule, "message": message}


def immutable_rules(owner: str, fields: Sequence[SpecField]) -> dict[str, list[dict[str, Any]]]:
    """Return the rules that keep fields from changing, by class: those of the class ``owner`` and of classes below."""
    rules: dict[str, list[dict[str, Any]]] = {owner: []}
    for field in fields:
        if field.mutable:
            continue
        if not field.mixed:
            rules[owner].append(_same_value(field))
            continue
        if field.is_list:
            rules[owner].append(_same_items(field))
        elif not field.required:
            rules[owner].append(_same_presence(field))
        if field.inner:
            below = [f for f in field.fields if not (field.is_list and f.name == KEY)]
            rules |= immutable_rules(field.inner.__name__, below)
    return rules


def _same_value(field: SpecField) -> dict[str, Any]:
    name, message = field.name, f"spec.{field.path} is immutable: {_RESTART}"
    if field.required:
        return cel_rule(f"self.{name} == oldSelf.{name}", message)
    both = f"has(self.{name}) == has(oldSelf.{name})"
    return cel_rule(f"{both} && (!has(self.{name}) || self.{name} == oldSelf.{name})", message)


def _same_items(field: SpecField) -> dict[str, Any]:
    """Return the rule of a list whose items have mutable fields. The API server matches items by their key."""
    name = field.name
    all_known = f"self.{name}.all(each, oldSelf.{name}.exists(old, old.{KEY} == each.{KEY}))"
    message = f"spec.{field.path} is immutable: no item may be added or removed: {_RESTART}"
    same = f"self.{name}.size() == oldSelf.{name}.size() && {all_known}"
    if field.required:
        return cel_rule(same, message)
    return cel_rule(f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})", message)


def _same_presence(field: SpecField) -> dict[str, Any]:
    """Return the rule of an object that may be added or removed if it has mutable fields only.

    The rules of its class compare two objects, and so do not apply if there is only one.
    """
    name, message = field.name, f"spec.{field.path}: its immutable fields must not be added or removed: {_RESTART}"
    both = f"has(self.{name}) == has(oldSelf.{name})"
    if any(f.required for f in field.fields):
        return cel_rule(both, message)
    new, old = (_only_mutable(f"{place}.{name}", field.fields) for place in ("self", "oldSelf"))
    return cel_rule(f"{both} || (has(self.{name}) ? {new} : {old})", message)


def _only_mutable(place: str, fields: Sequence[SpecField]) -> str:
    """Return the condition that an object has mutable fields only."""
    parts = []
    for field in fields:
        if field.mixed:
            parts.append(f"(!has({place}.{field.name}) || {_only_mutable(f'{place}.{field.name}', field.fields)})")
        elif not field.mutable:
            parts.append(f"!has({place}.{field.name})")
    return f"({' && '.join(parts)})"
