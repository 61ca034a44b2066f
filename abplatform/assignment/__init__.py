"""The one evaluator: hashing, targeting, layers, snapshots.

Server and SDK carry the same files. They use the standard library and relative imports only, and this room
knows no other.
"""

from .codec import SCHEMA_VERSION, decode_snapshot, encode_snapshot
from .evaluate import draw_variant, evaluate, unanswered
from .hashing import BUCKETS, HASH_VERSION, bucket, unit_digest
from .layers import coverage_slots, draw_position, join_slots, prepare_draws, variant_ranges
from .model import (
    HELD_OUT,
    OPEN,
    Decider,
    Evaluation,
    ExperimentRule,
    HoldoutRule,
    Reason,
    Snapshot,
    UnsupportedRule,
    VariantRule,
)
from .prerequisites import check_prerequisites
from .targeting import check_condition, compile_condition, named_groups, named_paths

__all__ = [
    "BUCKETS",
    "HASH_VERSION",
    "HELD_OUT",
    "OPEN",
    "SCHEMA_VERSION",
    "Decider",
    "Evaluation",
    "ExperimentRule",
    "HoldoutRule",
    "Reason",
    "Snapshot",
    "UnsupportedRule",
    "VariantRule",
    "bucket",
    "check_condition",
    "check_prerequisites",
    "compile_condition",
    "coverage_slots",
    "decode_snapshot",
    "draw_position",
    "draw_variant",
    "encode_snapshot",
    "evaluate",
    "join_slots",
    "named_groups",
    "named_paths",
    "prepare_draws",
    "unanswered",
    "unit_digest",
    "variant_ranges",
]
