"""``python -m flowlake`` is ``flowlake``."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. An interrupt while it is still being loaded ends it in a word."""
    try:
        from flowlake.cli import main as run
    except KeyboardInterrupt:
        print("flowlake: interrupted.", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
