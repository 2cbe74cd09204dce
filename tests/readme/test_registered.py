"""The README's figures of the registered studies are those of their kept results."""

from tests.readme.registered import README, STUDIES, changes, table


def test_the_readmes_table_is_what_the_results_say() -> None:
    assert table() in README.read_text(), "python -m tests.readme.registered writes it"
    assert list(changes()) == list(STUDIES.values())
