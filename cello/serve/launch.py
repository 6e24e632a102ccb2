"""The first lines of a supervisor, run by file name: they find cello where the replaced process had found it."""

import json
import os
import sys

if __name__ == "__main__":
    sys.path[:] = json.loads(os.environ["CELLO_SUPERVISOR"])["path"]

    from cello.serve.supervisor import main

    raise SystemExit(main())
