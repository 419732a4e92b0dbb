"""A provider of batch jobs, for tests of what asks through them: no key, no price, a result within a moment.

It takes jobs over files as OpenAI, Azure, Groq, Mistral, Together and DashScope do, and Anthropic's Message Batches,
each strictly: what a provider would refuse is refused here. It keeps a record of every submission, and it can be told
how jobs end. It does not know any client, this library's own included. It also answers chat completions and messages
one at a time, so that a run can go on without a batch.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from cot_distill.loopback import LoopbackServer, Reply, Request
from cot_distill.testing.replies import completion, text_of
from cot_distill.testing.teachers import echo_answer

__all__ = ["BatchServer", "Dialect", "Ending", "Fate", "Submission"]

Dialect = Literal["openai", "azure", "groq", "mistral", "together", "dashscope", "anthropic"]

Ending = Literal[
    "completed",
    "expired",  # the first half of the lines is done, the others are marked as never asked
    "cancelled",  # the same
    "nothing",  # expired before anything was done
    "failed",  # refused as a whole
]
"""How a job ends."""

Fate = Literal[
    "answered",
    "cut",  # at the token limit
    "400",  # refused: bad parameter
    "filtered",  # refused: content filter
    "429",  # too many tokens a minute
    "401",  # the key may not use this model
    "500",
    "missing",  # no line comes back
    "malformed",  # a line whose answer is none
    "surrogate",  # an answer whose text is no Unicode
    "no_reasoning",
]
"""What becomes of a line."""

_ERRORS: Mapping[str, tuple[int, str, str]] = {
    "400": (400, "invalid_request_error", "Unsupported parameter: 'nonsense'."),
    "filtered": (400, "content_filter", "The prompt was filtered."),
    "429": (429, "rate_limit_error", "Rate limit reached for tokens per min."),
    "401": (401, "authentication_error", "Incorrect API key provided."),
    "500": (500, "api_error", "The server had an error."),
}
_WORDS: Mapping[str, tuple[str, str, str, str, str]] = {
    "usual": ("in_progress", "completed", "expired", "cancelled", "failed"),
    "together": ("IN_PROGRESS", "COMPLETED", "EXPIRED", "CANCELLED", "FAILED"),
    "mistral": ("RUNNING", "SUCCESS", "TIMEOUT_EXCEEDED", "CANCELLED", "FAILED"),
}


@dataclass(slots=True)
class Submission:
    """One job that was started."""

    id: str
    prompts: list[str]
    """Of its lines, in their order."""
    custom_ids: list[str]
    ending: Ending
    lines: list[dict[str, Any]] = field(repr=False)
    file: str = ""
    metadata: dict[str, str] | None = None
    created: float = 0.0
    size: int = 0
    """Bytes of what was handed over."""


class BatchServer:
    """A provider of batch jobs on 127.0.0.1 while the ``with`` block lasts.

    Args:
        dialect: Whose ways it has.
        answer: From the prompt (the last turn) to reasoning and answer. Default: :func:`echo_answer`.
        delay: Seconds a job takes.
        endings: How jobs end, in their order; those after the last one are completed.
        fate: What becomes of a line, by its prompt.
        strays: Results hold a line that nobody asked, and one that is no JSON.
        key: The key that is accepted.
        lost_replies: Of so many of the first requests that start a job the reply is lost: the job exists all the
            same.
        late: Seconds after which a job shows up in the list that was started.

    Example:
        >>> with BatchServer("openai") as server:
        ...     server.base_url.endswith("/v1"), server.submissions
        (True, [])
    """

    def __init__(
        self,
        dialect: Dialect = "openai",
        *,
        answer: Callable[[str], tuple[str, str]] = echo_answer,
        delay: float = 0.0,
        endings: Sequence[Ending] = (),
        fate: Callable[[str], Fate] = lambda _: "answered",
        strays: bool = False,
        key: str = "sk-batch-server-key",
        lost_replies: int = 0,
        late: float = 0.0,
    ) -> None:
        self.dialect = dialect
        self.key = key
        self._answer, self._delay, self._fate, self._strays = answer, delay, fate, strays
        self._endings = list(endings)
        self._lost, self._late = lost_replies, late
        self._lock = threading.Lock()
        self._files: dict[str, bytes] = {}
        self._announced: set[str] = set()
        self.submissions: list[Submission] = []
        """Every job that was started, in the order in which they came."""
        self.uploads = 0
        """Files that were handed over whole."""
        self.asked: list[str] = []
        """Prompts that were asked one at a time."""
        self.log: list[str] = []
        """Method and path of every request."""
        self._loopback = LoopbackServer(self._handle)

    def __enter__(self) -> Self:
        self._loopback.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._loopback.__exit__(kind, error, traceback)

    @property
    def base_url(self) -> str:
        """What a client of the provider takes."""
        return self._loopback.url if self.dialect == "anthropic" else f"{self._loopback.url}/v1"

    @property
    def spec(self) -> str:
        """A teacher of this provider, as ``open_teacher`` takes it."""
        return f"{self.dialect}:teacher"

    @property
    def prompts(self) -> list[str]:
        """What all jobs together asked."""
        return [prompt for submission in self.submissions for prompt in submission.prompts]

    def _handle(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        with self._lock:
            self.log.append(f"{request.method} {path}")
            if path.startswith("/signed/"):
                return self._take_signed(request, path)
            if not self._may(request):
                return _error(401, "authentication_error", "Incorrect API key provided.")
            for method, begin, act in self._routes():
                if request.method == method and path.startswith(begin):
                    rest = path[len(begin) :].strip("/").split("/")
                    return act(request, *(rest if rest != [""] else []))
        return _error(404, "not_found_error", f"Nothing at {request.method} {path}.")

    def _routes(self) -> list[tuple[str, str, Callable[..., Reply]]]:
        if self.dialect == "anthropic":
            return [
                ("POST", "/v1/messages/batches", self._create_messages),
                ("GET", "/v1/messages/batches", self._batches),
                ("POST", "/v1/messages", self._ask),
            ]
        jobs = "/v1/batch/jobs" if self.dialect == "mistral" else "/v1/batches"
        return [
            ("POST", "/v1/files", self._upload),
            ("GET", "/v1/files", self._file),
            ("POST", jobs, self._create),
            ("GET", jobs, self._jobs),
            ("POST", "/v1/chat/completions", self._ask),
        ]

    def _may(self, request: Request) -> bool:
        header = {"anthropic": "x-api-key", "azure": "api-key"}.get(self.dialect, "authorization")
        return request.headers.get(header, "").removeprefix("Bearer ") == self.key

    # Files

    def _upload(self, request: Request, *rest: str) -> Reply:
        if rest:
            return Reply.json({"id": rest[0]}) if rest[0] in self._files else _error(400, "invalid", "no such upload")
        file = f"file-{len(self._files) + len(self._announced) + 1}"
        if self.dialect == "together":
            form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            if form.get("purpose") != "batch-api":
                return _error(400, "invalid_request_error", "purpose must be batch-api")
            self._announced.add(file)
            where = {"location": f"{self._loopback.url}/signed/{file}", "x-together-file-id": file}
            return Reply(302, b"", where)
        parts = _parts(request)
        if parts.get("purpose") != b"batch" or "file" not in parts:
            return _error(400, "invalid_request_error", "purpose must be batch, with a file")
        self._files[file] = parts["file"]
        self.uploads += 1
        return Reply.json({"id": file, "object": "file", "status": "pending" if self.dialect == "azure" else "ok"})

    def _take_signed(self, request: Request, path: str) -> Reply:
        if request.method != "PUT" or "authorization" in request.headers:
            return Reply(403, b"<Error>this address is signed, and takes no key</Error>")
        self._files[path.rpartition("/")[2]] = request.body
        self.uploads += 1
        return Reply(200, b"", {"content-type": "text/plain"})

    def _file(self, _: Request, file: str, *rest: str) -> Reply:
        if rest == ("content",):
            kind, _of, job = file.partition("-of-")
            submission = self._found(job)
            if submission is None:
                return _error(404, "not_found", f"no file {file}")
            return Reply(200, self._results(submission, errors=kind == "errors"))
        return Reply.json({"id": file, "status": "processed"})

    # Jobs over files

    def _create(self, request: Request) -> Reply:
        body = request.json()
        files = body.get("input_files") if self.dialect == "mistral" else [body.get("input_file_id")]
        file = files[0] if files else None
        endpoint = "/chat/completions" if self.dialect == "azure" else "/v1/chat/completions"
        if file not in self._files:
            return _error(400, "invalid_request_error", f"no file {file}")
        if body.get("endpoint") != endpoint or (self.dialect == "mistral") != ("model" in body):
            return _error(400, "invalid_request_error", "wrong endpoint, or a model where none belongs")
        if self.dialect == "together" and "metadata" in body:
            return _error(400, "invalid_request_error", "unknown field metadata")
        lines = [json.loads(line) for line in self._files[file].splitlines()]
        if not all(self._is_line(line, endpoint) for line in lines):
            return _error(400, "invalid_request_error", "a line is not as it must be")
        bodies = [line["body"] for line in lines]
        submission = self._submit(lines, bodies, len(self._files[file]), file, body.get("metadata"))
        return self._started(self._said(submission))

    def _is_line(self, line: dict[str, Any], endpoint: str) -> bool:
        lean = self.dialect in ("mistral", "together")
        names = {"custom_id", "body"} | (set() if lean else {"method", "url"})
        wants_model = self.dialect != "mistral"
        whole = set(line) == names and ("model" in line["body"]) == wants_model
        return whole and line.get("url", endpoint) == endpoint and not line["body"].get("stream")

    def _jobs(self, request: Request, job: str | None = None) -> Reply:
        if job is not None:
            found = self._found(job)
            return _error(404, "not_found", f"no job {job}") if found is None else Reply.json(self._said(found))
        query = parse_qs(urlsplit(request.path).query)
        said = [self._said(submission, listed=True) for submission in reversed(self._shown())]
        if self.dialect == "together":
            return Reply.json(said)
        if self.dialect == "mistral":
            page, size = int(query["page"][0]), min(2, int(query["page_size"][0]))
            return Reply.json({"data": said[page * size : (page + 1) * size], "total": len(said)})
        return Reply.json(_page(said, query.get("after")))

    def _said(self, submission: Submission, *, listed: bool = False) -> dict[str, Any]:
        words = _WORDS.get(self.dialect, _WORDS["usual"])
        over = self._is_over(submission)
        which = ["completed", "expired", "cancelled", "failed"]
        ending = "expired" if submission.ending == "nothing" else submission.ending
        said: dict[str, Any] = {"id": submission.id, "status": words[1 + which.index(ending)] if over else words[0]}
        names = ("output_file", "error_file") if self.dialect == "mistral" else ("output_file_id", "error_file_id")
        has = over and submission.ending not in ("failed", "nothing")
        files = (f"output-of-{submission.id}", f"errors-of-{submission.id}")
        said |= dict(zip(names, files if has else (None, None), strict=True))
        said |= (
            {"input_files": [submission.file]} if self.dialect == "mistral" else {"input_file_id": submission.file}
        )
        if self.dialect != "together":
            said["metadata"] = submission.metadata
        if over and submission.ending == "failed":
            said["errors"] = {"object": "list", "data": [{"code": "invalid", "message": "line 1 is no request"}]}
        return {"job": said, "warning": ""} if self.dialect == "together" and not listed and not over else said

    # Anthropic

    def _create_messages(self, request: Request) -> Reply:
        requests = request.json()["requests"]
        lines = [{"custom_id": one["custom_id"], "body": one["params"]} for one in requests]
        if not all(line["body"].get("max_tokens") and len(line["custom_id"]) <= 64 for line in lines):
            return _error(400, "invalid_request_error", "a request is not as it must be")
        submission = self._submit(lines, [line["body"] for line in lines], len(request.body), "", None)
        return self._started(self._said_messages(submission))

    def _batches(self, request: Request, batch: str | None = None, *rest: str) -> Reply:
        if batch is None:
            query = parse_qs(urlsplit(request.path).query)
            said = [self._said_messages(submission) for submission in reversed(self._shown())]
            return Reply.json(_page(said, query.get("after_id")))
        found = self._found(batch)
        if found is None:
            return _error(404, "not_found_error", f"no batch {batch}")
        if rest == ("results",):
            return Reply(200, self._results(found, errors=False))
        return Reply.json(self._said_messages(found))

    def _said_messages(self, submission: Submission) -> dict[str, Any]:
        over = self._is_over(submission)
        counts = {"processing": 0 if over else len(submission.prompts), "succeeded": 0, "errored": 0}
        counts["succeeded"] = len(submission.prompts) - counts["processing"]
        url = f"{self._loopback.url}/v1/messages/batches/{submission.id}/results"
        return {
            "id": submission.id,
            "type": "message_batch",
            "processing_status": "ended" if over else "in_progress",
            "request_counts": counts,
            "results_url": url if over else None,
        }

    # Both

    def _submit(
        self,
        lines: list[dict[str, Any]],
        bodies: list[dict[str, Any]],
        size: int,
        file: str,
        metadata: dict[str, str] | None,
    ) -> Submission:
        number = len(self.submissions)
        prompts = [text_of(body["messages"][-1]["content"]) for body in bodies]
        ids = [line["custom_id"] for line in lines]
        ending = self._endings[number] if number < len(self._endings) else "completed"
        submission = Submission(f"batch-{number + 1}", prompts, ids, ending, lines, file, metadata, size=size)
        submission.created = time.monotonic()
        self.submissions.append(submission)
        return submission

    def _started(self, said: dict[str, Any]) -> Reply:
        reply = Reply.json(said)
        if self._lost:
            self._lost -= 1
            return Reply(fault="reset")
        return reply

    def _found(self, job: str) -> Submission | None:
        return next((one for one in self.submissions if one.id == job), None)

    def _shown(self) -> list[Submission]:
        return [one for one in self.submissions if time.monotonic() - one.created >= self._late]

    def _is_over(self, submission: Submission) -> bool:
        return time.monotonic() - submission.created >= self._delay

    def _results(self, submission: Submission, *, errors: bool) -> bytes:
        """The results, last line first: nobody promises an order."""
        found: list[bytes] = []
        done = len(submission.lines) if submission.ending == "completed" else len(submission.lines) // 2
        done = 0 if submission.ending == "nothing" else done
        for number, (line, prompt) in enumerate(zip(submission.lines, submission.prompts, strict=True)):
            fate = self._fate(prompt) if number < done else "left"
            if fate == "missing" or (self.dialect != "anthropic" and errors != (fate in _ERRORS or fate == "left")):
                continue
            found.append(self._line(line["custom_id"], line["body"], prompt, fate, submission.ending))
        if self._strays and not errors:
            found.append(self._line("nobody-asked-this", {}, "a stray", "answered", "completed"))
            found.insert(0, b'{"custom_id": "torn')
        return b"".join(line + b"\n" for line in reversed(found))

    def _line(self, name: str, body: Mapping[str, Any], prompt: str, fate: str, ending: Ending) -> bytes:
        if self.dialect == "anthropic":
            return json.dumps({"custom_id": name, "result": self._result(body, prompt, fate, ending)}).encode()
        line: dict[str, Any] = {"id": f"req-{name}", "custom_id": name, "response": None, "error": None}
        if fate == "left":
            code = "batch_cancelled" if ending == "cancelled" else "batch_expired"
            return json.dumps({**line, "error": {"code": code, "message": "it was never run"}}).encode()
        if fate in _ERRORS:
            status, kind, message = _ERRORS[fate]
            error = {"error": {"type": kind, "code": kind, "message": message}}
            return json.dumps({**line, "response": {"status_code": status, "body": error}}).encode()
        said = self._completion(body, prompt, fate)
        return json.dumps({**line, "response": {"status_code": 200, "request_id": name, "body": said}}).encode()

    def _result(self, body: Mapping[str, Any], prompt: str, fate: str, ending: Ending) -> dict[str, Any]:
        if fate == "left":
            return {"type": "canceled" if ending == "cancelled" else "expired"}
        if fate in _ERRORS:
            _, kind, message = _ERRORS[fate]
            return {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}}
        return {"type": "succeeded", "message": self._completion(body, prompt, fate)}

    def _completion(self, body: Mapping[str, Any], prompt: str, fate: str) -> Any:
        if fate == "malformed":
            return {"nothing": "of use"}
        trace = self._answer(prompt)
        if fate == "surrogate":
            trace = (trace[0], trace[1] + "\ud800")
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        made = completion(trace, limit=limit, fault={"cut": "length"}.get(fate, fate), where="reasoning_content")
        usage = made["usage"] | {"prompt_tokens": 7, "total_tokens": 7 + made["usage"]["completion_tokens"]}
        if self.dialect != "anthropic":
            return {"id": "chatcmpl-1", "object": "chat.completion", "model": "teacher", **made, "usage": usage}
        message = made["choices"][0]["message"]
        content = [{"type": "text", "text": message["content"]}]
        if message.get("reasoning_content"):
            content.insert(0, {"type": "thinking", "thinking": message["reasoning_content"], "signature": ""})
        return {
            "id": "msg_1",
            "type": "message",
            "model": "teacher",
            "content": content,
            "stop_reason": {"stop": "end_turn", "length": "max_tokens"}[made["choices"][0]["finish_reason"]],
            "usage": {"input_tokens": 7, "output_tokens": usage["completion_tokens"]},
        }

    def _ask(self, request: Request) -> Reply:
        body = request.json()
        prompt = text_of(body["messages"][-1]["content"])
        self.asked.append(prompt)
        return Reply.json(self._completion(body, prompt, "answered"))


def _page(said: list[dict[str, Any]], after: list[str] | None) -> dict[str, Any]:
    """A page of two, so that whoever reads the list must turn pages."""
    begin = next((number + 1 for number, one in enumerate(said) if after and one["id"] == after[0]), 0)
    page = said[begin : begin + 2]
    return {"data": page, "has_more": begin + 2 < len(said), "last_id": page[-1]["id"] if page else None}


def _parts(request: Request) -> dict[str, bytes]:
    """The fields of a form with a file."""
    head = f"content-type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + request.body)
    found: dict[str, bytes] = {}
    for part in message.get_payload() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        found[str(name)] = part.get_payload(decode=True)  # type: ignore[union-attr, assignment]
    return found


def _error(status: int, kind: str, message: str) -> Reply:
    return Reply.json({"error": {"type": kind, "code": kind, "message": message}}, status=status)
