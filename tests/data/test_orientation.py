"""The orientation of an image is found wherever EXIF or XMP hold it, and changed without moving anything else."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from logcosh_vae.data import orientation
from logcosh_vae.data.decode import Preparation, decode

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:{0}="http://ns.adobe.com/tiff/1.0/" {1}/></rdf:RDF></x:xmpmeta>'
)
PACKETS = [
    XMP.format("tiff", 'tiff:Orientation="6"').encode(),
    XMP.format("tiff", "tiff:Orientation = '6'").encode(),
    XMP.format("t", 't:Orientation="6"').encode(),
    XMP.format("tiff", "><tiff:Orientation>\n 6</tiff:Orientation><b").encode(),
    XMP.format("tiff", 'tiff:Orientation="6"').encode("utf-16"),
]


def stored(value: int) -> bytes:
    exif = Image.Exif()
    exif[orientation.ORIENTATION], exif[0x010E] = value, "a picture"
    return exif.tobytes()


@pytest.mark.parametrize("xmp", PACKETS)
def test_xmp_orientation_is_read_and_replaced_in_place(xmp: bytes) -> None:
    assert orientation.xmp_orientation(xmp) == 6
    changed = orientation.with_xmp_orientation(xmp, 1)
    assert (orientation.xmp_orientation(changed), len(changed)) == (1, len(xmp))
    assert sum(before != after for before, after in zip(xmp, changed, strict=True)) == 1


def test_exif_orientation_is_replaced_in_place_and_damage_counts_as_absent() -> None:
    exif = stored(6)
    changed = orientation.with_exif_orientation(exif, 3)
    assert (orientation.exif_orientation(exif), orientation.exif_orientation(changed)) == (6, 3)
    assert sum(before != after for before, after in zip(exif, changed, strict=True)) == 1
    for damaged in (b"", b"Exif\0\0", exif[:16], b"Exif\0\0MM\0*\xff\xff\xff\xff", b"nothing", stored(9)):
        assert orientation.exif_orientation(damaged) is None
        assert orientation.with_exif_orientation(damaged, 1)[:6] == damaged[:6]


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize(("exif", "xmp", "expected"), [(6, 3, 6), (1, 6, 1), (0, 8, 8), (None, 6, 6), (None, None, 1)])
def test_images_are_decoded_upright(suffix: str, exif: int | None, xmp: int | None, expected: int) -> None:
    picture = Image.new("L", (48, 32), 30)
    picture.paste(220, (0, 0, 24, 16))
    options: dict[str, object] = {"lossless": True} if suffix == "webp" else {}
    if exif is not None:
        options["exif"] = stored(exif)
    if xmp is not None:
        packet = XMP.format("tiff", f"tiff:Orientation='{xmp}'").encode()
        if suffix == "png":
            text = PngInfo()
            text.add_itxt("XML:com.adobe.xmp", packet.decode())
            options["pnginfo"] = text
        elif suffix == "tiff":
            options["tiffinfo"] = {700: packet, **({orientation.ORIENTATION: exif} if exif is not None else {})}
        else:
            options["xmp"] = packet
    content = io.BytesIO()
    picture.convert("RGB").save(content, suffix, **options)
    if suffix == "tiff" and exif == 0:
        pytest.skip("a TIFF file with orientation 0 is damaged")
    tagged = Image.Exif()
    tagged[orientation.ORIENTATION] = expected
    reference = io.BytesIO()
    picture.save(reference, "png", exif=tagged)
    turned = ImageOps.exif_transpose(Image.open(reference))
    image, size, _ = decode(content.getvalue(), Preparation(turned.height, turned.width, 1))
    assert size == turned.size
    assert np.abs(image[0].astype(int) - np.asarray(turned)).mean() < 3
