"""Trained models outside of run folders.

- `pretrained`: folders to share; behind `VAE.from_pretrained` and `save_pretrained`.
- `card`: their model cards.
- `hub`: the Hugging Face Hub.
- `parts`, `files`: ONNX and `torch.export` files of a model or of its encoder or decoder.
"""
