"""Write what a container image is built from: `python packaging/image.py WHEEL FOLDER`, then `docker build FOLDER`.

The folder gets a Dockerfile, the wheel, and requirements with the digests of the lock: the build looks nothing up but
these files.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lock import BUILDS, packages, requirements

BASE = "python:3.13-slim"
DOCKERFILE = """\
# Written by packaging/image.py.
FROM {base} AS build
COPY requirements.txt {wheel} /build/
RUN python -m venv /opt/deployfit
RUN /opt/deployfit/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /build/requirements.txt
RUN /opt/deployfit/bin/pip install --no-cache-dir --no-index --no-deps /build/{wheel}

FROM {base}
LABEL org.opencontainers.image.source="https://github.com/deployfit/deployfit"
LABEL org.opencontainers.image.licenses="Apache-2.0 AND MIT"
LABEL org.opencontainers.image.version="{version}"
COPY --from=build /opt/deployfit /opt/deployfit
ENV PATH="/opt/deployfit/bin:$PATH" DEPLOYFIT_CACHE="/tmp/deployfit"
USER 65534:65534
WORKDIR /work
ENTRYPOINT ["deployfit"]
"""


def write(wheel: Path, folder: Path) -> None:
    """Write the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, folder / wheel.name)
    installed = [each for each in packages() if each.name not in BUILDS]
    (folder / "requirements.txt").write_text(requirements(installed), encoding="utf-8")
    text = DOCKERFILE.format(base=BASE, wheel=wheel.name, version=wheel.name.split("-")[1])
    (folder / "Dockerfile").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
