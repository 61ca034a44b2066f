"""The shapes of what goes over the wire; the meaning is checked by the domain, under the same paths."""
