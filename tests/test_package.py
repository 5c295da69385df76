"""What `import cxrsearch` offers."""

import cxrsearch


def test_every_name_is_there_and_comes_from_where_it_is_said_to() -> None:
    assert sorted(cxrsearch.__all__) == cxrsearch.__all__ == sorted(cxrsearch._HOME)
    for name, home in cxrsearch._HOME.items():
        assert getattr(cxrsearch, name).__module__.startswith(
            home.rpartition(".")[0] if name == "make_phantom" else home
        )


def test_a_function_is_not_hidden_by_a_module_of_its_name() -> None:
    """`import cxrsearch.train` would otherwise replace the function."""
    for name in cxrsearch.__all__:
        assert callable(getattr(cxrsearch, name)), name
