"""Fill holes of a picture with texture from its surroundings.

    from logcosh_vae.restoration.filling.fill import fill_hole
    filled = fill_hole(pixels, hole)

- `fill`: one hole, coarse to fine; start here.
- `regions`: the boxes and the mask of a picture, each part with its surroundings.
- `patches`: which known patch is most similar to a patch of the hole.
- `levels`: smaller and smaller copies.
- `seamless`: copied pixels without seams.
"""
