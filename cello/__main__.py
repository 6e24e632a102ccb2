"""`python -m cello` is the command `cello`."""

from cello.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
