"""usage: read_png.py FILE: its mode, rows and columns, then the pixel values, row by row."""
import sys

import numpy as np
from PIL import Image

with Image.open(sys.argv[1]) as image:
    image.load()
    pixels = np.asarray(image)
    print(image.mode, *pixels.shape[:2])
    print(*pixels.ravel())
