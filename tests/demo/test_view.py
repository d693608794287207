"""What the demo shows while it runs, with a terminal and without one."""

from __future__ import annotations

import io

from rich.console import Console

from tests.demo.samples import FAULT, seen
from tests.demo.story import tell
from tests.demo.view import LineView, LiveView, view


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=140, color_system=None), stream


def test_without_a_terminal_each_piece_of_news_is_one_line_and_comes_once() -> None:
    out, stream = console(terminal=False)
    screen = view(out)
    assert isinstance(screen, LineView)
    with screen:
        screen.enter("fault", "something breaks", 20)
        for _ in range(3):
            screen.update(seen(), tell(seen(), FAULT), FAULT)
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert sum("alert firing: http.server.request.latency of shop is 200" in x for x in lines) == 1
    assert sum("alert resolved: shop" in line for line in lines) == 1
    assert sum("notification received: shop: 1 firing" in line for line in lines) == 1
    assert sum("60 points" in line for line in lines) == 1


def test_a_terminal_shows_the_series_with_what_was_expected_and_the_alerts() -> None:
    out, stream = console(terminal=True)
    screen = view(out)
    assert isinstance(screen, LiveView)
    with screen:
        screen.enter("recover", "waiting")
        screen.update(seen(), tell(seen(), FAULT), FAULT)
    shown = stream.getvalue()
    assert "Checkout: mean latency" in shown
    assert "20 ms, expected 10 to 30" in shown
    assert "0 firing, 1 resolved" in shown
    assert "fired at 5.0 s, told at 6.0 s, resolved 9.0 s after its end" in shown
