"""XMP properties that describe other content of the same file, which a restored file does not keep.

A photograph with a video (motion photo) or with an HDR gain map says in its XMP where they are in the file. Programs
that believe it would look for them in a restored file.
"""

from __future__ import annotations

import re

from ..data.orientation import xmp_text

_PROPERTIES = {
    "http://ns.google.com/photos/1.0/camera/": r"(?:MotionPhoto|MicroVideo)\w*",
    "http://ns.google.com/photos/1.0/container/": "Directory",
    "http://ns.google.com/photos/dd/1.0/device/": "Container",
    "http://ns.adobe.com/hdr-gain-map/1.0/": r"\w+",
    "http://ns.apple.com/HDRGainMap/1.0/": r"\w+",
}
"""Names of the properties, as regular expressions, by their namespace."""


def without_companions(xmp: bytes) -> bytes:
    """Return an XMP packet without the properties that describe a video, a gain map, or their places in the file."""
    try:
        text, encoding = xmp_text(xmp)
    except UnicodeDecodeError:
        return xmp
    shorter = text
    for namespace, names in _PROPERTIES.items():
        declared = re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(namespace)}[\"']", shorter)
        for prefix in list(dict.fromkeys(declared))[:4]:
            name = f"{re.escape(prefix)}:{names}"
            shorter = re.sub(rf"\s{name}\s*=\s*(?:\"[^\"]*\"|'[^']*')", "", shorter)
            shorter = _without_elements(shorter, name)
    return xmp if shorter == text else shorter.encode(encoding, "surrogatepass")


def _without_elements(text: str, name: str) -> str:
    """Return XML without the elements whose name matches a regular expression; one that is not closed stays."""
    kept, position = list[str](), 0
    for match in re.finditer(rf"<({name})(?:[\s/][^<>]*)?>", text):
        if match.start() < position:  # inside of the last one
            continue
        end = match.end()
        if not match[0].endswith("/>"):
            closing = f"</{match[1]}>"
            end = text.find(closing, end) + len(closing)
            if end < match.end():
                break
        kept.append(text[position : match.start()])
        position = end
    return "".join(kept) + text[position:]
