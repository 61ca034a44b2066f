"""SDKs of the field on the same work, in an environment of their own: `python -m benchmarks.sdk_peers NAME`."""
