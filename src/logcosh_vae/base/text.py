"""Text from outside, such as names of files, made safe to show: on a terminal, in a message and in Markdown."""

from __future__ import annotations

import re
import shlex

MAX_VALUE = 1000
"""Longest word of a message, in characters: file names fit, and a value of 100 kB does not."""

MAX_MESSAGE = 3000
"""Longest message, in characters."""

_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udc7f\udd00-\udfff"
"""Control characters, line separators and lone surrogates."""
_INVISIBLE = "\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\udc80-\udcff"
"""Characters without width or that change the direction of the text, and bytes of a file name that are not UTF-8."""
_OBEYED = re.compile(f"[{_CONTROL}]")
_NOT_SHOWN = re.compile(f"[{_CONTROL}{_INVISIBLE}]")

_MARKUP_IN_CODE = re.compile(r"[\\`<>&|]")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>&|~$#]")


def shell_word(path: object) -> str:
    """Return a path as an argument that can be pasted into a shell."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def is_escaped_byte(character: str) -> bool:
    """Return whether Python uses the character for a byte of a file name that is not UTF-8."""
    return "\udc80" <= character <= "\udcff"


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if is_escaped_byte(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def visible(text: object, *, exact: bool = False) -> str:
    r"""Return the text on one line, with characters that a terminal obeys or cannot show written as `\n` or `\x1b`.

    Args:
        text: the text, or an object with one, such as a path.
        exact: change only what a terminal obeys, so that a script can use the names in the text.

    Example:
        >>> print(visible("a\x1b[31m\nb"))
        a\x1b[31m\nb
    """
    return (_OBEYED if exact else _NOT_SHOWN).sub(_escape, str(text))


def shorten(text: str, limit: int = MAX_VALUE) -> str:
    """Return the text with its middle replaced by `...` if it has more than `limit` characters.

    Example:
        >>> shorten("1234567890", limit=7)
        '12...90'
    """
    if len(text) <= limit:
        return text
    kept = limit - len("...")
    return f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def message(text: object) -> str:
    """Return a message for the user: `visible`, with long values and the message itself shortened in the middle."""
    words = [shorten(word) for word in visible(text).split(" ")]
    return shorten(" ".join(words), MAX_MESSAGE)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, which is plural unless the number is 1.

    Args:
        count: the number.
        noun: the singular; it forms its plural with `-s`, or with `-ies` if it ends in a consonant and `y`.

    Example:
        >>> counted(1, "image file"), counted(1200, "image file"), counted(2, "entry")
        ('1 image file', '1,200 image files', '2 entries')
    """
    if count != 1:
        noun = f"{noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{noun}s"
    return f"{count:,} {noun}"


def code_span(text: object) -> str:
    """Return the text as a code span of Markdown, or as `markdown` if it has characters that could end the span."""
    shown = visible(text)
    return markdown(text) if _MARKUP_IN_CODE.search(shown) else f"`{shown}`"


def markdown(text: object) -> str:
    r"""Return the text such that Markdown and the HTML within it show it literally, also in a cell of a table.

    Example:
        >>> print(markdown("a|b <c>"))
        a\|b &lt;c&gt;
    """
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return _MARKDOWN.sub(lambda match: entities.get(match.group(), f"\\{match.group()}"), visible(text))
