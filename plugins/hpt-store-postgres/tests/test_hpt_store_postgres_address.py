"""The URL: what libpq makes of it, and that a password is shown nowhere."""

from __future__ import annotations

import json
import pickle
import traceback
from typing import Any

import pytest

import hpt_core as hpt
from hpt_core.options import build
from hpt_core.plugins.description import describe
from hpt_core.plugins.plugins import default_plugins
from hpt_store_postgres.address import Address
from hpt_store_postgres.store import PostgresStore

SECRET = "s3cr%25t"


@pytest.mark.parametrize(
    ("url", "shown", "parameters"),
    [
        ("postgresql://", "postgresql://", {}),
        ("postgres:///db", "postgres:///db", {"dbname": "db"}),
        ("postgresql://host", "postgresql://host", {"host": "host"}),
        (
            f"postgresql://ann:{SECRET}@host:5433/db?sslmode=require",
            "postgresql://ann@host:5433/db?sslmode=require",
            {
                "user": "ann",
                "password": "s3cr%t",
                "host": "host",
                "port": "5433",
                "dbname": "db",
                "sslmode": "require",
            },
        ),
        (
            f"postgresql://ann@[::1]/db?password={SECRET}&connect_timeout=3&sslpassword={SECRET}",
            "postgresql://ann@[::1]/db?connect_timeout=3",
            {
                "user": "ann",
                "host": "::1",
                "dbname": "db",
                "connect_timeout": "3",
                "password": "s3cr%t",
                "sslpassword": "s3cr%t",
            },
        ),
        (
            f"postgresql://:{SECRET}@a:1,b:2/",
            "postgresql://@a:1,b:2/",
            {"password": "s3cr%t", "host": "a,b", "port": "1,2"},
        ),
        (
            "postgresql://ann:a:b?c#d@host/db",
            "postgresql://ann@host/db",
            {"user": "ann", "password": "a:b?c#d", "host": "host", "dbname": "db"},
        ),
        ("postgresql://%2Ftmp%2Fpg/db", "postgresql://%2Ftmp%2Fpg/db", {"host": "/tmp/pg", "dbname": "db"}),
        ("postgresql:///?service=mine", "postgresql:///?service=mine", {"service": "mine"}),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str, parameters: dict[str, str]) -> None:
    address = Address.parse(url)
    assert address == shown
    assert address.parameters == parameters
    assert Address.parse(address) is address


@pytest.mark.parametrize(
    "url",
    [
        "hpt.db",
        "host=h password=hidden",
        "mysql://ann:hidden@host/db",
        "postgresql://ann:hid@den@host/db",
        "postgresql://ann:hid/den@host/db",
        "postgresql://ann:hidden%zz@host/db",
        "postgresql://ann:hidden",
        "postgresql://ann@host:hidden/db",
        "postgresql://ann@host/db?hidden",
        "postgresql://ann@host/db?hidden=1",
        "postgresql://ann:hid?den/x@host/db",
        "postgresql://ann@host/hid@den",
        "postgresql://ann@host/db%00hidden",
        "postgresql://ann:hidden\udc80@host/db",
        5,
        None,
    ],
)
def test_a_url_that_libpq_would_take_for_another_is_refused_without_repeating_it(url: Any) -> None:
    for refuse in (
        lambda: PostgresStore(url=url),
        lambda: default_plugins().make_store({"use": "postgres", "url": url}),
    ):
        with pytest.raises(hpt.UsageError, match=r"Must be a URL like postgresql://USER@HOST.*%40 for @") as refused:
            refuse()
        assert "hid" not in "".join(traceback.format_exception(refused.value))


def test_the_password_is_in_no_description_of_the_store_but_reaches_other_processes() -> None:
    store = build(PostgresStore, {"url": f"postgresql://ann:{SECRET}@host/db", "lock_timeout": "2m"}, "store")
    copy = pickle.loads(pickle.dumps(store))
    for one in (store, copy):
        assert one.lock_timeout == 120
        assert one.location == "postgresql://ann@host/db"
        assert Address.parse(one.url).parameters["password"] == "s3cr%t"
        assert "s3cr" not in repr(one) + str(one) + one.location + json.dumps(describe(one))
    assert copy == store


def test_a_url_names_the_store() -> None:
    for scheme in ("postgres", "postgresql"):
        store = default_plugins().make_store(f"{scheme}://ann:{SECRET}@host:5433/db")
        assert type(store) is PostgresStore
        assert Address.parse(store.url).parameters["password"] == "s3cr%t"
        assert store.location == f"{scheme}://ann@host:5433/db"
    assert default_plugins().name_of(PostgresStore) == "postgres"
