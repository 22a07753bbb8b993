"""What is guessed of an answer's next tokens."""

from layerlimits.engines._lookup import Lookup


def test_what_followed_the_same_three_tokens_comes_next() -> None:
    text = Lookup([1, 2, 3, 4, 5, 6, 7])
    assert text.ahead([9, 2, 3, 4], 2) == [5, 6]
    assert text.ahead([2, 3, 4], 8) == [5, 6, 7]
    assert text.ahead([3, 2, 4], 8) == []
    assert text.ahead([2, 3], 8) == []
    assert text.ahead([2, 3, 4], 0) == []


def test_the_last_place_counts() -> None:
    text = Lookup([1, 2, 3, 4, 1, 2, 3, 5, 0])
    assert text.ahead([1, 2, 3], 1) == [5]


def test_a_text_that_repeats_itself_is_guessed_to_go_on() -> None:
    text = Lookup()
    text.extend([8, 1, 2, 3])
    text.extend([1, 2, 3])
    assert text.ahead([8, 1, 2, 3, 1, 2, 3], 8) == [1, 2, 3, 1, 2, 3, 1, 2]
    # Another text that comes to the same place knows no more than what is written.
    text.extend([7])
    assert text.ahead([2, 3, 7], 8) == []
    assert text.ahead([1, 2, 3], 8) == [7]
