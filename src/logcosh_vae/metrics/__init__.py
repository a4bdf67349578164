"""Image metrics of the paper (Sec. 4): sharpness, FID, and PSNR and SSIM for restoration.

- `sharpness`: variance of the Laplacian.
- `frechet`: Frechet distance between Gaussians fitted to features.
- `classifier`: the network whose features the FID uses. Its weights for MNIST are in `weights`.
- `image_quality`: PSNR and SSIM of a restored image.

Images are float tensors in [0, 1].
"""
