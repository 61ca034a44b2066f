"""The one evaluator: hashing, targeting, layers, snapshots.

Server and SDK carry the same files. They use the standard library and relative imports only, and this room
knows no other.
"""

from .codec import SCHEMA_VERSION, decode_snapshot, encode_snapshot
from .evaluate import draw_variant, evaluate
from .hashing import BUCKETS, HASH_VERSION, bucket
from .layers import contains, coverage_slots, variant_ranges
from .model import Evaluation, ExperimentRule, Reason, Snapshot, UnsupportedRule, VariantRule
from .targeting import check_condition, compile_condition

__all__ = [
    "BUCKETS",
    "HASH_VERSION",
    "SCHEMA_VERSION",
    "Evaluation",
    "ExperimentRule",
    "Reason",
    "Snapshot",
    "UnsupportedRule",
    "VariantRule",
    "bucket",
    "check_condition",
    "compile_condition",
    "contains",
    "coverage_slots",
    "decode_snapshot",
    "draw_variant",
    "encode_snapshot",
    "evaluate",
    "variant_ranges",
]
