"""Cookies as nobody was given them, and what a cookie is worth by the letter of the rules, told without HAProxy."""

import base64
import hashlib
import hmac
import random
import re
import string
import time
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

from haproxy.harness import COOKIE, KEYS, make_key
from stickyrouting.render.haproxy_lost import Tally

IDLE_SECONDS, ABSOLUTE_SECONDS = 1800, 43200
ID_LENGTH, MAC_LENGTH = 32, 16
FOREIGN_KEY = make_key(42)
NAMED = f"{COOKIE}="
_ALPHABET = string.ascii_letters + string.digits + ".-_=%&'~;,"
CONTROL = frozenset(chr(code) for code in (*range(9), 11, 12, *range(14, 32), 127))


class Worth(StrEnum):
    """A cookie that is not void: it names a session of the table, or is vouched for by its signature."""

    KNOWN = "known"
    SIGNED = "signed"


def sign(payload: str, key: str) -> str:
    """Return the signature of a cookie's first three parts."""
    digest = hmac.new(base64.b64decode(key), payload.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode()[:MAC_LENGTH]


def make_cookie(payload: str, key_id: str, key: str) -> str:
    """Return a cookie of which everything is chosen."""
    return f"{payload}.{sign(payload, key)}.{key_id}"


def worth(text: str, known: Collection[str], now: int) -> Worth | Tally:
    """Return what a cookie is worth, or why it is worth nothing; ``known`` are the session ids of the table."""
    seen = read(text, known)
    if seen[:ID_LENGTH] in known:
        return Worth.KNOWN
    parts = seen.split(".")
    if not _is_formed(parts):
        return Tally.MALFORMED
    session, hint, stamp, mac, key_id = parts
    if key_id not in KEYS.keys:
        return Tally.UNKNOWN_KEY
    if sign(f"{session}.{hint}.{stamp}", KEYS.keys[key_id]) != mac:
        return Tally.BAD_MAC
    over = now - int(stamp) >= IDLE_SECONDS or now - int(session[:10]) >= ABSOLUTE_SECONDS
    return Tally.EXPIRED if over else Worth.SIGNED


def read(text: str, known: Collection[str]) -> str:
    """Return what HAProxy takes for the cookie's value: of several the last that names a session, else the last."""
    parts = [part.strip(" \t") for part in re.split("[;,]", f"{NAMED}{text}")]
    values = [part[len(NAMED) :] for part in parts if part.startswith(NAMED)]
    return next((value for value in reversed(values) if value[:ID_LENGTH] in known), values[-1])


def _is_formed(parts: Sequence[str]) -> bool:
    if len(parts) != 5:
        return False
    session, hint, stamp, mac, key_id = parts
    sized = (len(session), len(stamp), len(mac)) == (ID_LENGTH, 10, MAC_LENGTH)
    return sized and bool(hint) and set(stamp) <= set(string.digits) and _is_key_id(key_id)


def _is_key_id(text: str) -> bool:
    return 0 < len(text) <= 32 and set(text) <= set(string.ascii_letters + string.digits + "-_")


def mutate(cookies: Sequence[str], chance: random.Random) -> str:
    """Return a mutant of some cookies, of a kind drawn by chance."""
    return chance.choice(_KINDS)(cookies, chance)


def _truncated(cookies: Sequence[str], chance: random.Random) -> str:
    cookie = chance.choice(cookies)
    return cookie[: chance.randrange(1, len(cookie))]


def _changed(cookies: Sequence[str], chance: random.Random) -> str:
    cookie = chance.choice(cookies)
    place = chance.randrange(len(cookie))
    return cookie[:place] + chance.choice(_ALPHABET) + cookie[place + 1 :]


def _prolonged(cookies: Sequence[str], chance: random.Random) -> str:
    return chance.choice(cookies) + chance.choice(("1", ".", ".k1", ".k1.k1", "=", "'"))


def _with_part_of_another(cookies: Sequence[str], chance: random.Random) -> str:
    mine, other = (chance.choice(cookies).split(".") for _ in range(2))
    place = chance.randrange(5)
    return ".".join([*mine[:place], other[place], *mine[place + 1 :]])


def _shuffled(cookies: Sequence[str], chance: random.Random) -> str:
    parts = chance.choice(cookies).split(".")
    return ".".join(chance.sample(parts, len(parts)))


def _of_another_service(cookies: Sequence[str], chance: random.Random) -> str:
    parts = chance.choice(cookies).split(".")
    session = f"{parts[0][:10]}{''.join(chance.choices(string.ascii_letters, k=22))}"
    return make_cookie(f"{session}.{parts[1]}.{parts[2]}", chance.choice(("k0", "k1", "k7")), FOREIGN_KEY)


def _of_an_old_key(cookies: Sequence[str], chance: random.Random) -> str:
    return ".".join(
        [*chance.choice(cookies).split(".")[:4], chance.choice(("k", "k9", "signing", "K1", "1"))]
    )


def _with_a_time(cookies: Sequence[str], chance: random.Random) -> str:
    parts = chance.choice(cookies).split(".")
    shift = chance.choice((1, 3600, 10**8, -1, -3600))
    return ".".join([*parts[:2], str(int(parts[2]) + shift), *parts[3:]])


def _expired(cookies: Sequence[str], chance: random.Random) -> str:
    """Return an authentic cookie that nobody may use any more: idle for too long, or too old."""
    hint, now = chance.choice(cookies).split(".")[1], int(time.time())
    born, stamp = chance.choice(((0, IDLE_SECONDS + 5), (ABSOLUTE_SECONDS + 5, 5), (10**9, 10**9)))
    session = f"{now - born:010d}{''.join(chance.choices(string.ascii_letters, k=22))}"
    return make_cookie(f"{session}.{hint}.{now - stamp:010d}", "k1", KEYS.keys["k1"])


def _long(cookies: Sequence[str], chance: random.Random) -> str:
    parts = chance.choice(cookies).split(".")
    place = chance.randrange(5)
    return ".".join([*parts[:place], parts[place] + "x" * 8_000, *parts[place + 1 :]])


def _twice(cookies: Sequence[str], chance: random.Random) -> str:
    """Return two cookies of one name."""
    kind = chance.choice((_with_a_time, _of_an_old_key, _truncated))
    return f"{kind(cookies, chance)}; {NAMED}{kind(cookies, chance)}"


def _with_a_control_character(cookies: Sequence[str], chance: random.Random) -> str:
    cookie = chance.choice(cookies)
    place = chance.randrange(len(cookie))
    return cookie[:place] + chance.choice(sorted(CONTROL)) + cookie[place:]


_KINDS: tuple[Callable[[Sequence[str], random.Random], str], ...] = (
    _truncated,
    _changed,
    _prolonged,
    _with_part_of_another,
    _shuffled,
    _of_another_service,
    _of_an_old_key,
    _with_a_time,
    _expired,
    _long,
    _twice,
    _with_a_control_character,
)
