"""Claims about the tokens of systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from capstan.cluster.names import SystemNames
from capstan.cluster.tokens import TokenSource, read_token
from capstan.domain.versions import SystemName
from capstan.errors import InvalidSpecError

KEY = b"k" * 32


def test_the_same_system_and_purpose_always_have_the_same_token():
    assert TokenSource(KEY).token("uid", "internal") == TokenSource(KEY).token("uid", "internal")


def test_each_system_purpose_and_master_key_has_a_token_of_its_own():
    source, other = TokenSource(KEY), TokenSource(b"o" * 32)
    tokens = [
        source.token("uid", "internal"),
        source.token("uid", "feedback"),
        source.token("uid-2", "internal"),
        other.token("uid", "internal"),
    ]
    assert len(set(tokens)) == len(tokens)


def test_a_mark_is_another_for_other_content_systems_and_master_keys():
    source, content = TokenSource(KEY), {"internal": "a", "feedback": "b"}
    marks = [
        source.mark("uid", content),
        source.mark("uid", {**content, "feedback": "c"}),
        source.mark("uid-2", content),
        TokenSource(b"o" * 32).mark("uid", content),
    ]
    assert len(set(marks)) == len(marks)
    assert source.mark("uid", dict(reversed(content.items()))) == marks[0]


def test_names_that_end_in_a_mark_are_names_of_secrets():
    names = SystemNames("n", SystemName("s" * 40), tokens_mark="0123abcd", keys_mark="89abcdef")
    assert names.tokens == f"{'s' * 40}-tokens-0123abcd"
    assert names.artifact_keys == f"{'s' * 40}-artifact-keys-89abcdef"
    assert max(len(names.tokens), len(names.artifact_keys)) <= 63


def test_a_short_master_key_is_refused_with_the_way_out():
    with pytest.raises(InvalidSpecError, match="openssl rand"):
        TokenSource(b"short")


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InvalidSpecError, match="master_key"):
        TokenSource.read(tmp_path / "none")
    with pytest.raises(InvalidSpecError, match="webhook_token"):
        read_token(tmp_path / "none", "webhook_token")


def test_a_line_end_in_the_file_is_no_part_of_the_key(tmp_path: Path):
    file = tmp_path / "master"
    file.write_bytes(KEY + b"\n")
    assert TokenSource.read(file).token("uid", "x") == TokenSource(KEY).token("uid", "x")
