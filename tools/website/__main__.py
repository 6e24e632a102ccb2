"""`python -m tools.website [OUTPUT]`: build the site into a folder (build/site) and check every link in it."""

import sys
from pathlib import Path

from tools.website import build


def main(argv: list[str]) -> int:
    """Build the site; return 0 when there was nothing to complain of."""
    output = Path(argv[0]) if argv else build.OUTPUT
    try:
        build.build(output)
    except build.Faulty as fault:
        print(fault, file=sys.stderr)
        return 1
    print(f"written: {output}/index.html")
    print(f"to read it: python -m http.server --bind 127.0.0.1 --directory {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
