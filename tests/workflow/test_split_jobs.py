"""Jobs split into parts: the same bytes, no leftovers, and no job runs again."""

import json
import shutil

from PIL import Image
from small_project import Project

SPLIT = ("--set-scatter", "extraction=3", "units=2")


def stores(project: Project) -> dict[str, bytes]:
    """Return every file of every store except records of time and machine."""
    root = project.path / "results/activations"
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if path.name != ".snakemake_timestamp"
    }


def completed(project: Project) -> list[str]:
    marks = project.path.glob("results/activations/*/*/*/COMPLETE.json")
    return sorted(str(mark.relative_to(project.path)) for mark in marks)


def test_an_extraction_in_three_parts_gives_the_same_stores_and_reruns_nothing(project: Project):
    whole, marks = stores(project), completed(project)
    assert project.planned(*SPLIT) == set()  # another number of parts is no reason to run
    shutil.rmtree(project.path / "results/activations")
    parts = {f"extract_general_test_block0_{name}" for name in ("begin", "1-of-3", "3-of-3")}
    assert parts <= project.planned(*marks, *SPLIT)
    project.run("--cores", "2", *marks, *SPLIT)
    assert stores(project) == whole  # part files, shards, COMPLETE.json: to the byte
    assert project.planned() == set() and project.planned(*SPLIT) == set()


def test_a_damaged_range_of_a_part_is_seen_and_redone_when_parts_are_gathered(project: Project):
    """One part's shard changes before the last job, for example on another node's disk."""
    whole, marks = stores(project), completed(project)
    [mark] = [mark for mark in marks if "general-test/resid_post-L01" in mark]
    folder = (project.path / mark).parent
    (folder / "COMPLETE.json").unlink()  # as if the last job had not run
    shard = next(path for path in sorted(folder.rglob("patch/c/*/*/*")) if path.is_file())
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    project.run("--cores", "2", mark, *SPLIT)
    assert stores(project) == whole
    log = (project.path / "results/logs/extract_general_test_block0.log").read_text()
    assert "every byte of the parts was checked" in log and "[0]" in log


def test_a_part_of_another_plan_is_made_again(project: Project):
    """A killed run left the mark of a part, then the config changed: the mark is stale."""
    whole = stores(project)
    [mark] = [mark for mark in completed(project) if "general-test/mlp_out-L00" in mark]
    folder = (project.path / mark).parent
    (folder / "COMPLETE.json").unlink()
    part = folder / "scatter/1-of-3/COMPLETE.json"
    part.parent.mkdir(parents=True)
    record = {"stage": "part", "digest": "0" * 10, "spec": {"part": "1-of-3"}, "upstream": {}}
    part.write_text(json.dumps({"spec": record, "fingerprints": {}}))
    (project.path / "results/.out-of-date").unlink(missing_ok=True)
    assert "extract_general_test_block0_1-of-3" in project.planned(mark, *SPLIT)
    project.run("--cores", "2", mark, *SPLIT)
    assert stores(project) == whole and not part.exists()


def test_other_images_begin_split_stores_anew(project: Project):
    """A part would refuse a store that was started with other images: the first job clears it."""
    image = sorted((project.path / "images/test").rglob("*.png"))[0]
    Image.new("RGB", (32, 32), "green").save(image)  # of another size in bytes, which is compared
    [index] = project.path.glob("results/datasets/general-*/COMPLETE.json")
    project.run("--cores", "1", "--force", str(index.relative_to(project.path)))
    marks = [mark for mark in completed(project) if "general-test" in mark]
    before = stores(project)
    assert "extract_general_test_block0_begin" in project.planned(*marks, *SPLIT)
    project.run("--cores", "2", *marks, *SPLIT)
    assert project.planned(*marks) == set()
    assert stores(project) != before
