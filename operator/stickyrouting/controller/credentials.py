"""The operator's own account, told to kopf in its terms."""

from pathlib import Path

import kopf


def kopf_credentials(server: str, mount: Path) -> kopf.ConnectionInfo:
    """Return what kopf logs in with. kopf asks again when the API server refuses a token that has expired."""
    return kopf.ConnectionInfo(
        server=server,
        ca_path=str(mount / "ca.crt"),
        token=(mount / "token").read_text().strip(),
    )
