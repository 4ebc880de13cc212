"""All of a text is said, or it is refused: nothing is left out."""

import json
from pathlib import Path

import hibari.tts
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tutti.workers.http import Refused
from tutti.workers.speech.characters import plain
from tutti.workers.speech.markup import unmarked
from tutti.workers.speech.phonemes import Phonemes
from tutti.workers.speech.pieces import pieces
from tutti.workers.speech.words import words

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZéüßï")
VOCABULARY = frozenset(json.loads((Path(hibari.tts.ASSETS) / "vocab.json").read_text("utf-8")))
PHONEMES = Phonemes()


def written_out(text: str) -> str:
    return words(unmarked(plain(text)), LETTERS)


def phonemes(text: str) -> str:
    """Without stress, which depends on the neighbours."""
    prepared = unmarked(plain(text))
    parts = [part for piece in pieces(prepared) for part in PHONEMES.of(piece, british=False)]
    assert set("".join(parts)) <= VOCABULARY
    return "".join(c for c in "".join(parts) if c.isalpha() and c not in "ˈˌ")


SAID = """
$5.99 | five dollars and ninety nine cents
$1 and $0.05 and £0.01 | one dollar and five cents and one penny
5€, 5,99 € | five euros, five euros and ninety nine cents
1.234,56 € | one thousand two hundred thirty four euros and fifty six cents
-$3, R$ 12, US$5, ₿2, 3₽ | minus three dollars, twelve reais, five US dollars, two bitcoins, three rubles
20 EUR, CHF 5 | twenty euros, five francs
$3.5 million, $5k | three point five million dollars, five thousand dollars
1st, 22nd, 101st | first, twenty second, one hundred first
5.0 and 1.50 and .5 | five point zero and one point five zero and point five
007, 1.2.3, 1,234 | zero zero seven, one dot two dot three, one thousand two hundred thirty four
in 1999, the 1990s | in nineteen ninety nine, the nineteen nineties
½ 1½ 2 1/2 3/4 | one half one and one half two and one half three quarters
-5 −5 10-20 5-3=2 | minus five minus five ten to twenty five minus three equals two
50%, 3‰, ±2, 2×3, 6÷2 | fifty percent, three per mille, plus or minus two, two times three, six divided by two
x² + y³ = 10^-3 | x squared plus y cubed equals ten to the power of minus three
10⁻³ | ten to the power of minus three
1e-5, 0x1F | one e minus five, zero x one F
a ≠ b, a <= b, π, ∞, √2 | a not equal to b, a less than equals b, pi, infinity, square root two
20°C, 20 ℃, -40°F | twenty degrees Celsius, twenty degrees Celsius, minus forty degrees Fahrenheit
5km, 5 m², 60 km/h | five kilometers, five square meters, sixty kilometers per hour
9.81 m/s² | nine point eight one meters per square second
10kΩ, 5µm, 5'10", 5′10″ | ten kilohms, five micrometers, five feet ten inches, five feet ten inches
12:30, 2024-03-15 | twelve thirty, March fifteenth, twenty twenty four
(555) 123-4567 | five five five, one two three, four five six seven
me.you@example.com | me dot you at example dot com
https://x.org/a-b?c=1#d. | https colon slash slash x dot org slash a dash b question mark c equals one hash d.
www.foo.co.uk, 127.0.0.1 | w w w dot foo dot co dot uk, one hundred twenty seven dot zero dot zero dot one
Dr. Who, e.g. you, i.e. me | Dr Who, for example you, that is me
I said no. No. 5 | I said no. Number five
12 Elm Dr. and Main St. | twelve Elm Drive and Main Street
Chapter IV, Henry VIII, Ⅻ | Chapter four, Henry the eighth, XII
a&b, a@b, a/b, a\\b, a_b, a|b | a and b, a at b, a slash b, a backslash b, a underscore b, a bar b
C++, C#, #1, #tag, ~5, $HOME | C plus plus, C sharp, number one, hashtag tag, about five, dollar HOME
**bold** *it* `code` | bold it code
- [text](http://a.b/c) | text, http colon slash slash a dot b slash c,
it’s, don’t, naïve | it's, don't, naïve
so\u00adft, ze\u200bro, n\u00a0b, e\u0301t\u00e9 | soft, zero, n b, été
１２３, ＡＢＣ, ﬁne, Łódź | one hundred twenty three, ABC, fine, Lodz
Привет, Ελλάδα, こんにちは, 안녕 | Privet, Ellada, konnichiha, annyeong
٣ and ३ | three and three
🙂 👍🏽 → ★ 🇩🇪 | slightly smiling face thumbs up to black star d e
"""


@pytest.mark.parametrize("line", SAID.strip().splitlines())
def test_what_is_no_word_is_written_out(line: str) -> None:
    text, _, said = line.partition(" | ")
    assert written_out(text) == said


@pytest.mark.parametrize("text", ["日本語", "مرحبا", "שלום", "नमस्ते", "ไทย", "\ue000"])
def test_scripts_that_do_not_tell_their_sounds_are_refused_by_name(text: str) -> None:
    with pytest.raises(Refused) as refused:
        written_out(f"So {text} it is.")
    assert refused.value.param == "input"
    assert f"{text[0]} (U+{ord(text[0]):04X})" in str(refused.value)


TOKENS = st.one_of(
    st.from_regex(r"[a-z]{2,9}", fullmatch=True),
    st.from_regex(r"-?[0-9]{1,20}([.,-][0-9]{1,6}){0,3}(%|st|°C|km|m²)?", fullmatch=True),
    st.from_regex(r"[1-9][0-9]?[:/][1-9][0-9]?", fullmatch=True),
    st.from_regex(r"[$€£¥₹][0-9]{1,6}(\.[0-9]{1,3})?|[0-9]{1,6} ?[$€£¥₹]", fullmatch=True),
    st.from_regex(r"[a-z]{1,5}@[a-z]{2,5}\.[a-z]{2,3}", fullmatch=True),
    st.from_regex(r"https://[a-z]{2,4}\.[a-z]{2}/[a-z0-9?=&-]{1,5}", fullmatch=True),
    st.from_regex(r"[A-Z]{1,5}[0-9]{0,3}", fullmatch=True),
    st.text(st.sampled_from("αλπЖдшкいろ한글éüłœ"), min_size=1, max_size=4),
    st.sampled_from("&@#%+=/\\<>^~|≠∞½²→★🙂👍₿©§°"),
)  # fmt: skip
SIGNS = frozenset("0123456789$€£¥₹@%&+=/\\<>≠∞½²→★🙂👍₿©§°")


@settings(deadline=None, max_examples=150)
@given(st.lists(TOKENS, min_size=1, max_size=4), st.data())
def test_no_word_no_digit_and_no_sign_is_silent(tokens: list[str], data: st.DataObject) -> None:
    """What is said changes when any of them is taken out."""
    text = f"so {' '.join(tokens)} it is"
    said = phonemes(text)
    gone = data.draw(st.integers(0, len(tokens) - 1))
    assert phonemes(f"so {' '.join(tokens[:gone] + tokens[gone + 1 :])} it is") != said
    places = [at for at, c in enumerate(text) if c in SIGNS]
    assume(places)
    at = data.draw(st.sampled_from(places))
    assert phonemes(text[:at] + text[at + 1 :]) != said


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_said_or_refused(text: str) -> None:
    try:
        prepared = unmarked(plain(text))
    except Refused as refused:
        assert any(f"U+{ord(c):04X}" in str(refused) for c in text)
        return
    for piece in pieces(prepared):
        said = "".join(PHONEMES.of(piece, british=True))
        assert set(said) <= VOCABULARY
        assert any(map(str.isalpha, said)) or not any(map(str.isalnum, piece))


def test_a_word_longer_than_the_reader_of_words_takes_is_said_to_its_end() -> None:
    assert written_out("z" * 60) == " ".join(["z" * 24, "z" * 24, "z" * 12])
    assert len(phonemes("banana" * 20)) > 4 * len(phonemes("banana" * 4))


def test_marks_that_never_end_take_no_time() -> None:
    """Each would take minutes if it were tried from every place on."""
    for text in ("*a " * 20_000, "[" * 60_000, "**" * 30_000, "_a" * 30_000, "a." * 30_000):
        assert len(list(pieces(unmarked(plain(text))))) < 1000
