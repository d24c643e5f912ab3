"""The chart: one panel a scenario, one bar a contestant, ours in colour; the line on a bar's end is the spread."""

from html import escape

from results import Results, median
from scenarios import SCENARIOS

WIDTH, LABELS, BAR, GAP, HEAD = 980, 440, 16, 7, 34
OURS, PEER, TEXT, LINE = "#1d6fb8", "#b9c0c7", "#24292f", "#57606a"


def _plain_text(label: str) -> str:
    return label.replace("`", "").replace("\\|", "|")


def draw(results: Results) -> str:
    parts, top = [], 8
    for scenario in SCENARIOS:
        if scenario.name == "beside":
            panel, unit = _panel(results, scenario, "p95_milliseconds"), "ms at the 95th percentile of its transactions"
        else:
            panel, unit = _panel(results, scenario, "wall_seconds"), "seconds"
        if panel:
            parts.append(_draw_panel(f"{scenario.title}, {unit}", panel, top))
            top += HEAD + len(panel) * (BAR + GAP) + 12
    style = f"text {{ font: 12px system-ui, sans-serif; fill: {TEXT} }} .title {{ font-weight: 600; font-size: 14px }}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" role="img">\n'
        f"<style>{style}</style>\n<rect width=\"{WIDTH}\" height=\"{top}\" fill=\"white\"/>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(results: Results, scenario, metric: str) -> list[tuple[str, bool, list[float]]]:
    bars = []
    for contestant in scenario.contestants:
        values = [one[metric] for one in results.of(scenario.name, contestant.name) if metric in one]
        if values:
            bars.append((_plain_text(contestant.label), contestant.name.startswith("ours"), values))
    return bars


def _draw_panel(title: str, bars: list, top: int) -> str:
    longest = max(max(values) for _, _, values in bars)
    room = WIDTH - LABELS - 90
    lines = [f'<text class="title" x="12" y="{top + 20}">{escape(title)}</text>']
    for position, (label, is_ours, values) in enumerate(bars):
        y = top + HEAD + position * (BAR + GAP)
        length = room * median(values) / longest
        begin, end = (LABELS + room * edge / longest for edge in (min(values), max(values)))
        middle = y + BAR / 2
        lines += [
            f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(_shorten(label))}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{OURS if is_ours else PEER}"/>',
            f'<line x1="{begin:.1f}" x2="{end:.1f}" y1="{middle}" y2="{middle}" stroke="{LINE}"/>',
            f'<text x="{max(end, LABELS + length) + 6:.1f}" y="{y + 12}">{median(values):.1f}</text>',
        ]
    return "\n".join(lines)


def _shorten(label: str, limit: int = 66) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"
