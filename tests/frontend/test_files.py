"""What the page is made of: files of our own, that keep data out of markup."""

import re
from pathlib import Path

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
PAGE = (FRONTEND / "index.html").read_text()
SCRIPTS = {path.name: path.read_text() for path in (FRONTEND / "static").glob("*.js")}
STYLES = {path.name: path.read_text() for path in (FRONTEND / "static").glob("*.css")}


def test_no_script_makes_markup_or_code_of_text() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser")
    assert {name for name, text in SCRIPTS.items() if forbidden.search(text)} == set()


def test_nothing_inline_that_the_security_policy_would_refuse() -> None:
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", PAGE) == []
    assert {
        name for name, text in SCRIPTS.items() if re.search(r'cssText|"style"|\bstyle: (?!"currency")', text)
    } == set()


def test_nothing_comes_from_another_address() -> None:
    namespace = "http://www.w3.org/2000/svg"
    for name, text in {"index.html": PAGE, **SCRIPTS, **STYLES}.items():
        assert [address for address in re.findall(r"https?://[^\s\"')]+", text) if address != namespace] == [], name


def test_every_module_is_fetched_at_once_rather_than_one_after_the_other() -> None:
    modules = set(SCRIPTS) - {"main.js", "theme.js"}
    assert set(re.findall(r'rel="modulepreload" href="/static/([a-z]+\.js)"', PAGE)) == modules


def test_colours_are_named_in_the_tokens_alone() -> None:
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?!.*[{,]$)", STYLES["app.css"]) == []
    tokens = STYLES["tokens.css"].lower()
    documents = ["#dc2626", "#f59e0b", "#3b82f6", "#10b981", "#7c3aed", "#2563eb", "#059669", "#6b7280"]
    assert [colour for colour in documents if colour not in tokens] == []
