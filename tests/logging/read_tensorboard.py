"""Prints what TensorBoard's own reader finds in a folder of event files, as one JSON line."""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
accumulator.Reload()
tags = accumulator.Tags()["scalars"]
print()
print(json.dumps({"scalars": {tag: [[e.step, e.value] for e in accumulator.Scalars(tag)] for tag in tags}}))
