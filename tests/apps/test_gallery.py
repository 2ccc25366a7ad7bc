"""The gallery page in a real browser, opened from disk."""

from __future__ import annotations

import json
import time

import pytest
from gallery_sets import HOSTILE, gallery_set
from tool_sets import works

from p2seg.data.coco import read_instances
from p2seg.data.rle import decode
from p2seg.pseudo.review import read_review, reviewed


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture
def made(home, run_tool):
    """Makes the set and its gallery with ground truth and stages, once."""
    if not (home / "set").is_dir():
        own = gallery_set(home / "set")
        stages = ["data=custom", "data.num_classes=2", f"data.semantic={own.semantic}"]
        words = [*own.words, f"gt={own.gt}", *stages, f"out={home}/out"]
        works(run_tool("gallery", *words))
    return home / "set"


@pytest.fixture
def gallery(made, home, page):
    """Opens the page; a request outside its folder fails the test."""
    page.goto((home / "out" / "index.html").as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    return page


def ids(page):
    """Returns the ids of the listed masks in order."""
    return page.evaluate("P2SEG.grid.items.map((item) => item.id)")


def decided(page):
    return page.evaluate(
        "Object.fromEntries(P2SEG.decisions.all().map((each) => [each.id, each.decision]))"
    )


def opened(page, place=0):
    page.click(f".tile[data-place='{place}']")
    page.wait_for_selector("#canvas[data-ready=yes]")


def until(page, text):
    """Waits until a script returns true; the page's policy blocks `wait_for_function`."""
    end = time.monotonic() + 10
    while not page.evaluate(text):
        assert time.monotonic() < end, text
        page.wait_for_timeout(20)


def saved(page, tmp_path):
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "review.json")
    return tmp_path / "review.json"


def settled(page):
    """Returns the pixels of the canvas after drawing has ended."""
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frames)
    return page.locator("#canvas").screenshot()


def test_it_opens_from_the_disk_with_its_pictures(gallery):
    until(
        gallery,
        "[...document.querySelectorAll('.tile img')].length === 4"
        " && [...document.querySelectorAll('.tile img')].every((each) => each.naturalWidth)",
    )
    assert gallery.inner_text(".shown") == "4 of 4 masks"
    assert gallery.inner_text(".judged") == "0 judged, 4 left"
    assert ids(gallery) == ["3", "8", "2", "1"] or ids(gallery)[0] == "3"  # worst IoU first


def test_names_are_never_html(gallery):
    """An HTML file name and class name are shown as text and create no element."""
    assert HOSTILE in gallery.locator("#filters .choices .name").all_inner_texts()
    gallery.select_option("#sort", "suspicion")
    opened(gallery, ids(gallery).index("8"))
    assert gallery.inner_text("#title") == HOSTILE
    assert HOSTILE in gallery.locator("#panel dd").all_inner_texts()
    gallery.keyboard.press("Escape")
    gallery.click("[data-view=images]")
    assert HOSTILE in gallery.locator("figcaption .name").all_inner_texts()
    assert gallery.locator("img[src='x'], [onerror]").count() == 0


def test_the_page_may_not_use_the_network(gallery):
    """The policy blocks every request of a script."""
    asked = gallery.evaluate(
        "fetch('https://example.org/').then(() => 'answered', (error) => error.name)"
    )
    assert asked == "TypeError"
    said = []
    gallery.on("console", lambda message: said.append(message.text))
    gallery.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=https://example.org/a>')"
    )
    gallery.evaluate("document.body.insertAdjacentHTML('beforeend', '<i onclick=\"x()\">')")
    gallery.wait_for_timeout(100)
    assert any("Content Security Policy" in text for text in said)
    gallery.faults.clear()


def test_every_filter(gallery):
    def after(action):
        action()
        found = sorted(ids(gallery))
        gallery.click("#reset")
        assert len(ids(gallery)) == 4
        return found

    def least(name, value):
        handle = gallery.locator(f"section[data-value={name}] input").nth(0)
        handle.evaluate(
            "(each, value) => { each.value = value; each.dispatchEvent(new Event('input')) }", value
        )

    classes = gallery.locator("#filters .choices").nth(1).locator("button")
    assert after(lambda: classes.nth(0).click()) == ["1", "2", "8"]
    assert after(lambda: classes.nth(1).click()) == ["3"]
    assert after(lambda: gallery.check("#only-box")) == ["3"]
    assert after(lambda: gallery.check("#only-touches")) == ["1", "2"]
    assert after(lambda: gallery.fill("input[type=search]", "ONERROR")) == ["8"]
    assert after(lambda: least("score", 27)) == ["1", "2"]  # from .75 on
    assert after(lambda: least("iou", 34)) == [
        id for id in ("1", "2", "8") if iou(gallery, id) >= 34 / 36
    ]
    suspicions = {id: gallery.evaluate(f"P2SEG.byId.get('{id}').suspicion") for id in "1238"}
    assert after(lambda: least("suspicion", 18)) == [i for i in "1238" if suspicions[i] >= 0.5]
    assert after(lambda: least("size", 18)) == ["1", "2", "8"]
    gallery.keyboard.press("Escape")
    gallery.evaluate("P2SEG.decisions.set([{id: '2', image_id: '4', decision: 'reject'}])")
    assert after(lambda: gallery.click("#filters button[data-value=reject]")) == ["2"]
    assert after(lambda: gallery.click("#filters button[data-value='']")) == ["1", "3", "8"]


def iou(page, id):
    return page.evaluate(f"P2SEG.byId.get('{id}').iou")


def test_every_order(gallery):
    values = gallery.evaluate(
        "Object.fromEntries(P2SEG.masks.map((m) => [m.id, [m.iou, m.suspicion, m.score, m.area]]))"
    )
    ways = {
        "worst": (0, 1),
        "suspicion": (1, -1),
        "score": (2, 1),
        "large": (3, -1),
        "small": (3, 1),
    }
    for name, (place, sign) in ways.items():
        gallery.select_option("#sort", name)
        keys = [sign * values[id][place] for id in ids(gallery)]
        assert keys == sorted(keys), name
        assert len(set(keys)) > 1
    gallery.select_option("#sort", "name")
    assert ids(gallery) == ["8", "1", "2", "3"]
    gallery.click("[data-view=images]")
    assert ids(gallery) == ["5", "4", "6"]


def test_stages_and_layers_change_what_is_drawn(gallery):
    gallery.select_option("#sort", "name")
    opened(gallery, 1)
    seen = {}
    names = gallery.locator("#stages [data-stage]").all_inner_texts()
    assert names == ["semantic", "seed", "final", "truth"]
    for key, name in enumerate(names, 1):
        gallery.keyboard.press(str(key))
        assert gallery.get_attribute(f"[data-stage={name}]", "aria-pressed") == "true"
        seen[name] = settled(gallery)
    assert len({*seen.values()}) >= 3  # the seed may be the final mask
    assert len({seen["semantic"], seen["final"], seen["truth"]}) == 3
    gallery.keyboard.press("3")
    for key in "mopb":
        before = settled(gallery)
        gallery.keyboard.press(key)
        assert settled(gallery) != before, key
        gallery.keyboard.press(key)
        assert settled(gallery) == before, key
    gallery.keyboard.down(" ")
    assert settled(gallery) != before
    gallery.keyboard.up(" ")
    gallery.keyboard.press("+")
    assert settled(gallery) != before
    gallery.keyboard.press("0")
    assert settled(gallery) == before


def test_codes_are_drawn_at_their_masks(gallery, made):
    """The script decodes run lengths as Python does, at image size and at twice the size."""
    pred = read_instances(made / "masks.json")
    for times in (1, 2):
        for group in pred.instances:
            for each in group:
                painted = gallery.evaluate(
                    "([code, t]) => { const map = new Int32Array(60 * 80 * t * t);"
                    " P2SEG.fill(code, [60, 80], map, 60 * t, 80 * t, 1); return [...map]; }",
                    [each.rle["counts"].decode(), times],
                )
                expected = decode(each.rle).repeat(times, 0).repeat(times, 1)
                assert painted == expected.reshape(-1).astype(int).tolist()


def test_keys_judge_and_a_review_is_saved(gallery, made, tmp_path):
    gallery.select_option("#sort", "name")  # 8, 1, 2, 3
    for key in ("y", "x", "z", "x", "ArrowRight", "x", "z"):
        gallery.keyboard.press(key)
    assert decided(gallery) == {"8": "accept", "1": "reject"}
    gallery.click(".tile[data-place='2']")
    gallery.wait_for_selector("#canvas[data-ready=yes]")
    gallery.keyboard.press("c")
    assert gallery.is_visible("#note")
    # pixel column 30, row 15: the middle of it on the canvas
    place = gallery.evaluate(
        "(() => { const { scale, x, y } = P2SEG.detail.camera, d = devicePixelRatio || 1;"
        " return [(x + 30.5 * scale) / d, (y + 15.5 * scale) / d]; })()"
    )
    gallery.click("#canvas", position={"x": place[0], "y": place[1]})
    assert decided(gallery) == {"8": "accept", "1": "reject", "2": "reclick"}
    assert not gallery.is_visible("#note")
    gallery.keyboard.press("Escape")
    assert gallery.is_hidden("#detail")
    assert gallery.inner_text(".judged") == "3 judged, 1 left"
    path = saved(gallery, tmp_path)
    pred = read_instances(made / "masks.json")
    content = json.loads(path.read_text())
    mask = pred.instances[1][0].rle
    [one, two, eight] = content["decisions"]
    assert one == {"id": 1, "image_id": 4, "decision": "reject"}
    assert (two["id"], two["decision"]) == (2, "reclick")
    assert two["point"] == pytest.approx([30, 15], abs=0.21)
    assert eight == {
        "id": 8,
        "image_id": 5,
        "decision": "accept",
        "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
    }
    assert content["info"]["pseudo"] == "masks.json"
    assert len(content["info"]["pseudo_sha256"]) == 64
    found = reviewed(pred, read_review(path))
    assert [each.review for each in found.instances[0]] == ["rejected", "rejected", ""]
    assert path.read_bytes() == saved(gallery, tmp_path / "again").read_bytes()


def test_decisions_survive_a_reload_and_a_file(gallery, made, home, tmp_path, run_tool):
    gallery.click(".tile[data-place='0']")
    gallery.click(".decide.accept")
    gallery.keyboard.press("x")
    before = decided(gallery)
    assert sorted(before.values()) == ["accept", "reject"]
    gallery.reload()
    gallery.wait_for_selector("body[data-ready=yes]")
    assert decided(gallery) == before
    path = saved(gallery, tmp_path)
    for _ in before:  # taken back, also what was decided before the reload
        id = next(iter(decided(gallery)))
        gallery.evaluate("(id) => P2SEG.decisions.set([{ id, decision: null }])", id)
    assert decided(gallery) == {}
    gallery.set_input_files("#file", path)
    until(gallery, "P2SEG.decisions.all().length === 2")
    assert decided(gallery) == before
    gallery.keyboard.press("z")
    assert decided(gallery) == {}
    # the tool puts a review into the page, where it can be taken back for good
    own = [f"pred={made}/masks.json", f"images={made}/images", f"review={path}"]
    works(run_tool("gallery", *own, f"out={tmp_path}/out"))
    gallery.goto((tmp_path / "out" / "index.html").as_uri())
    gallery.wait_for_selector("body[data-ready=yes]")
    assert decided(gallery) == before
    gallery.evaluate(
        "P2SEG.decisions.set(P2SEG.decisions.all().map((e) => ({ id: e.id, decision: null })))"
    )
    gallery.reload()
    gallery.wait_for_selector("body[data-ready=yes]")
    assert decided(gallery) == {}


def test_a_moved_click_is_judged_again_and_never_forgotten(gallery, made, tmp_path, run_tool):
    """The second round: masks 1 and 2 were made from new clicks, 3 was not."""
    points = {1: [17, 20], 2: [32, 20], 3: [5, 6]}
    listed = [
        {"id": id, "image_id": 4, "decision": "reclick", "point": point}
        for id, point in points.items()
    ]
    (tmp_path / "first.json").write_text(json.dumps({"decisions": listed}))
    own = [f"pred={made}/masks.json", f"images={made}/images", f"review={tmp_path}/first.json"]
    works(run_tool("gallery", *own, f"out={tmp_path}/out"))
    gallery.goto((tmp_path / "out" / "index.html").as_uri())
    gallery.wait_for_selector("body[data-ready=yes]")
    assert gallery.inner_text(".judged") == "1 judged, 3 left"
    gallery.select_option("#sort", "name")  # 8, 1, 2, 3
    again = json.loads(saved(gallery, tmp_path).read_text())["decisions"]
    assert {each["id"]: each["point"] for each in again} == points
    gallery.evaluate("P2SEG.grid.choose(1)")
    for key in "yxy":
        gallery.keyboard.press(key)
    assert gallery.inner_text(".judged") == "3 judged, 1 left"
    one, two, three = json.loads(saved(gallery, tmp_path).read_text())["decisions"]
    assert (one["decision"], one["point"]) == ("accept", [17, 20])
    assert two == {"id": 2, "image_id": 4, "decision": "reject", "point": [32, 20]}
    assert (three["decision"], "point" in three) == ("accept", False)  # with its own click
    # the third round begins with it
    own[2] = f"review={tmp_path}/review.json"
    works(run_tool("gallery", *own, f"out={tmp_path}/out"))
    gallery.reload()
    gallery.wait_for_selector("body[data-ready=yes]")
    gallery.evaluate("localStorage.clear()")
    gallery.reload()
    gallery.wait_for_selector("body[data-ready=yes]")
    gallery.select_option("#sort", "name")
    gallery.evaluate("P2SEG.grid.choose(1)")
    gallery.keyboard.press("x")
    one, *_ = json.loads(saved(gallery, tmp_path).read_text())["decisions"]
    assert one == {"id": 1, "image_id": 4, "decision": "reject", "point": [17, 20]}


def test_two_tabs_see_each_other(gallery, home, tmp_path):
    other = gallery.context.new_page()
    other.goto((home / "out" / "index.html").as_uri())
    other.wait_for_selector("body[data-ready=yes]")
    gallery.keyboard.press("y")
    until(other, "document.querySelector('.judged').innerText.startsWith('1 judged')")
    other.keyboard.press("ArrowRight")
    other.keyboard.press("x")
    assert len(json.loads(saved(other, tmp_path).read_text())["decisions"]) == 2
    gallery.keyboard.press("Control+z")  # its own, not the other's
    until(gallery, "P2SEG.decisions.all().length === 1")
    until(other, "P2SEG.decisions.all().length === 1")
    assert list(decided(gallery).values()) == list(decided(other).values()) == ["reject"]


BIG = 2**63 - 1


@pytest.mark.parametrize(
    ("content", "said", "count"),
    [
        ("{", "not JSON", 0),
        ('{"decisions": 3}', "no list of decisions", 0),
        ('{"decisions": [{"id": 1, "image_id": 4, "decision": "perhaps"}]}', "Decision 1", 0),
        ('{"decisions": [{"id": 1, "image_id": 4, "decision": "reclick"}]}', "Decision 1", 0),
        (f'{{"decisions": [{{"id": {BIG}, "image_id": 4, "decision": "reject"}}]}}', "not here", 1),
    ],
)
def test_an_invalid_review_is_ignored(gallery, tmp_path, content, said, count):
    (tmp_path / "r.json").write_text(content)
    gallery.set_input_files("#file", tmp_path / "r.json")
    gallery.wait_for_selector("#toast:not([hidden])")
    assert said in gallery.inner_text("#toast")
    assert len(decided(gallery)) == count
    if count:  # a decision about a mask that is not here, its id beyond JavaScript's numbers
        assert json.loads(saved(gallery, tmp_path).read_text())["decisions"][0]["id"] == BIG


def test_a_browser_without_storage_is_reported(gallery, tmp_path):
    gallery.evaluate(
        "() => { Storage.prototype.setItem = () => {"
        " throw new DOMException('', 'QuotaExceededError') } }"
    )
    assert gallery.is_hidden("#warning")
    gallery.keyboard.press("y")
    assert "save the review" in gallery.inner_text("#warning")
    assert len(json.loads(saved(gallery, tmp_path).read_text())["decisions"]) == 1


def test_a_selected_file_is_updated_after_every_decision(gallery):
    gallery.evaluate(
        "() => { window.written = []; window.showSaveFilePicker = async () => ({ name: 'mine.json',"
        " createWritable: async () => ({ text: '', async write(t) { this.text = t },"
        " async close() { written.push(this.text) } }) }) }"
    )
    gallery.evaluate("P2SEG.files.keep()")
    for count, key in enumerate("yx", 1):
        gallery.keyboard.press(key)
        gallery.wait_for_timeout(500)  # the page's policy refuses to poll texts as scripts
        assert gallery.evaluate("JSON.parse(written.at(-1)).decisions.length") == count


def test_images_are_judged_as_a_whole_and_empty_ones_are_listed(gallery):
    gallery.click("[data-view=images]")
    assert gallery.inner_text(".shown") == "3 of 3 images"
    place = ids(gallery).index("4")
    gallery.evaluate(f"P2SEG.grid.choose({place})")
    gallery.keyboard.press("y")
    assert decided(gallery) == {"1": "accept", "2": "accept", "3": "accept"}
    gallery.keyboard.press("z")
    assert decided(gallery) == {}
    opened(gallery, ids(gallery).index("6"))
    assert "No mask" in gallery.inner_text("#panel")
    gallery.keyboard.press("Escape")
    opened(gallery, place)
    for _ in range(3):
        gallery.keyboard.press("x")
    assert decided(gallery) == {"1": "reject", "2": "reject", "3": "reject"}


def test_the_help_explains_suspicion(gallery):
    gallery.keyboard.press("?")
    text = gallery.inner_text("#help")
    for name in ("default box", "click outside", "low score", "odd size", "touches its class"):
        assert name in text
    assert "true mask of the same id" in text
    assert "ckpt=FILE" in text


def many(root, count, run_tool):
    """Makes a gallery of many tiny images with four masks each."""
    own = gallery_set(root / "set")
    document = json.loads(own.pred.read_text())
    masks = [{**each, "image_id": 4} for each in document["annotations"]]
    picture = (own.images / "a.png").read_bytes()
    images, annotations = [], []
    for k in range(count):
        name = f"{k:05d}.png"
        (own.images / name).write_bytes(picture)
        images.append({"id": k, "file_name": name, "width": 80, "height": 60})
        annotations += [{**m, "id": 4 * k + j, "image_id": k} for j, m in enumerate(masks)]
    document |= {"images": images, "annotations": annotations}
    own.pred.write_text(json.dumps(document))
    works(run_tool("gallery", *own.words, f"out={root}/out"))
    return root / "out" / "index.html"


def stands_up(page, index, masks):
    """The page opens in seconds, keeps few tiles, and scrolls fast."""
    start = time.perf_counter()
    page.goto(index.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    until(page, "[...document.querySelectorAll('.tile img')].some((i) => i.naturalWidth)")
    assert time.perf_counter() - start < 15  # a second where nothing else runs
    assert len(ids(page)) == masks
    page.evaluate("document.getElementById('grid').scrollTop = 1e9")
    page.wait_for_selector(f".tile[data-place='{masks - 1}'] img")
    assert page.locator(".tile").count() < 150
    page.select_option("#sort", "name")
    assert ids(page)[:5] == ["0", "1", "2", "3", "4"]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1000, 5000])
def test_many_images(page, tmp_path, run_tool, count):
    stands_up(page, many(tmp_path, count, run_tool), 4 * count)


def test_a_few_hundred_images(page, tmp_path, run_tool):
    stands_up(page, many(tmp_path, 200, run_tool), 800)
