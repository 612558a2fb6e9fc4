"""usage: image_metrics_reference.py FOLDER ROWS COLUMNS
scikit-image's RMSE, PSNR, SSIM of x.raw against y.raw (data range 1), and RMSE and SSIM over the non-zero pixels of mask.raw."""
import sys
from pathlib import Path

import numpy as np
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

folder, rows, columns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x, y, mask = (np.fromfile(folder / f"{name}.raw").reshape(rows, columns) for name in ("x", "y", "mask"))
mean, full = structural_similarity(
    x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
)
interior = np.zeros_like(mask, dtype=bool)
interior[5:-5, 5:-5] = mask[5:-5, 5:-5] != 0
print(
    np.sqrt(mean_squared_error(x, y)),
    peak_signal_noise_ratio(y, x, data_range=1.0),
    mean,
    np.sqrt(np.mean((x - y)[mask != 0] ** 2)),
    full[interior].mean(),
)
