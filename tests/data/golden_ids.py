"""Write golden_ids.json anew: only when a recipe version was raised, with the reason in the commit."""

import json
from pathlib import Path

from sodiate.workflows.campaign.load import bundled_campaigns
from sodiate.workflows.plan.planner import plan

golden = {name: {n: c.id for n, c in plan(name).names.items()} for name in bundled_campaigns()}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
