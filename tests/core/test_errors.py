"""The error tree is whole and drawn as it is."""

import re

from mainspring.core import errors


def test_every_error_is_drawn_at_the_top_of_the_file_with_its_status_and_code() -> None:
    drawn = {
        match[1]: (int(match[2]), match[3]) for match in re.finditer(r"(\w+)\s+(\d{3}) (\w+)", errors.__doc__ or "")
    }
    assert drawn == {cls.__name__: (cls.status, cls.code) for cls in errors.BY_CODE.values()}


def test_codes_are_unique() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len({cls.code for cls in classes if issubclass(cls, errors.MainspringError)}) == len(classes)


def test_an_error_without_a_message_says_what_its_kind_means() -> None:
    assert str(errors.NotFound()) == "Nothing with this name exists."
