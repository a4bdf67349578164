"""Trained models outside of run folders: pretrained models, the Hugging Face Hub, and files for other programs."""
