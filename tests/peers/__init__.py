"""What other packages answer on the same numbers; `make references` writes it again, in their own environment."""
