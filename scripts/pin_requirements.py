"""Pins what pyproject.toml asks for, with hashes, into requirements.txt and requirements-test.txt. Needs uv."""

import shutil
import subprocess
import sys


def main() -> int:
    uv = shutil.which("uv")
    if uv is None:
        print("This needs uv: pip install uv", file=sys.stderr)
        return 1
    for target, extras in (("requirements.txt", []), ("requirements-test.txt", ["--extra", "test"])):
        # No address of an index may stand in these files: who installs decides where from.
        command = [uv, "pip", "compile", "pyproject.toml", *extras, "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--quiet"]
        command += ["--custom-compile-command", "make requirements", "--output-file", target]
        subprocess.run(command, check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
