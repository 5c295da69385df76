from cxrsearch.words import counted


def test_one_and_many() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 112_120)] == ["0 images", "1 image", "2 images", "112,120 images"]
    assert [counted(n, "body", "bodies") for n in (1, 2)] == ["1 body", "2 bodies"]
