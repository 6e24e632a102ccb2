"""The compiled modules and the one switch that governs them; everything else is said in pyproject.toml.

`CELLO_SPEEDUPS=auto|0|1` when building: `0` compiles nothing; `1` fails when anything does not compile; `auto` (the
default) installs the pure package when Cython or a working compiler is missing. Rules:

Rule 1. All or none. When one module fails under `auto`, those already built are removed again, also from the source
        tree of an editable install, so that what is installed never depends on how far an earlier build came.
Rule 2. C is generated in the build folder and regenerated whenever any source or any `.pxd` is newer than the module:
        Cython's own timestamps miss the `.pxd` of a source that lives in another folder.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = {
    "cello._speedups.bucket": "cello/features/bucket.py",
    "cello._speedups.frames": "cello/_speedups/frames.pyx",
    "cello._speedups.head": "cello/_speedups/head.pyx",
    "cello._speedups.lane": "cello/_speedups/lane.pyx",
    "cello._speedups.late_task": "cello/_speedups/late_task.pyx",
    "cello._speedups.paths": "cello/_speedups/paths.pyx",
    "cello._speedups.raw": "cello/_speedups/raw.pyx",
    "cello._speedups.recorder": "cello/features/prometheus/recorder.py",
    "cello._speedups.request": "cello/http/request.py",
    "cello._speedups.socket_link": "cello/gateways/native/socket_link.py",
    "cello._speedups.socket_task": "cello/gateways/native/socket_task.py",
    "cello._speedups.runner": "cello/_speedups/runner.pyx",
    "cello._speedups.slots": "cello/_speedups/slots.pyx",
    "cello._speedups.table": "cello/shared/table.py",
    "cello._speedups.track": "cello/_speedups/track.pyx",
    "cello._speedups.tree": "cello/routing/tree.py",
    "cello._speedups.transport": "cello/_speedups/transport.pyx",
}
if sys.platform != "linux":
    del SOURCES["cello._speedups.transport"]  # it stands on epoll
SHARED_DEPENDENCIES = ["setup.py", *sorted(str(path) for path in Path("cello").rglob("*.pxd"))]
DIRECTIVES = {"language_level": "3", "annotation_typing": False, "embedsignature": True, "auto_pickle": False}

switch = os.environ.get("CELLO_SPEEDUPS") or "auto"
if switch not in ("auto", "0", "1"):
    sys.exit(f"cello: CELLO_SPEEDUPS must be auto, 0 or 1, not {switch!r:.40}")
# PyPy and GraalPy run the pure code faster than they cross into C.
wanted = switch == "1" or (switch == "auto" and sys.implementation.name == "cpython")


class BuildSpeedups(build_ext):
    """Builds every module or none."""

    def run(self):
        self.in_source_tree = self.inplace  # the inherited run() resets it
        try:
            super().run()
        except Exception as error:  # noqa: BLE001  # a missing compiler alone has a dozen faces, from FileNotFoundError on
            if switch == "1":
                sys.exit(f"cello: CELLO_SPEEDUPS=1, but the compiled modules cannot be built: {error}")
            self.forget_all()
            print(f"cello: installing without compiled modules, they cannot be built: {error}", file=sys.stderr)

    def build_extension(self, ext):
        source = SOURCES[ext.name]
        # Only a developer's build in place is incremental: a wheel never holds what an earlier compiler left behind.
        if self.in_source_tree and not self.force and self.is_current(ext, source):
            return
        [generated] = self.generate_c(ext, source)
        ext.sources = generated.sources
        super().build_extension(ext)

    def is_current(self, ext, source):
        built = Path(self.get_ext_fullpath(ext.name))
        newest = max(os.stat(path).st_mtime for path in [source, *SHARED_DEPENDENCIES])
        return built.exists() and built.stat().st_mtime > newest

    def generate_c(self, ext, source):
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        Options.warning_errors = True
        module = Extension(ext.name, [source], extra_compile_args=ext.extra_compile_args)
        return cythonize([module], build_dir=self.build_temp, force=True, quiet=True, compiler_directives=DIRECTIVES)

    def forget_all(self):
        for ext in self.extensions:
            file_name = self.get_ext_filename(ext.name)
            Path(self.build_lib, file_name).unlink(missing_ok=True)
            if self.in_source_tree:
                Path(file_name).unlink(missing_ok=True)
        self.extensions = []
        self.distribution.ext_modules = []


class Wheel(bdist_wheel):
    """Names the wheel after what is in it: without compiled modules it fits every Python and platform."""

    def run(self):
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()


setup(
    ext_modules=[
        Extension(
            name,
            [source],
            depends=SHARED_DEPENDENCIES,
            extra_compile_args=[] if sys.platform == "win32" else ["-O2", "-g0"],
        )
        for name, source in SOURCES.items()
    ]
    if wanted
    else [],
    cmdclass={"build_ext": BuildSpeedups, "bdist_wheel": Wheel},
)
