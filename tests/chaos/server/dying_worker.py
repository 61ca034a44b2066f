"""An ``abplatform worker`` that kills itself (SIGKILL) at a step of sealing: ``python -m ... NUMBER FILE``.

NUMBER counts the steps in the order in which they are first reached; FILE gets the name of the one it died at. If there
are not so many, it ends by itself when it begins its third claim.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from abplatform.cli.main import main
from abplatform.warehouse.seal import Sealer

_begin = Sealer.__init__
_steps: list[str] = []
_CLAIMS = 3
_claims = count(1)


def _begin_dying(self: Sealer, *args: Any, **named: Any) -> None:
    _begin(self, *args, **named | {"reached": _reached})


def _reached(step: str) -> None:
    if step not in _steps:
        _steps.append(step)
    if len(_steps) > int(sys.argv[1]):
        Path(sys.argv[2]).write_text(step)
        os.kill(os.getpid(), signal.SIGKILL)
    if step == _steps[0] and next(_claims) == _CLAIMS:
        os._exit(0)


if __name__ == "__main__":
    Sealer.__init__ = _begin_dying  # type: ignore[method-assign]
    main(["worker"])
