"""What an image would run: the last stage of the Dockerfile, read."""

import json
import re
from dataclasses import dataclass, field

from tests.support.tree import REPOSITORY


@dataclass
class Image:
    """The settings of a container.

    Attributes:
        environ: ``ENV``, without ``PATH``.
        command: ``ENTRYPOINT`` and ``CMD``.
        user: ``USER``, uid and gid.
    """

    environ: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    user: tuple[str, str] = ("0", "0")


def read_image() -> Image:
    text = (REPOSITORY / "deploy/Dockerfile").read_text()
    text = text.rpartition("\nFROM ")[2].replace("\\\n", " ")
    image = Image()
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "ENV":
            image.environ |= dict(re.findall(r"(\w+)=(\S+)", rest))
        elif instruction in ("ENTRYPOINT", "CMD"):
            image.command += json.loads(rest)
        elif instruction == "USER":
            uid, _, gid = rest.partition(":")
            image.user = (uid, gid)
    del image.environ["PATH"]
    return image
