"""Text from outside made safe to show: control characters, long values, Markdown."""

import os

import pytest

from logcosh_vae.base.text import MAX_MESSAGE, MAX_VALUE, code_span, counted, markdown, message, shorten, visible

OBEYED = [chr(code) for code in (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xD800, 0xDFFF)]


@pytest.mark.parametrize("exact", [False, True])
def test_nothing_that_a_terminal_obeys_is_left(exact: bool) -> None:
    shown = visible("a" + "".join(OBEYED) + "b", exact=exact)
    assert not set(shown) & set(OBEYED)
    assert shown.startswith("a\\x00")
    assert shown.endswith("\\udfffb")


def test_only_the_exact_text_keeps_bytes_and_directions_of_a_name() -> None:
    name = os.fsdecode(b"\xff") + "\u202eabc\u200f"
    assert visible(name, exact=True) == name
    assert visible(name) == r"\xff\u202eabc\u200f"


def test_visible_text_stays_as_it_is() -> None:
    text = "grün 漢字 👩\u200d🔬 [red] \\ ± '“"
    assert visible(text) == text


def test_a_message_is_bounded_but_keeps_both_ends() -> None:
    assert shorten("1234567890", limit=7) == "12...90"
    shown = message("--size " + "9" * 100_000 + ": write it as 64")
    assert len(shown) < MAX_VALUE + 40
    assert shown.startswith("--size 999")
    assert shown.endswith("999: write it as 64")
    assert len(message("word " * 100_000)) == MAX_MESSAGE
    assert message("x" * MAX_VALUE) == "x" * MAX_VALUE


def test_markdown_shows_text_literally() -> None:
    assert markdown("a|b <c> & [d](e) `f` *g* _h_ ~i~ $j$ #k\n") == (
        r"a\|b &lt;c&gt; &amp; \[d\](e) \`f\` \*g\* \_h\_ \~i\~ \$j\$ \#k\\n"
    )
    assert code_span("inception_v3.pt") == "`inception_v3.pt`"
    assert code_span("a`b<c>\x1b") == r"a\`b&lt;c&gt;\\x1b"


def test_counted_nouns_agree_with_their_number() -> None:
    assert [counted(count, "image file") for count in (0, 1, 2, 1200)] == [
        "0 image files",
        "1 image file",
        "2 image files",
        "1,200 image files",
    ]
    assert (counted(2, "entry"), counted(1, "entry"), counted(2, "day")) == ("2 entries", "1 entry", "2 days")
