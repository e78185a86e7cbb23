"""How many processes a server has."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ProcessSettings(BaseModel):
    """Of the processes of one machine; by default there is one."""

    fronts: int = Field(
        0,
        ge=0,
        le=64,
        description="processes that receive, tokenise and reply, beside one for each device; 0: "
        "one process does it all",
    )
    devices: str | None = Field(
        None,
        pattern=r"^(cpu|cuda:\d+)(,(cpu|cuda:\d+))*$",
        description="devices with a process each, with commas between them, such as "
        "cuda:0,cuda:1; default: the one of --device",
    )
