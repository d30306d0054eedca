"""``python -m mainspring`` is the command line."""

from __future__ import annotations

from mainspring.cli.main import main

main()
