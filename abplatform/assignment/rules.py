"""One experiment of a snapshot document, checked and prepared for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .fields import Fields
from .hashing import BUCKETS, HASH_VERSION, salt_prefix
from .layers import Ranges
from .model import Draws, Evaluation, ExperimentRule, Outcomes, Reason, UnsupportedRule, VariantRule
from .targeting import compile_condition

STATUSES = ("running", "paused", "closed", "stopped")
LATER_FEATURES = ("forced", "holdouts", "prerequisites")


def decode_rule(key: str, fields: Fields, default_unit_type: str) -> ExperimentRule | UnsupportedRule:
    """Read the rule of one experiment; a ValueError names the field that is missing or malformed."""
    unsupported = _find_unsupported(fields)
    if unsupported is not None:
        unit_type = fields.value("unit_type")
        return UnsupportedRule(key, unit_type if isinstance(unit_type, str) else default_unit_type, unsupported)
    variants = _decode_variants(fields)
    status, phase = fields.text("status"), fields.integer("phase", 1)
    control = _variant_key(fields, "control", variants)
    shipped = None if fields.value("shipped") is None else _variant_key(fields, "shipped", variants)
    return ExperimentRule(
        key=key,
        status=status,
        unit_type=fields.text("unit_type"),
        phase=phase,
        salt=fields.text("salt"),
        variants=variants,
        control=control,
        shipped=shipped,
        dimensions=_decode_dimensions(fields),
        targeting=_decode_targeting(fields),
        draws=_decode_draws(fields, variants),
        outcomes=_prepare_outcomes(Evaluation(key, None, None, False, "", phase), status, variants, (control, shipped)),
    )


def _find_unsupported(fields: Fields) -> str | None:
    """Name the first field that this evaluator must not ignore and cannot honour."""
    if fields.integer("hash_version") != HASH_VERSION:
        return f"{fields.path('hash_version')}: only {HASH_VERSION} is supported"
    if fields.text("status") not in STATUSES:
        return f"{fields.path('status')}: only {', '.join(STATUSES)} are supported"
    feature = next((name for name in LATER_FEATURES if fields.value(name)), None)
    return None if feature is None else f"{fields.path(feature)}: is not supported yet"


def _decode_variants(fields: Fields) -> tuple[VariantRule, ...]:
    variants: list[VariantRule] = []
    end = 0
    for item in fields.objects("variants"):
        low, high = _range(item.value("range"), item.path("range"))
        if low != end:
            raise ValueError(f"{item.path('range')}: must begin at {end}, where the one before ends")
        key = item.text("key")
        if any(key == variant.key for variant in variants):
            raise ValueError(f"{item.path('key')}: appears twice")
        variants.append(VariantRule(key, low, high, item.value("payload")))
        end = high
    if end != BUCKETS:
        raise ValueError(f"{fields.path('variants')}: ranges must end at {BUCKETS}")
    return tuple(variants)


def _variant_key(fields: Fields, name: str, variants: tuple[VariantRule, ...]) -> str:
    key = fields.text(name)
    if all(key != variant.key for variant in variants):
        raise ValueError(f"{fields.path(name)}: names no variant")
    return key


def _decode_dimensions(fields: Fields) -> tuple[str, ...]:
    names = () if fields.value("dimensions") is None else fields.array("dimensions")
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{fields.path('dimensions')}: must be an array of names")
    return tuple(names)


def _decode_targeting(fields: Fields) -> Callable[[Mapping[str, object]], bool] | None:
    condition = fields.value("targeting")
    if condition is None or condition == {}:
        return None
    if not isinstance(condition, Mapping):
        raise ValueError(f"{fields.path('targeting')}: must be an object")
    return compile_condition(condition)


def _decode_draws(fields: Fields, variants: tuple[VariantRule, ...]) -> Draws:
    layer = fields.object("layer")
    slots = tuple(_range(slot, f"{layer.path('slots')}.{i}") for i, slot in enumerate(layer.array("slots")))
    return Draws(
        layer_prefix=salt_prefix(layer.text("salt")),
        slots=None if _cover_all(slots) else slots,
        variant_prefix=salt_prefix(fields.text("salt")),
        bounds=tuple(variant.high for variant in variants),
    )


def _range(value: object, path: str) -> tuple[int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(type(end) is int for end in value):
        low, high = value
        if 0 <= low <= high <= BUCKETS:
            return low, high
    raise ValueError(f"{path}: must be two integers [low, high] with 0 <= low <= high <= {BUCKETS}")


def _cover_all(slots: Ranges) -> bool:
    end = 0
    for low, high in sorted(slots):
        if low > end:
            return False
        end = max(end, high)
    return end == BUCKETS


def _prepare_outcomes(
    blank: Evaluation, status: str, variants: tuple[VariantRule, ...], served: tuple[str, str | None]
) -> Outcomes:
    by_key = {variant.key: variant for variant in variants}

    def serve(key: str, reason: str) -> Evaluation:
        assigned = reason == Reason.ASSIGNED
        return blank._replace(variant=key, payload=by_key[key].payload, in_experiment=assigned, reason=reason)

    control, shipped = served
    idle = status == "paused" or (status == "stopped" and shipped is None)
    return Outcomes(
        settled=serve(control, Reason.NOT_RUNNING) if idle else None,
        not_targeted=serve(control, Reason.NOT_TARGETED),
        shipped=None if shipped is None else serve(shipped, Reason.SHIPPED),
        not_in_coverage=serve(control, Reason.NOT_IN_COVERAGE),
        assigned=tuple(serve(key, Reason.ASSIGNED) for key in by_key),
    )
