"""Compile the CPU kernel of the log-cosh loss as a plain shared library.

The package loads `logcosh_vae/losses/_log_cosh.so` (`.dylib`, `.dll`) with ctypes, so it depends on the platform but
not on the Python version: one wheel, tagged `py3-none-<platform>`, serves all of them. If nothing can be compiled,
the wheel is `py3-none-any` and torch computes the loss.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FUNCTIONS = ["log_cosh_value", "log_cosh_sum", "log_cosh_grad"]
SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(
    sys.platform, ".so"
)  # `library()` in cpu_kernel.py looks for the same
KERNEL = Extension(
    "logcosh_vae.losses._log_cosh",
    sources=["src/logcosh_vae/losses/log_cosh.c"],
    depends=["setup.py"],
    extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"],
    optional=True,
)


class BuildLibrary(build_ext):
    """Give the compiled file a name that no Python version is part of."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + SUFFIX

    def get_export_symbols(self, ext: Extension) -> list[str]:  # noqa: ARG002
        return FUNCTIONS  # setuptools would ask Windows linkers for a module's PyInit function


class BuildWheel(bdist_wheel):
    """Tag the wheel with the platform of the compiled library, or as pure Python where there is none."""

    def run(self) -> None:
        self.run_command("build")
        self.skip_build = True
        build = self.get_finalized_command("build_ext")
        if not Path(build.get_ext_fullpath(KERNEL.name)).exists():
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


setup(ext_modules=[KERNEL], cmdclass={"build_ext": BuildLibrary, "bdist_wheel": BuildWheel})
