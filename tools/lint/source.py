# SPDX-License-Identifier: Apache-2.0
"""What the lints share: which files are tracked, C without its comments and strings, and how a finding is told."""
import re
import subprocess
import sys

PRODUCT = ("common/", "controller/", "node-agent/", "execwrap/")

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def tracked(*suffixes):
    """Tracked files that exist, all or those with one of the suffixes."""
    names = subprocess.run(["git", "ls-files", "-z"], stdout=subprocess.PIPE, check=True, text=True).stdout.split("\0")
    found = []
    for name in names:
        if name and (not suffixes or name.endswith(suffixes)):
            try:
                open(name, "rb").close()
                found.append(name)
            except (FileNotFoundError, IsADirectoryError):
                pass  # deleted but not committed yet
    return found


def read(name):
    with open(name, encoding="utf-8", errors="replace") as f:
        return f.read()


def bare(text):
    """C text with comments and the content of strings blanked; lines and offsets stay."""
    return _TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Report:
    def __init__(self):
        self.n = 0

    def add(self, name, line, what):
        self.n += 1
        print("%s:%d: %s" % (name, line, what))

    def end(self):
        sys.exit(1 if self.n else 0)
