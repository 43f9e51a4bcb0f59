"""The endpoint against a real server: what it is asked, what comes of every bad answer, and that the key stays in."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from krea_studio.errors import InvalidRequest, Stopped, StudioError, Unavailable
from krea_studio.expansion.chat_server import MOST_BYTES, Endpoint
from krea_studio.expansion.creativity import LEVELS, Unfinished, asking, expand
from krea_studio.expansion.server_refusals import reason_of
from krea_studio.expansion.writers import Expanders
from krea_studio.recipe.request import SEED_LIMIT
from krea_studio.settings import Settings
from tests.doubles import ScriptedEngine

KEY = "sk-very-secret-0123456789"
PROMPT = "a red fox in the snow"
TEMPERATURE = LEVELS["medium"].temperature
MOST_TOKENS = asking("a fox", "medium", 7).most_tokens
Answer = Callable[[BaseHTTPRequestHandler], None]


def completion(content: Any, **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content, **message}}]}


def sends(body: Any, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


class Server:
    """Answers every request as `answer` does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = sends(completion("A red fox in deep snow."))
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append((self.path, dict(self.headers), json.loads(content)))
                try:
                    outer.answer(self)
                except OSError:
                    outer.ended.set()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running.answer = sends(completion("A red fox in deep snow."))
    running.asked.clear()
    running.ended.clear()
    return running


def endpoint(server: Server, key: str = KEY, timeout_seconds: float = 60.0, url: str | None = None) -> Endpoint:
    return Endpoint(url or server.url, "small-model", SecretStr(key), timeout_seconds, 500)


def write(writer: Endpoint, check: Callable[[], None] = lambda: None) -> str:
    return writer.write(PROMPT, "medium", 7, check)


@pytest.mark.parametrize("level", [level for level in LEVELS if level != "raw"])
@pytest.mark.parametrize("again", [False, True])
def test_it_asks_for_what_the_level_says(server: Server, level: str, again: bool) -> None:
    assert endpoint(server).write(PROMPT, level, SEED_LIMIT - 1, lambda: None, again) == "A red fox in deep snow."
    ((path, headers, body),) = server.asked
    wanted = asking(PROMPT, level, SEED_LIMIT - 1, again)
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert [message["content"] for message in body["messages"]] == [wanted.instruction, PROMPT]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert (body["model"], body["temperature"], body["top_p"]) == ("small-model", wanted.temperature, wanted.top_p)
    assert 0 <= body["seed"] < 2**31 and body["max_tokens"] == wanted.most_tokens + 500


def test_seeds_reach_the_server(server: Server) -> None:
    for seed in (1, 2):
        endpoint(server).write(PROMPT, "low", seed, lambda: None)
    assert [body["seed"] for _, _, body in server.asked] == [1, 2]


def test_without_a_key_there_is_no_header(server: Server) -> None:
    write(endpoint(server, key=" "))
    assert "Authorization" not in server.asked[0][1]


@pytest.mark.parametrize("ending", ["", "/", "/chat/completions", "/chat/completions/"])
def test_an_address_is_taken_as_people_write_it(server: Server, ending: str) -> None:
    write(endpoint(server, url=f" {server.url}{ending} "))
    assert server.asked[0][0] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("A fox.", "A fox."),
        ([{"type": "text", "text": "A "}, {"type": "text", "text": "fox."}], "A fox."),
        (["A ", "fox."], "A fox."),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "A wolf?"}]}, {"text": "A fox."}], "A fox."),
        ([{"type": "thinking", "text": "A wolf?"}, {"type": "text", "text": "A fox."}], "A fox."),
        ([{"type": "reasoning", "text": "A wolf?"}, {"type": "output_text", "text": "A fox."}], "A fox."),
        ([{"type": "redacted_thinking", "text": "A wolf?"}, "A fox."], "A fox."),
        ([{"type": "image_url", "image_url": "x"}, {"type": "text", "text": "A fox."}], "A fox."),
        ("word " * 3000, "word " * 3000),
    ],
    ids=[
        "text",
        "parts",
        "texts",
        "thoughts in parts",
        "thoughts with text",
        "reasoning",
        "hidden thoughts",
        "picture and text",
        "3,000 words",
    ],
)
def test_the_text_of_an_answer_is_found(server: Server, content: Any, text: str) -> None:
    server.answer = sends(completion(content))
    assert write(endpoint(server)) == text


HTML = b"<!DOCTYPE html><html><body>Log in</body></html>"
BAD_ANSWERS: dict[str, tuple[Answer, type[StudioError], str]] = {
    "web page": (sends(HTML), InvalidRequest, "answers with a web page, not with JSON"),
    "no JSON": (sends(b"ok"), InvalidRequest, "answers with 'ok', not with JSON"),
    "a key where it is cut": (sends(f"{'x' * 60}{KEY}".encode()), InvalidRequest, "answers with 'xxx"),
    "nothing": (sends(b""), InvalidRequest, "not with JSON"),
    "deep JSON": (sends(b"[" * 100_000), InvalidRequest, "not with JSON"),
    "no choices": (sends({"object": "list", "data": []}), InvalidRequest, "without choices"),
    "empty choices": (sends({"choices": []}), InvalidRequest, "without choices"),
    "odd choices": (sends({"choices": [{"message": "A fox."}]}), InvalidRequest, "without choices"),
    "error inside": (
        sends({"error": {"message": "no such model"}}),
        InvalidRequest,
        "without choices: 'no such model'",
    ),
    "list": (sends([1, 2]), InvalidRequest, "without choices"),
    "empty text": (sends(completion("  \n")), InvalidRequest, "empty text"),
    "no text": (sends(completion(None, reasoning_content="I think")), InvalidRequest, "empty text"),
    "a number": (sends(completion(7)), InvalidRequest, "empty text"),
    "a refusal": (sends(completion(None, refusal="No.")), InvalidRequest, "refuses to expand"),
    "400": (sends({"error": {"message": "bad temperature"}}, 400), InvalidRequest, "(400: 'bad temperature')"),
    "400 page": (sends(HTML, 400), InvalidRequest, "refuses the request (400)"),
    "401": (
        sends({"error": {"message": f"wrong key {KEY}"}}, 401),
        InvalidRequest,
        "refuses the key (401: 'wrong key …')",
    ),
    "403": (sends(HTML, 403), InvalidRequest, "refuses the key (403)"),
    "404": (sends(b"", 404), InvalidRequest, "no model 'small-model' (404)"),
    "422 with key": (sends({"error": f"who sent {KEY}?"}, 422), InvalidRequest, "(422: 'who sent …?')"),
    "402": (sends(b"", 402), InvalidRequest, "wants to be paid first (402) — top up the account"),
    "429": (sends(b"", 429), Unavailable, "too often, or its quota is used up (429)"),
    "500": (sends({"error": {"message": "out of memory"}}, 500), Unavailable, "failed (500: 'out of memory')"),
    "502": (sends(HTML, 502), Unavailable, "failed (502)"),
    "redirect": (sends(b"", 307, Location="http://127.0.0.1:9/v1"), InvalidRequest, "another address (307)"),
    "not HTTP": (lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n"), Unavailable, "cannot be reached"),
    "half": (
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        Unavailable,
        "cannot be reached",
    ),
    "packed": (sends(b"\x1f\x8b\x08" + b"\x00" * 40, Content_Encoding="gzip"), InvalidRequest, "not with JSON"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_told_in_one_line(server: Server, name: str, caplog: pytest.LogCaptureFixture) -> None:
    server.answer, kind, told = BAD_ANSWERS[name]
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as refused:
        write(endpoint(server))
    message = refused.value.message
    assert told in message and " — " in message and message.isprintable() and len(message) < 300
    assert KEY[:10] not in message and KEY not in caplog.text
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    if name in ("400", "400 page", "422 with key"):
        assert "temperature" not in server.asked[-1][2] and len(server.asked) <= 3, "only the rest is asked again"
    else:
        assert len(server.asked) == 1, "a redirect is not followed, a failure not repeated"


def refuses(refusal: Callable[[dict[str, Any]], Any], status: int = 400) -> Callable[[Server], Answer]:
    """An answer that refuses every request of which `refusal` says something."""

    def answering(server: Server) -> Answer:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            said = refusal(server.asked[-1][2])
            (sends(said, status) if said else sends(completion("A red fox in deep snow.")))(handler)

        return answer

    return answering


def names(field: str, message: str, **more: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda asked: {"error": {"message": message, **more}} if field in asked else None


def extra(*fields: str) -> Callable[[dict[str, Any]], Any]:
    """What a server says that forbids fields which it does not know."""

    def refusal(asked: dict[str, Any]) -> Any:
        faults = [
            {"loc": ["body", field], "msg": "Extra inputs are not permitted"} for field in fields if field in asked
        ]
        return {"detail": faults} if faults else None

    return refusal


def only_efforts(*known: str) -> Callable[[dict[str, Any]], Any]:
    def refusal(asked: dict[str, Any]) -> Any:
        wrong = asked.get("reasoning_effort") not in (None, *known)
        return {"error": {"message": f"Input should be one of {known}", "param": "reasoning_effort"}} if wrong else None

    return refusal


def both(asked: dict[str, Any]) -> Any:
    both = {"temperature", "top_p"} <= asked.keys()
    return {"error": {"message": "temperature and top_p cannot both be given for this model"}} if both else None


def system(message: str) -> Callable[[dict[str, Any]], Any]:
    return lambda asked: {"error": message} if asked["messages"][0]["role"] == "system" else None


REFUSING: dict[str, tuple[Callable[[Server], Answer], dict[str, Any]]] = {
    "the limit's name": (
        refuses(names("max_tokens", "'max_tokens' is not supported. Use 'max_completion_tokens'.", param="max_tokens")),
        {"max_tokens": None, "max_completion_tokens": MOST_TOKENS + 500, "temperature": TEMPERATURE},
    ),
    "any limit": (
        refuses(
            lambda asked: {"message": "max_tokens is too large"} if any("max_" in field for field in asked) else None
        ),
        {"max_tokens": None, "max_completion_tokens": None, "seed": 7},
    ),
    "a limit that it does not name": (
        refuses(
            lambda asked: {"detail": "The context is 2048 tokens"} if any("max_" in field for field in asked) else None
        ),
        {"max_tokens": None, "max_completion_tokens": None},
    ),
    "temperature": (
        refuses(names("temperature", "Unsupported value: 'temperature' does not support 0.6", param="temperature")),
        {"temperature": None, "seed": 7},
    ),
    "temperature with top_p": (refuses(both), {"top_p": None, "temperature": TEMPERATURE}),
    "top_p, by code": (
        refuses(names("top_p", "Unknown parameter", param="top_p")),
        {"top_p": None, "temperature": TEMPERATURE},
    ),
    "what it does not know": (
        refuses(extra("seed", "think", "enable_thinking", "chat_template_kwargs", "reasoning_effort"), 422),
        {"seed": None, "think": None, "reasoning_effort": None, "temperature": TEMPERATURE},
    ),
    "what it does not know, without a name": (
        refuses(lambda asked: {"error": "bad request"} if "think" in asked else None),
        {"think": None, "seed": None},
    ),
    "no effort": (refuses(only_efforts("low", "high")), {"reasoning_effort": "low", "temperature": TEMPERATURE}),
    "any effort": (refuses(only_efforts()), {"reasoning_effort": None, "temperature": TEMPERATURE}),
    "a system message": (refuses(system("System role not supported"), 500), {"temperature": TEMPERATURE}),
    "two roles in a row": (
        refuses(system("Conversation roles must alternate user/assistant/…")),
        {"temperature": TEMPERATURE},
    ),
}


@pytest.mark.parametrize("name", REFUSING)
def test_what_a_server_refuses_is_left_out_and_kept_in_mind(server: Server, name: str) -> None:
    answering, wanted = REFUSING[name]
    server.answer = answering(server)
    writer = endpoint(server)
    assert write(writer) == "A red fox in deep snow."
    taken = server.asked[-1][2]
    assert {field: taken.get(field) for field in wanted} == wanted
    told = "\n".join(message["content"] for message in taken["messages"])
    assert PROMPT in told and asking(PROMPT, "medium", 7).instruction in told
    server.asked.clear()
    assert write(writer) == "A red fox in deep snow." and [body for _, _, body in server.asked] == [taken]


def test_what_one_run_learned_the_next_one_knows(server: Server) -> None:
    server.answer = REFUSING["what it does not know"][0](server)
    settings = Settings(expander_url=server.url, expander_model="small-model", expander_thinking_tokens=9)
    engine = ScriptedEngine()
    expanders = Expanders(settings, engine, engine)
    for asked in (2, 1):
        server.asked.clear()
        expanders.of("turbo").write(PROMPT, "low", 1, lambda: None)
        assert (
            len(server.asked) == asked and server.asked[0][2]["max_tokens"] == asking(PROMPT, "low", 1).most_tokens + 9
        )


def test_a_server_that_refuses_whatever_it_is_asked_is_left_in_peace(server: Server) -> None:
    server.answer = sends({"error": {"message": "Use only model, messages, seed, top_p, temperature, think"}}, 400)
    writer = endpoint(server)
    for _ in range(2):
        server.asked.clear()
        with pytest.raises(InvalidRequest, match="refuses the request"):
            write(writer)
        assert len(server.asked) < 10 and "temperature" in server.asked[0][2], "nothing is learned of it"


def test_a_model_is_kept_from_thinking_where_the_server_knows_how(server: Server) -> None:
    write(endpoint(server))
    ((_, _, body),) = server.asked
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert body["think"] is False and body["reasoning_effort"] == "none"


LONG = "The prompt has 9,000 tokens, and the context of this model has 8,192. " * 4
REASONS: dict[str, Any] = {
    "error.message": {"error": {"message": LONG}},
    "error": {"error": LONG},
    "message": {"object": "error", "message": LONG},
    "message.detail": {"message": {"detail": [{"loc": ["body"], "msg": LONG}]}},
    "detail": {"detail": LONG},
    "parts of detail": {"detail": [{"loc": ["body", "messages"], "msg": LONG}]},
    "errors": {"errors": [{"message": LONG}]},
    "a provider behind it": {"error": {"message": "Provider returned error", "metadata": {"raw": LONG}}},
}


@pytest.mark.parametrize("status", [400, 404, 503])
@pytest.mark.parametrize("place", REASONS)
def test_the_server_s_own_reason_is_told_whole_wherever_it_stands(server: Server, place: str, status: int) -> None:
    server.answer = sends(REASONS[place], status)
    with pytest.raises(StudioError) as refusal:
        write(endpoint(server))
    assert LONG.strip() in refusal.value.message


def test_of_an_endless_reason_only_the_beginning_is_looked_through() -> None:
    for body in (b"role " * 300_000, json.dumps({"error": "role " * 300_000}).encode()):
        assert reason_of(body).startswith("role role ") and len(reason_of(body)) < 50_000


def test_plain_text_is_a_reason_too_and_never_shows_the_key(server: Server) -> None:
    server.answer = sends(f"model requires more memory, said {KEY}".encode(), 500)
    with pytest.raises(Unavailable, match="model requires more memory, said …"):
        write(endpoint(server))


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, address in (("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "socks5://127.0.0.1:9")):
        monkeypatch.setenv(variable, address)
        for url in (server.url, server.url.replace("127.0.0.1", "0.0.0.0")):
            assert write(endpoint(server, url=url)) == "A red fox in deep snow."
    with pytest.raises(Unavailable, match=r"cannot be reached .*KREA_STUDIO_EXPANDER_URL"):
        write(endpoint(server, url="http://chat.invalid/v1"))


def test_a_huge_answer_is_not_read_to_its_end(server: Server) -> None:
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        for _ in range(50):
            handler.wfile.write(b" " * 2**20)
            sent += 1

    server.answer = answer
    with pytest.raises(InvalidRequest, match=f"more than {MOST_BYTES >> 20} MB"):
        write(endpoint(server))
    assert server.ended.wait(60) and sent < 40


def trickles(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(6000):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def sleeps(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(120.0)


@pytest.mark.parametrize("slow", [trickles, sleeps])
def test_a_slow_answer_is_given_up(server: Server, slow: Answer) -> None:
    server.answer = slow
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"not answered within 0\.3 seconds — .*KREA_STUDIO_EXPANDER_TIMEOUT_SECONDS"):
        write(endpoint(server, timeout_seconds=0.3))
    assert time.monotonic() - begun < 60


def test_stop_ends_the_wait(server: Server) -> None:
    server.answer = trickles

    def check() -> None:
        if server.asked:
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        write(endpoint(server), check)
    assert server.ended.wait(60), "the connection is closed"


def test_a_name_that_is_looked_up_for_long_holds_nobody_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    looking, found = threading.Event(), threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        looking.set()
        found.wait(120)
        raise OSError("no such name")

    def check() -> None:
        if looking.is_set():
            raise Stopped("stopped")

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    begun, writer = time.monotonic(), endpoint(server, timeout_seconds=0.3, url="http://chat.invalid/v1")
    with pytest.raises(Unavailable, match="not answered within"):
        write(writer)
    with pytest.raises(Stopped):
        write(writer, check)
    found.set()
    assert time.monotonic() - begun < 60


def test_nobody_there_is_told(server: Server) -> None:
    free = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = free.server_port
    free.server_close()
    with pytest.raises(
        Unavailable, match=rf"^The endpoint 127\.0\.0\.1:{port} cannot be reached .* KREA_STUDIO_EXPANDER_URL"
    ):
        write(endpoint(server, url=f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "file:///etc/passwd",
        "host:8000/v1",
        "/v1",
        "http://",
        "https:///v1",
        "http://[::1",
        "http://h:x/",
        "",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="address .* — give one"):
        Endpoint(url, "m", SecretStr(""), 1, 0)


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequest, match="KREA_STUDIO_EXPANDER_KEY") as refused:
        Endpoint(f"http://me:{KEY}@host/v1", "m", SecretStr(""), 1, 0)
    assert KEY not in refused.value.message


def test_a_model_must_be_named_and_a_key_be_one() -> None:
    with pytest.raises(InvalidRequest, match="KREA_STUDIO_EXPANDER_MODEL"):
        Endpoint("http://host/v1", " ", SecretStr(""), 1, 0)
    for key in (f"{KEY}\nX-More: 1", "klé", "a b"):
        with pytest.raises(InvalidRequest, match="KREA_STUDIO_EXPANDER_KEY") as refused:
            Endpoint("http://host/v1", "m", SecretStr(key), 1, 0)
        assert key not in refused.value.message and KEY not in refused.value.message


def test_the_key_is_in_no_representation(server: Server) -> None:
    writer = endpoint(server)
    assert KEY not in repr(writer) + str(vars(writer)) + writer.host + writer.model


@pytest.mark.parametrize("name", ["web page", "429", "empty text", "no choices"])
def test_what_fails_becomes_a_notice(server: Server, name: str) -> None:
    server.answer = BAD_ANSWERS[name][0]
    found = expand(PROMPT, "medium", 1, endpoint(server), lambda text: len(text.split()), 400, lambda: None)
    assert found.text is PROMPT and found.writer is None
    assert found.notice.startswith("The prompt is drawn as it is written. The ")


def test_a_whole_expansion_over_http(server: Server) -> None:
    server.answer = sends(
        completion("<think>Snow.</think>\n\nSure! Here is the prompt:\n**A red fox** trots through snow.")
    )
    found = expand(PROMPT, "medium", 1, endpoint(server), lambda text: len(text.split()), 400, lambda: None)
    assert (found.text, found.writer, found.model) == ("A red fox trots through snow.", "endpoint", "small-model")
    assert found.notice == ""


def test_an_answer_that_was_cut_off_is_told(server: Server) -> None:
    def cut_off(content: Any) -> Answer:
        return sends({"choices": [{"message": {"content": content}, "finish_reason": "length"}]})

    server.answer = cut_off(f"{PROMPT.capitalize()} at dusk. Behind it the fore")
    with pytest.raises(Unfinished, match="fore$"):
        write(endpoint(server))
    found = expand(PROMPT, "medium", 7, endpoint(server), lambda text: len(text.split()), 480, lambda: None)
    assert found.text == "A red fox in the snow at dusk." and "the answer was cut off" in found.notice
    server.answer = cut_off("")
    with pytest.raises(InvalidRequest, match="was cut off before it had written anything — "):
        write(endpoint(server))


def test_it_works_where_a_loop_is_running(server: Server) -> None:
    async def notebook() -> str:
        return write(endpoint(server))

    # In a thread: the browser's tests leave a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, notebook()).result() == "A red fox in deep snow."
