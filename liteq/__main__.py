"""`python -m liteq` is the same as `liteq`."""

from __future__ import annotations

from liteq.cli.main import main

if __name__ == "__main__":
    main(prog_name="liteq")
