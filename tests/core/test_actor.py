"""Who acts is known in each context, and nowhere else."""

from mainspring.core.actor import acting_as, current_actor


def test_the_actor_holds_inside_the_block_only() -> None:
    outside = current_actor()
    with acting_as("ada", "http 127.0.0.1"):
        assert (current_actor().name, current_actor().origin) == ("ada", "http 127.0.0.1")
    assert current_actor() == outside
    assert outside.origin == "local"
