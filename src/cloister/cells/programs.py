"""Where the programs ``cloister-door`` and ``cloister-cell`` are."""

import os
import shutil
import sysconfig

from cloister.model.errors import CloisterError


def find(name: str) -> str:
    """The absolute path of the program ``name``.

    It is looked for beside the running Python's own scripts first, where the wheel puts
    it, so that both sides are of one version; then in ``PATH``. Raises
    :class:`CloisterError` when it is in neither.
    """
    scripts = sysconfig.get_path("scripts")
    found = shutil.which(name, path=scripts) or shutil.which(name)
    if found is None:
        raise CloisterError(
            f"the program {name} is not installed",
            why=f"it is neither in {scripts} nor in any folder of PATH",
            hint="run `make install` in a checkout, or `pip install cloister`",
        )
    return os.path.abspath(found)  # noqa: PTH100 - resolve() would follow a link elsewhere
