"""The long form of what the SDK withstands: ``make chaos``. The short form is in `tests.sdk`."""
