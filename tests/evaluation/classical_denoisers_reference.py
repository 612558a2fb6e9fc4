"""usage: classical_denoisers_reference.py FOLDER ROWS COLUMNS SIGMA H
Writes the Gaussian filter of SciPy, non-local means by its definition (patch 5, distance 6, mirrored border, pixel by
pixel) and scikit-image's fast non-local means of image.raw."""
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means

folder, rows, columns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sigma, h = float(sys.argv[4]), float(sys.argv[5])
image = np.fromfile(folder / "image.raw").reshape(rows, columns)
gaussian_filter(image, sigma, mode="nearest", truncate=4.0).tofile(folder / "gaussian.raw")

half, reach = 2, 6
padded = np.pad(image, half + reach, mode="reflect")
patches = np.lib.stride_tricks.sliding_window_view(padded, (2 * half + 1, 2 * half + 1))
result = np.zeros_like(image)
for i in range(rows):
    for j in range(columns):
        around = patches[i : i + 2 * reach + 1, j : j + 2 * reach + 1]
        distance = ((around - around[reach, reach]) ** 2).mean(axis=(2, 3))
        weight = np.exp(-distance / h**2)
        result[i, j] = (weight * around[:, :, half, half]).sum() / weight.sum()
result.tofile(folder / "definition.raw")

# Its 5 x 5 patches are 4 x 4 in fast mode and their sum is divided by 25: 0.8 h gives the same weights on average.
denoise_nl_means(image, patch_size=5, patch_distance=6, h=0.8 * h, fast_mode=True).tofile(folder / "scikit_image.raw")
