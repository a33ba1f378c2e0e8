"""Pages and drawings: whole, well formed, complete in themselves, and with nothing taken for markup."""

from html.parser import HTMLParser

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.viz import profile, program, tape


class Checker(HTMLParser):
    """Follows a page, and finds what is not closed, what is loaded from elsewhere, and all text."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.links, self.ids, self.tags = [], [], [], set(), set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        assert "src" not in attributes
        if "href" in attributes:
            self.links.append(attributes["href"])
        if "id" in attributes:
            self.ids.add(attributes["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def checked(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert all(link.startswith("#") and link[1:] in checker.ids for link in checker.links)
    assert not {"script", "link", "img", "iframe"} & checker.tags
    assert "http" not in page
    assert "url(" not in page
    return checker


@pytest.fixture
def loss():
    """A result with a name that looks like markup."""
    w = tg.tensor(np.ones((3, 2)), requires_grad=True)
    loss = np.sum(np.tanh(np.ones((5, 3)) @ w))
    return loss, {"<b>w</b>": w}


def test_a_page_of_one_result(loss):
    page = program(*loss).to_html()
    assert page.startswith("<!DOCTYPE html>")
    found = checked(page)
    assert "<b>w</b>" in found.texts
    for word in ("matmul", "tanh", "sum", "float64 (5, 2)", "x float64 (5, 3)", "together", "nothing"):
        assert word in found.texts
    assert "forward" not in found.texts
    assert found.links == [f"#r{line.position}" for line in program(*loss)[:-1]]


def test_a_page_of_a_profile(tmp_path):
    w = tg.tensor(np.ones((3, 2)), requires_grad=True)
    with profile({"w": w}) as p:
        less = np.ones((5, 3)) @ w if 1 < 2 else None
        np.sum(np.tanh(less)).backward()
    assert p.to_html(tmp_path / "page.html") is None
    found = checked((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "By line of the program" in found.texts
    assert "less = np.ones((5, 3)) @ w if 1 < 2 else None" in found.texts
    assert {"forward", "backward", "share", "line"} <= set(found.texts)
    assert any("of wall time" in text for text in found.texts)


def test_a_page_of_the_tape(loss, tmp_path):
    found = checked(tape.to_html(names=loss[1]))
    assert "tanh" in found.texts
    assert tape.to_html(str(tmp_path / "tape.html")) is None
    assert (tmp_path / "tape.html").read_text(encoding="utf-8").endswith("</html>\n")


def test_long_programs_lose_their_middle():
    t = tg.tensor(2.0, requires_grad=True)
    for _ in range(50):
        t = t * 1.5
    found = checked(program(t).to_html(limit=10))
    assert "40 more" in found.texts
    assert len(found.ids) == 10
    assert len(found.links) == 8


def test_notebooks_get_fragments(loss):
    lines = program(*loss)
    for html in (lines._repr_html_(), tape._repr_html_()):
        checked(html)
        assert html.startswith('<div class="tapegrad">')
    with profile() as p:
        np.exp(next(iter(loss[1].values())))
    found = checked(p._repr_html_())
    assert "exp" in found.texts


def test_an_empty_program_has_a_page():
    w = tg.tensor([1.0], requires_grad=True)
    checked(program(w).to_html())
    checked(profile().to_html())
    assert "together" in str(profile())
    assert program(w).to_dot().count("->") == 0


def test_a_drawing(loss):
    lines = program(*loss)
    matmul, tanh, total = (f'"#{line.position}"' for line in lines)
    text = lines.to_dot()
    assert text.startswith("digraph tape {")
    assert text.endswith("}\n")
    assert f'  "<b>w</b>" -> {matmul};' in text
    assert f"  {matmul} -> {tanh};" in text
    assert f"  {tanh} -> {total};" in text
    assert f'  {tanh} [label="{tanh[1:-1]} tanh\\nfloat64 (5, 2)\\n80 bytes"];' in text
    assert lines[-1].operation in tape.to_dot()


def test_a_drawing_quotes_names():
    w = tg.tensor([1.0], requires_grad=True)
    assert '"a\\"\\\\b" [label="a\\"\\\\b\\nfloat64 (1,)", style=rounded];' in program(w * 2, {'a"\\b': w}).to_dot()


def test_a_drawing_shows_released_inputs():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    out = np.exp(w)
    np.sum(out).backward()
    after = out * 2
    assert f'"#{out._record.position} (released)" -> "#{after._record.position}";' in tape.to_dot()
