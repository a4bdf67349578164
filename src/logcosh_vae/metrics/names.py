"""Names of the metrics for readers."""

from __future__ import annotations

METRIC_NAMES = {
    "sharpness_reconstructed": "Sharpness, reconstructed",
    "sharpness_generated": "Sharpness, generated",
    "fid": "FID",
    "fid_gaussian": "FID, fitted Gaussian",
    "fid_mixture": "FID, fitted mixture",
    "fid_codes": "FID, codes of images",
    "fid_reconstructed": "FID, reconstructions",
    "validation_fid": "Validation FID",
    "validation_fid_gaussian": "Validation FID, fitted Gaussian",
    "validation_fid_mixture": "Validation FID, fitted mixture",
    "nearest_generated": "Distance to training images, generated",
    "nearest_test": "Distance to training images, test images",
    "ssim": "SSIM",
    "psnr": "PSNR in dB",
}
"""Column headings by key of a result, in the order of the columns."""
