"""Cluster files that change some keys of another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.clusters.cluster_file import load_cluster


def test_a_cluster_file_may_change_some_keys_of_another_one(tmp_path: Path) -> None:
    """Maps merge, lists and values are replaced, a class that is null is taken out."""
    mine = tmp_path / "mine.yaml"
    classes = "{large: {tasks: 128}, medium: null, small: {kinds: [atom]}}"
    mine.write_text(f"base: slurm\naccount: me\nenv: {{keep: []}}\nclasses: {classes}\n", encoding="utf-8")
    given, base = load_cluster(mine), load_cluster(Path("slurm"))
    assert (given.account, base.account, given.max_jobs) == ("me", None, base.max_jobs)
    assert set(given.classes) == {"small", "large"}
    assert given.classes["large"].all_tasks == 128
    assert given.classes["large"].wall_time == base.classes["large"].wall_time
    assert given.environment("large")["incar"] == base.environment("large")["incar"]
    assert given.environment("large")["keep"] == ()
    assert "bulk" in given.kinds("large")
    (tmp_path / "theirs.yaml").write_text("base: mine.yaml\nqueue: long\n", encoding="utf-8")
    theirs = load_cluster(tmp_path / "theirs.yaml")
    assert (theirs.account, theirs.queue) == ("me", "long")
    for base_name, words in (("slrum", "did you mean 'slurm'"), ("theirs.yaml", "based on itself")):
        mine.write_text(f"base: {base_name}\n", encoding="utf-8")
        with pytest.raises(InputError, match=words):
            load_cluster(tmp_path / "theirs.yaml")
    mine.write_text("base: slurm\nacount: me\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"unknown key 'acount'.*did you mean 'account'"):
        load_cluster(mine)
