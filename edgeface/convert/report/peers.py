"""What others' models reach on the same faces: facts with their source, drawn where they compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeface.errors import InputError
from edgeface.files import read_json

PEERS = Path(__file__).resolve().parent / "peers.json"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def read_peers(path: str | Path) -> dict[str, Any]:
    """The file's content, a letter given to each peer: what stands for it in plots. InputError: not such a file."""
    data = read_json(path)
    try:
        peers = [{"letter": LETTERS[i % 26], "note": "", **peer} for i, peer in enumerate(data["peers"])]
        for peer in peers:
            float(peer["megabytes"]), float(peer["ms"]), str(peer["name"])
        return {**data, "sets": {name: dict(about) for name, about in data["sets"].items()}, "peers": peers}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} must hold peers with name, megabytes and ms. Received: {error!r}") from None


def comparable(peers: dict[str, Any] | None, test_set: str, n: int | None) -> list[dict[str, Any]]:
    """The peers with figures on this very set, those figures under ``on_set``; [] where it is not the same faces."""
    about = (peers or {}).get("sets", {}).get(test_set)
    if about is None or about["n"] != n:
        return []
    return [
        {**peer, "on_set": {"nme": None, "pose_mae": None} | peer["scores"][test_set]}
        for peer in peers["peers"]
        if test_set in peer["scores"]
    ]
