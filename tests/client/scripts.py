"""Small programs that log, each in a process of its own, in a folder and with settings that a test chooses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Script:
    """A program in *folder*; its settings are those given, and none from outside."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.variables = {name: text for name, text in os.environ.items() if not name.startswith("MAINSPRING_")}
        self.variables["MAINSPRING_CAPTURE"] = "none"
        self.variables |= {f"MAINSPRING_{name.upper()}": str(value) for name, value in settings.items()}

    def start(self, text: str, *arguments: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Begin it; what it prints can be read."""
        file = self.folder / "script.py"
        file.write_text(text)
        return subprocess.Popen(
            [sys.executable, str(file), *arguments],
            cwd=self.folder,
            env={**self.variables, **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, text: str, *arguments: str, code: int = 0) -> list[str]:
        """Run it to its end and give the lines that it printed; it must end with *code*."""
        process = self.start(text, *arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, err
        return out.splitlines()
