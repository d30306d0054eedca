"""Operations are read from the methods that declare them."""

import pytest

from mainspring.core.operations import operation, operations


class Kettle:
    @operation("POST /kettles/{name}/boil")
    def boil(self, name: str, degrees: int = 100) -> list[str]:
        """Boil the water.

        More of it.
        """
        return [name] * degrees


def test_path_and_body_arguments_types_defaults_and_documentation_are_read() -> None:
    (op,) = operations(Kettle)
    assert (op.method, op.path, op.name, op.returns) == ("POST", "/kettles/{name}/boil", "boil", list[str])
    assert [(a.name, a.type, a.in_path, a.required) for a in op.arguments] == [
        ("name", str, True, True),
        ("degrees", int, False, False),
    ]
    assert op.summary == "Boil the water."


def test_a_route_that_is_none_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="is not a route"):
        operation("BOIL kettles")


def test_a_path_argument_that_the_method_does_not_take_is_an_error() -> None:
    class Wrong:
        @operation("GET /x/{nam}")
        def get(self, name: str) -> str:
            return name

    with pytest.raises(TypeError, match="the path names"):
        list(operations(Wrong))
