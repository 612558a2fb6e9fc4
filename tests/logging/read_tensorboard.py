"""Prints what TensorBoard's own reader finds in a folder of event files, as one JSON line."""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
accumulator.Reload()
tags = accumulator.Tags()
scalars = {tag: [[e.step, e.value] for e in accumulator.Scalars(tag)] for tag in tags["scalars"]}
images = {}
for tag in tags["images"]:
    (image,) = accumulator.Images(tag)
    images[tag] = [image.step, image.width, image.height, image.encoded_image_string.hex()]
print()
print(json.dumps({"scalars": scalars, "images": images}))
