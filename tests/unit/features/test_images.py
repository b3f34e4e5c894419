"""Each form of image file is read in one defined way or refused, alike in a table, a request, the log and drift."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.preprocessing import StandardScaler

from capstan.data.images import ImageFiles
from capstan.errors import InvalidDataError, InvalidSpecError, UnfitValueError
from capstan.features import images
from capstan.features.images import (
    WIDEST,
    Limits,
    UnreadableImageError,
    facts_of,
    kept_text,
    pixels_of,
    watched_facts,
)
from capstan.features.kinds import ImageSettings, unfitted
from capstan.features.kinds.image import IMAGE_NET
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform
from capstan.features.views import View, views_of
from capstan.spec.features import Feature

RNG = np.random.default_rng(11)
GRAY = RNG.integers(0, 256, (6, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def saved(image: Any, form: str = "PNG", **settings: Any) -> str:
    content = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(content, form, **settings)
    return encoded(content.getvalue())


def feature(**settings: Any) -> Feature:
    return Feature.model_validate({"name": "i", "image": {"width": 4, "height": 6, **settings}})


def fitted(column: Any, **settings: Any) -> FeatureTransform:
    return FeatureTransform((unfitted(feature(**settings)),)).fit({"i": column})


def gray(text: str, limits: Limits = WIDEST) -> Any:
    return pixels_of(text, 4, 6, "Gray", limits)[0]


def colours(text: str) -> Any:
    return pixels_of(text, 4, 6, "RGB", WIDEST).transpose(1, 2, 0)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_pixels_of_a_lossless_file_are_those_that_were_saved(form: str) -> None:
    assert np.array_equal(gray(saved(GRAY, form)), GRAY)
    assert np.array_equal(colours(saved(COLOUR, form)), COLOUR)
    assert np.array_equal(colours(saved(GRAY, form)), np.stack([GRAY] * 3, axis=2))


def test_a_lossy_file_is_what_pillow_reads_of_it() -> None:
    smooth = np.linspace(0, 255, 24).reshape(6, 4).astype(np.uint8)
    assert np.abs(gray(saved(smooth, "JPEG", quality=100)).astype(int) - smooth).max() <= 3
    assert np.abs(gray(saved(smooth, "WEBP", quality=100)).astype(int) - smooth).max() <= 6


def test_an_image_of_another_size_is_resized_bilinearly() -> None:
    large = Image.fromarray(RNG.integers(0, 256, (31, 17), dtype=np.uint8))
    assert np.array_equal(gray(saved(large)), np.asarray(large.resize((4, 6), Image.Resampling.BILINEAR)))
    assert (gray(saved(Image.new("L", (300, 1), 77))) == 77).all()


def test_sixteen_bits_keep_their_high_byte() -> None:
    deep = (GRAY.astype(np.uint16) << 8) | 17
    assert np.array_equal(gray(saved(deep)), GRAY)
    assert np.array_equal(gray(saved(deep, "TIFF")), GRAY)


def test_a_photo_is_turned_as_its_camera_was() -> None:
    lying = Image.fromarray(GRAY).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(gray(saved(lying, exif=exif)), GRAY)
    assert (facts_of(saved(lying, exif=exif)).width, facts_of(saved(lying)).width) == (4, 6)


def test_transparent_pixels_lie_over_white() -> None:
    see_through = np.dstack([COLOUR, np.zeros((6, 4), np.uint8)])
    assert (colours(saved(see_through)) == 255).all()
    see_through[..., 3] = 255
    assert np.array_equal(colours(saved(see_through)), COLOUR)
    palette = Image.fromarray(GRAY).convert("P")
    palette.info["transparency"] = int(np.asarray(palette)[0, 0])
    assert gray(saved(palette, transparency=palette.info["transparency"]))[0, 0] == 255


def test_inks_and_two_levels_become_light() -> None:
    inks = Image.new("CMYK", (4, 6), (0, 255, 255, 0))
    red, green, blue = colours(saved(inks, "JPEG", quality=100))[0, 0]
    assert red > 240
    assert max(green, blue) < 15
    assert set(np.unique(gray(saved(Image.fromarray(GRAY).convert("1"))))) <= {0, 255}


def bomb(width: int = 30_000, height: int = 30_000) -> str:
    """A PNG of few bytes that says it has very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return encoded(b"\x89PNG\r\n\x1a\n" + body)


def moving() -> str:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


UNREADABLE = {
    "no base64": ("%%%%", "is no base64"),
    "half of a group": ("abcde", "is no base64"),
    "a path": ("pictures/a.png", "is no base64"),
    "no image": (encoded(b"hello, this is no image at all"), "is no image of PNG, JPEG"),
    "nothing": (encoded(b"\0"), "is no image of PNG, JPEG"),
    "truncated": (
        encoded(base64.b64decode(saved(Image.fromarray(COLOUR).resize((90, 90)), "JPEG"))[:-400]),
        "cannot be read",
    ),
    "a vector": (encoded(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "is no image of"),
    "a bomb of pixels": (bomb(), "above `maxPixels`|more pixels than"),
    "several pictures": (moving(), "has 2 pictures; send one of them"),
    "floats": (saved(Image.fromarray(GRAY.astype(np.float32)), "TIFF"), "floating-point"),
    "more than 16 bits": (saved(Image.fromarray(GRAY.astype(np.int32) * 1000), "TIFF"), "more than 16 bits"),
}


@pytest.mark.parametrize(("text", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_image_is_refused_in_words_and_counts_as_missing_where_the_file_says_so(
    text: str, problem: str
) -> None:
    good = saved(GRAY)
    with pytest.raises(UnreadableImageError, match=problem):
        gray(text)
    with pytest.raises(UnreadableImageError, match=problem):
        facts_of(text)
    with pytest.raises(
        InvalidDataError, match=f"'i': 1 of 2 values is no image that can be read: .*({problem})"
    ):
        fitted([good, text, None])
    strict = fitted([good])
    with pytest.raises(UnfitValueError, match=problem):
        strict.transform({"i": [text]})
    with pytest.raises(UnfitValueError, match=problem):
        compile_row(strict)({"i": text})
    lenient = fitted([good, text, None], unreadable="Missing")
    found = lenient.transform({"i": [good, text, None]})
    assert found[1].tolist() == found[2].tolist() == [0.0] * 24 + [1.0]
    assert compile_row(lenient)({"i": text}).tolist() == found[1].tolist()
    assert lenient.count_unseen({"i": [good, text, None]}) == {"i": 1}


def test_bytes_and_pixels_have_bounds_of_the_file() -> None:
    text = saved(GRAY)
    size = len(base64.b64decode(text))
    assert gray(text, Limits(size, 24)).shape == (6, 4)
    with pytest.raises(UnreadableImageError, match="above `maxPixels` 23"):
        gray(text, Limits(size, 23))
    with pytest.raises(UnreadableImageError, match="`maxBytes`"):
        gray(text, Limits(size - 1, 24))
    settings = unfitted(feature(maxBytes=100, maxPixels=7))
    assert isinstance(settings, ImageSettings)
    assert settings.limits == Limits(100, 7)


def test_levels_are_from_zero_to_one_row_by_row_and_channel_by_channel() -> None:
    transform = fitted([saved(GRAY)])
    wanted = [*(GRAY.reshape(-1) / 255).astype(np.float32).astype(float).tolist(), 0.0]
    assert transform.transform({"i": [saved(GRAY)]}).tolist() == [wanted]
    names = list(transform.get_feature_names_out())
    assert (names[0], names[5], names[-1], len(names)) == ("i[0,0]", "i[1,1]", "i=missing", 25)
    colour = fitted([saved(COLOUR)], channels="RGB")
    planes = COLOUR.transpose(2, 0, 1).reshape(-1)
    assert (
        colour.transform({"i": [saved(COLOUR)]})[0, :-1].tolist()
        == (planes / 255).astype(np.float32).tolist()
    )
    assert list(colour.get_feature_names_out())[24] == "i.green[0,0]"


def test_z_scores_are_those_of_scikit_learn_per_channel() -> None:
    shown = [RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8) for _ in range(20)]
    column = [saved(one) for one in shown]
    found = fitted(column, channels="RGB", normalize="ZScore").transform({"i": column})[:, :-1]
    pixels = np.concatenate([one.reshape(-1, 3) for one in shown]) / 255
    theirs = StandardScaler().fit_transform(pixels).reshape(20, 24, 3).transpose(0, 2, 1).reshape(20, -1)
    np.testing.assert_allclose(found, theirs, atol=1e-6)
    (again,) = fitted(column[::-1], channels="RGB", normalize="ZScore").features_
    (first,) = fitted(column, channels="RGB", normalize="ZScore").features_
    assert again == first


def test_constants_of_image_net_are_subtracted_and_divided_by() -> None:
    found = fitted([saved(COLOUR)], channels="RGB", normalize="ImageNet").transform({"i": [saved(COLOUR)]})
    mean, deviation = np.array(IMAGE_NET).T
    theirs = ((COLOUR / 255 - mean) / deviation).transpose(2, 0, 1).reshape(-1)
    np.testing.assert_allclose(found[0, :-1], theirs, atol=1e-6)


@pytest.mark.parametrize("column", [[None, None], pa.nulls(2), ["", None]])
def test_a_column_without_an_image_is_learnt(column: Any) -> None:
    transform = fitted(column, normalize="ZScore")
    assert transform.transform({"i": column}).tolist() == [[0.0] * 24 + [1.0]] * 2
    assert np.isfinite(transform.transform({"i": [saved(GRAY)]})).all()


def test_images_that_are_all_of_one_level_are_learnt() -> None:
    text = saved(Image.new("L", (4, 6), 9))
    assert fitted([text], normalize="ZScore").transform({"i": [text]}).tolist() == [[0.0] * 25]


def test_a_matrix_that_is_too_wide_names_the_sides_that_fit() -> None:
    (one,) = fitted([saved(GRAY)]).features_
    assert one.narrower([], 17) == "i alone has 25 columns: set `width: 4` and `height: 4`"
    assert one.narrower([], 26) == ""


def test_what_is_watched_is_brightness_and_size_and_alike_of_what_the_log_keeps() -> None:
    dark, bright = saved(Image.new("L", (10, 20), 51)), saved(COLOUR, "JPEG")
    views = views_of(feature(), "UTC", [dark])
    assert [view.name for view in views] == ["i.mean", "i.deviation", "i.width", "i.height", "i.bytes"]
    found = [view.numbers([dark])[0] for view in views]
    assert found == [pytest.approx(0.2), pytest.approx(0), 10, 20, len(base64.b64decode(dark))]
    for text in (dark, bright):
        kept = kept_text(text, WIDEST)
        assert text not in kept
        for view in views:
            assert view.numbers([kept])[0] == pytest.approx(view.numbers([text])[0], rel=1e-5, abs=1e-5)
    assert np.isnan(views[0].numbers([None, "%%", kept_text("%%", WIDEST)])).all()
    assert View.made_again({"name": "i.mean", "part": "Mean", "zone": "UTC", "known": []}) == views[0]


def test_an_image_is_measured_once_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    text = saved(Image.new("L", (33, 7), 12))
    facts_of(text)
    monkeypatch.setattr(images, "_measured", lambda *_: pytest.fail("measured again"))
    facts_of(text)
    for view in views_of(feature(), "UTC", [text]):
        view.numbers([text])


def test_what_the_log_keeps_is_no_image_that_a_request_could_send() -> None:
    with pytest.raises(UnreadableImageError, match="is no base64"):
        gray(kept_text(saved(GRAY), WIDEST))


def test_a_client_that_writes_what_the_log_keeps_sends_no_image() -> None:
    head = f"sha256:{'a' * 64} bytes=1"
    for text in (
        kept_text(saved(GRAY), WIDEST),
        f"{head} width=8 height=8 mean=0.5 deviation=0.1",
        f"{head} width=8 height=8 mean=.. deviation=..",
    ):
        with pytest.raises(UnreadableImageError, match="is no base64"):
            facts_of(text)
        assert "width" not in kept_text(text, WIDEST)
    for unsound in ("mean=.. deviation=..", "mean=1e999 deviation=0.1", "mean=0.5"):
        with pytest.raises(UnreadableImageError):
            watched_facts(f"{head} width=8 height=8 {unsound}")


def test_files_below_the_folder_become_base64_and_no_other_file_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    content = base64.b64decode(saved(GRAY))
    (folder / "deep" / "a.png").write_bytes(content)
    (tmp_path / "secret.png").write_bytes(content)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    files = ImageFiles({"i": (folder, 10_000)})
    table = files.in_table(pa.table({"i": ["deep/a.png", None], "x": [1, 2]}), 2**20)
    assert table.column_names == ["i", "x"]
    assert table["i"].to_pylist() == [encoded(content), None]
    for path, problem in {
        "../secret.png": "is not below the folder",
        str(tmp_path / "secret.png"): "is not below the folder",
        "link.png": "is not below the folder",
        "b.png": "is not there",
        "deep": "is not there",
        "a\0b": "cannot be read",
    }.items():
        with pytest.raises(InvalidDataError, match=f"'i': 1 of 2 values name no image file .*{problem}"):
            files.in_table(pa.table({"i": ["deep/a.png", path]}), 2**20)
        with pytest.raises(InvalidDataError, match=f"row 2: column 'i': .*{problem}"):
            list(files.in_rows([{"i": "deep/a.png"}, {"i": path}]))
    with pytest.raises(InvalidDataError, match="above `maxBytes` 5"):
        ImageFiles({"i": (folder, 5)}).in_table(pa.table({"i": ["deep/a.png"]}), 2**20)
    with pytest.raises(InvalidDataError, match=r"take more than 0 MiB.*requests\.memory"):
        files.in_table(pa.table({"i": ["deep/a.png"] * 9}), 3 * len(content))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"normalize": "ImageNet"}, "write `channels: RGB`"),
        ({"width": 200, "height": 200}, "gives more than 12288 columns"),
        ({"folder": "../other"}, "not below this file's folder"),
        ({"folder": "https://images.example"}, "copy or mount the images"),
        ({"channels": "RGBA"}, "Gray"),
        ({"maxBytes": 2_000_000}, "write 700,000 or less"),
        ({"width": 0}, "write 1 or more"),
    ],
)
def test_what_no_image_may_say(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpecError, match=problem):
        Feature(name="i", image={"width": 4, "height": 6, **settings})
