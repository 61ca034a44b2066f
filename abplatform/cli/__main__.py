"""``python -m abplatform.cli``."""

from abplatform.cli import main

if __name__ == "__main__":
    main()
