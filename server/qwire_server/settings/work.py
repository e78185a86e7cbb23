"""How much work is taken, in what pieces, and whose turn it is."""

from __future__ import annotations

from pydantic import BaseModel, Field


class WorkSettings(BaseModel):
    """Of batches, the queue, and one client's part."""

    batch_tokens: int | None = Field(
        None, gt=0, description="most tokens in one forward; default: 16384 on a GPU, 2048 on a CPU"
    )
    request_tokens: int | None = Field(
        None, gt=0, description="most tokens of one request; default: 64 batches"
    )
    queue_seconds: float = Field(
        10,
        gt=0,
        description="most device time accepted and not yet answered; above it, requests and "
        "streams wait",
    )
    waiting_requests: int = Field(
        4096,
        gt=0,
        description="most requests of all clients that wait for room in the queue; above it, they "
        "are refused with a time to come back",
    )
    waiting_bytes: int = Field(
        256 * 1024 * 1024,
        gt=0,
        description="most bytes of the texts of requests that wait; above it, as above",
    )
    stream_tokens: int | None = Field(
        None, gt=0, description="most tokens of one stream in flight; default: 4 batches"
    )
    launch_ms: float | None = Field(
        None,
        gt=0,
        description="most milliseconds of one batch while questions have come in the last 10 s, "
        "otherwise batches are full; default: 15 on a GPU, 200 on a CPU, or three times what any "
        "batch of the model takes, if that is more",
    )
    stall_seconds: float = Field(
        60,
        gt=0,
        description="without progress of the device, after which the server answers UNAVAILABLE "
        "and ends with an error; batches that should take long get twenty times their estimate",
    )
    bulk_share: float = Field(
        0.2, ge=0, le=0.5, description="device time kept for bulk while interactive work waits"
    )
    client_tokens_per_minute: int | None = Field(
        None, gt=0, description="most tokens a minute for one client; default: no limit"
    )
    max_texts: int = Field(2048, gt=0, description="most texts in one request")
    max_text_bytes: int = Field(256 * 1024, gt=0, description="most bytes of one text (UTF-8)")
    tokenizer_threads: int = Field(2, gt=0, le=64, description="threads that tokenise")
