"""Finding the text in a picture, so that restoration changes nothing else.

- `detector`: the trained network that finds text, and its installation (extra `text`).
- `lines`: lines of text from the network's output, and the mask that they make.
- `search`: both for a picture of any size, in bounded memory; start here.
"""
