"""The words of an inspection, explained: `minigan explain health`."""

from collections.abc import Iterator

from minigan.inspection.document import Block, Document, Facts, Heading, Text
from minigan.inspection.health_limits import LIMITS, Limit
from minigan.training.log_verdict import FEWEST, HEALTHY, RECORDS, SIGNS, STEPS, Sign

__all__ = ["health_document"]

INTRODUCTION = (
    "minigan inspect RUN does one step of a run again, exactly as training does it, and measures G and D apart. Each "
    "measure has a limit; what lies beyond it has one of these words. A run without them is healthy: that says that "
    "nothing hinders its learning, not that its pictures are good."
)


IN_THE_LOG = (
    "The word in the progress line comes from the log alone, and costs nothing. It is a first look: what the logged "
    "values cannot show, such as dead layers of G, saturated outputs or a D that knows its images by heart, only "
    f"minigan inspect finds. A word is said if the newest record and the median of those of the last {STEPS} steps "
    f"({RECORDS} records at least) lie beyond its limit, and not before step {STEPS}."
)
SOUND = "Nothing that is logged speaks against the training. That the pictures are good it does not say."


def _in_the_log() -> Iterator[Block]:
    """The words of the progress line, each with its signs."""
    yield Heading("In the progress line")
    yield Text(IN_THE_LOG)
    yield Text(SOUND, lead=HEALTHY)
    for sign in SIGNS:
        yield Text(sign.means, lead=sign.word)
        yield Facts([("measure", sign.measure), ("healthy", _limit_of(sign)), ("why", sign.reason)])


def _limit_of(sign: Sign) -> str:
    at_once = f", judged from record {FEWEST}" if sign.at_once else ""
    return f"at {'most' if sign.upper else 'least'} {sign.value:g}{at_once}"


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
    blocks += _in_the_log()
    record = {
        "kind": "guide",
        "name": "health",
        "does": INTRODUCTION,
        "words": {word: {**limit._asdict(), "limit": limit.text} for word, limit in LIMITS.items()},
        "in_the_log": [{**sign._asdict(), "limit": _limit_of(sign)} for sign in SIGNS],
    }
    return Document("health: the words of minigan inspect, and of the progress line", blocks, record)
