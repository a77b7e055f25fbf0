"""A source's frames through a tracker into outputs, until it ends, is lost, or is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeface.runtime.cameras import Source, SourceLost
from edgeface.runtime.outputs import Output
from edgeface.runtime.tracker import Tracker


@dataclass(frozen=True)
class Summary:
    """How a run went."""

    frames: int
    seconds: float
    faces: int
    """How many faces were followed, one after another or at once."""
    detections_run: int
    """How often the detector was asked."""
    seconds_by_part: dict[str, float]
    """read: waiting for and decoding frames; track: detection and prediction; write: drawing and outputs."""
    ended: str
    """end, limit, closed, interrupted or lost."""
    reason: str = ""
    """What the source said when it was lost."""
    skipped: int = 0
    """Frames of the source that could not be decoded."""

    def text(self) -> str:
        rate = self.frames / self.seconds if self.seconds > 0 else 0.0
        parts = ", ".join(
            f"{name} {1000 * spent / max(1, self.frames):.1f}" for name, spent in self.seconds_by_part.items()
        )
        bad = f", {self.skipped} frames skipped that cannot be decoded" if self.skipped else ""
        why = {"interrupted": ", interrupted", "closed": ", closed"}.get(self.ended, "")
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({rate:.1f} a second; ms a frame: {parts}), "
            f"{self.faces} faces followed, {self.detections_run} searches by the detector{bad}{why}"
        )


def run(
    source: Source,
    tracker: Tracker,
    outputs: Sequence[Output] = (),
    limit: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Summary:
    """Frames -> faces -> outputs, until the source ends; Ctrl-C and a lost source end it with a summary, too.

    Args:
        source: What `edgeface.open_source` gives.
        tracker: Follows the faces.
        outputs: Each gets every frame with its faces; one that answers False ends the run.
        limit: Frames at most. None: all.
        clock: Seconds, rising.

    Raises:
        InputError: nothing can be read from the source.
    """
    spent = {"read": 0.0, "track": 0.0, "write": 0.0}
    count, ended, reason = 0, "end", ""
    started = clock()
    frames = source.frames()
    try:
        while limit is None or count < limit:
            begin = clock()
            frame = next(frames, None)
            read = clock()
            spent["read"] += read - begin
            if frame is None:
                break
            faces = tracker.update(frame.image, frame.time_s)
            tracked = clock()
            spent["track"] += tracked - read
            count += 1
            wanted = [output.frame(frame, faces) for output in outputs]
            spent["write"] += clock() - tracked
            if not all(wanted):
                ended = "closed"
                break
        else:
            ended = "limit"
    except SourceLost as error:
        ended, reason = "lost", str(error)
    except KeyboardInterrupt:
        ended = "interrupted"
    finally:
        frames.close()
    seconds = clock() - started
    return Summary(count, seconds, tracker.begun, tracker.detections_run, spent, ended, reason, source.skipped)
