"""The HTTP API: what goes over the wire, and nothing of what it means (`docs/http-api.md` is its reference)."""
