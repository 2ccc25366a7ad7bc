"""What a command may replace: never an input, and only what it wrote itself."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from tool_sets import refused, works
from training_sets import training_set

from p2seg.cli.outputs import ALSO_READ, inputs_read, output_of
from p2seg.cli.paths import CONFIGS
from p2seg.errors import UserError
from p2seg.runtime.files import watching, write_text
from p2seg.runtime.links import write_second_name
from p2seg.runtime.outputs import Output, refuse_inputs, replacing
from p2seg.runtime.run_record import note_start
from p2seg.runtime.settings import paths_read

COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "base")
ENDINGS = {"export_points": ".xml", "export": ".onnx", "visualize": ".png"}
"""Of files that commands write, where it is not `.json`."""
GIVEN = {"figure": "masks", "format": "cvat", "kind": "pseudo", "suite": "memory"}
"""Settings without a default."""
MINE = "made by hand"


@pytest.fixture(scope="module")
def configs():
    """The config of each command, composed once."""
    made = {}

    def config(command):
        if command not in made:
            GlobalHydra.instance().clear()
            with initialize_config_dir(str(CONFIGS), version_base="1.3"):
                made[command] = compose("gen_semantic" if command == "check" else command)
        return OmegaConf.merge(made[command], {})

    return config


@pytest.fixture
def tool(configs, tmp_path):
    """A command's function, its config with `out` below `tmp_path`, and what it writes."""

    def of(command):
        name = "map_check" if command == "check" else command
        module = importlib.import_module(f"p2seg.cli.{name}")
        cfg = configs(command)
        for key in GIVEN.keys() & cfg.keys():
            cfg[key] = GIVEN[key]
        if command == "predict":
            cfg.predict.formats = ["yolo"]
        own = output_of(cfg, command, tmp_path / "out")
        is_file = own.home == tmp_path and command != "eval"
        ending = ENDINGS.get(command, ".json") if is_file else ""
        cfg.out = f"{tmp_path}/out{ending}"
        out = Path(cfg.out)
        output = output_of(cfg, command, out / "metrics.json" if command == "eval" else out)
        return module.check if command == "check" else module.run, cfg, output

    return of


def contents(folder):
    return {path: path.read_text() for path in folder.rglob("*") if path.is_file()}


def put(path, text=MINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def spellings(file, folder):
    """Paths of one file."""
    folder.mkdir(exist_ok=True)
    (folder / "symbolic").symlink_to(file)
    (folder / "hard").hardlink_to(file)
    yield from (file, folder / ".." / file.relative_to(folder.parent))
    yield from (folder / "symbolic", folder / "hard")


@pytest.mark.parametrize("command", [*sorted(COMMANDS), "check"])
def test_an_input_is_never_replaced(tool, tmp_path, command):
    run, cfg, output = tool(command)
    keys = [*paths_read("gen_semantic" if command == "check" else command)]
    keys += ALSO_READ.get(command, ())
    made = {output.record, *output.files, *([output.out] if output.out.suffix else [])}
    for number, file in enumerate(sorted(made)):
        put(file)
        for place, given in enumerate(spellings(file, tmp_path / f"links_{number}")):
            before = contents(tmp_path)
            changed = OmegaConf.merge(cfg, {"overwrite": True})
            OmegaConf.update(changed, keys[place % len(keys)], str(given), force_add=True)
            with pytest.raises(UserError, match=r"would be replaced, but .* is an input of this"):
                run(changed)
            assert contents(tmp_path) == before
        for link in (tmp_path / f"links_{number}").iterdir():
            link.unlink()
        file.unlink()


@pytest.mark.parametrize("command", [*COMMANDS, "check"])
def test_what_another_has_written_is_not_replaced(tool, tmp_path, command):
    run, cfg, output = tool(command)
    names = [pattern.replace("[0-9]", "0").replace("*", "1") for pattern in output.groups]
    single = [file for file in output.files if file != output.out or command != "annotate"]
    for file in (*single, *(output.home / name for name in names), output.record):
        put(file)
        unrelated = put(output.home / "notes.txt")
        with pytest.raises(
            UserError, match=r"exists and .*; set another out=PATH, or overwrite=true"
        ) as told:
            run(cfg)
        assert str(told.value).startswith(str(file))
        assert contents(tmp_path) == {file: MINE, unrelated: MINE}
        file.unlink()


@pytest.mark.parametrize("name", ["best.pt", "validated.json"])
def test_a_training_does_not_delete_what_another_has_written(tool, name):
    run, cfg, output = tool("train")
    file = put(output.home / name)
    with pytest.raises(UserError, match=name):
        run(cfg)
    assert contents(output.home) == {file: MINE}


@pytest.mark.parametrize(
    ("command", "key", "given"),
    [
        ("predict", "images", "overlays"),
        ("predict", "images", "overlays/*.jpg"),
        ("gallery", "images", "images"),
        ("gallery", "pred", "data/pred.js"),
        ("gen_semantic", "semantic.maps", "."),
        ("gen_semantic", "data.images", "."),  # with a.png in it
        ("gen_semantic", "data.candidates", "."),
        ("export_masks", "pred", "coco/instances.json"),
        ("train", "model.weights", "earlier/step_00000001.pt"),
        ("validate", "data.semantic", "."),
    ],
)
def test_results_do_not_replace_files_of_a_folder_that_is_read(tool, tmp_path, command, key, given):
    run, cfg, output = tool(command)
    source = output.home / given
    if source.suffix in (".js", ".json", ".pt"):
        put(source)
    else:
        put((source.parent if "*" in given else source) / "a.png")
        put(output.home / "validate.html")
    before = contents(tmp_path)
    OmegaConf.update(cfg, key, str(source), force_add=True)  # maps are of semantic=png
    cfg.overwrite = True
    with pytest.raises(UserError, match="would be replaced"):
        run(cfg)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["a.jpg", "clip.mp4"])
def test_an_image_in_the_folder_is_an_input_and_a_json_beside_it_is_none(tool, tmp_path, name):
    _, cfg, _ = tool("gen_pseudo")
    cfg.data.images = str(tmp_path)
    inputs = [*inputs_read(cfg, "gen_pseudo")]
    with pytest.raises(UserError, match="would be replaced"):
        refuse_inputs(output_of(cfg, "gen_pseudo", put(tmp_path / name)), inputs)
    refuse_inputs(output_of(cfg, "gen_pseudo", put(tmp_path / "masks.json")), inputs)


@pytest.fixture
def gt(tmp_path):
    """A ground truth with a box."""
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {
                **dict.fromkeys(("id", "image_id", "category_id"), 1),
                "bbox": [2, 2, 9, 9],
                "segmentation": [[2, 2, 11, 2, 11, 11, 2, 11]],
            }
        ],
    }
    return put(tmp_path / "gt.json", json.dumps(document))


def test_a_command_replaces_what_it_wrote_itself(gt, tmp_path, run_tool):
    out = tmp_path / "points.json"
    words = ("make_points", f"gt={gt}", f"out={out}")
    for more in ((), ("sampler=box_center",)):
        assert run_tool(*words, *more)[0] == 0
    made = out.read_text()
    out.write_text(made + "\n")  # edited
    answer = run_tool(*words)
    refused(answer, f"{out} exists and ", "was changed after p2seg make_points wrote it")
    assert out.read_text() == made + "\n"
    for more in (("overwrite=true",), ()):
        assert run_tool(*words, *more)[0] == 0
    csv = put(tmp_path / "clicks.csv", "file,x,y,label\na.jpg,1,1,dog\n")
    (tmp_path / "photos").mkdir()
    answer = run_tool("import_points", f"in={csv}", f"images={tmp_path}/photos", f"out={out}")
    refused(answer, "was not written by p2seg import_points")


def test_no_points_file_is_made_of_a_file_of_masks(tmp_path, run_tool):
    pytest.importorskip("nicegui")
    own = training_set(tmp_path / "set")
    masks = tmp_path / "masks.json"
    works(run_tool("gen_pseudo", *own.words, "trainer.accelerator=cpu", f"out={masks}"))
    before, words = masks.read_bytes(), ("preview=none", "port=0", "browser=false")
    answer = run_tool("annotate", f"images={own.images}", f"out={masks}", *words)
    refused(answer, "was not written by p2seg annotate")
    (tmp_path / "masks.run.json").unlink()
    answer = run_tool("annotate", f"images={own.images}", f"out={masks}", *words)
    refused(answer, "masks.json")
    assert masks.read_bytes() == before


def test_a_link_and_its_file_are_one_output(gt, tmp_path, run_tool):
    real, link = tmp_path / "real/points.json", tmp_path / "link.json"
    words = ("make_points", f"gt={gt}")
    assert run_tool(*words, f"out={real}")[0] == 0
    link.symlink_to(real)
    for out in (link, real, link):
        assert run_tool(*words, f"out={out}")[0] == 0
    assert not (tmp_path / "link.run.json").exists()
    real.write_text(MINE)
    for out in (link, real):
        refused(run_tool(*words, f"out={out}"), "was changed after")


class Killed(BaseException):
    """Of a process."""


def output(folder, **more):
    return Output("eval", folder, folder, folder / "run.json", (folder / "a.json",), **more)


def written(own, name, text, *, overwrite=False, killed=None):
    """Writes a file of an output; the process is killed `before` or `after` it is there."""

    def dies(_, path):
        if killed == "before" and path.name != "run.json":
            raise Killed

    try:
        with replacing(own, overwrite=overwrite), watching(dies):
            write_text(own.home / name, text)
            if killed == "after":
                raise Killed
    except Killed:
        assert killed
    else:
        assert not killed


def test_a_kill_at_any_moment_leaves_nothing_unknown(tmp_path):
    own = output(tmp_path)
    for text, killed in (("1", "before"), ("2", "after"), ("3", "before"), ("4", "before")):
        written(own, "a.json", text, killed=killed)
    assert (tmp_path / "a.json").read_text() == "2"
    for text in ("5", "6"):
        written(own, "a.json", text)
    put(tmp_path / "a.json")
    with pytest.raises(UserError, match="was changed after"):
        written(own, "a.json", "7")


def test_a_kill_does_not_make_a_file_of_others_ones_own(tmp_path):
    put(tmp_path / "a.json")
    written(output(tmp_path), "a.json", "new", overwrite=True, killed="before")
    with pytest.raises(UserError, match="exists and "):
        written(output(tmp_path), "a.json", "new")


def test_a_group_is_the_commands_own_only_where_it_wrote_that_group(tmp_path):
    own = output(tmp_path, groups=("pages/*", "marks/*"))
    written(own, "pages/0", "page")
    written(own, "pages/0", "new page")
    put(tmp_path / "marks/0")
    with pytest.raises(UserError, match=r"marks/0 .*not written by"):
        written(own, "pages/0", "page")


def test_a_group_of_another_command_with_the_same_record_is_not_replaced(tmp_path):
    own = output(tmp_path, groups=("marks/*",))
    written(replace(own, command="predict"), "marks/0", "theirs")
    note_start(own.record, {"tool": "eval"})
    with pytest.raises(UserError, match=r"marks/0 .*not written by"):
        written(own, "marks/0", "mine")


def test_a_group_of_links_is_known(tmp_path):
    own = output(tmp_path, groups=("marks/*",))
    for _ in range(2):
        with replacing(own, overwrite=False):
            write_second_name(tmp_path / "marks/0", put(tmp_path / "source"))


def test_files_that_are_made_to_be_edited(tmp_path):
    own = output(tmp_path, edited=("*.json",))
    written(own, "marks/0.json", "none", killed="after")
    for _ in range(2):
        written(own, "marks/1.json", "one")
    put(tmp_path / "marks/0.json")
    with pytest.raises(UserError, match="is not as p2seg eval wrote it"):
        written(own, "marks/1.json", "one")
    for overwrite in (True, False):
        written(own, "marks/1.json", "one", overwrite=overwrite)


def test_an_edit_after_an_interrupted_run_is_not_lost(tmp_path):
    own = output(tmp_path, edited=("*.json",))
    for text, killed in (("1", None), ("2", "before"), ("2", "after"), ("3", "before")):
        written(own, "marks/0.json", text, killed=killed)
    put(tmp_path / "marks/0.json")
    with pytest.raises(UserError, match="is not as p2seg eval wrote it"):
        written(own, "marks/0.json", "4")
    assert (tmp_path / "marks/0.json").read_text() == MINE


def test_a_command_that_continues_files_of_another_makes_them_its_own(tmp_path):
    made, clicked = tmp_path / "a.json", output(tmp_path, continues=frozenset(["make_points"]))
    written(replace(clicked, command="make_points"), "a.json", "made")
    put(made)
    written(replace(clicked, unhashed=frozenset([made])), "a.json", "clicked")
    put(made)
    written(replace(clicked, unhashed=frozenset([made])), "a.json", "clicked")
    with pytest.raises(UserError, match="not written by p2seg make_points"):
        written(replace(clicked, command="make_points", continues=frozenset()), "a.json", "made")


def test_results_of_versions_that_noted_starts_alone_are_known(tmp_path):
    put(tmp_path / "a.json")
    put(tmp_path / "run.json", json.dumps({"starts": [{"tool": "predict"}]}))
    with pytest.raises(UserError, match="not written by p2seg eval"):
        written(output(tmp_path), "a.json", "new")
    put(tmp_path / "run.json", json.dumps({"starts": [{"tool": "eval"}]}))
    written(output(tmp_path), "a.json", "new")
    assert json.loads((tmp_path / "run.json").read_text())["starts"] == [{"tool": "eval"}]
    put(tmp_path / "a.json", "edited")
    with pytest.raises(UserError, match="was changed after"):
        written(output(tmp_path), "a.json", "newer")


def test_a_group_of_such_a_version_stays_known(tmp_path):
    own = output(tmp_path, groups=("marks/*",))
    put(tmp_path / "marks/0")
    put(tmp_path / "run.json", json.dumps({"starts": [{"tool": "eval"}]}))
    for text in ("one", "two"):
        written(own, "a.json", text)


def test_another_rank_may_write_its_list_of_readable_images_first(configs, tmp_path):
    own = output_of(configs("train"), "train", tmp_path)
    for ranks_list in ("[1]", "[1, 2]"):
        put(tmp_path / "readable.json", '{"readable": ' + ranks_list + "}")
        written(own, "readable.json", '{"readable": []}')
    assert "readable.json" in (tmp_path / "run.json").read_text()


def test_only_the_first_process_of_a_run_looks(tmp_path, monkeypatch):
    put(tmp_path / "a.json")
    monkeypatch.setenv("RANK", "1")
    written(output(tmp_path), "a.json", "new")
    assert not (tmp_path / "run.json").exists()
