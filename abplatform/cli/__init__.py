"""The command ``abplatform``: one module per command, loaded when it is called.

A refusal is one line on stderr. Exit status: 0 done, 1 refused or failed, 2 the call or its input is wrong,
130 interrupted.
"""

from abplatform.cli.main import main

__all__ = ["main"]
