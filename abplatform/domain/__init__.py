"""The language of experiments: values and rules, without clock, network or database."""
