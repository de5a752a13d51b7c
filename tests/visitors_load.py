"""Many visitors at a time, each with a conversation of their own, against a running API; every answer is checked.

    python -m minigpt4_model serve --max-waiting 64 --questions-per-minute 0
    python -m tests.visitors_load --base-url http://127.0.0.1:8000/v1 --visitors 50 --minutes 10

Lost answers, answers of another's conversation and refusals without `Retry-After` are faults; the exit code is 1 if there are any. With
the echo backend the answer's words are checked, with a model the length of the prompt, which each visitor's own number of words tells
apart. Memory is the server's own, from /metrics.
"""

import argparse
import base64
import io
import json
import re
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field

import httpx
import PIL.Image

TURNS = 4  # of a conversation, before the visitor begins another
SILENCE_S = 600.0


@dataclass
class Report:
    """What happened. `answers` counts each visitor's; seconds until the first token are `waited`."""

    answers: dict[int, int] = field(default_factory=dict)
    waited: list[float] = field(default_factory=list)
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    def lines(self, seconds: float) -> list[str]:
        counts = sorted(self.answers.values()) or [0]
        waited = sorted(self.waited) or [0.0]
        told = [
            f"{sum(counts)} answers to {len(counts)} visitors in {seconds:.0f} s, {self.refused} times 429, {len(self.faults)} faults",
            f"answers of one visitor: {counts[0]} to {counts[-1]}",
            f"seconds to the first token: median {statistics.median(waited):.2f}, 95 % below {waited[int(0.95 * (len(waited) - 1))]:.2f}, "
            f"longest {waited[-1]:.2f}",
        ]
        if self.memory_mb:
            first, last, most = self.memory_mb[0], self.memory_mb[-1], max(self.memory_mb)
            told.append(f"memory of the server: {first:.0f} MB at first, {last:.0f} MB at last, {most:.0f} at most")
        return [*told, *(f"fault: {fault}" for fault in self.faults[:10])]


class Visitor:
    """Talks about a picture of their own colour; the questions bear their number."""

    def __init__(self, number: int, client: httpx.Client, model: str, report: Report, tokens: int, longest_pause: float = 2.0):
        self.number, self._client, self._model, self._report = number, client, model, report
        self._tokens, self._longest_pause = tokens, longest_pause
        data = io.BytesIO()
        PIL.Image.new("RGB", (64, 64), (number * 37 % 256, number * 91 % 256, number * 151 % 256)).save(data, "PNG")
        self._picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()}}
        self._first_prompt: int | None = None

    def talk(self, until: float) -> None:
        while time.monotonic() < until:
            messages: list[dict] = []
            for turn in range(TURNS):
                if time.monotonic() >= until:
                    return
                said = f"Visitor {self.number} asks in turn {turn}: what is it?" + " really" * self.number
                parts = [{"type": "text", "text": said}]
                messages.append({"role": "user", "content": [self._picture, *parts] if turn == 0 else parts})
                answer = self._ask(messages, said, turn, until)
                if answer is None:
                    return
                messages.append({"role": "assistant", "content": answer})

    def _ask(self, messages: list[dict], said: str, turn: int, until: float) -> str | None:
        """The answer, after as many refusals as there are until the end; None without one."""
        fields = {"model": self._model, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        while True:
            start = time.monotonic()
            try:
                with self._client.stream("POST", "chat/completions", json={**fields, "max_tokens": self._tokens}) as response:
                    if response.status_code == 429:
                        self._report.refused += 1
                        if not response.headers.get("retry-after", "").isdigit():
                            self._fault("a refusal without Retry-After")
                        pause = min(float(response.headers.get("retry-after", 1)), self._longest_pause)
                    elif response.status_code != 200:
                        self._fault(f"status {response.status_code}: {response.read()[:200]!r}")
                        return None
                    else:
                        return self._read(response, said, turn, start)
            except httpx.HTTPError as lost:
                self._fault(f"an answer was lost: {lost!r}")
                return None
            if time.monotonic() + pause >= until:
                return None
            time.sleep(pause)

    def _read(self, response: httpx.Response, said: str, turn: int, start: float) -> str:
        text, ids, usage, ended = "", set(), {}, False
        for line in response.iter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data:"):
                chunk = json.loads(line[5:])
                ids.add(chunk.get("id"))
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices", ()):
                    piece = choice["delta"].get("content") or ""
                    if piece and not text:
                        self._report.waited.append(time.monotonic() - start)
                    text += piece
        if not ended or len(ids) != 1:
            self._fault(f"a broken stream: ended {ended}, ids {ids}")
        self._check(text, said, turn, usage)
        self._report.answers[self.number] = self._report.answers.get(self.number, 0) + 1
        return text

    def _check(self, text: str, said: str, turn: int, usage: dict) -> None:
        if self._model == "echo":
            expected = f"You said: {said}"
            if expected not in text and not expected.startswith(text[text.find("You said:") :]):
                self._fault(f"another's answer: {text[-80:]!r} to {said!r}")
        elif turn == 0:
            self._first_prompt = self._first_prompt or usage.get("prompt_tokens")
            if usage.get("prompt_tokens") != self._first_prompt:
                self._fault(f"the prompt had {usage.get('prompt_tokens')} tokens, and {self._first_prompt} before")

    def _fault(self, told: str) -> None:
        self._report.faults.append(f"visitor {self.number}: {told}")


def run(base_url: str, visitors: int, seconds: float, tokens: int = 24, key: str = "none", longest_pause: float = 2.0) -> Report:
    """All visitors at once, for so many seconds; answers that are under way then are waited for. After a refusal a visitor waits as long as
    the server says, but `longest_pause` at most."""
    report = Report()
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=visitors + 4)
    with httpx.Client(base_url=base_url.rstrip("/") + "/", headers=headers, timeout=SILENCE_S, limits=limits) as client:
        model = client.get("models").json()["data"][0]["id"]
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=Visitor(number, client, model, report, tokens, longest_pause).talk, args=(until,), daemon=True)
            for number in range(1, visitors + 1)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            report.memory_mb += read_memory(client)
            for thread in threads:
                thread.join(5.0 / visitors)
    prompts = len(set(report.answers))
    if prompts < visitors and seconds > 60:
        report.faults.append(f"{visitors - prompts} visitors got no answer at all")
    return report


def read_memory(client: httpx.Client) -> list[float]:
    """Resident MB of the server, where it tells them."""
    try:
        told = client.get(str(client.base_url).removesuffix("v1/") + "metrics").text
    except httpx.HTTPError:
        return []
    return [float(value) / 1e6 for value in re.findall(r"^process_resident_memory_bytes (\S+)", told, re.MULTILINE)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.visitors_load", description="Load an API with visitors, and check every answer.")
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1", help="the API (default: %(default)s)")
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--tokens", type=int, default=24, help="longest answer")
    parser.add_argument("--api-key", default="none")
    args = parser.parse_args(argv)
    start = time.monotonic()
    report = run(args.base_url, args.visitors, args.minutes * 60, args.tokens, args.api_key)
    print("\n".join(report.lines(time.monotonic() - start)))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
