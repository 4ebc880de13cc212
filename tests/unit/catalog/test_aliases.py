from tutti.catalog.aliases import any_alias, catch_all_alias, exact_alias, pattern_alias

ALIASES = {
    "gpt-4o": "big",
    "meta-llama/*": "llama",
    "meta-llama/Llama-3.3-*": "llama33",
    "*": "any",
    "model[12]": "few",
}


def test_an_exact_name_is_taken_as_it_is() -> None:
    assert exact_alias(ALIASES, "gpt-4o") == "big"
    assert exact_alias(ALIASES, "gpt-4O") is None


def test_the_longest_pattern_wins() -> None:
    assert pattern_alias(ALIASES, "meta-llama/Llama-3.1-8B") == "llama"
    assert pattern_alias(ALIASES, "meta-llama/Llama-3.3-70B") == "llama33"
    assert pattern_alias(ALIASES, "model2") == "few"


def test_a_bare_star_is_no_pattern_but_the_last_resort() -> None:
    assert pattern_alias(ALIASES, "anything") is None
    assert catch_all_alias(ALIASES, "anything") == "any"


def test_a_name_that_no_model_has_stands_for_the_first_that_fits() -> None:
    assert [any_alias(ALIASES, it) for it in ("gpt-4o", "model2", "anything")] == ["big", "few", "any"]
    assert any_alias({}, "anything") is None


def test_letter_case_counts() -> None:
    assert pattern_alias(ALIASES, "Meta-Llama/x") is None
