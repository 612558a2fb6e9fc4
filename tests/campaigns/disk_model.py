"""What a disk shows after a power loss: the journal of tests/support/file_faults, replayed.

Kept across a power loss are a file's bytes as of its last fsync, and a folder's names (created, renamed, removed) as of
its own last fsync. Whatever came after may be there or not; `STATES` are the corners of what it may be.
docs/methods/preemption.md
"""

import dataclasses
import shutil

# name: (names of folders, bytes of files); of folders, "inner" keeps the names in a checkpoint's own folder but not those
# of the folders above it, so that files are removed while the renaming before it is lost.
STATES = {
    "nothing that was not fsynced": ("durable", "durable"),
    "names without bytes": ("current", "durable"),
    "bytes without names": ("durable", "current"),
    "all but half of the last write": ("current", "torn"),
    "removals without the renaming before": ("inner", "current"),
}
DEPTH_OF_CHECKPOINT = 4  # run / training / checkpoints / step_*


@dataclasses.dataclass
class File:
    current: bytearray = dataclasses.field(default_factory=bytearray)
    durable: bytes = b""


@dataclasses.dataclass
class Folder:
    current: dict = dataclasses.field(default_factory=dict)
    durable: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Call:
    """One line of the journal; `path` as the program's faults are placed, `fields` of what was done."""
    rank: int
    name: str
    path: str
    operation: str
    fields: tuple
    data: bytes


def read_journal(path):
    text = path.read_bytes()
    calls = []
    begin = 0
    while begin < len(text):
        end = text.index(b"\n", begin)
        rank, name, where, operation, *fields, size = text[begin:end].decode().split("\t")
        begin = end + 1 + int(size)
        calls.append(Call(int(rank), name, where, operation, tuple(fields), text[end + 1:begin]))
    return calls


class Disk:
    def __init__(self, calls=()):
        self.root = Folder()
        self.nodes = {}  # by inode number, of those that are open or named
        self.last_write = None  # (file, its bytes if only half of the write had come), until that file's next fsync
        for call in calls:
            self.apply(call)

    def parent(self, path):
        *folders, name = path.split("/")
        folder = self.root
        for part in folders:
            folder = folder.current[part]
        return folder, name

    def apply(self, call):
        getattr(self, f"_{call.operation}")(call, *call.fields)

    def _none(self, call):
        pass

    def _unknown(self, call, *fields):
        raise ValueError(f"{call.name} on {call.path} cannot be followed: {fields}")

    def _create(self, call, path, inode):
        folder, name = self.parent(path)
        self.nodes[inode] = folder.current[name] = File()

    def _mkdir(self, call, path, inode):
        folder, name = self.parent(path)
        self.nodes[inode] = folder.current[name] = Folder()

    def _write(self, call, inode, offset):
        file, begin = self.nodes[inode], int(offset)
        half = bytearray(file.current)
        for content, data in ((half, call.data[:len(call.data) // 2]), (file.current, call.data)):
            content.extend(bytes(max(0, begin - len(content))))
            content[begin:begin + len(data)] = data
        self.last_write = (file, bytes(half))

    def _truncate(self, call, inode, size):
        content = self.nodes[inode].current
        del content[int(size):]
        self._extend(call, inode, size)

    def _extend(self, call, inode, size):
        content = self.nodes[inode].current
        content.extend(bytes(max(0, int(size) - len(content))))

    def _sync(self, call, inode):
        node = self.root if call.path == "." else self.nodes[inode]
        node.durable = dict(node.current) if isinstance(node, Folder) else bytes(node.current)
        if self.last_write and self.last_write[0] is node:
            self.last_write = None

    def _rename(self, call, old, new):
        folder, name = self.parent(old)
        node = folder.current.pop(name)
        folder, name = self.parent(new)
        folder.current[name] = node

    def _unlink(self, call, path):
        folder, name = self.parent(path)
        del folder.current[name]

    def _rmdir(self, call, path):
        self._unlink(call, path)

    def tree(self, names="current", content="current"):
        """path: bytes of a file, None for a folder. Not copied: they change with the next apply()."""
        found = {}

        def walk(folder, above, depth):
            is_current = names == "current" or (names == "inner" and depth >= DEPTH_OF_CHECKPOINT)
            for name, node in (folder.current if is_current else folder.durable).items():
                path = f"{above}{name}"
                if isinstance(node, Folder):
                    found[path] = None
                    walk(node, path + "/", depth + 1)
                elif content == "torn" and self.last_write and self.last_write[0] is node:
                    found[path] = self.last_write[1]
                else:
                    found[path] = node.durable if content == "durable" else node.current

        walk(self.root, "", 0)
        return found

    def after_power_loss(self, state):
        return self.tree(*STATES[state])


def read_tree(folder):
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
            for path in folder.rglob("*")}


def write_tree(tree, folder):
    """In place of all that is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in tree.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(content)
