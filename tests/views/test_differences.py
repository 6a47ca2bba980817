from eva.views.differences import headlines, sorted_out


def difference(value, label=""):
    return {"value": value, "label": label}


FOUND = [
    difference("tokens"),
    difference("reward_title"),
    difference("reward"),
    difference("reward", "unseen"),
    difference("reward_title", "unseen"),
    difference("tokens", "unseen"),
    difference("echo"),
]


def test_every_difference_is_in_one_place():
    main, kinds, rest = sorted_out(FOUND)
    assert main == [FOUND[2], FOUND[3], FOUND[0]]
    assert kinds == [FOUND[1]]
    assert rest == FOUND[4:]


def test_an_evaluation_of_your_own_shows_everything_first():
    own = [difference("mine"), difference("mine", "hard")]
    main, _, rest = sorted_out(own)
    assert (main, rest) == (own[:1], own[1:])


def test_headlines_are_in_the_order_of_their_weight():
    assert headlines(FOUND) == [FOUND[2], FOUND[3], FOUND[0]]
