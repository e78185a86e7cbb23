"""What is served, and whether a request fits it. Pure; knows no wire types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwire.fingerprint import difference
from qwire_server.engine.work import RequestClass, RowForm
from qwire_server.errors import (
    FingerprintMismatch,
    InvalidDimensions,
    InvalidRequest,
    ModelNotFound,
    RequestTooLarge,
    TextTooLarge,
)
from qwire_server.text.prompts import prompt_for, prompt_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwire_server.api.call import Call, Options
    from qwire_server.checkpoint.model_prompts import Prompts
    from qwire_server.text.tokenizer import Truncate

MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # of a request, decompressed
# It is put before each text, so its size counts a thousand times; the recipe is one sentence.
MAX_INSTRUCTION_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one stream and one batch may have; `launch_ms` as in the settings."""

    max_texts: int
    max_text_bytes: int
    max_message_bytes: int
    batch_tokens: int
    request_tokens: int
    launch_ms: float
    stream_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A request's options, checked against the model."""

    form: RowForm
    prompt: str
    truncate: Truncate
    request_class: RequestClass


@dataclass(frozen=True, slots=True)
class Checked:
    """What the self-check before the start found: the lowest cosine of some texts in a dtype."""

    lowest_cosine: float
    texts: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Served:
    """The model in service and the limits of this server.

    Attributes:
        peak_flops: operations a second of its device in its dtype at best, measured at start; 0 if
            unknown.
        unknown_config_keys: keys of its config.json that are not known to change nothing.
    """

    model: str
    revision: str
    fingerprint: str
    languages: tuple[str, ...]
    native_dimensions: int
    min_dimensions: int
    max_tokens: int
    pooling: str
    prompts: Prompts
    device: str
    dtype: str
    limits: Limits
    aliases: tuple[str, ...] = ()
    given: str = ""  # the word after --model or --reranker, which is a name too
    checked: Checked | None = None  # None where a test or a benchmark brings its own model
    peak_flops: float = 0.0
    unknown_config_keys: tuple[str, ...] = ()

    def plan(self, call: Call, options: Options) -> Plan:
        """Check a request's options.

        Raises:
            ModelNotFound, FingerprintMismatch, InvalidDimensions, InvalidRequest.
        """
        self.check_identity(options.model, options.expected_fingerprint)
        return Plan(
            form=RowForm(self._dimensions(options), options.normalize, options.encoding),
            prompt=self._prompt(options),
            truncate=options.truncate,
            request_class=options.request_class or call.default_class,
        )

    def check_texts(self, texts: Sequence[str]) -> None:
        """Check the number of texts and the size of each.

        Raises:
            InvalidRequest, TextTooLarge.
        """
        self.check_count(len(texts))
        for index, text in enumerate(texts):
            if error := self.text_error(index, text):
                raise error

    def check_count(self, texts: int) -> None:
        """Check the number of texts, before a list is made of them.

        Raises:
            InvalidRequest.
        """
        if texts > self.limits.max_texts:
            raise InvalidRequest(
                f"{texts} texts in one request, at most {self.limits.max_texts} are taken: "
                "send fewer at a time"
            )

    def check_tokens(self, tokens: int) -> None:
        """Check the true tokens of a whole request.

        Raises:
            RequestTooLarge.
        """
        if tokens > self.limits.request_tokens:
            raise RequestTooLarge(
                f"this request has {tokens} tokens, at most {self.limits.request_tokens} are "
                "taken: send fewer texts at a time, or raise --request-tokens"
            )

    def text_error(self, index: int, text: str) -> TextTooLarge | None:
        """What is wrong with the size of one text."""
        limit = self.limits.max_text_bytes
        # A character takes at most 4 bytes, so most texts need no encoding to be measured.
        if len(text) * 4 <= limit or (size := len(text.encode())) <= limit:
            return None
        return TextTooLarge(
            f"a text has {size} bytes, at most {limit} are taken: split it, or raise "
            "--max-text-bytes",
            index=index,
        )

    def check_identity(self, model: str | None, expected: str | None) -> None:
        """Check the model and the fingerprint that a request asks for.

        Raises:
            ModelNotFound, FingerprintMismatch.
        """
        if model and not self.answers_to(model):
            raise ModelNotFound(f"{_shown(model)} is not served here, {self.model} is")
        if expected and expected != self.fingerprint:
            what = difference(expected, self.fingerprint)
            raise FingerprintMismatch(
                f"the index was made with fingerprint {_shown(expected)}, this server's is "
                f"{self.fingerprint} ({self.model}){what and f': {what}'}; their vectors must not "
                "be mixed: embed the index anew, or serve the model that made it"
            )

    def answers_to(self, name: str) -> bool:
        """Whether a name is that of this model, an alias, or the word that the settings have."""
        names = filter(None, (self.model, self.given, *self.aliases))
        return any(same_model(name, own) for own in names)

    def _prompt(self, options: Options) -> str:
        if options.prompt_name is not None:
            if options.input_type is not None or options.instruction is not None:
                raise InvalidRequest(
                    "`prompt_name` chooses the prompt alone: leave `input_type` and `instruction` "
                    "out, or leave `prompt_name` out"
                )
            return prompt_named(self.prompts, options.prompt_name)
        check_instruction(options.instruction)
        return prompt_for(self.prompts, options.input_type, options.instruction)

    def _dimensions(self, options: Options) -> int:
        if options.dimensions is None:
            return self.native_dimensions
        if not self.min_dimensions <= options.dimensions <= self.native_dimensions:
            allowed = f"{self.min_dimensions} to {self.native_dimensions}"
            if self.min_dimensions == self.native_dimensions:
                allowed = f"only {self.native_dimensions}: it was not trained to be cut"
            raise InvalidDimensions(
                f"dimensions {options.dimensions} is out of range, {self.model} allows {allowed}"
            )
        return options.dimensions


def check_instruction(instruction: str | None) -> None:
    """Check the size of an instruction.

    Raises:
        InvalidRequest: it is too long.
    """
    size = len((instruction or "").encode())
    if size > MAX_INSTRUCTION_BYTES:
        raise InvalidRequest(
            f"the instruction has {size} bytes, at most {MAX_INSTRUCTION_BYTES} are taken: it is "
            "put before each text, so say the task in a sentence"
        )


def same_model(asked: str, served: str) -> bool:
    """Whether names agree in full or by their last path component, in any case."""
    asked, served = asked.lower(), served.lower()
    return asked in {served, served.rsplit("/", 1)[-1]}


def _shown(text: str) -> str:
    """A client's string, made safe for a one-line message."""
    return ascii(text[:100])
