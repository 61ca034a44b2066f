"""One verb per step of the flow: define, publish, ingest, seal, aggregate, analyse."""
