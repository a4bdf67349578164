"""Measures of the paper's Sec. 4: sharpness and the Frechet distance of classifier features (FID)."""
