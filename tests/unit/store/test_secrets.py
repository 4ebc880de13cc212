"""Sealed credentials."""

import pytest

from tutti.store.secrets import SealBroken, Sealer

SEALER = Sealer(b"the server's secret")


def test_what_was_sealed_opens_in_its_context() -> None:
    sealed = SEALER.seal("sk-tökèn", "proj-1")
    assert Sealer(b"the server's secret").open(sealed, "proj-1") == "sk-tökèn"
    assert "sk-" not in sealed


def test_the_same_text_is_never_sealed_alike() -> None:
    assert SEALER.seal("a", "p") != SEALER.seal("a", "p")


def test_another_context_or_secret_opens_nothing() -> None:
    sealed = SEALER.seal("sk-token", "proj-1")
    with pytest.raises(SealBroken):
        SEALER.open(sealed, "proj-2")
    with pytest.raises(SealBroken, match="another secret"):
        Sealer(b"another").open(sealed, "proj-1")


def test_any_change_is_noticed() -> None:
    sealed = SEALER.seal("sk-token", "proj-1")
    for place in range(len(sealed)):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(SealBroken):
            SEALER.open(changed, "proj-1")


@pytest.mark.parametrize("text", ["", "v1", "v1.", "v1..", "v2.a.b", "sk-token", "v1.ffffffffffff.AAAA"])
def test_what_was_never_sealed_is_no_secret(text: str) -> None:
    with pytest.raises(SealBroken):
        SEALER.open(text, "proj-1")


def test_a_cut_text_is_broken() -> None:
    sealed = SEALER.seal("sk-token", "p")
    prefix = sealed.rpartition(".")[0]
    for rest in ("", "A", "AAAA", "!!!!"):
        with pytest.raises(SealBroken):
            SEALER.open(f"{prefix}.{rest}", "p")
