"""Kill -9 and power loss at every single call of a run, in every state of the disk, without a start: by the journal alone.

A disk passes when a checkpoint lies on it, of the last step announced as saved or a later one, with the bytes that it
had when it got its name, and none is there in part. kill_campaign.py makes real starts from a choice of such disks.
docs/methods/preemption.md
"""

import dataclasses
import json
import re

from disk_model import STATES, Disk

CHECKPOINT = re.compile(r"(.*/checkpoints)/step_(\d+)")


@dataclasses.dataclass
class Scan:
    num_disks: int = 0
    announced: int = 0
    faults: list = dataclasses.field(default_factory=list)  # one line each


def steps_announced(call):
    """Of a write to log.jsonl."""
    steps = [0]
    for line in call.data.decode(errors="replace").splitlines():
        if '"event":"checkpoint"' in line.replace(" ", ""):
            steps.append(json.loads(line)["step"])
    return max(steps)


def is_of_hidden_file(call):
    """Bytes of a file that no checkpoint has yet; the renaming that gives it to one is looked at."""
    return "/checkpoints/." in call.path and call.operation in ("write", "truncate", "extend")


def files_below(tree, folder):
    return {path[len(folder) + 1:]: content for path, content in tree.items() if path.startswith(folder + "/")}


def listed(files):
    """Manifest and what it lists, by name; nothing where there is no whole manifest."""
    try:
        names = [file["name"] for file in json.loads(files["manifest.json"])["files"]]
    except (KeyError, ValueError, TypeError):
        return None
    return {name: bytes(files[name]) if name in files else None for name in ("manifest.json", *names)}


def check(tree, whole, announced):
    """What is wrong with a disk; `whole` is what each checkpoint held when it got its name."""
    found = []
    faults = []
    for path in tree:
        match = CHECKPOINT.fullmatch(path)
        if not match:
            continue
        if listed(files_below(tree, path)) == whole.get(int(match[2])):
            found.append(int(match[2]))
        else:
            faults.append(f"step {int(match[2])} is there in part")
    if announced > max(found, default=0):
        faults.append(f"step {announced} was announced, the newest whole one is {max(found, default=0)}")
    return faults


def scan(calls):
    """Of one training, begun in an empty folder."""
    disk = Disk()
    whole = {}
    result = Scan()
    for number, call in enumerate(calls):
        disk.apply(call)
        announces = call.operation == "write" and call.path.endswith("/log.jsonl") and steps_announced(call)
        result.announced = max(result.announced, int(announces))
        if call.operation == "rename" and (match := CHECKPOINT.fullmatch(call.fields[1])):
            whole[int(match[2])] = listed(files_below(disk.tree(), call.fields[1]))
        if not announces and ("/checkpoints" not in call.path or call.operation == "none" or is_of_hidden_file(call)):
            continue  # the disk holds the same checkpoints as before
        # A kill of all processes leaves the files as they are.
        trees = {"kill -9": disk.tree(), **{state: disk.after_power_loss(state) for state in STATES}}
        for state, tree in trees.items():
            result.num_disks += 1
            result.faults += [f"after call {number}, {call.name} on {call.path}, {state}: {fault}"
                              for fault in check(tree, whole, result.announced)]
    return result
