"""Recipes are read, and refused with the place and the reason."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from dare.experiments.recipe import Recipe, RecipeError, load_recipe, shipped_recipes
from dare.experiments.trainings import check_settings, config_of
from dare.images.preparation import Preparation

WHOLE = """\
title = "Ours"

[data.shop]
folder = "pictures"
column = "Market"

[data.drawn]
draw = "tiny"
knobs = { train_people = 6, test_people = 4 }

[training.small]
preset = "demo"
data = ["shop", "drawn"]
runs = 2
settings = { iterations = 4, learning_rate = 1, taps = [1, 4] }

[training.single]
preset = "demo"
data = "shop"
crops = 10
settings = { taps = [1, 4], deep_supervision = false, seed = 7 }

[training.bought]
data = "shop"
checkpoints = { shop = ["a", "b", "c"] }

[table1]
"DaRe(R)+RR" = "small"
"IDE(R)+ML+RR" = { training = "single", metric = "xqda" }

[figure4]
training = "small"
without = "single"
data = "shop"

[figure6]
training = "small"
data = "drawn"
budgets = 7
crops = 1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "ours.toml"
    path.write_text(text)
    return path


def checked(path: Path) -> Recipe:
    """As the command does before anything is trained."""
    recipe = load_recipe(path)
    check_settings(recipe)
    return recipe


def test_everything_in_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, WHOLE))
    assert recipe.outputs == ("table1", "table2", "figure4", "figure6")
    assert recipe.data["shop"].folder == tmp_path / "pictures"
    assert recipe.data["drawn"].drawn.train_people == 6
    small, single, bought = recipe.trainings.values()
    assert [training.count("shop") for training in (small, single, bought)] == [2, 1, 3]
    config = config_of(small, 1)
    assert (config.iterations, config.decay_start, config.learning_rate, config.seed) == (4, 2, 1, 1)
    assert config.architecture.taps == (1, 4)
    assert config_of(single).seed == 7
    assert (small.crops, single.crops) == (1, 10)
    assert bought.trained_on == ()
    assert bought.checkpoints["shop"] == (tmp_path / "a", tmp_path / "b", tmp_path / "c")
    plain, learnt = recipe.table1.values()
    assert learnt.metric_on("shop") == "xqda"
    assert plain.metric_on("shop") is None
    assert recipe.figures["figure4"].others == ("single",)
    assert recipe.figure6 is not None
    assert (recipe.figure6.budgets, recipe.figure6.crops) == (7, 1)


def test_folders_can_be_given_for_data_sets_that_are_not_drawn(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, WHOLE))
    assert recipe.with_folders({"shop": Path("elsewhere")}).data["shop"].folder == Path("elsewhere")
    for name in ("drawn", "none"):
        with pytest.raises(RecipeError, match=f"no data set '{name}' that a folder can be given for; it has shop"):
            recipe.with_folders({name: Path("elsewhere")})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Ours"', "", "expected title, which is missing"),
        ('title = "Ours"', "title = 3", "title: expected a valid string, got 3"),
        ('title = "Ours"', 'title = "Ours"\ncolour = 1', "colour is unknown"),
        ("[figure4]", "[figure9]", "figure9 is unknown"),
        ('column = "Market"', 'colum = "Market"', r"data\.shop\.colum is unknown"),
        ('column = "Market"', 'column = "Markt"', r"data\.shop\.column: unknown name 'Markt'; choose Market, MARS"),
        ('column = "Market"', 'layout = "marks"', r"data\.shop\.layout: unknown name 'marks'; choose market1501"),
        ('column = "Market"', 'draw = "tiny"', "needs either a folder of pictures, or draw"),
        ('column = "Market"', "knobs = { outfits = 3 }", "knobs belongs to draw"),
        ('draw = "tiny"', 'draw = "huge"', r"draw: unknown name 'huge'; choose tiny, small, standard"),
        ("test_people = 4", "test_people = 0", r"data\.drawn: knobs: test_people must be a whole number"),
        ("test_people = 4", "people = 4", r"data\.drawn: knobs: .*'people'"),
        ("[data.drawn]", '[data."a/b"]', "got 'a/b'"),
        (
            'draw = "tiny"',
            'draw = "tiny"\ncolumn = "Market"\nstands_in = "x"',
            "data sets shop and drawn both have column 'Market'",
        ),
        ('draw = "tiny"', 'draw = "tiny"\ncolumn = "Duke"', "drawn people in the place of Duke must say so"),
        ('draw = "tiny"', 'draw = "tiny"\nlayout = "market1501"', r"data\.drawn: layout belongs to folder"),
        ('column = "Market"', "seed = 1", r"data\.shop: seed belongs to draw"),
        (
            "[training.bought]",
            "[training.bought]\nruns = 3\nsettings = { seed = 1 }",
            r"training\.bought: trains nothing, .* leave out settings, runs",
        ),
        ('preset = "demo"', 'preset = "dmo"', r"training\.small: unknown preset 'dmo'; choose paper, slim, lite, demo"),
        ("iterations = 4", "iteratons = 4", r"training\.small\.settings: iteratons is unknown"),
        (
            "iterations = 4",
            'iterations = "4"',
            r"training\.small\.settings: iterations: expected a valid integer, got '4'",
        ),
        ("iterations = 4", "iterations = 4.5", "expected a valid integer, got 4.5"),
        ("iterations = 4", "iterations = true", "expected a valid integer, got True"),
        ("taps = [1, 4]", 'taps = "4"', r"settings: taps: expected a valid array, got '4'"),
        (
            "iterations = 4",
            "iterations = 0",
            r"settings: iterations: expected at least 1, got 0",
        ),
        ("iterations = 4", 'backbone = "resnet51"', r"training\.small: unknown backbone 'resnet51'; choose resnet18"),
        ("runs = 2", "runs = 0", r"training\.small\.runs: expected at least 1, got 0"),
        ("crops = 10", "crops = 5", r"training\.single\.crops: expected 1 or 10, got 5"),
        ("crops = 10", 'distance = "manhattan"', "distance: expected 'euclidean' or 'cosine', got 'manhattan'"),
        ('data = ["shop", "drawn"]', 'data = ["shop", "shp"]', "names an unknown data set 'shp'; the recipe has shop"),
        ('data = ["shop", "drawn"]', 'data = ["shop", "shop"]', "names something twice: shop, shop"),
        ('data = ["shop", "drawn"]', "", r"training\.small: expected data, which is missing"),
        ("[training.single]", "[training.small]", "TOML in which each name stands once: Cannot declare"),
        ('"DaRe(R)+RR" = "small"', '"DaRe(R)" = "small"\n"DaRe(R)" = "small"', "each name stands once"),
        (
            'checkpoints = { shop = ["a", "b", "c"] }',
            "checkpoints = { shop = [] }",
            r"checkpoints\.shop: .*at least 1 item",
        ),
        (
            'checkpoints = { shop = ["a", "b", "c"] }',
            'checkpoints = { drawn = ["a"] }',
            "checkpoints has drawn, which is not in its data; add it there",
        ),
        (
            "runs = 2",
            'checkpoints = { shop = ["a"] }\nembeddings = { shop = ["b", "c"] }',
            "gives 1 checkpoints and 2 files",
        ),
        ('"DaRe(R)+RR" = "small"', '"DaRe(R)+RR" = "smal"', "names an unknown training 'smal'; the recipe has"),
        (
            '"DaRe(R)+RR" = "small"',
            '"DaRe(R) + RR" = "small"',
            r"table1.*: unknown name 'DaRe\(R\) \+ RR'; choose CNN",
        ),
        ('"DaRe(R)+RR" = "small"', '"DaRe(R)+RR" = 3', "expected a valid dictionary or instance of Row, got 3"),
        ('metric = "xqda"', 'metric = "lmnn"', r"metric.*: expected 'kissme' or 'xqda', got 'lmnn'"),
        (
            'training = "single", metric = "xqda"',
            'training = "single"',
            r"table1\.IDE\(R\)\+ML\+RR: rows with \+ML need a metric",
        ),
        (
            'metric = "xqda"',
            'metric = { shop = "xqda", drawn = "xqda" }',
            "metric is for drawn, which is not in the data",
        ),
        ('without = "single"', "", "figure4: expected without, which is missing"),
        ('without = "single"', 'against = "single"', "figure4: expected without, which is missing"),
        ('without = "single"', 'without = "small"', "figure4 compares two trainings, and small is both"),
        ("deep_supervision = false, ", "", "training single has a loss on every stage; set deep_supervision = false"),
        ("taps = [1, 4], deep", "taps = [2, 4], deep", "trainings small and single differ in taps or fusion"),
        ("[1, 4] }", '[1, 4], network = "trinet" }', r"training\.small\.settings: architecture: trinet has one exit"),
        ("budgets = 7", "count = 7", "figure6.count is unknown"),
        ("budgets = 7", "budgets = 0", "figure6.budgets: expected at least 2, got 0"),
        ("crops = 1\n", "crops = 2\n", "figure6.crops: expected 1 or 10, got 2"),
        ('data = "drawn"\nbudgets', 'data = "drwn"\nbudgets', "figure6 names an unknown data set 'drwn'"),
        ('without = "single"\ndata = "shop"', 'without = "single"\ndata = "drawn"', "training single is not for drawn"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    path = written(tmp_path, WHOLE.replace(old, new, 1))
    with pytest.raises(RecipeError, match=message) as raised:
        checked(path)
    assert str(raised.value).startswith(str(path))


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe at none\.toml; give a TOML file, or one of paper, tiny"):
        load_recipe("none.toml")
    with pytest.raises(RecipeError, match="expected data, which is missing"):
        load_recipe(written(tmp_path, 'title = "Empty"'))
    (tmp_path / "latin.toml").write_bytes('title = "Größe"'.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.toml isn't text in UTF-8"):
        load_recipe(tmp_path / "latin.toml")


@pytest.mark.parametrize("figure", ["figure6", "figure7", "figure8"])
def test_a_network_with_one_exit_is_refused_where_several_are_shown(tmp_path: Path, figure: str) -> None:
    for settings in ("taps = [4]", 'network = "ide", embedding_dim = 0'):
        text = WHOLE.replace("taps = [1, 4] }", f"{settings} }}", 1).partition("[figure4]")[0]
        text += f'[{figure}]\ntraining = "small"\ndata = "shop"\n'
        with pytest.raises(RecipeError, match=f"{figure} needs a network with more than one exit"):
            checked(written(tmp_path, text))


def test_a_recipe_is_written_as_it_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes back is the same recipe, from wherever it is read; so are the shipped ones."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, WHOLE)
    (tmp_path / "below").mkdir()
    for recipe in (load_recipe("ours.toml").with_folders({"shop": Path("else where")}), *map(load_recipe, ("paper",))):
        text = recipe.resolved()
        again = load_recipe(written(tmp_path / "below", text))
        assert again.resolved() == text
        assert (again.outputs, again.table1) == (recipe.outputs, recipe.table1)
        for name, data in recipe.data.items():
            assert again.data[name].folder == (data.folder and tmp_path / data.folder)
        for name, training in recipe.trainings.items():
            there = again.trainings[name]
            assert (there.settings, there.stands_in) == (training.settings, training.stands_in)
            for one, paths in training.checkpoints.items():
                assert there.checkpoints[one] == tuple(tmp_path / path for path in paths)
            for one, path in training.generated.items():
                assert there.generated[one] == tmp_path / path


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_can_be_followed(name: str) -> None:
    recipe = load_recipe(name)
    check_settings(recipe)
    assert recipe.outputs == ("table1", "table2", *(f"figure{number}" for number in range(3, 9)))


def test_the_papers_recipe_trains_what_the_paper_trained() -> None:
    recipe = load_recipe("paper")
    assert {data.column for data in recipe.data.values()} == {"Market", "MARS", "CUHK03(L)", "CUHK03(D)", "Duke"}
    dare = {name: recipe.trainings[name] for name in ("dare-r", "dare-r-re", "dare-de", "dare-de-re")}
    for name, training in dare.items():
        config = config_of(training)
        assert (len(training.data), training.runs, training.crops) == (5, 4, 10)
        assert config.architecture.backbone == ("densenet201" if "-de" in name else "resnet50")
        assert config.augmentation.erasing == (0.5 if name.endswith("-re") else 0.0)
        assert (config.iterations, config.people, config.images) == (60_000, 18, 4)
    rows = {row.name: row.training for row in recipe.table1.values()}
    for name in (name for name in rows if name.startswith("DaRe")):
        backbone = "dare-de" if "(De)" in name else "dare-r"
        assert rows[name] == backbone + "-re" * ("+RE" in name)
    runs = [training.count(data) for training in recipe.trainings.values() for data in training.data]
    longer, trinet = config_of(recipe.trainings["trinet-60000"]), config_of(recipe.trainings["trinet"])
    assert longer == replace(trinet, iterations=60_000, decay_start=30_000)
    assert sum(runs) == 130  # as docs/reproduce.md says
    scaled = {name for name, training in recipe.trainings.items() if training.distance == "cosine"}
    assert scaled == {"ide-r", "ide-c", "lsro"}
    unsupervised = config_of(recipe.trainings[recipe.figures["figure4"].others[0]])
    assert not unsupervised.deep_supervision
    against = [config_of(recipe.trainings[name]) for name in recipe.figures["figure5"].others]
    assert [config.architecture.backbone for config in against] == ["resnet18", "resnet34", "resnet50"]
    assert all(config.architecture.build().fusion is None for config in against)


def test_the_tiny_recipe_says_that_it_stands_in() -> None:
    recipe = load_recipe("tiny")
    assert "stands in for every network" in recipe.stands_in
    assert all(data.stands_in for data in recipe.data.values())
    assert all(training.stands_in and training.runs == 1 for training in recipe.trainings.values())
    for name in ("svdnet", "svdnet-re"):
        config = config_of(recipe.trainings[name])
        assert (config.architecture.network, config.rounds) == ("svdnet", 2)


def test_the_recipe_for_cpus_trains_with_the_papers_losses_alone() -> None:
    recipe, paper = load_recipe("trunks"), config_of(load_recipe("paper").trainings["dare-r-re"])
    shortened = {"iterations", "decay_start", "warm_up", "learning_rate"}
    for training in recipe.trainings.values():
        assert training.runs == 3
        assert training.stands_in
        config = config_of(training)
        other = {field.name for field in fields(config) if getattr(config, field.name) != getattr(paper, field.name)}
        assert other <= {"architecture", "preparation", "deep_supervision", *shortened}
        assert config.preparation == Preparation(96, 48, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    figures = recipe.figures
    assert not config_of(recipe.trainings[figures["figure4"].others[0]]).deep_supervision
    names = [config_of(recipe.trainings[name]).architecture.backbone for name in figures["figure5"].others]
    assert names == ["lite0", "lite1", "lite2"]
    assert config_of(recipe.trainings[figures["figure5"].training]).architecture.backbone == names[-1]
