"""The API against its own OpenAPI description: schemathesis makes requests up, right and wrong ones, and checks every answer."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from minigpt4_model.chat.backends.echo import EchoBackend
from minigpt4_model.serving.api import ApiOptions
from tests.api_server import serving

KEY = "sk-fuzz"
OPERATIONS = [("/models", "GET"), ("/models/{model_id}", "GET"), ("/chat/completions", "POST")]

# A right request by the description can still be refused: a model that is not there, a conversation that ends with an answer.
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.ignored_auth,
]


@pytest.fixture(scope="module")
def description():
    with serving(EchoBackend(), ApiOptions(keys=(KEY,))) as server:
        yield schemathesis.openapi.from_url(server.url + "/openapi.json")


def test_all_of_it_is_tried(description):
    assert {(path, method.upper()) for path in description for method in description[path]} == set(OPERATIONS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_described(description, path, method, mode):
    operation = description[path][method]
    if mode is GenerationMode.NEGATIVE and path == "/models":
        pytest.skip("It takes nothing that could be wrong.")
    answered = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    def ask(case):
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body["model"] = "echo"  # else all would end at a model that is not there
        response = case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        answered.append(response.status_code)

    ask()
    assert answered
