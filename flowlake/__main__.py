"""``python -m flowlake`` is ``flowlake``."""

from flowlake.cli import main

if __name__ == "__main__":
    main()
