"""Providers of paraphrases: Gemini through google-generativeai, or a local chat model through transformers.

A provider is a function from a prompt to an `Answer`. The key comes from `.env` or the environment, and is in
the header of requests and nowhere else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.data.settings import PROVIDERS
from scripts.lm.paid_calls import Answer, Refused, Unavailable, seconds_to_wait
from utils_ft import UserError, load_env, secret

GEMINI_MODEL = "gemini-3.8-flash"
"""The default model of the developer API, as of November 2026.

--model or GEMINI_MODEL in the environment names another.
"""
MODELS_PAGE = "https://ai.google.dev/gemini-api/docs/models"
TIMEOUT = 120.0  # seconds without a byte, after which a request has failed
LOCAL_TOKENS = 2048  # the longest answer of a local model


@dataclass(frozen=True)
class Provider:
    """A provider.

    Attributes:
        name: Its name.
        model: The name of its model.
        chosen: Why it was chosen, for a person.
        ask: The function that answers a prompt; None for the hand-written paraphrases.
        parallel: Whether several threads may call `ask` at the same time.
    """

    name: str
    model: str
    chosen: str
    ask: Callable[[str], Answer] | None = None
    parallel: bool = True


def choose(name: str, model: str | None = None) -> Provider:
    """Return the provider `auto`, `gemini`, `local` or `shipped`.

    `auto` is Gemini if there is a key, else the hand-written paraphrases.

    Raises:
        UserError: There is no such provider, or its key or model is missing.
    """
    load_env()
    if name == "auto":
        if secret("GOOGLE_API_KEY"):
            name, why = "gemini", "GOOGLE_API_KEY is set"
        else:
            name, why = "shipped", "GOOGLE_API_KEY is not set, so the hand-written paraphrases are used"
    else:
        why = "as requested"
    if name == "gemini":
        model = model or os.environ.get("GEMINI_MODEL") or GEMINI_MODEL
        return Provider(name, model, why, gemini(model))
    if name == "local":
        if not model:
            raise UserError(
                "the provider local needs a model", remedy="--model FOLDER or a hub id of a chat model"
            )
        identity, ask = local(model)
        return Provider(name, identity, why, ask, parallel=False)
    if name == "shipped":
        return Provider(name, "hand-written", why)
    raise UserError(f"unknown provider {name!r}", remedy=f"one of: {', '.join(PROVIDERS)}")


def gemini(model: str, timeout: float = TIMEOUT) -> Callable[[str], Answer]:
    """Return a function that sends a prompt to a Gemini model, one request for each call.

    GEMINI_ENDPOINT in the environment replaces the address of the service. The function raises Unavailable,
    Refused, or UserError if the key or the model's name is wrong: then no request can have an answer.
    """
    api_key = secret("GOOGLE_API_KEY", needed_for="the provider gemini")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the package warns at each import that it is retired
        import google.generativeai as genai
    from google.api_core.exceptions import GoogleAPICallError
    from google.protobuf.json_format import ParseError
    from requests import RequestException

    # On level DEBUG this logger writes the headers of a request, and the key is in them.
    logging.getLogger("google.auth.transport.requests").setLevel(logging.INFO)
    # Its warnings about more threads than connections are not useful.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    endpoint = os.environ.get("GEMINI_ENDPOINT")
    genai.configure(
        api_key=api_key, transport="rest", client_options={"api_endpoint": endpoint} if endpoint else None
    )
    remote = genai.GenerativeModel(model)

    def ask(prompt: str) -> Answer:
        try:
            # `retry: None`: the library must not repeat requests, because the budget would not count them.
            reply = remote.generate_content(prompt, request_options={"retry": None, "timeout": timeout})
            answer = _answer(reply)
            return Answer(answer.text.replace(api_key, "[key]"), answer.tokens, answer.stopped)
        except GoogleAPICallError as error:
            failure: Exception = _failure(error, model, api_key)
        except RequestException as error:
            failure = Unavailable(f"broken connection ({type(error).__name__})")
        except (ParseError, AttributeError, TypeError, ValueError) as error:
            failure = Unavailable(f"unreadable answer ({type(error).__name__})")
        raise failure  # outside of `except`: the library's exceptions contain the request, and so the key

    return ask


def _answer(reply: Any) -> Answer:
    """The library's response as an Answer.

    The total includes the thoughts, for which the library has no field.
    """
    tokens = reply.usage_metadata.total_token_count
    if reply.prompt_feedback.block_reason:
        return Answer("", tokens, f"blocked ({_name(reply.prompt_feedback.block_reason)})")
    if not reply.candidates:
        return Answer("", tokens, "empty")
    candidate = reply.candidates[0]
    text, finish = (
        "".join(part.text for part in candidate.content.parts).strip(),
        _name(candidate.finish_reason),
    )
    if finish == "MAX_TOKENS":
        return Answer(text, tokens, "cut off")
    if finish not in ("STOP", "FINISH_REASON_UNSPECIFIED", "OTHER"):
        return Answer(text, tokens, f"blocked ({finish})")
    return Answer(text, tokens, "" if text else "empty")


def _name(value: Any) -> str:
    """The name of an enum's value, or its number if the library does not know it."""
    return getattr(value, "name", str(value))


def _failure(error: Any, model: str, api_key: str | None) -> Exception:
    """The exception for an HTTP error, without the key."""
    message = error.message.replace(api_key, "[key]") if api_key else error.message
    message = message.split(": ", 1)[-1].split("\n")[0][:200]  # without the method and the address in front
    if error.code in (408, 429) or error.code >= 500:
        return Unavailable(f"HTTP {error.code}", _retry_after(error))
    if error.code == 404:
        return UserError(
            f"Gemini knows no model {model!r}: {message}",
            remedy=f"name one of {MODELS_PAGE} with --model or GEMINI_MODEL",
        )
    if error.code in (401, 403) or "api key" in message.lower():
        return UserError(
            f"Gemini does not accept the key: {message}",
            remedy="check GOOGLE_API_KEY in .env or the environment",
        )
    return Refused(f"HTTP {error.code}: {message}")


def _retry_after(error: Any) -> float | None:
    """Seconds to wait, from the header Retry-After (a number or a date) or Google's RetryInfo in the body."""
    header = error.response.headers.get("Retry-After") if error.response is not None else None
    if (seconds := seconds_to_wait(header)) is not None:
        return seconds
    for detail in error.details:
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            if detail.get("@type", "").endswith("RetryInfo"):
                return max(0.0, float(detail["retryDelay"].rstrip("s")))
    return None


def local(model: str) -> tuple[str, Callable[[str], Answer]]:
    """Load a chat model. Return its identity, and a function that answers a prompt by greedy decoding.

    Arguments:
        model: A folder, a hub id, or a model type of `scripts/lm/base_models.py`.
    """
    import torch

    from scripts.lm.base_models import base_model, fingerprint
    from scripts.lm.chat import encode_prompt, end_of_turn, load_tokenizer
    from scripts.lm.device import compute_dtype, device
    from scripts.lm.loading import load_model

    folder = base_model(model)
    tokenizer = load_tokenizer(folder)
    network = load_model(folder, dtype=compute_dtype()).to(device()).eval()
    end, context = end_of_turn(tokenizer), network.config.max_position_embeddings
    one_at_a_time = threading.Lock()

    def ask(prompt: str) -> Answer:
        tokens = torch.tensor(
            [encode_prompt(tokenizer, [{"role": "user", "content": prompt}])], device=network.device
        )
        room = min(LOCAL_TOKENS, context - tokens.shape[1])
        if room < 1:
            raise Refused(f"the prompt has {tokens.shape[1]} tokens, and the model takes {context}")
        with one_at_a_time, torch.inference_mode():
            output = network.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=room,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=tokenizer.pad_token_id,
            )
        made = output[0, tokens.shape[1] :].tolist()
        text = tokenizer.decode(made, skip_special_tokens=True).strip()
        return Answer(text, output.shape[1], "cut off" if made[-1] != end else "" if text else "empty")

    return f"{model}@{fingerprint(folder)[:12]}", ask
