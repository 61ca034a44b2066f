"""Reading what the server says about a batch."""

from __future__ import annotations

import json
import re
from collections import Counter

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def read_receipt(body: bytes, sent: int) -> Counter[str]:
    """The rejected events of a batch of ``sent``, counted by reason (``rejected:CODE``).

    Raises:
        ValueError: not a receipt for this batch. A proxy may answer 202 to anything: the batch is sent again.
    """
    try:
        receipt = json.loads(body)
        accepted, rejected = receipt["accepted"], receipt["rejected"]
        indexes = {entry["index"] for entry in rejected}
        codes = [entry["code"] for entry in rejected]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a receipt") from error
    if not all(type(index) is int and 0 <= index < sent for index in indexes):
        raise ValueError("the receipt names events that were not sent")
    if type(accepted) is not int or len(indexes) != len(codes) or accepted + len(codes) != sent:
        raise ValueError("the receipt counts other events than were sent")
    return Counter(f"rejected:{_plain(code)}" for code in codes)


def _plain(code: object) -> str:
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "OTHER"
