"""The model as an MCP tool, asked by the official SDK's client."""

import sys

import httpx
import pytest

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving import serve
from minigpt4_model.serving.api import ApiOptions
from minigpt4_model.serving.mcp_door import MISSING
from tests.api_server import serving
from tests.coroutines import run as run_coroutine
from tests.test_serving_api import data_url

pytest.importorskip("mcp")


def call(server, key: str = "", **arguments):
    """(names of the tools, the result of the call)"""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def run():
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with (
            httpx.AsyncClient(headers=headers, timeout=60) as http,
            streamable_http_client(server.url + "/mcp", http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = await session.list_tools()
            return [tool.name for tool in tools.tools], await session.call_tool("ask_about_picture", arguments)

    return run_coroutine(run())


def test_a_model_asks_about_a_picture():
    with serving(EchoBackend(), ApiOptions(mcp=True, keys=("sk-a",))) as server:
        names, result = call(server, "sk-a", question="What is it?", picture=data_url(30, 40))
        assert names == ["ask_about_picture"] and not result.isError
        assert result.content[0].text == "I received 1 picture (30x40) and 0 earlier questions. You said: What is it?"
        _, refused = call(server, "sk-a", question="What is it?", picture="http://127.0.0.1/x.png")
        assert refused.isError and "data URL" in refused.content[0].text
        with pytest.raises(BaseExceptionGroup):  # 401: the key is the API's
            call(server, "sk-wrong", question="What is it?", picture=data_url())


def test_without_the_extra_the_flag_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mcp.server.fastmcp", None)
    assert serve.main(["--backend", "echo", "--port", "0", "--mcp"]) == 1
    assert capsys.readouterr().err.strip() == MISSING
