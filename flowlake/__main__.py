"""``python -m flowlake`` is ``flowlake``."""

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. An interrupt while it is still being loaded ends it in a word.

    One that comes when all is done ends it without a word.
    """
    try:
        from flowlake.cli import main as run

        run()
    except KeyboardInterrupt:
        print("flowlake: interrupted.", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # else Python tells it as a traceback


if __name__ == "__main__":
    main()
