"""The latent space explorer: a self-contained HTML page with which a person plays with trained models in a browser.

- `layers`: an encoder or decoder as a list of layers, with batch normalisation folded into the convolutions.
- `packing`: arrays of numbers as compressed text.
- `precision`: how coarsely weights may be rounded.
- `runs`: from a run folder to what the page holds about it.
- `page`: writing the page. Its template, style and JavaScript are in `web/`.

`docs/explore.md` describes the page and the format of its data.
"""
