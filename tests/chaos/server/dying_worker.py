"""An ``abplatform worker`` that kills itself (SIGKILL) at a step of sealing: ``python -m ... STEP FILE``.

FILE gets the name of the step. If it does not come, the worker ends by itself when it begins its fifth claim.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from pyiceberg.table import Transaction

from abplatform.cli.main import main
from abplatform.warehouse.seal import Sealer

_begin, _commit = Sealer.__init__, Transaction.commit_transaction
_CLAIMS = 5
_claims = count(1)
_sealing = False


def _begin_dying(self: Sealer, *args: Any, **named: Any) -> None:
    _begin(self, *args, **named | {"reached": _reached})


def _commit_dying(self: Transaction) -> Any:
    # All files are written; the catalog does not know them yet. Compaction commits too, outside of these two steps.
    if _sealing:
        _reached("written")
    return _commit(self)


def _reached(step: str) -> None:
    global _sealing  # noqa: PLW0603 (one worker, one sealer at a time)
    _sealing = step == "deduplicated"
    if step == sys.argv[1]:
        Path(sys.argv[2]).write_text(step)
        os.kill(os.getpid(), signal.SIGKILL)
    if step == "claimed" and next(_claims) == _CLAIMS:
        os._exit(0)


if __name__ == "__main__":
    Sealer.__init__ = _begin_dying  # type: ignore[method-assign]
    Transaction.commit_transaction = _commit_dying  # type: ignore[method-assign]
    main(["worker"])
