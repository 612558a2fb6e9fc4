"""Writes a tiny InVesalius project, whole or damaged: make_project.py PATH DAMAGE."""
import io
import plistlib
import sys
import tarfile

import numpy as np

path, damage = sys.argv[1:]
voxels = np.fromfunction(lambda s, r, c: 100 * s + 10 * r + c - 200, (3, 4, 5)).astype("<i2")
plist = {
    "annotations": {"spacing": "not this one"},
    "matrix": {"dtype": "float32" if damage == "other_type" else "int16", "filename": "matrix.dat", "shape": [3, 4, 5]},
    "name": "A Name",
    "spacing": [0.5, -0.75 if damage == "bad_spacing" else 0.75, 1.5],
}
if damage == "no_spacing":
    del plist["spacing"]
members = {
    "mask_0.dat": bytes(100),
    "main.plist": b"<plist><dict>" if damage == "bad_plist" else plistlib.dumps(plist),
    "matrix.dat": voxels.tobytes()[: -2 if damage == "short_matrix" else None],
}
if damage == "no_matrix":
    del members["matrix.dat"]
if damage == "no_plist":
    del members["main.plist"]
with tarfile.open(path, "w:gz") as archive:
    for name, content in members.items():
        member = tarfile.TarInfo("tmpfolder/" + name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
if damage == "truncated":
    whole = open(path, "rb").read()
    open(path, "wb").write(whole[: len(whole) // 2])
if damage == "no_archive":
    open(path, "wb").write(b"no archive of any kind")
