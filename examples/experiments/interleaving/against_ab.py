"""How many requests an A/B test of the two rankers would have taken, from what the replay recorded.

Every interleaved answer tells how both rankers had ordered the list. So one knows on how many late flights of the upper
five people would have clicked, had they been shown either order.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
STATE = HERE / ".capstan"
CLICKS = """
with payloads as (
  from read_parquet('{system}/payloads/*/*.parquet', union_by_name = true)
), orders as (
  select distinct request_id, row, "output.championRank" as by_champion, "output.challengerRank" as by_challenger
  from payloads where version = 'combiner'
), items as (
  select distinct request_id, row, entity_id from payloads where role = 'champion'
), lists as (
  select request_id, sum((relevance > 0 and by_champion <= 5)::int) as champion,
    sum((relevance > 0 and by_challenger <= 5)::int) as challenger
  from orders join items using (request_id, row) join read_parquet('{data}/departures.parquet') on entity_id = flight_id
  group by request_id
)
select count(*), avg(champion), avg(challenger), stddev(champion) from lists
"""


def main(state: Path = STATE) -> None:
    system = state / "systems" / "experiments-interleaving"
    query = CLICKS.format(system=system, data=HERE.parent / "data")
    lists, champion, challenger, spread = duckdb.sql(query).fetchall()[0]
    if lists < 2:
        sys.exit(
            f"{system}: holds no interleaved lists; run `make example NAME=experiments/interleaving` first"
        )
    sys.stdout.write(
        f"{lists:,} lists: {champion:.3f} clicks on the champion's order, {challenger:.3f} on the challenger's, "
        f"spread {spread:.3f}\n"
    )
    asked = ["--effect", f"{abs(challenger - champion):.4f}", "--sd", f"{spread:.4f}"]
    subprocess.run([sys.executable, "-m", "capstan", "power", "experiment", *asked], check=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
