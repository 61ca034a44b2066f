"""abplatform: an experimentation (A/B testing) platform for internet-finance teams."""

__version__ = "0.1.0"
