"""Kinds of events. A kind is any number below 65,520; these have names. Where a kind is asked for, its name will do."""

from typing import Final

from tapeline._native import kind_name as name
from tapeline._native import kind_number as number

UNSPECIFIED: Final = 0
TOKEN: Final = 1
AGENT_MESSAGE: Final = 2
TOOL_CALL: Final = 3
GUARDRAIL: Final = 4
CONSENSUS: Final = 5
STRUCTURED_OUTPUT: Final = 6
RETRY: Final = 7
DRIFT: Final = 8
SESSION: Final = 9
DAEMON: Final = 10
PART: Final = 11

__all__ = [
    "AGENT_MESSAGE",
    "CONSENSUS",
    "DAEMON",
    "DRIFT",
    "GUARDRAIL",
    "PART",
    "RETRY",
    "SESSION",
    "STRUCTURED_OUTPUT",
    "TOKEN",
    "TOOL_CALL",
    "UNSPECIFIED",
    "name",
    "number",
]
