"""The words of an inspection, explained: `minigan explain health`."""

from minigan.inspection.document import Block, Document, Facts, Heading, Text
from minigan.inspection.health_limits import LIMITS, Limit

__all__ = ["health_document"]

INTRODUCTION = (
    "minigan inspect RUN does one step of a run again, exactly as training does it, and measures G and D apart. Each "
    "measure has a limit; what lies beyond it has one of these words. A run without them is healthy: that says that "
    "nothing hinders its learning, not that its pictures are good."
)


def _start(limit: Limit) -> str:
    """The step from which it is judged, in words."""
    tenth = ", and after a tenth of the training" if limit.late else ""
    return f", judged from step {limit.since:,}{tenth}" if limit.since > 1 else ""


def health_document() -> Document:
    """Each word with its meaning, its measure, its limit, the limit's reason and source."""
    blocks: list[Block] = [Text(INTRODUCTION)]
    for word, limit in LIMITS.items():
        facts = [
            ("measure", limit.measure),
            ("healthy", limit.text + _start(limit)),
            ("why", limit.reason),
            ("source", limit.source),
        ]
        blocks += [Heading(word), Text(limit.means), Facts(facts)]
    record = {
        "kind": "guide",
        "name": "health",
        "does": INTRODUCTION,
        "words": {word: {**limit._asdict(), "limit": limit.text} for word, limit in LIMITS.items()},
    }
    return Document("health: the words of minigan inspect", blocks, record)
