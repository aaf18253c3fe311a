"""Draws a job's life from `liteq.lifecycle.TRANSITIONS`, as a picture and as a table.

Two directives, `lifecycle-diagram` (inline SVG, in the colours of the page) and `lifecycle-table`. The
arrows come from the table of transitions; only the places of the states are chosen by hand here, and a
state without a place stops the build.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from math import hypot
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from liteq.lifecycle import TRANSITIONS
from liteq.states import READY_STATES, State

Point = tuple[float, float]

BOX = (124.0, 44.0)
SIZE = (780, 430)
PLACES: dict[State, Point] = {
    State.PENDING: (100, 215),
    State.STARTED: (400, 215),
    State.SUCCESS: (680, 215),
    State.FAILURE: (400, 50),
    State.RETRY: (400, 380),
    State.REVOKED: (100, 380),
}
BETWEEN_TWO_WAYS = 11.0
"""Half the distance between the arrows of two states that lead to each other."""


def arrows() -> dict[tuple[State, State], list[str]]:
    """Return the events that lead from one state to another, for each pair of states that has any."""
    found: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (source, event), target in TRANSITIONS.items():
        found[source, target].append(event.value)
    return dict(found)


def edge(centre: Point, towards: Point) -> Point:
    """Return where the line from the centre of a box in some direction leaves the box."""
    dx, dy = towards
    reach = min(BOX[0] / 2 / abs(dx) if dx else 1e9, BOX[1] / 2 / abs(dy) if dy else 1e9)
    return centre[0] + dx * reach, centre[1] + dy * reach


def draw_arrow(source: State, target: State, events: list[str], two_ways: bool) -> str:
    """Return one arrow with the names of its events beside it."""
    (x1, y1), (x2, y2) = PLACES[source], PLACES[target]
    length = hypot(x2 - x1, y2 - y1)
    direction = (x2 - x1) / length, (y2 - y1) / length
    # To the left of the direction of travel, so that there and back keep apart.
    side = direction[1], -direction[0]
    shift = BETWEEN_TWO_WAYS if two_ways else 0.0
    start = edge((x1 + side[0] * shift, y1 + side[1] * shift), direction)
    end = edge((x2 + side[0] * shift, y2 + side[1] * shift), (-direction[0], -direction[1]))
    middle = (start[0] + end[0]) / 2 + side[0] * 9, (start[1] + end[1]) / 2 + side[1] * 9
    anchor = "middle" if abs(side[0]) < 0.3 else "start" if side[0] > 0 else "end"
    baseline = 0.0 if side[1] < -0.3 else 10.0 if side[1] > 0.3 else 4.0
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="currentColor" stroke-width="1.5" marker-end="url(#lifecycle-head)"/>'
        f'<text x="{middle[0]:.1f}" y="{middle[1] + baseline:.1f}" text-anchor="{anchor}">'
        f"{escape(', '.join(events))}</text>"
    )


def draw_state(state: State) -> str:
    """Return a state's box; a finished state has a double border."""
    x, y = PLACES[state][0] - BOX[0] / 2, PLACES[state][1] - BOX[1] / 2
    outline = 'fill="none" stroke="currentColor"'
    box = f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="8" {outline} stroke-width="1.5"/>'
    if state in READY_STATES:
        box += f'<rect x="{x + 4}" y="{y + 4}" width="{BOX[0] - 8}" height="{BOX[1] - 8}" rx="5" {outline}/>'
    name = f'<text x="{PLACES[state][0]}" y="{PLACES[state][1] + 5}" text-anchor="middle" font-weight="600">'
    return f"{box}{name}{state.value}</text>"


def diagram() -> str:
    """Return the whole state machine as one SVG element."""
    lost = set(State) - PLACES.keys()
    if lost:
        raise LookupError(f"docs/_ext/lifecycle_diagram.py has no place for the states {sorted(lost)}")
    found = arrows()
    parts = [
        f'<svg viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" aria-label="The states of a job" '
        'xmlns="http://www.w3.org/2000/svg" style="max-width: 100%; height: auto" '
        'font-family="sans-serif" font-size="13" fill="currentColor">',
        '<defs><marker id="lifecycle-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M 0 1 L 10 5 L 0 9 z" fill="currentColor"/></marker></defs>',
    ]
    parts += [
        draw_arrow(source, target, events, two_ways=(target, source) in found)
        for (source, target), events in found.items()
    ]
    parts += [draw_state(state) for state in State]
    return "\n".join([*parts, "</svg>"])


class LifecycleDiagram(SphinxDirective):
    """Places the picture."""

    def run(self) -> list[nodes.Node]:
        """Return the picture as raw HTML; other builders have the table."""
        return [nodes.raw("", f'<figure class="lifecycle">{diagram()}</figure>', format="html")]


class LifecycleTable(SphinxDirective):
    """Places the table: from a state, by an event, to a state."""

    def run(self) -> list[nodes.Node]:
        """Return the table of all transitions."""
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in range(3)), cols=3)
        group += nodes.thead("", table_row("from", "event", "to"))
        group += nodes.tbody(
            "",
            *(
                table_row(source.value, event.value, target.value)
                for (source, event), target in TRANSITIONS.items()
            ),
        )
        return [nodes.table("", group)]


def table_row(*cells: str) -> nodes.row:
    """Return a table row of plain texts."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the two directives."""
    app.add_directive("lifecycle-diagram", LifecycleDiagram)
    app.add_directive("lifecycle-table", LifecycleTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
