from cxrsearch.words import counted, group_by_reason, images_of


def test_one_and_many() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 112_120)] == ["0 images", "1 image", "2 images", "112,120 images"]
    assert [counted(n, "body", "bodies") for n in (1, 2)] == ["1 body", "2 bodies"]
    assert images_of(1, 1) == "1 image of 1 patient"
    assert images_of(3_000, 2, "known image") == "3,000 known images of 2 patients"


def test_images_by_reason() -> None:
    """The name, the fix, and what differs behind a colon are left out; what is the same for all stays."""
    refused = [
        ("a.png", "cannot read /x/a.png: Permission denied — check the path"),
        ("s/b.png", "b.png is neither: it begins with b'b' — mend it"),
        ("c.png", "c.png is neither: it begins with b'c' — mend it"),
        ("d.png", "the table has no row for it"),
        ("e.png", "cannot read /y/e.png: Permission denied — check the path"),
        ("f.png", "f.png is neither: it begins with b'c' — mend it"),
    ]
    assert group_by_reason(refused) == [
        ("is neither", ["s/b.png", "c.png", "f.png"]),
        ("cannot read: Permission denied", ["a.png", "e.png"]),
        ("the table has no row for it", ["d.png"]),
    ]
    assert group_by_reason([]) == []


def test_a_short_bare_name_is_left_out_as_a_whole_word_only() -> None:
    refused = [
        ("e", "the table has no row for it"),
        ("im", "the image im is no good"),
        ("a", "cannot read /data/a: Permission denied"),
        ("c", "no such image: c"),
        ("1.2", "1.2.840 is empty"),
    ]
    reasons = {images[0]: reason for reason, images in group_by_reason(refused)}
    assert reasons == {
        "e": "the table has no row for it",
        "im": "the image is no good",
        "a": "cannot read: Permission denied",
        "c": "no such image:",
        "1.2": "1.2.840 is empty",
    }
