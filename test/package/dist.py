#!/usr/bin/env python3
# Makes the archive of `meson dist` depend on the commit alone: gives every file and directory the
# time of the commit, which Meson does for all but the topmost, and modes that no umask changes.
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import os
import pathlib

root = pathlib.Path(os.environ["MESON_DIST_ROOT"])
time = (root / "meson.build").stat().st_mtime_ns  # as `git archive` has set it
for path in [*root.rglob("*"), root]:
    executable = path.is_dir() or path.stat().st_mode & 0o100
    path.chmod(0o755 if executable else 0o644)
    os.utime(path, ns=(time, time))
