"""What a pydantic model refuses is one line that names file, place, what was expected and what came."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dare.schema import said


class Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    count: int = Field(ge=1)
    kind: Literal["near", "far"] = "near"

    @model_validator(mode="after")
    def few(self) -> "Inner":
        if self.kind == "far" and self.count > 3:
            raise ValueError("far away there are 3 at most")
        return self


class Outer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    inner: dict[str, Inner]


class Both(Outer):
    other: int


def test_a_file_that_lacks_several_things_is_of_another_kind() -> None:
    with pytest.raises(ValidationError) as raised:
        Both.model_validate({"something": 1})
    assert said(raised.value, "f.json") == "f.json lacks inner, other, so it is another kind of file"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({}, "f.json: expected inner, which is missing; add it"),
        ({"inner": {"a": {}}}, "f.json: inner.a: expected count, which is missing; add it"),
        ({"inner": {"a": {"count": 0}}}, "f.json: inner.a.count: expected at least 1, got 0"),
        ({"inner": {"a": {"count": "2"}}}, "f.json: inner.a.count: expected a valid integer, got '2'"),
        ({"inner": {"a": {"count": 2, "kind": "x"}}}, "f.json: inner.a.kind: expected 'near' or 'far', got 'x'"),
        ({"inner": {"a": {"count": 2, "x": 1}}}, "f.json: inner.a.x is unknown; leave it out, or correct its name"),
        ({"inner": {"a": {"count": 4, "kind": "far"}}}, "f.json: inner.a: far away there are 3 at most"),
        ({"inner": {"a": {"count": -(10**5000)}}}, "got a number with too many digits"),
        ([], "f.json: expected a valid dictionary or instance of Outer, got []"),
    ],
)
def test_what_is_refused_is_one_line(content: Any, line: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(content)
    assert said(raised.value, "f.json").endswith(line)
    assert "\n" not in said(raised.value, "f.json")


def test_broken_json_is_one_line_too() -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate_json('{"inner": ')
    assert said(raised.value, "f.json").startswith("f.json isn't valid JSON: EOF while parsing")
