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
from krea_studio.expansion.chat_server import ANSWER_TOKENS, MOST_BYTES, Endpoint
from krea_studio.expansion.creativity import LEVELS, Unfinished, asking, expand
from krea_studio.recipe.request import SEED_LIMIT

KEY = "sk-very-secret-0123456789"
PROMPT = "a red fox in the snow"
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


def endpoint(server: Server, key: str = KEY, timeout_seconds: float = 5.0, url: str | None = None) -> Endpoint:
    return Endpoint(url or server.url, "small-model", SecretStr(key), timeout_seconds)


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
    assert 0 <= body["seed"] < 2**31 and body["max_tokens"] == ANSWER_TOKENS


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
        ([{"type": "image_url", "image_url": "x"}, {"type": "text", "text": "A fox."}], "A fox."),
        ("word " * 3000, "word " * 3000),
    ],
    ids=["text", "parts", "texts", "picture and text", "3,000 words"],
)
def test_the_text_of_an_answer_is_found(server: Server, content: Any, text: str) -> None:
    server.answer = sends(completion(content))
    assert write(endpoint(server)) == text


HTML = b"<!DOCTYPE html><html><body>Log in</body></html>"
BAD_ANSWERS: dict[str, tuple[Answer, type[StudioError], str]] = {
    "web page": (sends(HTML), InvalidRequest, "answers with a web page, not with JSON"),
    "no JSON": (sends(b"ok"), InvalidRequest, "answers with 'ok', not with JSON"),
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
    "401": (sends({"error": {"message": f"wrong key {KEY}"}}, 401), InvalidRequest, "refuses the key (401)"),
    "403": (sends(HTML, 403), InvalidRequest, "refuses the key (403)"),
    "404": (sends(b"", 404), InvalidRequest, "no model 'small-model' (404)"),
    "422 with key": (sends({"error": f"who sent {KEY}?"}, 422), InvalidRequest, "(422: 'who sent …?')"),
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
    assert KEY not in message and KEY not in caplog.text
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert len(server.asked) == 1, "a redirect is not followed, a failure not repeated"


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
    assert server.ended.wait(5) and sent < 40


def trickles(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def sleeps(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(4.0)


@pytest.mark.parametrize("slow", [trickles, sleeps])
def test_a_slow_answer_is_given_up(server: Server, slow: Answer) -> None:
    server.answer = slow
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"not answered within 0\.3 seconds — .*KREA_STUDIO_EXPANDER_TIMEOUT_SECONDS"):
        write(endpoint(server, timeout_seconds=0.3))
    assert time.monotonic() - begun < 2.5


def test_stop_ends_the_wait(server: Server) -> None:
    server.answer = trickles
    begun = time.monotonic()

    def check() -> None:
        if time.monotonic() - begun > 0.25:
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        write(endpoint(server), check)
    assert time.monotonic() - begun < 2.5
    assert server.ended.wait(3), "the connection is closed"


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
        Endpoint(url, "m", SecretStr(""), 1)


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidRequest, match="KREA_STUDIO_EXPANDER_KEY") as refused:
        Endpoint(f"http://me:{KEY}@host/v1", "m", SecretStr(""), 1)
    assert KEY not in refused.value.message


def test_a_model_must_be_named_and_a_key_be_one() -> None:
    with pytest.raises(InvalidRequest, match="KREA_STUDIO_EXPANDER_MODEL"):
        Endpoint("http://host/v1", " ", SecretStr(""), 1)
    for key in (f"{KEY}\nX-More: 1", "klé", "a b"):
        with pytest.raises(InvalidRequest, match="KREA_STUDIO_EXPANDER_KEY") as refused:
            Endpoint("http://host/v1", "m", SecretStr(key), 1)
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
