"""The long form of what the SDK and the event path withstand: ``make chaos``.

The short forms are in `tests.sdk` and `tests.e2e`.
"""
