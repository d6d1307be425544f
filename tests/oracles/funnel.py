#!/usr/bin/env python3
"""Ordered funnels against ClickHouse's windowFunnel, on random actors.

Needs chdb (pip install chdb), ClickHouse in a Python package; without it, it says that it is skipped.

    FUNNEL_ORACLE=/tmp/actors cargo test --lib -- --ignored random_actors_are_written_for_the_oracle
    tests/oracles/funnel.py /tmp/actors
"""

import collections
import sys
import tempfile

try:
    from chdb import session
except ImportError:
    print("SKIPPED: chdb is not installed, so nothing was compared with ClickHouse")
    sys.exit(0)


def read(path):
    """Returns the actors by kind of funnel: {(steps, window): {actor: (level, [(time, step)])}}."""
    kinds = collections.defaultdict(dict)
    with open(path) as lines:
        for line in lines:
            steps, window, actor, level, *events = line.split()
            pairs = [tuple(map(int, event.split(":"))) for event in events]
            kinds[int(steps), int(window)][int(actor)] = (int(level), pairs)
    return kinds


def levels(clickhouse, steps, window, actors):
    """Asks ClickHouse how far each actor comes. Those without events are in no group."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        for actor, (_, events) in actors.items():
            file.writelines(f"{actor},{time},{step}\n" for time, step in events)
        file.flush()
        conditions = ", ".join(f"step = {step}" for step in range(steps))
        answer = clickhouse.query(
            f"SELECT actor, windowFunnel({window})(time, {conditions}) FROM "
            f"file('{file.name}', 'CSV', 'actor UInt32, time UInt64, step UInt8') GROUP BY actor",
            "CSV",
        )
        rows = (line.split(",") for line in str(answer).split())
        return {int(actor): int(level) for actor, level in rows}


def main():
    clickhouse = session.Session()
    compared = differing = 0
    for (steps, window), actors in read(sys.argv[1]).items():
        theirs = levels(clickhouse, steps, window, actors)
        for actor, (level, events) in actors.items():
            compared += 1
            if theirs.get(actor, 0) != level:
                differing += 1
                if differing <= 10:
                    print(f"{steps} steps, window {window}: {level} here, {theirs.get(actor, 0)} there: {events}")
    print(f"{compared} actors compared with ClickHouse, {differing} differ")
    return 1 if differing or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
