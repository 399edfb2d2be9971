# SPDX-License-Identifier: Apache-2.0
"""Values become medians, spreads and ratios; these become text."""
import statistics
from dataclasses import dataclass



@dataclass
class Goal:
    """metric of candidate, divided by that of the reference (or as it is), is at most (or at least) bound."""
    test: str  # beginning of the name
    candidate: str
    bound: float
    reference: str = ""
    metric: str = "cpu"


GOALS = [
    Goal("bulk", "ours", 0.80, "up-2.12.0"),
    Goal("bulk", "ours", 0.55, "haproxy"),
    Goal("bulk", "ours-mux", 0.60, "up-2.12.0-mux"),
    Goal("bulk", "ours-mux", 0.85, "ours", "rate"),
    Goal("conn8", "ours", 0.65, "haproxy"),
    Goal("conn8", "ours", 0.25, "up-2.8.0"),
    Goal("conn8", "ours-mutual", 0.65, "haproxy-mutual"),
    Goal("conn8", "ours-attested", 1.05, "ours"),
    Goal("conn8", "ours-mux", 0.45, "up-2.12.0-mux"),
    Goal("req64", "ours", 0.80, "up-2.12.0"),
    Goal("req64", "ours", 1.00, "up-2.12.0", "p99"),
    Goal("req64", "ours-mux", 0.45, "up-2.12.0-mux"),
    Goal("req1", "ours", 1.00, "up-2.12.0", "p50"),
    Goal("req1", "ours-mux", 0.45, "up-2.12.0-mux", "p50"),
    Goal("idle", "ours", 4),
    Goal("idle", "ours-mux", 2),
    Goal("idle", "ours", 10, metric="start"),
    Goal("start", "ours", 20),
]


class Summary:
    def __init__(self, bench, tests):
        self.bench, self.tests = bench, tests
        self.titles = {c.name: c.title for c in bench.candidates}

    def values(self, test, candidate, metric):
        rounds = self.bench.values.get(test, {}).get(candidate, [])
        return [None if v is None else v[metric] for v in rounds]

    def median(self, test, candidate, metric="cpu"):
        found = [v for v in self.values(test, candidate, metric) if v is not None]
        return statistics.median(found) if found else None

    def spread(self, test, candidate, metric="cpu"):
        """Half of the range, as a share of the median."""
        found = [v for v in self.values(test, candidate, metric) if v is not None]
        middle = statistics.median(found) if found else 0
        return (max(found) - min(found)) / 2 / middle if middle else None

    def ratio(self, test, candidate, reference, metric="cpu"):
        """The median of the ratios inside each round."""
        pairs = zip(self.values(test, candidate, metric), self.values(test, reference, metric))
        found = [a / b for a, b in pairs if a is not None and b]
        return statistics.median(found) if found else None

    def names(self, test):
        return [c.name for c in self.bench.candidates if c.name in self.bench.values.get(test.name, {})]

    def goals(self):
        """(goal, test, value or None, reached)."""
        for goal in GOALS:
            for test in self.tests:
                if test.name != goal.test and not (goal.test in ("bulk", "idle") and test.name.startswith(goal.test)):
                    continue
                if goal.reference:
                    value = self.ratio(test.name, goal.candidate, goal.reference, goal.metric)
                else:
                    value = self.median(test.name, goal.candidate, goal.metric)
                if value is not None:
                    reached = value >= goal.bound if goal.metric == "rate" else value <= goal.bound
                    yield goal, test, value, reached

    def as_json(self, machine, scale):
        return {"machine": machine, "scale": {"rounds": scale.rounds, "seconds": scale.seconds, "bytes": scale.bytes},
                "versions": self.bench.versions, "values": self.bench.values,
                "troubles": [{"test": t, "candidate": c, "why": w} for (t, c), w in self.bench.troubles.items()],
                "goals": [{"test": t.name, "candidate": g.candidate, "metric": g.metric, "reference": g.reference,
                           "bound": g.bound, "value": round(v, 4), "reached": r} for g, t, v, r in self.goals()]}


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _reference(name):
    """Like is compared with like: multiplexed with multiplexed, client certificates with client certificates."""
    return ("haproxy-mutual" if name == "ours-mutual" else "haproxy",
            "up-2.12.0-mux" if name.endswith("-mux") else "up-2.12.0")


def _rows_of(summary, test):
    first = test.metrics[0]
    yield ["", first.title, "spread", "/ haproxy", "/ 2.12.0", *(m.title for m in test.metrics[1:])]
    for name in summary.names(test):
        trouble = summary.bench.troubles.get((test.name, name))
        if summary.median(test.name, name) is None:
            yield [summary.titles[name], trouble or "-"]
            continue
        spread = summary.spread(test.name, name)
        yield [summary.titles[name], _number(summary.median(test.name, name), first.digits),
               "-" if spread is None else f"±{spread * 100:.0f} %",
               *(_number(summary.ratio(test.name, name, r), 2) for r in _reference(name)),
               *(_number(summary.median(test.name, name, m.key), m.digits) for m in test.metrics[1:])]


def _align(rows):
    rows = list(rows)
    width = [max((len(r[i]) for r in rows if i < len(r) and len(r) > 2), default=0) for i in range(max(map(len, rows)))]
    for row in rows:
        cells = [c.ljust(width[0]) if i == 0 else c.rjust(width[i]) for i, c in enumerate(row)]
        yield "  ".join(cells).rstrip()


def _goal_text(goal, test, value, reached):
    metric = next(m for m in test.metrics if m.key == goal.metric)
    against = f" / {goal.reference}" if goal.reference else ""
    sign = "≥" if metric.more_is_better else "≤"
    return [test.name, f"{goal.candidate}{against}", metric.title, f"{value:.3g}", f"{sign} {goal.bound:g}",
            "reached" if reached else "missed"]


def as_text(summary, machine):
    lines = [describe(machine), ""]
    for test in summary.tests:
        if summary.names(test):
            lines += [f"{test.title} ({test.name})", *("  " + line for line in _align(_rows_of(summary, test))), ""]
    goals = [_goal_text(*g) for g in summary.goals()]
    if goals:
        lines += ["goals of the project", *("  " + line for line in _align(goals)), ""]
    return "\n".join(lines)


def describe(machine):
    return (f"{machine['cpu']}, {machine['cores']} cores ({' '.join(machine['cpu_flags'])}), "
            f"{machine['memory_gib']} GiB, {machine['system']}, Linux {machine['kernel']}, {machine['openssl']}, "
            f"congestion control {machine['congestion_control']}, load before {machine['load_before']:.1f}, "
            f"{machine['date']}")


# ---- for docs/performance.md ----

def markdown_table(rows):
    rows = list(rows)
    columns = max(map(len, rows))
    for i, row in enumerate(rows):
        yield "| " + " | ".join(row + [""] * (columns - len(row))) + " |"
        if i == 0:
            yield "|---|" + "--:|" * (columns - 1)


def as_markdown(summary, machine, command):
    lines = [f"Measured with `{command}` on: {describe(machine)}.", ""]
    lines += [f"* {title}: {version}" for title, version in summary.bench.versions.items()] + [""]
    lines += ["![each figure divided by that of HAProxy](performance.svg)", ""]
    for test in summary.tests:
        if summary.names(test):
            lines += [f"### {test.title[0].upper()}{test.title[1:]} (`{test.name}`)", "",
                      *markdown_table(_rows_of(summary, test)), ""]
    goals = [_goal_text(*g) for g in summary.goals()]
    if goals:
        lines += ["### Goals", "", *markdown_table([["test", "what", "of", "measured", "goal", ""], *goals]), ""]
    return "\n".join(lines)


def write_between(path, name, text):
    """Between the markers of that name; the rest of the document is not ours."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    document = path.read_text(encoding="utf-8")
    head, rest = document.split(begin, 1)
    tail = rest.split(end, 1)[1]
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")
