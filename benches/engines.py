#!/usr/bin/env python3
"""Asks ClickHouse (chdb) and DuckDB what `benches/journeys` asked, holds their answers against ours, compares times.

    cargo bench --bench journeys -- --events 1000000 --export state/bench
    python benches/engines.py state/bench/1000000 [--runs 5] [--json FILE]

Both get the same columns as numbers (texts are looked up beforehand, which spares them work), in a table sorted by
person and time, and two threads. A different answer ends the run with status 1.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

try:
    import duckdb
    import numpy
    import pyarrow
    import pyarrow.parquet
    from chdb import session as chdb_session
except ImportError as missing:
    sys.exit(f"{missing.name} is missing: pip install chdb duckdb numpy pyarrow")

WINDOW = 7 * 86_400_000_000
LOOK_BACK = 30 * 86_400_000_000
WEEK = 7 * 86_400_000_000
PERIODS = 13
DEPTH = 5
THREADS = 2


DTYPES = {"u8": "<u1", "u32": "<u4", "u64": "<u8"}


def read_table(folder):
    """A table; each file is called after its column and the type of it."""
    found = {}
    for file in sorted(folder.iterdir()):
        name, kind = file.name.split(".")
        found[name] = numpy.fromfile(file, dtype=DTYPES[kind])
    schema = pyarrow.schema([pyarrow.field(name, pyarrow.from_numpy_dtype(found[name].dtype), False) for name in found])
    return pyarrow.table(found, schema)


class Site:
    """What was exported, and the numbers that stand for what the questions name."""

    def __init__(self, folder):
        self.folder = folder
        names = json.loads((folder / "dictionaries.json").read_text())
        ours = json.loads((folder / "ours.json").read_text())
        self.report, self.answers = ours["report"], ours["answers"]
        self.pages, self.channels, self.origin = names["pages"], names["channels"], names["origin"]
        kind = {name: number for number, name in enumerate(names["types"])}
        self.view = kind["page_view"]
        home = self.pages.index("/")
        products = [number for number, page in enumerate(self.pages) if page.startswith("/product/")]
        listed = f"page BETWEEN {products[0]} AND {products[-1]}"
        assert products == list(range(products[0], products[-1] + 1))
        self.steps = [
            f"type = {self.view} AND page = {home}",
            f"type = {self.view} AND {listed}",
            f"type = {kind['add_to_cart']}",
            f"type = {kind['checkout_start']}",
            f"type = {kind['purchase']}",
        ]
        self.any_step = " OR ".join(f"({step})" for step in self.steps)


class ClickHouse:
    name = "ClickHouse"

    def __init__(self, site, work):
        self.session = chdb_session.Session(str(work / "clickhouse"))
        self.version = self.ask("SELECT version()")[0][0]
        self.run(f"SET max_threads = {THREADS}")
        for table, order in [("events", "person, time"), ("sessions", "person, start")]:
            file = work / f"{table}.parquet"
            self.run(
                f"CREATE TABLE {table} ENGINE = MergeTree ORDER BY ({order}) AS SELECT * FROM file('{file}', Parquet)"
                " SETTINGS schema_inference_make_columns_nullable = 0"
            )
            self.run(f"OPTIMIZE TABLE {table} FINAL")

    def run(self, sql):
        return self.session.query(sql, "JSONCompact")

    def ask(self, sql):
        return json.loads(str(self.run(sql)))["data"]

    def funnel(self, site):
        steps = ", ".join(site.steps)
        return [
            f"""SELECT level, count() FROM (
                    SELECT windowFunnel({WINDOW})(time, {steps}) AS level FROM events WHERE {site.any_step} GROUP BY person
                ) WHERE level > 0 GROUP BY level SETTINGS optimize_aggregation_in_order = {in_order}"""
            for in_order in (0, 1)
        ]

    def funnel_by_device(self, site):
        steps = ", ".join(site.steps)
        # The device of a person is the same in all their sessions here.
        return [
            f"""SELECT device, level, count() FROM (
                    SELECT person, windowFunnel({WINDOW})(time, {steps}) AS level FROM events WHERE {site.any_step}
                    GROUP BY person
                ) f JOIN (SELECT person, any(device) AS device FROM sessions GROUP BY person) d USING person
                WHERE level > 0 GROUP BY device, level"""
        ]

    def retention(self, site):
        return [
            f"""SELECT cohort, week - cohort AS period, count() FROM (
                    SELECT person, min(week) OVER (PARTITION BY person) AS cohort, week FROM (
                        SELECT DISTINCT person, intDiv(start - {site.origin}, {WEEK}) AS week FROM sessions))
                GROUP BY cohort, period""",
            f"""SELECT weeks[1] AS cohort, week - cohort AS period, count() FROM (
                    SELECT arraySort(groupUniqArray(intDiv(start - {site.origin}, {WEEK}))) AS weeks
                    FROM sessions GROUP BY person)
                ARRAY JOIN weeks AS week GROUP BY cohort, period""",
        ]

    def paths(self, site):
        return [
            f"""SELECT level, page, next, count() FROM (
                    SELECT arraySlice(arrayCompact(arrayMap(one -> one.2, arraySort(groupArray((time, page))))), 1, {DEPTH}) AS way
                    FROM events WHERE type = {site.view} GROUP BY session)
                ARRAY JOIN way AS page, arrayEnumerate(way) AS level,
                    arrayPushBack(arrayMap(one -> toInt16(one), arrayPopFront(way)), -1) AS next
                GROUP BY level, page, next"""
        ]

    def attribution(self, site):
        return [
            f"""WITH touches AS (
                    SELECT c.session AS conversion, s.source AS source, s.start AS start FROM sessions c JOIN sessions s USING person
                    WHERE c.bought > 0 AND s.start <= c.start AND s.start + {LOOK_BACK} >= c.bought)
                SELECT 'linear' AS model, source, sum(share) FROM (
                    SELECT source, 1 / count() OVER (PARTITION BY conversion) AS share FROM touches) GROUP BY source
                UNION ALL SELECT 'last', source, count() FROM (
                    SELECT argMax(source, start) AS source FROM touches GROUP BY conversion) GROUP BY source
                UNION ALL SELECT 'last_non_direct', source, count() FROM (
                    SELECT if(countIf(source != 0) > 0, argMaxIf(source, start, source != 0), 0) AS source
                    FROM touches GROUP BY conversion) GROUP BY source"""
        ]


class DuckDB:
    name = "DuckDB"

    def __init__(self, site, work):
        self.connection = duckdb.connect(str(work / "duckdb.db"))
        self.version = duckdb.__version__
        self.connection.execute(f"SET threads = {THREADS}")
        self.connection.execute("SET memory_limit = '8GB'")
        for table, order in [("events", "person, time"), ("sessions", "person, start")]:
            file = work / f"{table}.parquet"
            self.connection.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{file}') ORDER BY {order}")
        self.connection.execute("CHECKPOINT")

    def ask(self, sql):
        return self.connection.execute(sql).fetchall()

    def levels(self, site):
        """For each event of a step the newest entry that led to it, carried from step to step by running maxima."""
        step = " ".join(f"WHEN {step} THEN {number}" for number, step in enumerate(site.steps, 1))
        sql = f"SELECT person, time, CASE {step} END AS step, CASE WHEN step = 1 THEN time END AS e1 FROM events WHERE {site.any_step}"
        for number in range(2, len(site.steps) + 1):
            before = f"max(e{number - 1}) OVER (PARTITION BY person ORDER BY time)"
            sql = f"""SELECT *, CASE WHEN step = {number} AND time - before{number} <= {WINDOW} THEN before{number} END AS e{number}
                      FROM (SELECT *, {before} AS before{number} FROM ({sql}))"""
        last = len(site.steps)
        level = " ".join(f"WHEN count(e{number}) > 0 THEN {number}" for number in range(last, 0, -1))
        return f"SELECT person, CASE {level} ELSE 0 END AS level FROM ({sql}) GROUP BY person"

    def folded(self, site):
        """The same by a fold over a list of each person's steps: newest entries of all steps are carried along."""
        step = " ".join(f"WHEN {step} THEN {number}" for number, step in enumerate(site.steps, 1))
        count = len(site.steps)
        fields = ["'at': 0::UBIGINT", "'step': 0::UTINYINT"] + [f"'e{number}': 0::UBIGINT" for number in range(1, count + 1)]
        start = "{" + ", ".join(fields) + "}"
        carried = ["'at': x['at']", "'step': x['step']", "'e1': CASE WHEN x['step'] = 1 THEN x['at'] ELSE a['e1'] END"]
        for number in range(2, count + 1):
            entry = f"a['e{number - 1}']"
            is_step = f"x['step'] = {number} AND {entry} > 0 AND x['at'] - {entry} <= {WINDOW}"
            carried.append(f"'e{number}': CASE WHEN {is_step} THEN {entry} ELSE a['e{number}'] END")
        fold = "{" + ", ".join(carried) + "}"
        item = ["'at': time", f"'step': (CASE {step} END)::UTINYINT"] + fields[2:]
        listed = "list({" + ", ".join(item) + "} ORDER BY time)"
        level = " ".join(f"WHEN state['e{number}'] > 0 THEN {number}" for number in range(count, 0, -1))
        return f"""SELECT person, CASE {level} ELSE 0 END AS level FROM (
                       SELECT person, list_reduce({listed}, lambda a, x: {fold}, {start}) AS state
                       FROM events WHERE {site.any_step} GROUP BY person)"""

    def funnel(self, site):
        return [
            f"SELECT level, count(*) FROM ({people}) WHERE level > 0 GROUP BY level"
            for people in (self.levels(site), self.folded(site))
        ]

    def funnel_by_device(self, site):
        return [
            f"""SELECT device, level, count(*) FROM ({people})
                JOIN (SELECT person, any_value(device) AS device FROM sessions GROUP BY person) USING (person)
                WHERE level > 0 GROUP BY device, level"""
            for people in (self.levels(site), self.folded(site))
        ]

    def retention(self, site):
        return [
            f"""SELECT cohort, week - cohort AS period, count(*) FROM (
                    SELECT person, min(week) OVER (PARTITION BY person) AS cohort, week FROM (
                        SELECT DISTINCT person, (start - {site.origin}) // {WEEK} AS week FROM sessions))
                GROUP BY ALL""",
            f"""SELECT cohort, week - cohort AS period, count(*) FROM (
                    SELECT cohort, unnest(weeks) AS week FROM (
                        SELECT min((start - {site.origin}) // {WEEK}) AS cohort,
                            list(DISTINCT (start - {site.origin}) // {WEEK}) AS weeks FROM sessions GROUP BY person))
                GROUP BY ALL""",
        ]

    def paths(self, site):
        return [
            f"""SELECT level, page, coalesce(next, -1), count(*) FROM (
                    SELECT session, page, row_number() OVER way AS level, lead(page) OVER way AS following,
                        CASE WHEN level < {DEPTH} THEN following END AS next FROM (
                        SELECT session, time, page, lag(page) OVER (PARTITION BY session ORDER BY time) AS before
                        FROM events WHERE type = {site.view})
                    WHERE before IS DISTINCT FROM page WINDOW way AS (PARTITION BY session ORDER BY time))
                WHERE level <= {DEPTH} GROUP BY ALL"""
        ]

    def attribution(self, site):
        return [
            f"""WITH touches AS MATERIALIZED (
                    SELECT c.session AS conversion, s.source, s.start FROM sessions c JOIN sessions s USING (person)
                    WHERE c.bought > 0 AND s.start <= c.start AND s.start + {LOOK_BACK} >= c.bought)
                SELECT 'linear' AS model, source, sum(share) FROM (
                    SELECT source, 1 / count(*) OVER (PARTITION BY conversion) AS share FROM touches) GROUP BY source
                UNION ALL SELECT 'last', source, count(*) FROM (
                    SELECT arg_max(source, start) AS source FROM touches GROUP BY conversion) GROUP BY source
                UNION ALL SELECT 'last_non_direct', source, count(*) FROM (
                    SELECT coalesce(arg_max(source, start) FILTER (source != 0), 0) AS source
                    FROM touches GROUP BY conversion) GROUP BY source"""
        ]


def reached(rows, steps):
    """Who reached each step, from who got how far."""
    levels = {int(level): int(count) for level, count in rows}
    return [sum(levels.get(level, 0) for level in range(step, steps + 1)) for step in range(1, steps + 1)]


def same_funnel(site, rows):
    return reached(rows, len(site.steps)), [step["entered"] for step in site.answers["funnel"]["steps"]]


def same_funnel_by_device(site, rows):
    """Only the sums; the counts behind reasons, which ours has, too, are not asked of others."""
    levels = {}
    for _, level, count in rows:
        levels[int(level)] = levels.get(int(level), 0) + int(count)
    return same_funnel(site, levels.items())


def same_retention(site, rows):
    theirs = {(int(cohort), int(period)): int(count) for cohort, period, count in rows if int(period) < PERIODS}
    ours = {}
    for number, cohort in enumerate(site.answers["retention"]["cohorts"]):
        for cell in cohort["periods"]:
            if cell["returned"]:
                ours[(number, cell["period"])] = cell["returned"]
    return theirs, ours


def same_paths(site, rows):
    """Counts of the nodes that are shown."""
    counts = {}
    for level, page, _, count in rows:
        key = (int(level) - 1, site.pages[int(page)])
        counts[key] = counts.get(key, 0) + int(count)
    ours = {(node["level"], node["page"]): node["count"] for node in site.answers["paths"]["nodes"] if node["page"]}
    return {key: counts.get(key) for key in ours}, ours


def same_attribution(site, rows):
    """Last touches are equal. Linear credit is: ours are whole millionths of each conversion, theirs are floats."""
    theirs = {}
    for model, source, credit in rows:
        key = (model, site.channels[int(source)])
        theirs[key] = theirs.get(key, 0.0) + float(credit)
    ours = {}
    for value in site.answers["attribution"]["values"]:
        for credit in value["credits"]:
            ours[(credit["model"], value["value"])] = float(credit["conversions"])
    rounding = 1e-6 * site.answers["attribution"]["conversions"]
    for key, credit in list(theirs.items()):
        if key[0] == "linear" and abs(credit - ours.get(key, 0.0)) <= rounding:
            theirs[key] = ours[key]
    return theirs, {key: credit for key, credit in ours.items() if credit}


QUESTIONS = [
    ("funnel", "funnel", same_funnel),
    ("funnel, device, reasons", "funnel_by_device", same_funnel_by_device),
    ("paths", "paths", same_paths),
    ("retention", "retention", same_retention),
    ("attribution, 3 models", "attribution", same_attribution),
]


def answer(engine, site, queries, check, runs):
    """Median time and mean processor time of the quickest way to ask, in ms. All ways must give our answer."""
    best = (float("inf"), 0.0)
    for sql in queries:
        rows = engine.ask(sql)
        if check:
            theirs, ours = check(site, rows)
            if theirs != ours:
                sys.exit(f"{engine.name} says {theirs}\nand we say {ours}\nto {sql}")
        times = []
        processor = time.process_time()
        for _ in range(runs):
            started = time.perf_counter()
            engine.ask(sql)
            times.append((time.perf_counter() - started) * 1000)
        processor = (time.process_time() - processor) * 1000 / runs
        best = min(best, (statistics.median(times), processor))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    site = Site(arguments.folder)
    work = pathlib.Path(tempfile.mkdtemp(prefix="engines-", dir=arguments.folder))
    try:
        for table in ("events", "sessions"):
            pyarrow.parquet.write_table(read_table(arguments.folder / table), work / f"{table}.parquet")
        found = {"events": site.report["events"], "figures": {}}
        ours = {figure["name"]: (figure["median_ms"], figure["cpu_ms"]) for figure in site.report["figures"]}
        for name, _, _ in QUESTIONS:
            found["figures"][name] = {"ours": ours[name]}
        for make in (ClickHouse, DuckDB):
            started = time.perf_counter()
            engine = make(site, work)
            print(f"{engine.name} {engine.version}: loaded in {time.perf_counter() - started:.1f} s", flush=True)
            found[engine.name] = engine.version
            for name, method, check in QUESTIONS:
                queries = getattr(engine, method)(site)
                found["figures"][name][engine.name] = answer(engine, site, queries, check, arguments.runs)
            del engine
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for place, what in enumerate(("time to answer, median", "processor time, mean")):
        print(f"{site.report['events']} events, {what}, ms; in brackets by ours")
        for name, figures in found["figures"].items():
            ours = figures["ours"][place]
            others = "".join(
                f"   {engine} {figures[engine][place]:8.1f} ({figures[engine][place] / ours:5.1f} ×)"
                for engine in ("ClickHouse", "DuckDB")
            )
            print(f"  {name:24} {ours:8.2f}{others}")
    print("Answers are equal: funnel, paths, retention, attribution.")
    if arguments.json:
        arguments.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
