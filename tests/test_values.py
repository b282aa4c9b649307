"""Values in messages."""

from __future__ import annotations

import pytest

from hpt_core.values import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:secret@host:5432/db", "postgresql://ann@host:5432/db"),
        ("postgresql:/ann:secret@host/db", "postgresql:/ann@host/db"),
        ("postgresql://:a:b?c@host/db", "postgresql://@host/db"),
        ("'store=postgresql://ann@host/db?password=secret' n=2", "'store=postgresql://ann@host/db?password=' n=2"),
        ('{url="s://h/?a=1&sslpassword=secret&b=2"}', '{url="s://h/?a=1&sslpassword=&b=2"}'),
        ("store=s://a:secret@b/c x=s://d:secret@e", "store=s://a@b/c x=s://d@e"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("sqlite:////a/b:c@d.db", "sqlite:////a/b:c@d.db"),
        ("data/a:b@c.db", "data/a:b@c.db"),
        ("http://host:80/a@b", "http://host:80/a@b"),
    ],
)
def test_the_passwords_of_urls_are_left_out(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
