"""Reads what our own manifests are written in: YAML of indented mappings and lists, plain or JSON values, comments.

Whatever else YAML has is an error here, so nothing is read otherwise than a real reader would.
"""

import json
import re
from typing import Any

_KEY = re.compile(r"([\w./-]+):(?: (.*))?$")
_PLAIN = re.compile(r"[\w./:-]+")


def documents(text: str) -> list[Any]:
    """Every document of a file."""
    return [_read(part) for part in re.split(r"^---\n", text, flags=re.MULTILINE)]


def _read(text: str) -> Any:
    lines = []
    for line in text.splitlines():
        bare = re.sub(r"(^|\s+)#.*$", "", line)  # no value of ours has a # in it
        if bare.strip():
            indent = len(bare) - len(bare.lstrip(" "))
            lines.append((indent, bare.strip()))
    value, rest = _block(lines)
    assert not rest, f"not indented as it should be: {rest[0][1]}"
    return value


def _block(lines: list[tuple[int, str]]) -> tuple[Any, list[tuple[int, str]]]:
    """The mapping or list that begins here, and the lines after it."""
    indent = lines[0][0]
    found: Any = [] if lines[0][1].startswith("- ") else {}
    while lines and lines[0][0] == indent:
        _, line = lines[0]
        if line.startswith("- ") and isinstance(found, list):
            # What follows the dash is a block of its own, two further in.
            value, lines = _block([(indent + 2, line[2:].strip()), *lines[1:]])
            found.append(value)
            continue
        match = _KEY.fullmatch(line)
        assert match and isinstance(found, dict), f"not read here: {line}"
        key, inline = match.groups()
        assert key not in found, f"twice: {key}"
        lines = lines[1:]
        if inline is not None:
            found[key] = _scalar(inline.strip())
        else:
            assert lines and lines[0][0] > indent, f"nothing below: {key}"
            found[key], lines = _block(lines)
    return found, lines


def _scalar(text: str) -> Any:
    if text[0] in '"[{':
        return json.loads(text)
    assert _PLAIN.fullmatch(text), f"not read here: {text}"
    return {"true": True, "false": False}.get(text, int(text) if text.isdecimal() else text)
