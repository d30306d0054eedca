from mainspring.training.card import model_card
from tests.training.conftest import table


def test_the_card_says_what_is_known_of_the_model(platform):
    result = platform.train(table().with_columns(same=1))
    card = model_card(result)
    assert card.startswith("# y: binary\n")
    assert f"accuracy {result.validation.value:.4g} [{result.validation.low:.4g}" in card
    assert "`dataset:people@1`" in card
    assert "- `same` was left out: the same value in every row" in card
    assert "proved equal on 502 rows" in card
