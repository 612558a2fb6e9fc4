"""What tests of data_tools/ share: a tool run in this process, and what it said."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock


class ToolCase(unittest.TestCase):
    def setUp(self):
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.addCleanup(self._temporary.cleanup)

    def run_tool(self, tool, *arguments):
        """Exit code, and standard output with what it ended with."""
        said = io.StringIO()
        code = 0
        with mock.patch.object(sys, "argv", [tool.__file__, *map(str, arguments)]), contextlib.redirect_stdout(said), \
                contextlib.redirect_stderr(said):
            try:
                tool.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
                if not isinstance(end.code, (int, type(None))):
                    said.write(end.code)
        return code, said.getvalue()

    def succeed(self, tool, *arguments):
        code, said = self.run_tool(tool, *arguments)
        self.assertEqual(code, 0, said)
        return said

    def refuse(self, tool, *arguments, code=1):
        """What the tool said; it must have failed, with a message that names what it was given."""
        found, said = self.run_tool(tool, *arguments)
        self.assertEqual(found, code, said)
        return said
